"""What a parsing child may use. Set by the child itself, before it sees the first byte of a file."""

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from service.parsing.system_calls import restrict

# Above what it shares with the warm process. The largest honest files that the tests know take half of it.
MEMORY_BYTES: Final = 1024**3
# The parent's limits are shorter; this one holds where the parent hangs.
CPU_S: Final = 2 * 3600
FILES: Final = 256
FILE_BYTES: Final = 1024**3  # of an unnamed temporary file of digests (see batches.files.duplicates)

# From linux/prctl.h.
PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38


def confine(parent: int, *, memory_bytes: int = MEMORY_BYTES) -> None:
    """Limit this process, and end it with its parent, whose id is `parent`."""
    _control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    with suppress(OSError):  # if the machine runs out of memory, it ends this process and none of the others
        Path("/proc/self/oom_score_adj").write_text("1000")
    _control(PR_SET_NO_NEW_PRIVS, 1)
    _control(PR_SET_DUMPABLE, 0)
    # RLIMIT_DATA and not RLIMIT_AS: libraries reserve addresses that they never use.
    _limit(resource.RLIMIT_DATA, _data_bytes() + memory_bytes)
    _limit(resource.RLIMIT_CPU, CPU_S)
    _limit(resource.RLIMIT_NOFILE, FILES)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    restrict()  # RLIMIT_NPROC would refuse the threads that Arrow reads ahead with, too


def _data_bytes() -> int:
    """What counts towards RLIMIT_DATA already."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return MEMORY_BYTES
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), MEMORY_BYTES)


def _limit(kind: int, wanted: int) -> None:
    _, most = resource.getrlimit(kind)
    value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(kind, (value, value))


def _control(option: int, value: int) -> None:
    with suppress(OSError, AttributeError):  # another system than Linux
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
