"""What every process of ours does once it has started."""

import ctypes
import gc
from contextlib import suppress

# Exit statuses of every process of ours; docs/cli.md lists all of the command line's.
WRONG_SETTING_STATUS = 2
INTERNAL_STATUS = 70


def settle() -> None:
    """Exclude what was made so far from garbage collection: walking all modules took a fifth of the CPU of bulk submits."""
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
