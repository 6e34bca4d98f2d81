"""Where the tests' own database servers keep their files: in memory, where there is room.

Nearly every test of the database makes one of 330 files and drops it. A disk's file system does that the more slowly the more
files were removed in the last minutes: ext4 walks past the places of all of them, which took up to a second of CPU a test.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

MEMORY = Path("/dev/shm")
ROOM = 8 * 2**30  # bytes, of which three servers take about a half at most


def parent() -> Path | None:
    """The folder to make folders in; none where that of all temporary files is as good."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return None
    room = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    return MEMORY if room >= ROOM else None


@contextmanager
def server_folder() -> Iterator[Path]:
    """A new folder, removed afterwards."""
    with TemporaryDirectory(prefix="medqueue-servers-", dir=parent(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)
