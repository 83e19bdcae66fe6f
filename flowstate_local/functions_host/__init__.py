"""The functions host: one Deno process that serves every function of supabase/functions.

It stands in for the hosted edge runtime. Each function runs unchanged in a worker of its own, which
is started by the first request for it; edited code is read after the host was restarted. The API
gateway stands in front and decides who may call (`verify_jwt`).
"""

from pathlib import Path

_HERE = Path(__file__).parent


def command(*, deno: Path | str, config: Path, functions_dir: Path) -> list[str]:
    """How to start the host, with the least permissions that functions on a local stack need.

    Network: loopback only, so that no test reaches the world by accident. Files: the functions,
    this folder and the config, read-only. Dependencies come from DENO_DIR, as deno.lock has
    them, and from nowhere else.
    """
    readable = ",".join(str(path) for path in (functions_dir, _HERE, config))
    return [
        str(deno),
        "run",
        "--quiet",
        "--no-prompt",
        "--no-check",
        "--cached-only",
        "--frozen",
        f"--config={functions_dir / 'deno.json'}",
        "--allow-env",
        "--allow-net=127.0.0.1,localhost",
        f"--allow-read={readable}",
        str(_HERE / "main.ts"),
        "--config",
        str(config),
    ]
