"""What the project promises of these figures."""

from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.run import Result
from benchmarks.systems import MEDQUEUE, PLAIN


@dataclass(frozen=True)
class Target:
    """A bound on one figure of medqueue, or on its ratio to the plain twin's."""

    label: str
    key: str
    limit: float
    of_twin: bool = False
    at_least: bool = False

    def reached(self, result: Result) -> float | None:
        """The value that the bound is on; None when this run did not measure it."""
        ours = result.of_system(MEDQUEUE).get(self.key)
        if ours is None:
            return None
        return ratio(ours, result.of_system(PLAIN).get(self.key)) if self.of_twin else ours.value

    def holds(self, value: float) -> bool:
        """Whether the bound holds."""
        return value >= self.limit if self.at_least else value <= self.limit


TARGETS = (
    Target("CPU seconds per 1,000 jobs, as a share of the twin's", "cpu_fetched", 0.30, of_twin=True),
    Target("submit to result on an idle stack, p50 in ms", "idle_p50_ms", 10.0),
    Target("bulk submits of 500, jobs/s completed", "bulk_per_s", 8_000.0, at_least=True),
    Target("webhooks delivered to a local receiver, events/s", "webhooks_per_s", 300.0, at_least=True),
    Target("rows of a batch as a share of the bare loop's rows/s", "batch_rows_share", 0.60, at_least=True),
    Target(
        "images of a batch as a share of the bare loop's images/s", "batch_images_share", 0.80, at_least=True
    ),
    Target(
        "pictures of a batch, by one worker, as a share of the bare loop's rate",
        "batch_pictures_share",
        0.85,
        at_least=True,
    ),
    Target(
        "texts of a batch, by one worker, as a share of the bare loop's rate",
        "batch_texts_share",
        0.85,
        at_least=True,
    ),
    Target(
        "documents of exact searches that approximate ones find, as a share",
        "search_recall",
        0.98,
        at_least=True,
    ),
    Target("most memory of a process while a batch of rows runs, in MB", "batch_rows_mb", 600.0),
    Target("growth of single jobs' p95 beside a batch, less a micro-batch, in ms", "batch_delay_ms", 20.0),
    Target("mean batch size with many clients", "mean_batch", 4.0, at_least=True),
)


def ratio(ours: Figure | None, twins: Figure | None) -> float | None:
    """Our figure as a share of the twin's."""
    return None if ours is None or twins is None or not twins.value else ours.value / twins.value
