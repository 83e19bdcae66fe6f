"""Reads what people type and the files they name. Every refusal names the field and the form.

Limits come from the SQL functions, which check again: here they only save a round trip and give
an answer about the file rather than about the request.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from flowstate_cli.errors import BadInputError

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MAX_DOCUMENT_BYTES = 1_048_576


class _PlainLoader(yaml.SafeLoader):
    """YAML as JSON could say it: dates stay text, and there are no aliases to blow up."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not supported")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def parse_uuid(text: str, field: str, *, or_else: str = "") -> str:
    """`text` in lower case. Raises BadInputError."""
    if not is_uuid(text):
        forms = f"neither a UUID nor {or_else}" if or_else else "no UUID"
        raise BadInputError(
            f"{_short(text)} is {forms}.",
            field=field,
            hint="A UUID has 32 hexadecimal digits: xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        )
    return text.lower()


def parse_moment(text: str, field: str) -> str:
    """An ISO 8601 time with its offset, in UTC. Raises BadInputError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInputError(
            f"{_short(text)} is no time.",
            field=field,
            hint="Write it as ISO 8601 with an offset: 2026-12-31T18:00:00+01:00",
        ) from error
    if moment.tzinfo is None:
        whole = text if len(text) > len("2026-12-31") else f"{text}T00:00:00"
        raise BadInputError(
            f"{_short(text)} has no offset, so it could mean any time zone's.",
            field=field,
            hint=f"Add one: {whole}Z for UTC, or {whole}+01:00",
        )
    try:
        return moment.astimezone(UTC).isoformat()
    except OverflowError as error:
        raise BadInputError(f"{_short(text)} is beyond the calendar.", field=field) from error


def parse_object(text: str, field: str) -> dict[str, Any]:
    """A JSON object, given as text or as `@file`. Raises BadInputError."""
    raw = _read(text[1:], field) if text.startswith("@") else text
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise BadInputError(
            f"This is not JSON: {error}.", field=field, hint='Example: \'{"sheet": "1AbC"}\''
        ) from error
    return _an_object(value, field)


def read_document(path: str, field: str) -> dict[str, Any]:
    """A YAML or JSON document from a file, or from stdin for `-`. Raises BadInputError."""
    raw = _read(path, field)
    try:
        value = yaml.load(raw, Loader=_PlainLoader)  # noqa: S506 - it is a SafeLoader
        json.dumps(value, allow_nan=False)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadInputError(
            f"{_name(path)}{place}: {error.problem or 'this is neither YAML nor JSON'}.",
            field=field,
        ) from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise BadInputError(
            f"{_name(path)} has no equivalent in JSON: {str(error) or type(error).__name__}.",
            field=field,
        ) from error
    return _an_object(value, field)


def read_secret_object(path: str, field: str) -> dict[str, Any]:
    """A JSON object from a file, or from stdin for `-`, of which no error repeats anything."""
    raw = _read(path, field)
    try:
        value = json.loads(raw)
    except ValueError:
        raise BadInputError(f"{_name(path)} is not JSON.", field=field) from None
    return _an_object(value, field)


def read_lines(path: str, field: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line of a JSON Lines file, one object a line; `-` is stdin.

    The file is read as it goes, so that it may be long. Raises BadInputError naming the line.
    """
    number = 0
    try:
        with Path(path).open(encoding="utf-8") if path != "-" else sys.stdin as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, _an_object(_json_line(line, number, field), field, number)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, field, error) from error
    if number == 0:
        raise BadInputError(f"{_name(path)} is empty.", field=field)


def _json_line(line: str, number: int, field: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise BadInputError(f"Line {number} is not JSON: {error}.", field=field) from error


def _an_object(value: Any, field: str, line: int | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        where = f"Line {line}" if line else "This"
        raise BadInputError(f"{where} must be an object, not {_shape(value)}.", field=field)
    return value


def _read(path: str, field: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, field, error) from error
    if len(raw) > _MAX_DOCUMENT_BYTES:
        raise BadInputError(
            f"{_name(path)} has {len(raw)} bytes; at most {_MAX_DOCUMENT_BYTES} are read.",
            field=field,
        )
    if not text.strip():
        raise BadInputError(f"{_name(path)} is empty.", field=field)
    return text


def _unreadable(path: str, field: str, error: OSError | UnicodeDecodeError) -> BadInputError:
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    return BadInputError(f"{_name(path)} cannot be read: {reason}.", field=field)


def _name(path: str) -> str:
    return "stdin" if path == "-" else path


def _shape(value: Any) -> str:
    names = {list: "a list", str: "text", int: "a number", float: "a number", bool: "a boolean"}
    return names.get(type(value), "nothing" if value is None else type(value).__name__)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
