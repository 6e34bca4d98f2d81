"""Put before everything on PYTHONPATH, this makes supervisord fork our programs instead of executing Python anew for each.

supervisord imports the libraries once, and each program only our own modules: half a second of CPU instead of two. Pids,
signals, exit statuses, output and arguments are those of executed programs. prometheus_client is left out: what it does
depends on the environment at its import, which differs between programs.
"""

import gc
import importlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

LIBRARIES = (
    *(
        "celery.__main__",
        "celery.bin.celery",
        "celery.apps.worker",
        "celery.concurrency.solo",
        "celery.concurrency.thread",
    ),
    *(
        "celery.worker.consumer",
        "kombu.transport.redis",
        "redis",
        "sqlalchemy.orm",
        "sqlalchemy.dialects.postgresql.psycopg",
    ),
    *(
        "psycopg",
        "pydantic",
        "structlog",
        "yaml",
        "fsspec",
        "aiohttp",
        "numpy",
        "onnxruntime",
        "flask",
        "granian",
        "psutil",
    ),
    *("cryptography.hazmat.primitives.ciphers.aead", "PIL.Image", "click"),
)
PYTHON = f"exec {shlex.quote(sys.executable)} -m "


def execve(_options: object, filename: str, argv: list[str], environment: Mapping[str, str]) -> None:
    """What supervisord calls in the child that it has just forked."""
    script = Path(argv[-1]).read_text().splitlines() if argv[0] == "/bin/sh" else [""]
    if not script[-1].startswith(PYTHON):
        os.execve(filename, argv, environment)
    _default_signals()
    os.environ.clear()
    os.environ.update(_variables(script[:-1], environment))
    _become(*shlex.split(script[-1])[3:])


def _default_signals() -> None:
    """As in a new Python."""
    import signal

    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _variables(script: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Run a start script up to its last line, with this pid for its own; the environment that it makes."""
    import subprocess

    shell = "\n".join([*script, "env -0"]).replace("$$", str(os.getpid()))
    printed = subprocess.run(["/bin/sh", "-c", shell], env=environment, stdout=subprocess.PIPE, check=True)
    return dict(entry.split("=", 1) for entry in printed.stdout.decode().split("\0") if entry)


def _become(module: str, *arguments: str) -> NoReturn:
    """Be `python -m MODULE ARGUMENTS` to its end."""
    import runpy

    sys.argv = [module, *arguments]
    sys.orig_argv = [sys.executable, "-m", *sys.argv]
    status: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001 - the end of a process
        sys.excepthook(*sys.exc_info())
        status = 1
    _end(status)


def _end(status: Any) -> NoReturn:
    """What Python does at its end."""
    import atexit
    import threading

    if isinstance(status, str):
        print(status, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as a Python that ends does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if "supervisor.supervisord" in sys.orig_argv:
    from supervisor.options import ServerOptions

    try:
        for name in LIBRARIES:
            importlib.import_module(name)
    except ImportError as error:
        raise SystemExit(f"{__file__}: {error}") from error  # Python would go on after any other exception
    gc.freeze()
    ServerOptions.execve = execve
