"""Keeps secrets and mail content out of logs, errors and metrics.

Two nets: values under a telling name vanish whole, and in any other text whatever has the shape of
a key, a token, a signature or an e-mail address is replaced. Flow inputs, results, steps and bodies
are never logged at all; the first net catches them if somebody tries.
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

REDACTED = "[redacted]"
MAX_TEXT = 2_000
"""Characters of any one text that are kept."""

_TELLING = re.compile(
    r"secret|password|passwd|token|api_?key|service_?key|instance_?keys|authorization|cookie|signature|^sig$|nonce"
    r"|^body$|^(html_?)?body|subject|snippet|^input$|^steps$|^result$|^args$|^to$|^cc$|^bcc$|recipient|content",
    re.IGNORECASE,
)
_HARMLESS = frozenset({"key_id", "token_kind"})

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bsb_(?:secret|publishable)_[A-Za-z0-9_-]+"), "[key]"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"), "[token]"),
    (re.compile(r"\bya29\.[A-Za-z0-9._-]+"), "[token]"),
    (re.compile(r"\b1//[A-Za-z0-9._-]{8,}"), "[token]"),
    (re.compile(r"\bGOCSPX-[A-Za-z0-9_-]+"), "[key]"),
    # Base64 of 32 bytes: a key that tokens are sealed with.
    (re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}=(?!=)"), "[key]"),
    (re.compile(r"\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), "[token]"),
    (
        re.compile(
            r"((?:user_content_key|apikey|api_key|access_token|refresh_token|token|key|sig|lib)=)[^&\s\"']+",
            re.IGNORECASE,
        ),
        r"\1[key]",
    ),
    (re.compile(r"(://)[^/\s:@]+:[^/\s@]+@"), r"\1[credentials]@"),
    (re.compile(r"\b[0-9a-fA-F]{64}\b"), "[signature]"),
    (re.compile(r"[\w.+'-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63})+"), "[email]"),
)


def redact_text(text: str) -> str:
    """`text` without keys, tokens, signatures and e-mail addresses, cut at `MAX_TEXT`."""
    text = text[
        : 2 * MAX_TEXT
    ]  # cut again below: what the first cut halves must not lose its shape
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text[:MAX_TEXT]


def redact(value: Any, *, depth: int = 0) -> Any:
    """A copy of `value` that may be logged. Containers are followed four levels deep."""
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= 4:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            str(name): REDACTED if _tells(str(name)) else redact(item, depth=depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth=depth + 1) for item in value]
    if isinstance(value, bytes | bytearray):
        return f"[{len(value)} bytes]"
    return redact_text(str(value))


def _tells(name: str) -> bool:
    return name not in _HARMLESS and _TELLING.search(name) is not None


class EventRedaction:
    """The same as a structlog processor, the last one before a line is rendered.

    `known` are the secrets that this process holds: they are replaced wherever they occur, whatever
    their shape.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = tuple(secret for secret in known if len(secret) >= 8)

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        for name, value in event.items():
            event[name] = REDACTED if _tells(name) else self._without_known(redact(value))
        return event

    def _without_known(self, value: Any) -> Any:
        if isinstance(value, str):
            for secret in self._known:
                value = value.replace(secret, REDACTED)
            return value
        if isinstance(value, dict):
            return {name: self._without_known(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._without_known(item) for item in value]
        return value
