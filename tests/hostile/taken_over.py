"""A child that a file has taken over: it does what the file says, whatever it is asked, and otherwise reads images."""

import errno
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from service.images import child, wire
from service.images.child import Readings

DO: Final = b"do "


def shortened() -> str:
    """What becomes of an attempt to shorten everything that is open."""
    faults = set()
    for descriptor in range(3, 30):
        try:
            os.ftruncate(descriptor, 1)
        except OSError as fault:
            faults.add(fault.errno)
        else:
            return "shortened"
    return "refused" if errno.EPERM in faults else "not tried"


def act(name: str, more: Any) -> dict[str, Any]:
    """One thing that code in a decoder may do; its answer, if it comes to that."""
    acts: dict[str, Callable[[], Any]] = {
        "die": lambda: os.kill(os.getpid(), more),
        "hang": lambda: time.sleep(600),
        "fill": lambda: bytes(8 * 2**30),
        "answer": lambda: more,
        "shorten": lambda: {wire.FAULTS: [["", shortened(), "Words."]]},
    }
    done: dict[str, Any] = acts[name]()
    return done


class TakenOver(Readings):
    """See the module."""

    def read(self, content: bytes, asked: dict[str, Any]) -> dict[str, Any]:
        """Act where the file has an act in it."""
        if DO not in content:
            return super().read(content, asked)
        name, more = json.loads(content.partition(DO)[2])
        if name == "say":
            self._packets.send(more)
            time.sleep(600)
        try:
            return act(name, more)
        except MemoryError:
            return {wire.COSTLY: True}


def serve(warm: int, descriptors: Sequence[int]) -> None:
    """See service.images.child."""
    child.Readings = TakenOver  # type: ignore[misc]  # in this process alone
    child.serve(warm, descriptors)
