"""Structured logs: one JSON object a line on stderr. Logs hold ids and codes, never patient data.

An exception's message can quote a row or an input, so it is never logged: its class and the places it passed are.
"""

import io
import logging
import sys
from contextlib import suppress
from types import TracebackType
from typing import TextIO, cast

import structlog

FRAMES = 8


def configure(level: str) -> None:
    """Set up structlog and the standard library's logging for this process."""
    least = logging.getLevelNamesMapping()[level]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_message,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Patient(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LibraryFormatter())
    logging.basicConfig(level=max(least, logging.WARNING), handlers=[handler], force=True)


class _Patient(io.TextIOBase):
    """Writes on, and loses what cannot be written.

    Whoever reads the log may be gone: a full disk or a supervisor's closed pipe must not fail the request that is logged.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """See io."""
        with suppress(OSError, ValueError):  # ValueError: the stream was closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """See io."""
        with suppress(OSError, ValueError):
            self._stream.flush()


class _LibraryFormatter(logging.Formatter):
    """A library's record as one of ours: its logger and its template, without the values filled in."""

    def format(self, record: logging.LogRecord) -> str:
        event: structlog.typing.EventDict = {
            "event": _template(record.msg),
            "logger": record.name,
            "level": record.levelname.lower(),
            "exc_info": record.exc_info[1] if record.exc_info else None,
        }
        event = structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", event)
        return str(structlog.processors.JSONRenderer()(None, "", _without_message(None, "", event)))


def _template(message: object) -> str:
    """What a library wrote into its code; an exception that it logs as its message is only named."""
    return message.partition("\n")[0][:200] if isinstance(message, str) else type(message).__name__


def _without_message(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name an exception's class and the places it passed."""
    exception = event.pop("exc_info", None)
    if exception is True:
        exception = sys.exc_info()[1]
    if isinstance(exception, BaseException):
        event["exception"] = type(exception).__name__
        event["at"] = _places(exception.__traceback__)
        if exception.__cause__ is not None:
            event["cause"] = type(exception.__cause__).__name__
    return event


def _places(trace: TracebackType | None) -> list[str]:
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[-FRAMES:]
