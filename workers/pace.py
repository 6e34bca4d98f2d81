"""How large a micro-batch may be, and which models are slow: what cases of a model cost is learned, and inputs have a size.

A lane of a worker (workers.jobs.lanes) scores one micro-batch after the other. Whoever waits for its end must not wait for as
many large images as there are places in a batch, and who waits for a quick model not for a slow one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from models.pipelines import Case, Pipeline
from models.pipelines.image_reading import reader

MICRO_BATCH_S = 1.0
FIRST_CASES = 16  # of a model of which nothing is known yet
MICRO_BATCH_PIXELS = 16_000_000  # of files that are decoded for a micro-batch: about half a second

QUICK_BATCH_S = 0.03
QUICK_BATCH_PIXELS = 1_000_000  # about 30 ms
QUICK_BATCH_BYTES = 1024 * 1024  # of inputs of any kind: a long text, a recording of a day
QUICK_CASE_S = 0.003
QUICK_CALL_S = 0.01  # of a micro-batch beside its cases: what a call costs comes to more on a busy machine
SLOW_FOR_S = 10.0  # after the last sign of it, so that a model does not change its lane all the time

SHARED_CASES = 16  # of several tenants: all of them wait while as many are claimed, scored and written back
SHARED_FOR_S = 10.0


@dataclass
class Pace:
    """What a case of a model has taken lately. A costlier batch counts at once, a cheaper one by half."""

    case_s: float | None = None
    clock: Callable[[], float] = time.monotonic
    _slow_until: float = field(default=float("-inf"))
    _shared_until: float = field(default=float("-inf"))

    @property
    def is_slow(self) -> bool:
        """Whether cases have been costly lately, or none has been scored yet."""
        return self.case_s is None or self.clock() < self._slow_until

    @property
    def is_shared(self) -> bool:
        """Whether several tenants have had jobs lately."""
        return self.clock() < self._shared_until

    def took(self, cases: int, seconds: float, *, busy_s: float) -> None:
        """A micro-batch of so many cases took so long, and kept a processor busy for `busy_s` of it.

        What is waited for says nothing of a model: on a busy machine each case of a quick one takes long at times.
        """
        latest = seconds / cases
        self.case_s = latest if self.case_s is None else max(latest, (self.case_s + latest) / 2)
        if busy_s > QUICK_CALL_S + QUICK_CASE_S * cases:
            self.is_costly()

    def claimed(self, tenants: int) -> None:
        """A claim has jobs of so many tenants."""
        if tenants > 1:
            self._shared_until = self.clock() + SHARED_FOR_S

    def is_costly(self) -> None:
        """The model has got an input that takes long."""
        self._slow_until = self.clock() + SLOW_FOR_S

    def limit(self, most: int, *, slow: bool) -> int:
        """How many cases take about as long as a micro-batch of such a model may, at least one and at most `most`."""
        if self.case_s is None:
            return min(most, FIRST_CASES)
        most_s = MICRO_BATCH_S if slow else QUICK_BATCH_S
        most = min(most, SHARED_CASES) if self.is_shared else most
        return most if self.case_s * most <= most_s else max(1, int(most_s / self.case_s))


class Budget:
    """What the inputs of one micro-batch may have together, in bytes and, if they are files, in pixels.

    A slow model's first input always fits.
    """

    def __init__(self, pipeline: Pipeline, *, slow: bool) -> None:
        self._is_of_files = pipeline.binary
        self._slow = slow
        self._pixels = MICRO_BATCH_PIXELS if slow else QUICK_BATCH_PIXELS
        self._bytes = float("inf") if slow else QUICK_BATCH_BYTES
        self._is_first = True

    def takes(self, case: Case) -> bool:
        """Whether another input fits."""
        contents = [case.payload, *case.parts.values()]
        self._bytes -= sum(map(len, contents))
        if files := contents if self._is_of_files else contents[1:]:
            self._pixels -= sum(map(reader().pixel_count, files))
        is_first, self._is_first = self._is_first, False
        return (is_first and self._slow) or min(self._pixels, self._bytes) >= 0
