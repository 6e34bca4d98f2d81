"""The warm process: it has imported the parsers, and forks a child for each file. `python -m service.parsing.warm FD MODULE`.

Started with an environment of its own, so it holds neither keys nor connections, and parses nothing itself. It ends, and
its children with it, when the process that started it closes the connection or dies.
"""

import gc
import importlib
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

from service.parsing.channel import Channel
from service.parsing.limits import confine

FORK, END = b"fork", b"end"
REQUEST_BYTES: Final = 64


def main(control: socket.socket, module: str) -> None:
    """Serve requests until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted command ends its processes itself
    serving = importlib.import_module(module)
    gc.collect()
    gc.freeze()
    children: dict[int, int | None] = {}  # with the exit statuses of those that have ended
    control.send(b"ready")
    while True:
        request, numbers, _, _ = socket.recv_fds(control, REQUEST_BYTES, 2)
        if not request:
            break
        _reap(children)
        word, _, argument = request.partition(b" ")
        if word == FORK:
            with socket.socket(fileno=numbers[0]) as connection:
                file = numbers[1] if len(numbers) > 1 else None
                children[child := _fork(control, connection, file, serving.serve)] = None
                if file is not None:
                    os.close(file)
            control.send(str(child).encode())
        elif word == END:
            control.send(str(_end(children, int(argument))).encode())
            children.pop(int(argument), None)
    for child in children:
        _end(children, child)


def _fork(control: socket.socket, connection: socket.socket, file: int | None, serve: object) -> int:
    """The id of a new child."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        control.close()
        assert callable(serve)
        serve(Channel(connection), lambda: confine(parent), file)
        status = 0
    finally:
        os._exit(status)


def _reap(children: dict[int, int | None]) -> None:
    """Note the exit statuses of children that have ended."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            children[found[0]] = os.waitstatus_to_exitcode(found[1])


def _end(children: dict[int, int | None], child: int) -> int:
    """End a child; its exit status, or the negative number of the signal that ended it before."""
    status = children.get(child, 0)
    if status is None:  # it is not reaped yet, so nobody else can have its id
        os.kill(child, signal.SIGKILL)
        # One that is ending has closed its connection already, and keeps the status with which it ends.
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    children[child] = 0
    return status or 0


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        main(given, sys.argv[2])
