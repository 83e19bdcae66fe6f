"""Where the project is: the folder that holds `supabase/` and `sql/`."""

from __future__ import annotations

import os
from pathlib import Path

from flowstate_cli.errors import BadInputError

ENVIRONMENT_NAME = "FLOWSTATE_PROJECT"


def find_project(start: Path | None = None) -> Path:
    """FLOWSTATE_PROJECT if it is set, else the nearest folder upwards with a `supabase/` folder.

    Raises BadInputError when there is none.
    """
    named = os.environ.get(ENVIRONMENT_NAME)
    if named:
        project = Path(named).expanduser().resolve()
        if not (project / "supabase").is_dir():
            raise BadInputError(
                f"{project} holds no supabase/ folder.",
                field=ENVIRONMENT_NAME,
                hint="Point it at the project's root, or unset it to search upwards from here.",
            )
        return project
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "supabase").is_dir():
            return folder
    raise BadInputError(
        f"No project found: neither {here} nor a folder above it holds supabase/.",
        hint=f"Change into the project, or set {ENVIRONMENT_NAME} to its folder.",
    )
