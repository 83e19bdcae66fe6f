"""A small project on disk for the tests of the SQL compiler."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flowstate_cli.sql.workflow import Compiled, compile_migration

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)

FUNCTION = """
create or replace function private.my_ids() returns setof uuid
language sql stable security definer set search_path = '' as $$ select id from public.flows; $$;
"""
POLICY = """
drop policy if exists "own rows" on public.flows;
create policy "own rows" on public.flows for select to authenticated
using (id = any(array(select private.my_ids())));
"""
VIEW = "create or replace view public.busy with (security_invoker = true) as select 1 as one;\n"
INDEX = "create index if not exists flows_user on public.flows (user_id);\n"


class Project:
    """Writes sources and compiles them; every compilation is a minute after the one before."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._minute = 0
        for folder in ("functions", "views", "indexes", "policies"):
            (root / "sql" / folder).mkdir(parents=True)
        (root / "supabase" / "migrations").mkdir(parents=True)

    def write(self, path: str, text: str) -> None:
        (self.root / "sql" / path).write_text(text, encoding="utf-8")

    def remove(self, path: str) -> None:
        (self.root / "sql" / path).unlink()

    def compile(self, name: str = "change", *, amend: bool = False, dry: bool = False) -> Compiled:
        self._minute += 1
        now = NOON.replace(minute=self._minute)
        return compile_migration(self.root, name, amend=amend, dry_run=dry, now=now)

    def migrations(self) -> list[str]:
        return sorted(path.name for path in (self.root / "supabase" / "migrations").iterdir())

    def standard(self) -> None:
        """One function, a policy and a view and an index, compiled."""
        self.write("functions/ids.sql", FUNCTION)
        self.write("policies/flows.sql", POLICY)
        self.write("views/busy.sql", VIEW)
        self.write("indexes/flows.sql", INDEX)
        self.compile("first")
