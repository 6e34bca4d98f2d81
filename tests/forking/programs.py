"""The side of the process that forks: models.warm imports this module, and has its children run `serve`.

A child becomes `medqueue up` or another command; that forks `medqueue db bootstrap` and supervisord, which forks the
programs of the stack. An API imports `service` again: what prometheus_client does depends on the environment at its import.
"""

import ctypes
import gc
import importlib
import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from supervisor.options import ServerOptions

OURS: Final = (
    *("models.pipelines.image_classification", "models.pipelines.tabular_classification", "models.sandbox"),
    *("service.images.reading", "service.serving", "service.orm", "service.cli", "service.cli.installation"),
    *("service.consuming", "service.embedded", "service.bootstrap", "service.schema"),
    *("workers.process.celery_output", "workers.process.consumer", "workers.process.signals"),
    *("workers.process.tasks", "workers.process.scoring", "workers.webhooks.delivery", "workers.runtime"),
)
LIBRARIES: Final = (
    *("celery.__main__", "celery.bin.celery", "celery.apps.worker", "celery.worker.consumer"),
    *("celery.concurrency.solo", "celery.concurrency.thread", "kombu.transport.redis", "alembic.command"),
    *("sqlalchemy.dialects.postgresql.psycopg", "yaml", "fsspec", "aiohttp", "numpy", "onnxruntime", "flask"),
    *("granian", "psutil", "cryptography.hazmat.primitives.ciphers.aead", "PIL.Image", "httpx"),
    "supervisor.supervisord",
)
AGAIN: Final = ("service", "workers", "prometheus_client")  # imported by an API
COMMANDS: Final = ("service.cli", "supervisor.supervisord")  # forked by `medqueue up`
PYTHON: Final = f"exec {shlex.quote(sys.executable)} -m "
SETPRIV: Final = ("--pdeathsig", "TERM", sys.executable, "-m")
PR_SET_PDEATHSIG: Final = 1
SIGNALS: Final = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2)


def _imported() -> dict[str, str]:
    """What importing everything has put into the environment."""
    before = dict(os.environ)
    for name in (*OURS, *LIBRARIES):
        importlib.import_module(name)
    return {name: value for name, value in os.environ.items() if before.get(name) != value}


MADE: Final = _imported()


def serve(_warm: int, descriptors: Sequence[int]) -> None:
    """Be the module that is asked for, with the other descriptors for its output and its errors."""
    with os.fdopen(descriptors[0]) as request:
        request.seek(0)
        asked = json.load(request)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, *descriptors[1:])):
        os.dup2(descriptor, number)
    os.chdir(asked["folder"])
    sys.path[:0] = filter(None, asked["environment"].get("PYTHONPATH", "").split(os.pathsep))
    importlib.invalidate_caches()
    _be(asked["words"], asked["environment"])


class Forking(subprocess.Popen[Any]):
    """Forks what `medqueue up` starts, while it has one thread."""

    def _execute_child(self, *words: Any, **more: Any) -> None:
        execute = super()._execute_child  # type: ignore[misc]
        given = inspect.signature(execute).bind(*words, **more).arguments
        command = given["args"]
        if tuple(command[1:5]) != SETPRIV or command[5] not in COMMANDS or threading.active_count() > 1:
            execute(*words, **more)
            return
        self.pid = os.fork()
        if not self.pid:
            _be_child(command[5:], given)
        self._child_created = True


def _be_child(words: Sequence[str], given: Mapping[str, Any]) -> NoReturn:
    """Be a module that was to be executed, with what Popen was `given`."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        os.setsid()
        for number, name in enumerate(("p2cread", "c2pwrite", "errwrite")):
            if given[name] >= 0:
                os.dup2(given[name], number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.chdir(given["cwd"] or ".")
        _be(words, given["env"])
    finally:
        os._exit(1)


def execve(_options: object, filename: str, argv: list[str], environment: Mapping[str, str]) -> None:
    """What supervisord calls in the child that it has just forked."""
    script = Path(argv[-1]).read_text().splitlines() if argv[0] == "/bin/sh" else [""]
    if not script[-1].startswith(PYTHON):
        os.execve(filename, argv, environment)
    _be(shlex.split(script[-1])[3:], _variables(script[:-1], environment))


def _variables(script: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Run a start script up to its last line, with this pid for its own; the environment that it makes."""
    shell = "\n".join([*script, "env -0"]).replace("$$", str(os.getpid()))
    printed = subprocess.run(["/bin/sh", "-c", shell], env=environment, stdout=subprocess.PIPE, check=True)
    return dict(entry.split("=", 1) for entry in printed.stdout.decode().split("\0") if entry)


def _be(words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Be `python -m` with these words to its end, as in a new Python with this environment."""
    import runpy

    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(MADE | dict(environment))
    sys.argv = [*words]
    sys.orig_argv = [sys.executable, "-m", *words]
    sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    if words[0] == "service.serving":
        for name in [name for name in sys.modules if name.partition(".")[0] in AGAIN]:
            del sys.modules[name]
    status: Any = 0
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001 - the end of a process
        sys.excepthook(*sys.exc_info())
        status = 1
    _end(status)


def _end(status: Any) -> NoReturn:
    """What Python does at its end."""
    import atexit

    if isinstance(status, str):
        print(status, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as a Python that ends does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


ServerOptions.execve = execve
subprocess.Popen = Forking  # type: ignore[misc]
gc.freeze()
