"""Attacks that go on while something else is done, each in a process of its own."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from multiprocessing.connection import Connection
from pathlib import Path

from tests.hostile.attacks import FORKING, Attack, Battlefield

NICENESS = 10
PAUSE_S = 0.5  # after an attack's last request, before it starts again


@contextmanager
def going_on(field: Battlefield, attacks: Sequence[Attack]) -> Iterator[None]:
    """The attacks, side by side, each in a process of its own, for as long as the block lasts."""
    field.over.clear()
    field.answers.clear()
    with ExitStack() as stack:
        for attack in attacks:
            stack.enter_context(_process(field, attack))
        yield


@contextmanager
def _process(field: Battlefield, attack: Attack) -> Iterator[None]:
    ours, theirs = FORKING.Pipe(duplex=False)
    process = FORKING.Process(target=_attack, args=(field, attack, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield
    finally:
        field.over.set()
        field.answers.update(ours.recv())
        process.join()
        ours.close()


def _attack(field: Battlefield, attack: Attack, answers: Connection) -> None:
    _leave_the_cores()
    _sent(field, attack)
    answers.send(field.answers)


def _leave_the_cores() -> None:
    """Take but a small part of the cores from what is attacked, as an attacker at another machine takes none.

    Where the kernel groups processes by sessions, a niceness counts within its group alone, and the group has one of its own.
    """
    os.setsid()
    os.nice(NICENESS)
    with suppress(OSError):  # another kernel
        Path("/proc/self/autogroup").write_text(str(NICENESS))


def _sent(field: Battlefield, attack: Attack) -> None:
    while not field.over.is_set():
        try:
            attack(field)
        except (OSError, HTTPException) as refused:
            field.answers[type(refused).__name__] += 1
        field.over.wait(PAUSE_S)
