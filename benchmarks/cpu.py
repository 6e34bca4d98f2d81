"""CPU seconds of process trees, those of children that have ended included.

The kernel adds the time of a child that was waited for to its parent, so the sum over a living tree of own and
waited-for time misses nothing and counts nothing twice.
"""

from collections.abc import Mapping
from pathlib import Path

import psutil

Roots = Mapping[str, int]  # component -> process id of its root
Seconds = dict[str, float]


def read(roots: Roots) -> Seconds:
    """CPU seconds used so far, user and system, by component."""
    return {name: sum(_seconds(process) for process in tree(pid)) for name, pid in roots.items()}


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def between(before: Seconds, after: Seconds) -> Seconds:
    """What was used between two readings, by component."""
    return {name: after[name] - before[name] for name in before}


def child_of_ours(name: str, folder: Path) -> int:
    """The process id of our own child with this program name that works in `folder`: by its words, or where it stands."""
    place = str(folder.resolve())
    return next(
        child.pid for child in psutil.Process().children()
        if child.name() == name and any(word.startswith(place) for word in (*child.cmdline(), child.cwd()))
    )  # fmt: skip


def busy_s() -> float:
    """CPU seconds of the whole machine that were not idle, since it was started."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0  # it ended just now; its parent has its time
    return float(times.user + times.system + times.children_user + times.children_system)
