"""The SQL compiler: re-runnable sources in, one append-only migration out.

scanner (text to tokens) ← objects (statements to object identities) ← sources (the tree) ←
ledger (what the migrations already hold) ← compile (the difference, as a migration).
`catalog` is the other half of `flowstate db check`: it compares databases, not files.
"""
