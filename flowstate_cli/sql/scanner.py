"""Splits SQL text into statements and tokens, far enough to recognise what a statement creates.

It understands what can hide a semicolon: comments (nested too), strings, quoted names and
dollar-quoted bodies. It does not understand SQL: the database does, when the migration is pushed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_$]*")
_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*)
  | (?P<comment>/\*)
  | (?P<dollar>\$(?:[A-Za-z_]\w*)?\$)
  | (?P<string>(?:[eE]'(?:[^'\\]|\\.|'')*')|(?:'(?:[^']|'')*'))
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<word>[A-Za-z_][\w$]*)
  | (?P<number>\d[\w.]*)
  | (?P<punct>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class SqlSyntaxError(ValueError):
    """The text cannot be a compilable source; `line` is the 1-based line it was noticed on."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Token:
    """One token. Words are folded to lower case, as Postgres does; quoted names keep theirs."""

    kind: str
    text: str
    line: int

    @property
    def is_name(self) -> bool:
        return self.kind in {"word", "quoted"}


@dataclass(frozen=True)
class Statement:
    """The tokens of one statement, without its semicolon."""

    tokens: tuple[Token, ...]

    @property
    def line(self) -> int:
        return self.tokens[0].line

    def words(self, count: int) -> tuple[str, ...]:
        """The first `count` token texts: enough to tell what kind of statement it is."""
        return tuple(token.text for token in self.tokens[:count])

    def canonical(self) -> str:
        """The statement without comments, layout and letter case of plain words."""
        return " ".join(token.text for token in self.tokens)


def statements(text: str) -> list[Statement]:
    """The statements of `text` in order. Raises SqlSyntaxError on an unclosed quote or comment."""
    found: list[Statement] = []
    current: list[Token] = []
    for token in _tokens(text):
        if token.kind == "punct" and token.text == ";":
            if current:
                found.append(Statement(tuple(current)))
            current = []
        else:
            current.append(token)
    if current:
        raise SqlSyntaxError(current[0].line, "the last statement does not end with a semicolon")
    return found


def _tokens(text: str) -> Iterator[Token]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None  # the last alternative takes any character
        kind, end = str(match.lastgroup), match.end()
        if kind == "comment":
            end = _end_of_comment(text, position, line)
        elif kind == "dollar":
            end = text.find(match.group(), end)
            if end < 0:
                raise SqlSyntaxError(line, f"the body opened by {match.group()} is never closed")
            end += len(match.group())
        elif kind == "punct" and match.group() in "'\"":
            raise SqlSyntaxError(line, f"the quote {match.group()} is never closed")
        raw = text[position:end]
        if kind not in {"space", "comment"}:
            yield Token(kind, _fold(kind, raw), line)
        line += raw.count("\n")
        position = end


def _fold(kind: str, raw: str) -> str:
    if kind == "word":
        return raw.lower()
    if kind == "quoted" and _PLAIN_NAME.fullmatch(raw[1:-1]):
        return raw[1:-1]
    return raw


def _end_of_comment(text: str, start: int, line: int) -> int:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    raise SqlSyntaxError(line, "the comment opened by /* is never closed")
