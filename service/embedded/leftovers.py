"""What a crash left behind: processes of our stack, stale pid files, sockets.

A process is ours when its environment carries our mark with this data folder or, for the two servers, which may run as
another user, when its command line names this folder's cluster or configuration. A pid alone proves nothing: by now it
may belong to another program.
"""

import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from service.embedded.folder import DataFolder
from service.embedded.postgres import FOLDER_MARK
from service.embedded.processes import MARK

SUPERVISOR_STOPS_S = 15.0
NO_PID = 2**22 + 1  # above the largest pid that Linux assigns


def stop_leftovers(folder: DataFolder, patience_s: float = 5.0) -> int:
    """Stop every process of this folder's stack and clear what a crash leaves. Returns how many there were.

    Call it only while holding the folder. A supervisor is asked first: it ends the others in their order.
    What is left then is asked, Postgres last, and killed after `patience_s`.
    """
    found = our_processes(folder)
    if found:
        _stop([process for process in found if _is_supervisor(process)], signal.SIGTERM, SUPERVISOR_STOPS_S)
        others = our_processes(folder)
        _stop([process for process in others if not _is_postgres(process)], signal.SIGTERM, patience_s)
        _stop(our_processes(folder), signal.SIGINT, patience_s)
    _clear(folder)
    return len(found)


def our_processes(folder: DataFolder) -> list[psutil.Process]:
    """The processes of this folder's stack, never this process itself."""
    own = psutil.Process().pid
    return [process for process in psutil.process_iter() if process.pid != own and _is_ours(process, folder)]


def _is_ours(process: psutil.Process, folder: DataFolder) -> bool:
    try:
        return _serves(process, folder) or process.environ().get(MARK) == str(folder.root)
    except (psutil.Error, OSError):  # gone, a zombie, or another user's
        return False


def _serves(process: psutil.Process, folder: DataFolder) -> bool:
    words = process.cmdline()
    named = {"postgres": folder.cluster, "redis-server": folder.run / "redis.conf"}
    place = named.get(Path(words[0]).name) if words else None
    return place is not None and any(word in {str(place), f"{FOLDER_MARK}={place}"} for word in words[1:])


def _is_supervisor(process: psutil.Process) -> bool:
    return "supervisor.supervisord" in _words(process)


def _is_postgres(process: psutil.Process) -> bool:
    return any(Path(word).name == "postgres" for word in _words(process)[:1])


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _stop(processes: Iterable[psutil.Process], stop: signal.Signals, wait_s: float) -> None:
    """Signal these, and kill what still runs after `wait_s`. psutil checks that a pid was not reused."""
    waiting = list(processes)
    _signal(waiting, stop)
    _, stubborn = psutil.wait_procs(waiting, timeout=wait_s)
    _signal(stubborn, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=1)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _clear(folder: DataFolder) -> None:
    for path in (*folder.run.glob("*.pid"), *folder.run.glob("*.ready")):
        path.unlink()
    for path in (path for path in folder.sockets.rglob("*") if not path.is_dir()):
        path.unlink()
    _disarm_lock_file(folder.cluster / "postmaster.pid")


def _disarm_lock_file(lock_file: Path) -> None:
    """Let Postgres start although the pid in its lock file belongs to another program.

    Only the pid is replaced. Removing the file would also remove the key of the shared memory by which
    Postgres notices that a query of the crashed server still runs.
    """
    pid = read_pid_line(lock_file)
    if pid is None or not psutil.pid_exists(pid):
        return
    lines = lock_file.read_text().splitlines(keepends=True)
    lock_file.write_text("".join([f"{NO_PID}\n", *lines[1:]]))


def read_pid_line(path: Path) -> int | None:
    """The pid on the first line of a Postgres lock file."""
    try:
        return int(path.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None
