"""Realtime topics: what its server asks the database before somebody may join or send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from flowstate_cli.policies.attempts import Attempts
from flowstate_cli.policies.callers import Caller, People
from flowstate_cli.policies.inventory import Inventory
from flowstate_cli.policies.relations import Attempted
from flowstate_cli.policies.rules import Rules, TopicRule
from flowstate_cli.policies.samples import Samples

_SEND = sql.SQL(
    "insert into realtime.messages (topic, extension, event, payload, private)"
    " values ({}, {}, 'sample', '{{}}', true)"
)
_HEAR = sql.SQL(
    "select 1 from realtime.messages where topic = {} and extension = {} and inserted_at = now()"
)


@dataclass(frozen=True)
class TopicTrial:
    """Everything that is tried on one topic."""

    connection: psycopg.Connection[Any]
    rules: Rules
    inventory: Inventory
    people: People
    rule: TopicRule

    def attempts(self) -> Iterator[Attempted]:
        """Each attempt in turn: hearing, seeing who is present, sending."""
        for caller in Caller:
            with self.connection.transaction(force_rollback=True):
                user = self.people.whose_rows(caller)
                samples = Samples(self.connection, self.rules, self.inventory, user)
                topic = str(samples.values({"topic": self.rule.topic})["topic"])
                tries = Attempts(self.connection, self.people)
                outcome = tries.make(caller, _filled(_SEND, topic, "broadcast"), setting=topic)
                yield Attempted(caller, "i", outcome.succeeded, outcome.detail)
                for letter, extension in (("s", "broadcast"), ("p", "presence")):
                    self.connection.execute(_filled(_SEND, topic, extension))
                    outcome = tries.make(caller, _filled(_HEAR, topic, extension), setting=topic)
                    yield Attempted(caller, letter, outcome.succeeded, outcome.detail)


def _filled(query: sql.SQL, topic: str, extension: str) -> sql.Composed:
    return query.format(sql.Literal(topic), sql.Literal(extension))
