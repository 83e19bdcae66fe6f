"""What is written down: `rules.toml`, read and checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from flowstate_cli.errors import BadInputError
from flowstate_cli.policies.callers import SIGNED_IN, STAFF, Caller

OWN_RULES = Path(__file__).with_name("rules.toml")

TableVerbs = Annotated[str, StringConstraints(pattern="^s?i?u?d?$")]
SequenceVerbs = Annotated[str, StringConstraints(pattern="^s?u?$")]
FunctionVerbs = Annotated[str, StringConstraints(pattern="^x?$")]
TopicVerbs = Annotated[str, StringConstraints(pattern="^s?p?i?$")]
Values = dict[str, str | int | bool]
"""Column or argument to SQL expression; see the head of rules.toml for `$`."""


class _Rule(BaseModel):
    """Letters for each caller. Whoever is not named may do nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    anon: str = ""
    own: str = ""
    other: str = ""
    support: str = ""
    admin: str = ""
    owner: str = ""
    service: str = ""
    signed_in: str = ""
    about: str = ""

    def letters(self, caller: Caller) -> str:
        """What the caller may do, in the order in which rules.toml lists the verbs."""
        allowed: set[str] = set(getattr(self, caller.value))
        if caller in SIGNED_IN:
            allowed |= set(self.signed_in)
        return ordered(allowed)

    def of_signed_in(self) -> str:
        """What any signed-in caller may do: what their database role is granted."""
        return ordered({letter for caller in SIGNED_IN for letter in self.letters(caller)})


class RelationRule(_Rule):
    """A table, view or sequence."""

    anon: TableVerbs = ""
    own: TableVerbs = ""
    other: TableVerbs = ""
    support: TableVerbs = ""
    admin: TableVerbs = ""
    owner: TableVerbs = ""
    service: TableVerbs = ""
    signed_in: TableVerbs = ""
    select_columns: tuple[str, ...] | None = None
    insert_columns: tuple[str, ...] | None = None
    update_columns: tuple[str, ...] | None = None
    sample: Values | None = None
    find: tuple[Values, ...] = ()

    @property
    def example(self) -> Values:
        """What describes a row: the sample, or by what one is found."""
        return self.sample or (self.find[0] if self.find else {})

    def columns(self, letter: str) -> tuple[str, ...] | None:
        """The columns that the letter is about for signed-in users; None: all."""
        return {
            "s": self.select_columns,
            "i": self.insert_columns,
            "u": self.update_columns,
        }.get(letter)


class SequenceRule(_Rule):
    """A sequence: `s` its last value, `u` the next one."""

    signed_in: SequenceVerbs = ""
    service: SequenceVerbs = ""


class _Permitted(_Rule):
    permission: str = ""


class FunctionRule(_Permitted):
    """A function: `x` means that it lets the caller in."""

    anon: FunctionVerbs = ""
    own: FunctionVerbs = ""
    other: FunctionVerbs = ""
    support: FunctionVerbs = ""
    admin: FunctionVerbs = ""
    owner: FunctionVerbs = ""
    service: FunctionVerbs = ""
    signed_in: FunctionVerbs = ""
    also: Literal["", "supabase_auth_admin"] = ""
    call: Values | None = None
    free_ids: tuple[str, ...] = ()


class TopicRule(_Permitted):
    """A Realtime topic: `s` hears broadcasts, `p` sees who is present, `i` sends."""

    anon: TopicVerbs = ""
    own: TopicVerbs = ""
    other: TopicVerbs = ""
    support: TopicVerbs = ""
    admin: TopicVerbs = ""
    owner: TopicVerbs = ""
    service: TopicVerbs = ""
    signed_in: TopicVerbs = ""
    topic: str = Field(min_length=1)


Role = Literal["user", "support", "admin", "owner"]


class Rules(BaseModel):
    """All of rules.toml. Objects without a schema are in `public`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    closed_schemas: tuple[str, ...] = ()
    permissions: dict[str, tuple[Role, ...]] = {}
    tables: dict[str, RelationRule] = {}
    views: dict[str, RelationRule] = {}
    sequences: dict[str, SequenceRule] = {}
    functions: dict[str, FunctionRule] = {}
    topics: dict[str, TopicRule] = {}

    def staff_with(self, permission: str) -> set[Caller]:
        """Which members of staff hold a permission."""
        return {role for role in STAFF if role.value in self.permissions.get(permission, ())}


def load_rules(*further: Path) -> Rules:
    """FlowState's own rules, and those of other files on top.

    Raises BadInputError naming the file, and the rule that cannot be right.
    """
    merged: dict[str, Any] = {}
    for path in (OWN_RULES, *further):
        for section, content in _read(path).items():
            if isinstance(content, dict):
                merged[section] = {**merged.get(section, {}), **content}
            else:
                merged[section] = content
    try:
        rules = Rules.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInputError(
            f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}.",
            field="rules",
            hint=f"The head of {OWN_RULES.name} says how a rule is written.",
        ) from error
    _check_permissions(rules)
    return rules


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}.", field="rules") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} is no TOML: {error}.", field="rules") from error


def _check_permissions(rules: Rules) -> None:
    for kind, named in (("functions", rules.functions), ("topics", rules.topics)):
        for name, rule in named.items():
            if rule.permission and rule.permission not in rules.permissions:
                raise BadInputError(
                    f"{kind}.{name}: there is no permission {rule.permission}.",
                    field="rules",
                    hint="Enter it under [permissions], with the roles that hold it.",
                )


def ordered(letters: set[str]) -> str:
    return "".join(letter for letter in "xspiud" if letter in letters)
