"""How large a micro-batch may be: what cases of a model cost is learned, and files say how many pixels they have.

A worker scores one micro-batch after the other. Whoever waits for its end must not wait for as many large images as there are
places in a batch.
"""

from dataclasses import dataclass

from models.pipelines import Pipeline

MICRO_BATCH_S = 1.0
MICRO_BATCH_PIXELS = 16_000_000  # of files that are decoded for a micro-batch: about half a second


class PixelBudget:
    """The pixels that the files of one micro-batch may have together; other inputs are free."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._is_of_files = pipeline.binary
        self._left = MICRO_BATCH_PIXELS

    def takes(self, payload: bytes) -> bool:
        """Whether another file fits; the first always does."""
        if self._is_of_files:
            from models.pipelines.image_file import pixels_of  # Pillow, when there is a file

            is_first, pixels = self._left == MICRO_BATCH_PIXELS, pixels_of(payload)
            self._left -= pixels
            return is_first or self._left >= 0
        return True


@dataclass
class Pace:
    """What a case of a model has taken lately. A costlier batch counts at once, a cheaper one by half."""

    case_s: float = 0.0

    def took(self, cases: int, seconds: float) -> None:
        """A micro-batch of so many cases took so long."""
        latest = seconds / cases
        self.case_s = max(latest, (self.case_s + latest) / 2)

    def limit(self, most: int) -> int:
        """How many cases take about MICRO_BATCH_S, at least one and at most `most`."""
        return most if self.case_s * most <= MICRO_BATCH_S else max(1, int(MICRO_BATCH_S / self.case_s))
