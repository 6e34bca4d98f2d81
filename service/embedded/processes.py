"""How a child process is started so that it is known as ours and does not outlive us."""

import os
import shutil
from collections.abc import Mapping, Sequence

from service.config import PREFIX
from service.embedded.folder import DataFolder

MARK = "_MEDQUEUE_STACK"


def ending_with_us(command: Sequence[str], stop_signal: str) -> tuple[str, ...]:
    """A command that gets `stop_signal` when the thread that starts it ends, even by SIGKILL.

    Where setpriv is missing the process outlives us until the next start on its folder stops it.
    """
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", stop_signal, *command) if setpriv else tuple(command)


def child_environment(folder: DataFolder, settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment handed down, with these settings alone and the mark of the folder's processes.

    Variables that would override the settings of Postgres and its clients (PGPORT, PGOPTIONS, ...) are left out.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "PG"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **settings, MARK: str(folder.root)}
