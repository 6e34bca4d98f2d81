"""What every process of ours does once it has started."""

import ctypes
import gc
from contextlib import suppress

YOUNG_OBJECTS = 50_000
# Exit statuses of every process of ours; docs/cli.md lists all of the command line's.
WRONG_SETTING_STATUS = 2
INTERNAL_STATUS = 70


def settle() -> None:
    """Exclude what was made so far from garbage collection, and let it run less often.

    A request or a batch makes thousands of short-lived objects and hardly a cycle; walking all modules for them took
    a fifth of the CPU of bulk submits.
    """
    give_back()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)


def give_back() -> None:
    """Collect garbage and return freed memory to the system: reading manifests and tables of 20 models leaves 6 MB of it."""
    gc.collect()
    with suppress(OSError, AttributeError):  # a C library without this call
        ctypes.CDLL(None).malloc_trim(0)
