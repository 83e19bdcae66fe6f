"""The worker's moving parts: one loop a file, joined by `flowstate_worker.worker`.

wake-ups ──▶ claimer ──▶ executor (one per claimed row) ──▶ finisher
                ▲            ▲  lost, cancelled                │ stored: capacity is free
                │            └── lease keeper                  │
                └──────────────────────────────────────────────┘
maintenance: rescue and housekeeping, beside all of them
"""
