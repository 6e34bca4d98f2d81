"""What every process of ours does once it has started."""

import ctypes
import gc
from contextlib import suppress

# Exit statuses of every process of ours; docs/cli.md lists all of the command line's.
WRONG_SETTING_STATUS = 2
INTERNAL_STATUS = 70


def settle() -> None:
    """Exclude what was made so far from garbage collection: walking all modules took a fifth of the CPU of bulk submits."""
    give_back()
    gc.freeze()


def give_back() -> None:
    """Collect garbage and return freed memory to the system: reading manifests and tables of 20 models leaves 6 MB of it."""
    gc.collect()
    with suppress(OSError, AttributeError):  # a C library without this call
        ctypes.CDLL(None).malloc_trim(0)
