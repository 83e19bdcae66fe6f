"""The difference between the sources and the migrations, written as one new migration.

A changed file is included whole: it is re-runnable. What cannot be replaced in place is dropped
first: objects that no source creates any more, functions whose head changed, views and indexes
whose text changed. Postgres refuses to drop what others depend on, so policies, triggers, views
and indexes that mention a dropped function or view are dropped with it, and their files are
included to make them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flowstate_cli.sql.ledger import Migration, Recorded, header
from flowstate_cli.sql.objects import SqlObject
from flowstate_cli.sql.sources import FOLDERS, Source

# Not `set local`: through the protocol that `supabase db push` speaks, a migration's transaction
# is implicit, and Postgres warns about `set local` there. This lasts until the same commit.
BODIES_UNCHECKED = "select set_config('check_function_bodies', 'off', true);\n"
_DROP_ORDER = ("policy", "trigger", "index", "view", "function")
_VERSION = "%Y%m%d%H%M%S"

Key = tuple[str, str]


@dataclass(frozen=True)
class Plan:
    """What a compiled migration has to contain. `dependents` are unchanged but made again."""

    changed: tuple[Source, ...]
    dependents: tuple[Source, ...]
    removed: tuple[str, ...]
    drops: tuple[SqlObject, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.changed or self.removed)

    def text(self) -> str:
        """The migration."""
        sources = sorted({*self.changed, *self.dependents}, key=lambda source: order(source.path))
        parts = [header(sources, self.removed), BODIES_UNCHECKED]
        if self.drops:
            drops = "\n".join(item.drop() for item in self.drops)
            parts.append(f"-- gone, or not replaceable in place\n{drops}\n")
        parts.extend(f"-- {source.path}\n{source.text.strip()}\n" for source in sources)
        return "\n".join(parts)


def order(path: str) -> tuple[int, tuple[str, ...]]:
    """The position of a source in a migration: by folder, then by name."""
    _, folder, *rest = path.split("/")
    return FOLDERS.index(folder), tuple(rest)


def plan(sources: list[Source], state: dict[str, Recorded]) -> Plan:
    """What has to happen to a database in `state` so that it holds `sources`."""
    changed = [s for s in sources if s.path not in state or state[s.path].sha256 != s.sha256]
    removed = sorted(path for path in state if path not in {source.path for source in sources})
    old = {item.key: item for path in sorted(state, key=order) for item in state[path].objects}
    new = {item.key: item for source in sources for item in source.objects}
    dropped = {key for key, item in old.items() if key not in new or new[key].shape != item.shape}
    _drop_dependents(dropped, old, new)
    if _names(dropped, old):
        # The earlier text of these is unknown here: it may mention what is being dropped.
        touched = [*removed, *(source.path for source in changed if source.path in state)]
        rerun = (item for path in touched for item in state[path].objects)
        dropped |= {item.key for item in rerun if item.kind in {"policy", "trigger"}}
    dependents = [
        source
        for source in sources
        if source not in changed and any(item.key in dropped for item in source.objects)
    ]
    position = {key: at for at, key in enumerate(old)}
    drops = sorted(dropped, key=lambda key: (_DROP_ORDER.index(key[0]), -position[key]))
    return Plan(tuple(changed), tuple(dependents), tuple(removed), tuple(old[key] for key in drops))


def _drop_dependents(
    dropped: set[Key], old: dict[Key, SqlObject], new: dict[Key, SqlObject]
) -> None:
    """Adds, until nothing more follows, what mentions a dropped function or view."""
    while True:
        names = _names(dropped, old)
        more = {
            key
            for key, item in new.items()
            if key in old and key not in dropped and item.references & names
        }
        if not more:
            return
        dropped |= more


def _names(dropped: set[Key], old: dict[Key, SqlObject]) -> set[str]:
    return {old[key].name for key in dropped if key[0] in {"function", "view"}}


def next_version(migrations: list[Migration], now: datetime) -> str:
    """A version in UTC after every existing one, even when clocks disagree."""
    version = now.astimezone(UTC).strftime(_VERSION)
    newest = max((migration.version for migration in migrations), default="")
    if version > newest:
        return version
    after = datetime.strptime(newest, _VERSION).replace(tzinfo=UTC) + timedelta(seconds=1)
    return after.strftime(_VERSION)


def stale(sources: list[Source], state: dict[str, Recorded]) -> dict[str, str]:
    """Path to what is wrong with it, for every source that the migrations do not hold as it is."""
    found = dict.fromkeys(state, "removed, but still in the migrations")
    for source in sources:
        recorded = state.get(source.path)
        if recorded is None:
            found[source.path] = "not in any migration"
        elif recorded.sha256 != source.sha256:
            found[source.path] = f"changed since {recorded.migration.path.name}"
        elif source.text.strip() not in recorded.migration.text:
            found[source.path] = f"edited by hand inside {recorded.migration.path.name}"
        else:
            del found[source.path]
    return found
