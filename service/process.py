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
