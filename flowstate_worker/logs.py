"""Structured logs with one redaction point: every line of every library passes it last."""

import logging
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import orjson
import structlog

from flowstate_worker.rules.redaction import EventRedaction

_QUIET_LIBRARIES = ("httpx", "httpcore", "aiohttp", "websockets", "asyncio")
_SILENT_LIBRARIES = (
    "realtime",
)  # reports every failed connection; the wake-ups say it in one line


def configure_logs(
    level: str = "info",
    log_format: str = "auto",
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Set up structlog and the standard library's logging alike, to `stream` (standard error).

    `log_format` auto is console on a terminal, else one JSON object a line.
    """
    stream = stream or sys.stderr
    console = log_format == "console" or (log_format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks become text before redaction, which reads that text as well.
    ending: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        EventRedaction(secrets),
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(serializer=_to_json),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _to_json(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger
