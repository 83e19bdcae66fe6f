"""Nobody sees or changes another user's rows; nothing is open by default.

Who may do what is written in flowstate_cli/policies/rules.toml; tests/isolation shows that the
comparison notices every hole.
"""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from flowstate_cli.policies.matrix import examine
from flowstate_cli.policies.rules import load_rules

POLICIES = Path(__file__).parents[2] / "sql" / "policies"

WITHOUT_COMMENT = """
select c.oid::regclass::text from pg_class c
 where c.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
   and c.relkind in ('r', 'p', 'v', 'm') and obj_description(c.oid, 'pg_class') is null
union all
select p.oid::regprocedure::text from pg_proc p
 where p.pronamespace in ('public'::regnamespace, 'private'::regnamespace)
   and obj_description(p.oid, 'pg_proc') is null
"""


def test_everybody_can_do_what_the_rules_say_and_nothing_else(
    database: psycopg.Connection,
) -> None:
    differences = examine(database, load_rules()).lines()
    assert not differences, "\n".join(differences)


def test_every_object_of_the_api_carries_a_comment(database: psycopg.Connection) -> None:
    assert [name for (name,) in database.execute(WITHOUT_COMMENT)] == []


@pytest.mark.parametrize("source", sorted(POLICIES.glob("*.sql")), ids=lambda path: path.stem)
def test_a_policy_file_begins_with_who_is_let_in_and_who_is_denied(source: Path) -> None:
    head = re.match(r"(--.*\n)+", source.read_text())
    assert head
    assert re.search(r"^-- Let in: .+\n(-- .+\n)*?-- Denied: .+", head[0])
