"""How large a micro-batch may be: what cases of a model cost is learned, so that a batch of costly ones is a small one.

A worker scores one micro-batch after the other. Whoever waits for its end must not wait for as many large images as there are
places in a batch.
"""

from dataclasses import dataclass

MICRO_BATCH_S = 1.0


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
