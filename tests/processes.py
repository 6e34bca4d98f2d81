"""`--processes N`: tests are collected once, then run in N processes that are forked.

A process takes one group of tests after another, and the next before the last test of a group: that decides which fixtures it
still needs. Warnings that are no errors are not passed on: ours all are.
"""

import multiprocessing
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import SimpleNamespace

import pytest
from _pytest.config import create_terminal_writer

FORKING = multiprocessing.get_context("fork")
NUMBER = struct.Struct("I")
LOOKS_EVERY_S = 1.0  # for a process that died: its connection may live on in processes that it forked


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many processes run the tests."""
    parser.addoption("--processes", type=int, default=1, help="run the tests in so many processes")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> object:
    """Run the tests in several processes, where that is asked for."""
    count = session.config.getoption("--processes")
    if count == 1 or session.config.option.collectonly or session.testsfailed:
        return None  # as without this plugin
    _run(session, count)
    return True


def group_of(nodeid: str) -> str:
    """The tests of a file are a group, and those that share a stack, so that no two processes start the same one."""
    path = nodeid.partition("::")[0]
    if path.startswith("tests/acceptance/"):
        return "acceptance"
    if path.startswith("tests/faults/test_scenario") and "network" not in path:
        return "arena"
    if path.startswith("tests/faults/operations/"):
        return "operated"
    return path


class Work:
    """Groups of tests, as indices of the session's; the numbers of groups that nobody has taken wait in a pipe."""

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        groups: dict[str, list[int]] = {}
        for index, item in enumerate(items):
            groups.setdefault(group_of(item.nodeid), []).append(index)
        self._groups = list(groups.values())
        self.stopped = FORKING.Event()
        self._numbers, writing = os.pipe()
        with os.fdopen(writing, "wb") as pipe:
            pipe.writelines(NUMBER.pack(number) for number in range(len(self._groups)))

    def take(self) -> Iterator[list[int]]:
        """Group after group that no other process has taken."""
        while number := os.read(self._numbers, NUMBER.size):
            yield self._groups[NUMBER.unpack(number)[0]]

    def stop(self) -> None:
        """Let each process end the test that it is at, and run no other."""
        self.stopped.set()


class Running:
    """A process that runs tests, as the one that collected them sees it."""

    def __init__(self, session: pytest.Session, work: Work, number: int) -> None:
        self.connection, theirs = FORKING.Pipe(duplex=False)
        ends = self.connection, theirs
        self.process: BaseProcess = FORKING.Process(target=_run_groups, args=(session, work, ends, number))
        self.process.start()
        theirs.close()
        self.taken: list[int] = []
        self.has_ended = False

    def reports(self) -> Iterator[pytest.TestReport]:
        """What it has reported since."""
        died = not self.process.is_alive()  # asked first, since it may report until then
        try:
            while self.connection.poll():
                taken, reports = self.connection.recv()
                self.taken += taken
                yield from reports
        except EOFError:
            died = True
        self.has_ended = died


def _run(session: pytest.Session, count: int) -> None:
    """Run the collected tests in `count` processes. A test is reported even if its process dies."""
    work = Work(session.items)
    _temporary_folders(session.config).getbasetemp()  # made once, for all of them
    running = [Running(session, work, number) for number in range(count)]
    unreported = {item.nodeid for item in session.items}
    try:
        _report(session, running, unreported)
    finally:
        work.stop()
        for each in running:
            each.connection.close()  # none waits until what it says is read
            each.process.join()
    for each in running:
        _report_lost(session, each, unreported)


def _report(session: pytest.Session, running: Sequence[Running], unreported: set[str]) -> None:
    """Pass on what the processes report until all have ended, or the session is to end early."""
    while running:
        wait([each.connection for each in running], LOOKS_EVERY_S)
        for report in chain.from_iterable(each.reports() for each in running):
            unreported.discard(report.nodeid)
            session.config.hook.pytest_runtest_logreport(report=report)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        running = [each for each in running if not each.has_ended]


def _report_lost(session: pytest.Session, ended: Running, unreported: set[str]) -> None:
    """Report the tests that a process has taken and not run to their end: it died in the first of them."""
    status = f"{ended.process.name} ended with {ended.process.exitcode}"
    for item in [session.items[index] for index in ended.taken]:
        if item.nodeid in unreported:
            report = pytest.TestReport(item.nodeid, item.location, {}, "failed", status, "call")
            session.config.hook.pytest_runtest_logreport(report=report)
            status = "not run: its process had ended"
    if ended.process.exitcode:
        raise session.Interrupted(f"{ended.process.name} ended with {ended.process.exitcode}")


def _run_groups(
    session: pytest.Session, work: Work, ends: tuple[Connection, Connection], number: int
) -> None:
    """Run groups of tests, in a process of its own; tell which, and report each test."""
    reading, connection = ends
    reading.close()  # or nobody would tell that the other process has closed its copy
    reports: list[pytest.TestReport] = []
    _set_apart(session.config, number)
    session.config.pluginmanager.register(Reporter(reports))
    try:
        for item, following in pairwise(_items(session, work, connection)):
            assert item is not None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            connection.send(((), reports))
            reports.clear()
            if session.shouldfail or session.shouldstop or work.stopped.is_set():
                break
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # the process that collected the tests has ended, or says so
    finally:
        session._setupstate.teardown_exact(None)
        session.config._ensure_unconfigure()


def _items(session: pytest.Session, work: Work, connection: Connection) -> Iterator[pytest.Item | None]:
    """The tests to run, and None behind the last."""
    for taken in work.take():
        connection.send((taken, ()))
        yield from (session.items[index] for index in taken)
    yield None


def _set_apart(config: pytest.Config, number: int) -> None:
    """Share no temporary folder, no file of captured output and no terminal with other processes."""
    folders = _temporary_folders(config)
    folders._basetemp = folders.getbasetemp() / f"process-{number}"
    folders._basetemp.mkdir()
    plugins = config.pluginmanager
    if (capturing := plugins.getplugin("capturemanager")) is not None:
        capturing.stop_global_capturing()
        capturing.start_global_capturing()
        capturing.suspend_global_capture()
    plugins.unregister(name="terminalreporter")
    plugins.register(
        SimpleNamespace(_tw=create_terminal_writer(config, sys.stderr)), "terminalreporter"
    )  # for time-outs


def _temporary_folders(config: pytest.Config) -> pytest.TempPathFactory:
    folders: pytest.TempPathFactory = config._tmp_path_factory  # type: ignore[attr-defined]
    return folders


class Reporter:
    """Notes the reports of tests that run in this process."""

    def __init__(self, reports: list[pytest.TestReport]) -> None:
        self._reports = reports

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one."""
        self._reports.append(report)
