"""Walks the tokens of one statement: expected words, qualified names, argument lists."""

from __future__ import annotations

from flowstate_cli.sql.scanner import SqlSyntaxError, Statement, Token


class Cursor:
    """Walks the tokens of one statement."""

    def __init__(self, statement: Statement) -> None:
        self._tokens = statement.tokens
        self._position = 0
        self._line = statement.line

    def take(self) -> Token:
        if self._position >= len(self._tokens):
            raise SqlSyntaxError(self._line, "the statement ends too early")
        token = self._tokens[self._position]
        self._position += 1
        return token

    def ahead(self, *words: str) -> bool:
        texts = [token.text for token in self._tokens[self._position :]]
        return any(tuple(texts[at : at + len(words)]) == words for at in range(len(texts)))

    def skip(self, *words: str) -> bool:
        end = self._position + len(words)
        if tuple(token.text for token in self._tokens[self._position : end]) != words:
            return False
        self._position = end
        return True

    def expect(self, word: str) -> None:
        token = self.take()
        if token.text != word:
            raise SqlSyntaxError(token.line, f"expected `{word}`, found `{token.text}`")

    def name(self) -> str:
        token = self.take()
        if not token.is_name:
            raise SqlSyntaxError(token.line, f"expected a name, found `{token.text}`")
        return token.text

    def qualified_name(self) -> str:
        """schema.name; a name without a schema is one in public, as in a migration."""
        first = self.name()
        return f"{first}.{self.name()}" if self.skip(".") else f"public.{first}"

    def argument_list(self) -> tuple[int, list[list[Token]]]:
        """The tokens between the parentheses, split at the outer commas."""
        opening = self.take()
        if opening.text != "(":
            raise SqlSyntaxError(opening.line, "a function needs its argument list in parentheses")
        groups: list[list[Token]] = [[]]
        depth = 1
        while True:
            token = self.take()
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0:
                return opening.line, [group for group in groups if group]
            if token.text == "," and depth == 1:
                groups.append([])
            else:
                groups[-1].append(token)

    def until(self, stops: frozenset[str]) -> list[str]:
        """Token texts up to the first word of `stops` outside parentheses."""
        texts: list[str] = []
        depth = 0
        while self._position < len(self._tokens):
            token = self._tokens[self._position]
            if depth == 0 and token.text in stops and texts:
                break
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            texts.append(token.text)
            self._position += 1
        return texts
