"""Answers without a key are made a few times a second at most, however many ask for them."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

REMEMBERED_S = 0.25

ValueT = TypeVar("ValueT")


class Remembered(Generic[ValueT]):
    """What `make` returns, made again when it is asked for later than `for_s`, by one caller while the others wait for it.

    With `pauses`, later than so many times as long as it took, too.

    What was begun after somebody asked is new enough for them, so those who waited do not make it again. What `make` raises is
    raised to the caller who made it.
    """

    def __init__(
        self,
        make: Callable[[], ValueT],
        *,
        for_s: float = REMEMBERED_S,
        pauses: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._for_s = for_s
        self._pauses = pauses
        self._clock = clock
        self._making = threading.Lock()
        self._made: tuple[ValueT] | None = None
        self._until = 0.0

    def __call__(self) -> ValueT:
        """The value."""
        asked = self._clock()
        with self._making:
            if self._made is None or asked >= self._until:
                began, self._made = self._clock(), None
                self._made = (self._make(),)
                self._until = began + max(self._for_s, self._pauses * (self._clock() - began))
            return self._made[0]
