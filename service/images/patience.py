"""How long a child may take for the files of an owner."""

import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

# Beside what large images take (children.S_PER_PIXEL). Whose child was late has half the time for the next file, and so on, so
# that a micro-batch of such files does not take as long as all of them may.
FILE_S: Final = 5.0
SHORT_S: Final = 0.2
LATELY_S: Final = 10.0
OWNERS: Final = 1000
# Of files that are read together, whose pixels take fifty milliseconds. If they are late they are read again, one by one.
TOGETHER_S: Final = 2.0


class Patience:
    """Whose children were late, and how long the next ones may take: `file_s`, less by and by, and `short_s` at least."""

    def __init__(self, file_s: float = FILE_S, short_s: float = SHORT_S) -> None:
        self._file_s = file_s
        self._short_s = short_s
        self._late = OrderedDict[Hashable, tuple[int, float]]()  # how often, and when at last

    def limit_s(self, owner: Hashable) -> float:
        """How long a child may take for a quick file of an owner."""
        return max(self._short_s, self._file_s * 0.5 ** self._times(owner))

    def is_short(self, owner: Hashable) -> bool:
        """Whether a child of an owner was late, of late."""
        return self._times(owner) > 0

    def was_late(self, owner: Hashable) -> None:
        """A child of an owner was late."""
        if owner is None:  # anybody: the next one is another
            return
        self._late[owner] = (self._times(owner) + 1, time.monotonic())
        while len(self._late) > OWNERS:
            self._late.popitem(last=False)

    def _times(self, owner: Hashable) -> int:
        times, latest = self._late.get(owner, (0, 0.0))
        return times if time.monotonic() - latest < LATELY_S else 0
