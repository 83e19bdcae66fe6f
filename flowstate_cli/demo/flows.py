"""The five kinds of flow that the demo's users own.

Each begins by looking into the mailbox, so that a service which fails at the first call fails
before anything was done. Each has steps that leave a trace outside whatever the mailbox holds:
these are what a run that succeeded is held to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Step = dict[str, Any]

_SHEET = "sample-spreadsheet"  # every simulated account has it
_ME = "robin@example.com"


@dataclass(frozen=True)
class Kind:
    """A flow as users own it. `traces`: names of steps that always leave an effect."""

    name: str
    steps: tuple[Step, ...]
    traces: frozenset[str]

    @property
    def definition(self) -> dict[str, Any]:
        return {"steps": list(self.steps)}


def _step(name: str, kind: str, **args: Any) -> Step:
    return {"name": name, "type": kind, "args": args}


def _search(query: str, most: int) -> Step:
    return _step("find", "gmail.search", query=query, max=most)


KINDS: tuple[Kind, ...] = (
    Kind(
        "Invoices to Drive and a sheet",
        (
            _search("subject:invoice has:attachment", 3),
            _step(
                "save",
                "drive.save_attachments",
                threads="{{find.threads}}",
                folder="Invoices/{{input.month}}",
                max=3,
            ),
            _step(
                "rows",
                "transform",
                each="{{find.threads}}",
                template=["{{item.date}}", "{{item.from}}", "{{item.subject}}"],
            ),
            _step(
                "sheet", "sheets.append_rows", spreadsheet="{{input.sheet}}", rows="{{rows.output}}"
            ),
        ),
        frozenset({"save", "sheet"}),
    ),
    Kind(
        "Newsletters out of the inbox",
        (
            _search("subject:digest", 5),
            _step("label", "gmail.label", threads="{{find.threads}}", label="Newsletters"),
            _step("archive", "gmail.archive", threads="{{find.threads}}"),
            # Already labelled and archived by an earlier run? The note is written all the same.
            _step(
                "note",
                "sheets.append_rows",
                spreadsheet="{{input.sheet}}",
                sheet="Archive",
                rows=[["{{input.month}}", "{{archive.archived}}"]],
            ),
        ),
        frozenset({"note"}),
    ),
    Kind(
        "Draft of a digest",
        (
            _search("is:unread", 5),
            _step("lines", "transform", each="{{find.threads}}", template="{{item.subject}}"),
            _step(
                "draft",
                "gmail.draft",
                to=_ME,
                subject="Digest of {{input.month}}: {{find.count}} unread",
                body="Unread now: {{lines.output}}",
            ),
        ),
        frozenset({"draft"}),
    ),
    Kind(
        "Reminder by e-mail",
        (
            _search("is:starred", 2),
            _step(
                "send",
                "gmail.send",
                to=_ME,
                subject="{{find.count}} starred conversations wait",
                body="The latest is from {{find.threads.0.from}}.",
            ),
        ),
        frozenset({"send"}),
    ),
    Kind(
        "Calendar event from a mail",
        (
            _search("subject:trip", 1),
            _step(
                "event",
                "calendar.create_event",
                title="{{find.threads.0.subject}}",
                start="{{input.starts_at}}",
                end="{{input.ends_at}}",
            ),
        ),
        frozenset({"event"}),
    ),
)

KIND_BY_NAME = {kind.name: kind for kind in KINDS}

INPUT: dict[str, str] = {
    "sheet": _SHEET,
    "month": "2026-11",
    "starts_at": "2026-12-01T09:00:00Z",
    "ends_at": "2026-12-01T10:00:00Z",
}
"""What every run is given."""
