"""The helpers of tests/conftest.py that keep tests apart."""

from __future__ import annotations

import psycopg

from tests.conftest import MakeUser


def test_a_made_user_has_a_profile_with_the_tier(
    database: psycopg.Connection, make_user: MakeUser
) -> None:
    user_id = make_user(tier="pro")
    row = database.execute(
        "select tier from public.user_profiles where user_id = %s", (user_id,)
    ).fetchone()
    assert row == ("pro",)


def test_a_clean_database_has_settings_and_nothing_else(
    make_user: MakeUser, clean_database: psycopg.Connection
) -> None:
    rows = clean_database.execute(
        "select (select count(*) from auth.users), (select count(*) from public.user_profiles),"
        " (select count(*) from public.load_balancer_config),"
        " (select count(*) from public.subscription_tiers)"
    ).fetchone()
    assert rows == (0, 0, 1, 3)
