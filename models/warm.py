"""A warm process: it has imported a module's libraries, and forks a child for each request. `python -m models.warm FD MODULE`.

A child runs the module's function `serve`, with the id of the warm process and descriptors from whoever asked. The warm
process itself reads nothing of a stranger's. It ends, and its children with it, when the process that started it closes
the connection or dies.
"""

import gc
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

FORK, END = b"fork", b"end"
REQUEST_BYTES: Final = 64
DESCRIPTORS: Final = 8

Serve = Callable[[int, Sequence[int]], None]


def main(control: socket.socket, module: str) -> None:
    """Serve requests until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted command ends its processes itself
    serve: Serve = importlib.import_module(module).serve
    gc.collect()
    gc.freeze()
    children: dict[int, int | None] = {}  # with the exit statuses of those that have ended
    control.send(b"ready")
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, DESCRIPTORS)
        if not request:
            break
        _reap(children)
        word, _, argument = request.partition(b" ")
        if word == FORK:
            children[child := _fork(control, descriptors, serve)] = None
            for each in descriptors:
                os.close(each)
            control.send(str(child).encode())
        elif word == END:
            control.send(str(_end(children, int(argument))).encode())
            children.pop(int(argument), None)
    for child in children:
        _end(children, child)


def _fork(control: socket.socket, descriptors: Sequence[int], serve: Serve) -> int:
    """The id of a new child."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        control.close()
        serve(parent, descriptors)
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
