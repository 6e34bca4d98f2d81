"""What the warm process of sandboxes imports, and what a child of it does: see models.sandbox."""

import os
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import models.graph
import models.pipelines
import models.precision  # noqa: F401 - imported before the fork, like those before and behind it
from models import sandbox

with suppress(ImportError):  # told of by the call that needs it
    import onnxruntime  # noqa: F401


def serve(_warm: int, descriptors: Sequence[int]) -> None:
    """Serve the calls of a Sandbox, in its folder and within its limits, over the pipes to and from it."""
    asked_at, answered_at, folder = descriptors
    os.fchdir(folder)
    os.close(folder)
    asked: Connection[Any, Any] = Connection(asked_at, writable=False)
    answered: Connection[Any, Any] = Connection(answered_at, readable=False)
    memory_bytes, cpu_s = asked.recv()
    sandbox.serve(asked, answered, memory_bytes, cpu_s)
