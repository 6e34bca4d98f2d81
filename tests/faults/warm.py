"""Workers and a scheduler that are forked from a process which has imported everything, and forked again when one ends.

Thousands of exits would otherwise take hours: a successor that imports everything anew keeps a core busy for seconds.
What runs is the command line that the stack itself runs. Usage: `python -m tests.faults.warm FOLDER NAME...`, logs in FOLDER.
"""

import importlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from service.embedded.commands import scheduler_command, worker_command

IMPORTED = (
    "celery.__main__",
    "celery.bin.celery",
    "celery.apps.worker",
    "celery.concurrency.solo",
    "celery.concurrency.thread",
    "celery.worker.consumer",
    "kombu.transport.redis",
    "models.pipelines.image_classification",
    "models.pipelines.tabular_classification",
    "workers.process.signals",
)
PAUSE_S = 0.05


def serve(logs: Path, names: Sequence[str]) -> None:
    """Keep a process of each name running until SIGTERM; then end them as an operator would."""
    for module in IMPORTED:
        importlib.import_module(module)
    running: dict[int, str] = {}
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    while not stopping:
        for name in sorted(set(names) - set(running.values())):
            running[_forked(logs, name)] = name
        ended, _ = os.waitpid(-1, os.WNOHANG)
        running.pop(ended, None)
        time.sleep(0 if ended else PAUSE_S)
    for pid in running:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    for pid in running:
        os.waitpid(pid, 0)


def _forked(logs: Path, name: str) -> int:
    """The process id of a child that becomes the worker or scheduler of this name."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log = os.open(logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["MEDQUEUE_WORKER_NAME"] = name
    command = scheduler_command(name) if name.startswith("scheduler") else worker_command(name)
    sys.argv = ["celery", *command[3:]]
    importlib.import_module("celery.__main__").main()
    raise SystemExit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2:])
