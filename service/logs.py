"""One log for the whole process: a JSON object a line on stderr, of ours and of libraries, from the first line on.

Lines hold ids and codes, never patient data. An exception's message can quote a row or an input, so it is never logged:
its class and the places it passed are. A library's messages include their values only if it moves wake-ups or bytes
(TRUSTED) and so never sees a payload; for others only the template is logged.
"""

import io
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TextIO, cast
from uuid import UUID

import structlog

from service.errors import ServiceError

FRAMES = 8
LONGEST = 200
NAMED = 32
TRUSTED = ("_granian", "granian", "celery", "kombu", "amqp", "alembic", "redis", "supervisor")
QUOTES_TASKS = "celery.app.trace"  # what a task raised, as text
WARNINGS = "py.warnings"
WARNED = re.compile(r"(?:.*/)?([^/\n]+:\d+): (\w+): ")
INFRASTRUCTURE = ("redis", "kombu", "amqp", "vine", "billiard")
# For granian, which sets up logging itself at its start and again in each of its processes.
PROPAGATED = {
    "formatters": {},
    "handlers": {},
    "loggers": {name: {"handlers": [], "propagate": True} for name in ("_granian", "granian.access")},
}

_process: dict[str, object] = {}


def configure(level: str, **process: object) -> None:
    """Set up structlog and the standard library's logging; `process` is included in every line, of every thread."""
    least = logging.getLevelNamesMapping().get(level, logging.INFO)
    identify(**process)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_process,
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
    handler = _LibraryLines(sys.stderr)
    handler.setFormatter(_LibraryFormatter())
    logging.basicConfig(level=max(least, logging.WARNING), handlers=[handler], force=True)


def identify(**process: object) -> None:
    """Name this process in every line of every thread from now on."""
    _process.update(process)


def take_over(level: str, **process: object) -> None:
    """Log warnings and uncaught exceptions as well."""
    configure(level, **process)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


@contextmanager
def about_jobs(ids: Iterable[UUID]) -> Iterator[None]:
    """Name these jobs in every line of this thread while the block lasts, a library's lines included."""
    with structlog.contextvars.bound_contextvars(jobs=named(ids)):
        yield


def named(ids: Iterable[UUID]) -> list[str]:
    """The first of many ids, and how many more there are, so that a line stays a line."""
    counted = list(ids)
    texts, more = [str(each) for each in counted[:NAMED]], len(counted) - NAMED
    return texts if more <= 0 else [*texts, f"and {more} more"]


def stopped(error: ServiceError) -> None:
    """Log why a process does not start. Messages of our own errors hold no secret and say what to do."""
    structlog.get_logger().error("stopped", code=error.code, detail=error.detail)


def write_at_once(text: str, *_: object) -> None:
    """Log a line of a signal's receiver, which may have interrupted a write."""
    event = {"event": text.strip().partition("\n")[0][:LONGEST], "level": "info"} | _process
    line = structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", event)
    with suppress(OSError):
        os.write(2, json.dumps(line).encode() + b"\n")


def _with_process(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name the process, whichever thread logs."""
    for name, value in _process.items():
        event.setdefault(name, value)
    return event


def _log_uncaught(kind: type[BaseException], error: BaseException | None, _: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        structlog.get_logger().critical("uncaught", exc_info=error)


def _log_uncaught_in_thread(fault: threading.ExceptHookArgs) -> None:
    if fault.exc_type is not SystemExit:
        name = fault.thread.name if fault.thread else ""
        structlog.get_logger().critical("uncaught", thread=name, exc_info=fault.exc_value)


class _Patient(io.TextIOBase):
    """Keeps writing, and drops what cannot be written.

    The reader of the log may be gone: a full disk or a supervisor's closed pipe must not fail the request that is logged.
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


class _LibraryLines(logging.StreamHandler[TextIO]):
    """Drops what cannot be written or formatted, instead of printing it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        write_at_once(f"a line of {record.name} is lost")


class _LibraryFormatter(logging.Formatter):
    """A library's record as one of our lines."""

    def format(self, record: logging.LogRecord) -> str:
        event: structlog.typing.EventDict = {
            "event": _message(record),
            "logger": record.name,
            "level": record.levelname.lower(),
            "exc_info": record.exc_info[1] if record.exc_info else None,
        }
        event = structlog.contextvars.merge_contextvars(None, "", event)
        event = _with_process(None, "", event)
        event = structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", event)
        return str(structlog.processors.JSONRenderer()(None, "", _without_message(None, "", event)))


def _message(record: logging.LogRecord) -> str:
    """A library's message: with its values when it is trusted, else the template.

    A warning is logged as its class and place.
    """
    if record.name == WARNINGS:
        found = WARNED.match(record.getMessage())
        return f"{found[2]} at {found[1]}" if found else "Warning"
    text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    if record.args and isinstance(record.msg, str) and _is_trusted(record.name):
        with suppress(TypeError, ValueError, KeyError):  # the values do not fit the template
            text = record.msg % _values(record.args)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:LONGEST] if lines else ""


def _is_trusted(name: str) -> bool:
    within = any(name == trusted or name.startswith(f"{trusted}.") for trusted in TRUSTED)
    return within and name != QUOTES_TASKS


def _values(args: object) -> object:
    if isinstance(args, Mapping):
        return {name: _value(value) for name, value in args.items()}
    return tuple(_value(value) for value in args) if isinstance(args, tuple) else _value(args)


def _value(value: object) -> object:
    """A value as it may be logged: an exception by its class, unless it is about sockets and servers."""
    if isinstance(value, OSError) or type(value).__module__.partition(".")[0] in INFRASTRUCTURE:
        return str(value)
    return value if isinstance(value, str | int | float | None) else type(value).__name__


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
