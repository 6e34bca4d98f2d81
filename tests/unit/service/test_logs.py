"""Log lines: one JSON object each, and never what an exception or a library has to quote."""

import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any

import pytest
import structlog
from structlog.typing import FilteringBoundLogger

from service import logs

SECRET = "Mustermann, born 1970"


@pytest.fixture
def err() -> Iterator[io.StringIO]:
    """What the process writes to stderr, its logging set up."""
    written = io.StringIO()
    with redirect_stderr(written):
        logs.configure("INFO")
        logs._process.clear()
        yield written
        logs._process.clear()


def logger() -> FilteringBoundLogger:
    """A logger of ours, as a module has one."""
    bound: FilteringBoundLogger = structlog.get_logger()
    return bound


def lines(err: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in err.getvalue().splitlines()]


def fault() -> ValueError:
    """An exception that has been raised and quotes a patient, as does its cause."""
    try:
        _raise(KeyError(SECRET))
    except KeyError as cause:
        try:
            _raise(ValueError(SECRET), cause)
        except ValueError as raised:
            return raised
    raise AssertionError


def _raise(raised: Exception, cause: Exception | None = None) -> None:
    raise raised from cause


def test_a_line_is_one_json_object_with_its_event_level_and_time(err: io.StringIO) -> None:
    logger().info("model_loaded", model="a", version="1.0.0")
    (line,) = lines(err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "model_loaded", "level": "info", "model": "a", "version": "1.0.0"}


def test_a_newline_in_a_value_does_not_make_a_second_line(err: io.StringIO) -> None:
    logger().info("model_loaded", model='a\n{"event": "forged"}')
    assert len(lines(err)) == 1


def test_a_line_below_the_level_is_not_written(err: io.StringIO) -> None:
    logger().debug("model_loaded")
    assert err.getvalue() == ""


def test_what_a_process_has_bound_stands_in_every_line(err: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(worker="w1"):
        logger().info("model_loaded")
    assert lines(err)[0]["worker"] == "w1"


def test_an_exception_is_named_by_its_class_cause_and_places(err: io.StringIO) -> None:
    logger().error("task_failed", exc_info=fault())
    (line,) = lines(err)
    assert (line["exception"], line["cause"]) == ("ValueError", "KeyError")
    assert line["at"][0].startswith("test_logs.py:")
    assert [at.rpartition(" ")[2] for at in line["at"]] == ["fault", "_raise"]


def test_an_exceptions_message_never_reaches_a_line(err: io.StringIO) -> None:
    try:
        raise fault()
    except ValueError as raised:
        logger().error("task_failed", exc_info=raised)
        logger().error("task_failed", exc_info=True)
        logger().error("task_failed", exc_info=(ValueError, raised, raised.__traceback__))
        logger().exception("task_failed")
    assert len(lines(err)) == 4
    assert "Mustermann" not in err.getvalue()


def test_an_exceptions_source_lines_never_reach_a_line(err: io.StringIO) -> None:
    logger().error("task_failed", exc_info=fault())
    assert "raise raised" not in err.getvalue()


def test_only_the_last_places_of_a_deep_fault_are_named(err: io.StringIO) -> None:
    def sink(depth: int) -> None:
        if depth == 0:
            raise ValueError(SECRET)
        sink(depth - 1)

    with pytest.raises(ValueError, match=SECRET) as caught:
        sink(50)
    logger().error("task_failed", exc_info=caught.value)
    assert len(lines(err)[0]["at"]) == logs.FRAMES


def test_a_librarys_values_never_reach_a_line(err: io.StringIO) -> None:
    logging.getLogger("library").warning("cannot send %s to %s", SECRET, "host")
    (line,) = lines(err)
    assert (line["event"], line["logger"], line["level"]) == ("cannot send %s to %s", "library", "warning")
    assert "Mustermann" not in err.getvalue()


def test_a_librarys_named_values_never_reach_a_line(err: io.StringIO) -> None:
    logging.getLogger("library").error("task %(name)s", {"name": SECRET}, extra={"patient": SECRET})
    assert lines(err)[0]["event"] == "task %(name)s"
    assert "Mustermann" not in err.getvalue()


def test_what_moves_wake_ups_is_shown_with_its_values(err: io.StringIO) -> None:
    logging.getLogger("kombu.transport").warning("Requeuing for queue %r: %d left.", "score", 3)
    logging.getLogger("celery.worker.consumer").error(
        "Cannot connect to %s: %s.\n%s", "redis://h", fault(), ""
    )
    logging.getLogger("celery").error("lost %s", ConnectionError(111, "Connection refused"))
    assert [line["event"] for line in lines(err)] == [
        "Requeuing for queue 'score': 3 left.",
        "Cannot connect to redis://h: ValueError.",
        "lost [Errno 111] Connection refused",
    ]


def test_what_a_task_raised_never_reaches_a_line_by_way_of_celery(err: io.StringIO) -> None:
    context = {"name": "score", "exc": SECRET, "traceback": SECRET, "args": (SECRET,)}
    logging.getLogger("celery.app.trace").error("Task %(name)s raised: %(exc)s\n%(traceback)s", context)
    logging.getLogger("celery.app.trace").error("Task %(name)s raised: %(exc)s", context)
    logging.getLogger("celery.other").error("Task %s", fault())
    assert len(lines(err)) == 3
    assert "Mustermann" not in err.getvalue()


def test_every_line_of_every_thread_names_the_process(err: io.StringIO) -> None:
    logs.identify(process="worker-3", worker="worker-3@host:7")

    def speak() -> None:
        logger().info("ours")
        logging.getLogger("celery").error("theirs")

    speaking = threading.Thread(target=speak)
    speaking.start()
    speaking.join()
    assert [(line["process"], line["worker"]) for line in lines(err)] == [("worker-3", "worker-3@host:7")] * 2


def test_what_nobody_caught_becomes_a_line_too() -> None:
    program = (
        "import threading, warnings; from service import logs; logs.take_over('INFO', process='p')\n"
        f"warnings.warn('{SECRET}')\n"
        f"def fail(): raise ValueError('{SECRET}')\n"
        "thread = threading.Thread(target=fail, name='t'); thread.start(); thread.join()\n"
        "fail()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    told = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    assert [line["event"] for line in told] == ["UserWarning at <string>:2", "uncaught", "uncaught"]
    assert {line["process"] for line in told} == {"p"}
    assert done.returncode == 1
    assert "Mustermann" not in done.stderr


def test_an_exception_that_a_library_logs_is_named_without_its_message(err: io.StringIO) -> None:
    try:
        raise fault()
    except ValueError:
        logging.getLogger("library").exception("it failed", stack_info=True)
    (line,) = lines(err)
    assert (line["event"], line["exception"]) == ("it failed", "ValueError")
    assert "Mustermann" not in err.getvalue()


def test_an_exception_that_a_library_logs_as_its_message_is_named_only(err: io.StringIO) -> None:
    logging.getLogger("library").error(fault())
    assert len(lines(err)) == 1
    assert "Mustermann" not in err.getvalue()


def test_a_librarys_message_is_cut_to_its_first_line(err: io.StringIO) -> None:
    logging.getLogger("library").error("it failed\n%s", SECRET)
    logging.getLogger("library").error("x" * 10_000)
    assert lines(err)[0]["event"] == "it failed"
    assert len(lines(err)[1]["event"]) == 200


def test_a_library_speaks_up_from_warning_on(err: io.StringIO) -> None:
    logging.getLogger("library").info("connected to %s", "host")
    assert err.getvalue() == ""


def test_a_log_that_nobody_reads_any_more_fails_nobody() -> None:
    """In a process of its own, whose log is a pipe that is closed at the other end."""
    program = (
        "import structlog; from service import logs; logs.configure('INFO'); "
        "[structlog.get_logger().info('spoken', text='x' * 100) for _ in range(1000)]; print('went on')"
    )
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=writer, text=True, check=False
        )
    finally:
        os.close(writer)
    assert done.stdout == "went on\n"
