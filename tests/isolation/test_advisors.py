"""The official advisors (`supabase db advisors`) find nothing that is not argued in security.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flowstate_cli.policies.rules import Rules
from flowstate_local.migrations import run_cli

CHECKOUT = Path(__file__).parents[2]
SECURITY = CHECKOUT / "docs" / "security.md"

# Findings that stay, each argued in docs/security.md under "What the advisors say". The first two
# are notes; there is no warning and no error among them.
EXCEPTIONS = {
    "unused_index": "INFO",
    "rls_enabled_no_policy": "INFO",
}

Advice = list[dict[str, Any]]


@pytest.fixture(scope="module")
def advisors(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Advice:
    """Everything that they say of the migrated database, notes included."""
    return advise(database_url, tmp_path_factory.mktemp("advisors"))


def advise(database_url: str, home: Path) -> Advice:
    command = ["db", "advisors", "--level", "info", "--fail-on", "none", "--output-format", "json"]
    printed = run_cli(command, database_url, workdir=CHECKOUT, home=home)
    document, _ = json.JSONDecoder().raw_decode(printed)
    results = document["results"]
    assert isinstance(results, list)
    return results


def test_the_advisors_find_nothing_but_what_is_argued(advisors: Advice) -> None:
    found = [
        f"{advice['level']} {advice['name']}: {advice['detail']}"
        for advice in advisors
        if EXCEPTIONS.get(advice["name"]) != advice["level"]
    ]
    assert not found, "\n".join(found)


def test_a_table_without_a_policy_is_one_that_no_signed_in_user_may_touch(
    advisors: Advice, rules: Rules
) -> None:
    for advice in advisors:
        if advice["name"] != "rls_enabled_no_policy":
            continue
        schema, name = advice["metadata"]["schema"], advice["metadata"]["name"]
        if schema not in rules.closed_schemas:
            assert rules.tables[name].of_signed_in() == "", f"{schema}.{name}"


@pytest.mark.parametrize("lint", EXCEPTIONS)
def test_an_exception_is_argued(lint: str) -> None:
    assert f"`{lint}`" in SECURITY.read_text()


def test_the_advisors_see_a_table_left_open(
    database: psycopg.Connection, database_url: str, tmp_path: Path
) -> None:
    database.execute(
        "create table public.left_open (id int primary key);"
        "grant select on public.left_open to anon"
    )
    try:
        names = {advice["name"] for advice in advise(database_url, tmp_path)}
    finally:
        database.execute("drop table public.left_open")
    assert "rls_disabled_in_public" in names
