"""What every process of ours does once it has started."""

import ctypes
import gc
import sys
from contextlib import suppress

# Exit statuses of every process of ours; docs/cli.md lists all of the command line's.
WRONG_SETTING_STATUS = 2
INTERNAL_STATUS = 70


# A thread that computes keeps the interpreter for so long while another wants it, and a request wants it again after each
# answer of Postgres. With Python's own 5 ms, one bulk request after the other made those of other tenants take twice as long.
SWITCH_S = 0.001


# Of the C library's allocator (mallopt(3)).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
HEAPS = 2
LARGE_BYTES = 256 * 1024


def return_large_memory() -> None:
    """Have what is allocated in large pieces go back to the system once it is freed, for a process with many threads.

    Else the C library keeps a heap for each thread, and after the first large piece was freed it takes later ones from there.
    """
    with suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        for option, value in (
            (M_ARENA_MAX, HEAPS),
            (M_MMAP_THRESHOLD, LARGE_BYTES),
            (M_TRIM_THRESHOLD, LARGE_BYTES),
        ):
            library.mallopt(option, value)


def settle() -> None:
    """Exclude what was made so far from garbage collection: walking all modules took a fifth of the CPU of bulk submits.

    And have threads take turns more often.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    _trim()
    gc.freeze()


def give_back() -> None:
    """Collect recent garbage and return freed memory to the system: reading manifests and tables of 20 models leaves 6 MB.

    What has survived collections before is not walked again: that took longer than reading a small manifest.
    """
    gc.collect(1)
    _trim()


def _trim() -> None:
    with suppress(OSError, AttributeError):  # a C library without this call
        ctypes.CDLL(None).malloc_trim(0)
