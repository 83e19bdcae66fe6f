"""A function's argument list: which part is the mode, the name, the type, the default.

Only the input types belong to a function's identity; names, modes and the presence of defaults
belong to its shape, because `create or replace` refuses to change them.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowstate_cli.sql.scanner import SqlSyntaxError, Token

FUNCTION_OPTIONS = frozenset(
    {"language", "as", "immutable", "stable", "volatile", "strict", "called", "security", "not"}
    | {"begin", "return"}
    | {"external", "cost", "rows", "support", "parallel", "set", "leakproof", "window", "transform"}
)
_MODES = {"in", "out", "inout", "variadic"}
_TWO_WORD_TYPES = {
    "double": {"precision"},
    "character": {"varying"},
    "char": {"varying"},
    "bit": {"varying"},
    "timestamp": {"with", "without"},
    "time": {"with", "without"},
}
_ALIASES = {
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "int2": "smallint",
    "bool": "boolean",
    "float8": "double precision",
    "float4": "real",
    "decimal": "numeric",
    "varchar": "character varying",
    "timestamptz": "timestamp with time zone",
    "timetz": "time with time zone",
}


@dataclass(frozen=True)
class Argument:
    """One argument; `name` is empty when the source gives none."""

    mode: str
    name: str
    type: str
    has_default: bool

    def shape(self) -> str:
        return f"{self.mode} {self.name} {self.type}{' default' if self.has_default else ''}"


def parse_arguments(line: int, groups: list[list[Token]]) -> list[Argument]:
    """Arguments in order. Raises SqlSyntaxError when one has no type."""
    return [_argument(line, [token.text for token in group]) for group in groups]


def input_types(arguments: list[Argument]) -> list[str]:
    """The types by which Postgres tells overloads apart."""
    return [argument.type for argument in arguments if argument.mode != "out"]


def _argument(line: int, words: list[str]) -> Argument:
    mode = words.pop(0) if words[0] in _MODES else "in"
    cut = next((at for at, word in enumerate(words) if word in {"default", "="}), len(words))
    has_default, words = cut < len(words), words[:cut]
    name = words.pop(0) if _starts_with_name(words) else ""
    if not words:
        raise SqlSyntaxError(line, f"the argument `{name or mode}` has no type")
    return Argument(mode, name, _type(words), has_default)


def _starts_with_name(words: list[str]) -> bool:
    if len(words) < 2 or words[1] in {".", "(", "["}:
        return False
    return words[1] not in _TWO_WORD_TYPES.get(words[0], set())


def _type(words: list[str]) -> str:
    """The type as Postgres prints it: aliases resolved, length and precision left out."""
    kept: list[str] = []
    dimensions = 0
    depth = 0
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth or word in {")", "]"} or word.isdigit():
            continue
        if word in {"[", "array"}:
            dimensions = 1  # Postgres ignores how many there are
        else:
            kept.append(word)
    spelled = " ".join(kept).replace(" . ", ".").removeprefix("pg_catalog.")
    if spelled in {"timestamp", "time"}:
        spelled += " without time zone"
    return _ALIASES.get(spelled, spelled) + "[]" * dimensions
