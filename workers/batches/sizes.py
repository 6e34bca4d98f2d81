"""How many rows a chunk and a micro-batch of a batch have, by the measured cost of a model's rows.

Sizes are kept from batch to batch while chunks take about as long as intended, so that a file gives the same bytes again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from uuid import UUID

import numpy as np
import structlog

from models.golden_cases import encode_cases
from models.manifest import MODEL
from models.pipelines import ROW, Array, SinglePass
from service.batches import steps
from service.images.reading import worked_s
from workers.batches.lease_keeper import LeaseKeeper, LeaseLost, Stopping
from workers.batches.services import BatchServices
from workers.pool import LoadedModel
from workers.refusals import ModelRefused
from workers.runtime import CPU

LEAST_ROWS, MOST_ROWS = 256, 524_288
RUN_S = 0.025  # of a run of the graph: what a job may have to wait for, and longer where workers share their cores
# The same where rows are scored as cases: golden cases of one shape run at once, rows of unlike shapes in several shorter runs.
CASES_RUN_S = 0.1
SCORED_S = 0.5  # of such a micro-batch as a whole, where preparing takes longer than the runs
# Measured time to read, check and write a row of thirty numbers, without the graph.
ROW_S = 5e-6
UNMEASURED_ROW_S = 0.01  # assumed for a row of a model that this worker refuses or cannot measure
NEAR = 4.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Sizes:
    """How many rows a chunk and a micro-batch are to have."""

    chunk_rows: int
    run_rows: int


@dataclass(frozen=True)
class Cost:
    """What a micro-batch of some rows took: all of it, and the longest of its runs."""

    rows: int
    whole_s: float
    longest_s: float


class SizeMeter:
    """Measures models, while the lease of a step is kept."""

    def __init__(self, services: BatchServices, keeper: LeaseKeeper) -> None:
        self._services = services
        self._keeper = keeper
        # On the CPU a run keeps its own thread busy, which others may keep waiting: on a busy machine by so much that
        # micro-batches of one row would be chosen, whose rows take more CPU each.
        self._clock = worked_s if services.pool.provider == CPU else time.perf_counter

    def of(self, model_version_id: UUID) -> Sizes:
        """Sizes by the measured cost of this model's rows; those of the batch before, if they still fit."""
        services = self._services
        with services.database.statement() as work:
            before = steps.measured(work, model_version_id)
        if before is None:
            try:
                return self._measured(services.pool.get(model_version_id))
            except ModelRefused:  # other workers will score what is planned here
                limits = services.catalog.version(model_version_id).manifest.runtime
                return self._by(UNMEASURED_ROW_S, limits.max_batch)
        if services.chunk_s / NEAR <= before.chunk_s <= services.chunk_s * NEAR:
            return Sizes(before.chunk_rows, before.run_rows)
        row_s = before.chunk_s / before.chunk_rows
        return Sizes(_power_of_two(services.chunk_s / row_s, LEAST_ROWS, MOST_ROWS), before.run_rows)

    def _measured(self, loaded: LoadedModel) -> Sizes:
        """Sizes measured by doubling the rows until a run takes long enough.

        A graph of a single pass runs on zeros. Other pipelines score the golden cases, again and again: they need real rows,
        and so does a graph that is fed strings, since no string is a neutral value.
        """
        if isinstance(loaded.pipeline, SinglePass) and _feeds_numbers(loaded.pipeline):
            cost = self._doubled(loaded, self._cost_of_zeros, RUN_S)
            return self._by(cost.whole_s / cost.rows, loaded.batch_limit)
        try:
            cost = self._doubled(loaded, self._cost_of_cases, CASES_RUN_S)
        except (LeaseLost, Stopping):
            raise
        except Exception as fault:  # noqa: BLE001 - a pipeline may raise anything; rows that fail are told one by one
            log.warning("batch_not_measured", model=loaded.model.name, fault=type(fault).__name__)
            return self._by(UNMEASURED_ROW_S, loaded.batch_limit)
        fitting = cost.rows * min(CASES_RUN_S / cost.longest_s, SCORED_S / cost.whole_s)
        run_rows = _power_of_two(fitting, 1, loaded.batch_limit)
        return Sizes(self._by(cost.whole_s / cost.rows, loaded.batch_limit).chunk_rows, run_rows)

    @staticmethod
    def _doubled(loaded: LoadedModel, cost_of: Callable[[LoadedModel, int], Cost], run_s: float) -> Cost:
        cost = cost_of(loaded, 1)
        while cost.longest_s < run_s / 2 and cost.whole_s < SCORED_S / 2 and cost.rows < loaded.batch_limit:
            cost = cost_of(loaded, min(2 * cost.rows, loaded.batch_limit))
        return cost

    def _by(self, row_s: float, largest_run: int) -> Sizes:
        return Sizes(
            _power_of_two(self._services.chunk_s / (ROW_S + row_s), LEAST_ROWS, MOST_ROWS),
            _power_of_two(RUN_S / row_s, 1, largest_run),
        )

    def _cost_of_zeros(self, loaded: LoadedModel, rows: int) -> Cost:
        """Of a run, the faster of two, since the first may include warming up."""
        assert isinstance(loaded.pipeline, SinglePass)
        feeds = {spec.name: np.zeros((rows, *spec.shape), spec.dtype) for spec in loaded.pipeline.feeds}
        timed = _TimedRun(loaded, self._keeper, self._clock)
        for _ in range(2):
            timed(feeds)
        took_s = min(timed.took_s)
        return Cost(rows, took_s, took_s)

    def _cost_of_cases(self, loaded: LoadedModel, rows: int) -> Cost:
        """Of golden cases scored together, the faster of two times."""
        cases = list(islice(cycle(encode_cases(loaded.golden, loaded.pipeline)), rows))
        found = []
        for _ in range(2):
            timed = _TimedRun(loaded, self._keeper, self._clock)
            began = self._clock()
            loaded.scoring.score(timed, cases)
            whole_s = self._clock() - began - timed.waited_s
            found.append(Cost(rows, whole_s, max(timed.took_s, default=whole_s)))
        return min(found, key=lambda cost: cost.whole_s)


class _TimedRun:
    """Runs graphs while no job is scored, and keeps the time of each run, and that of waiting for jobs."""

    def __init__(self, loaded: LoadedModel, keeper: LeaseKeeper, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._timeout_s = loaded.model.manifest.runtime.run_timeout_s
        self._graphs = loaded.graphs.beside()
        self._keeper = keeper
        self.took_s: list[float] = []
        self.waited_s = 0.0

    def __call__(self, feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
        """See Run."""
        asked = self._clock()
        with self._keeper.arbiter.micro_batch(self._keeper.progress):
            self._keeper.progress(self._timeout_s, self._graphs.stop)
            began = self._clock()
            found = self._graphs.run(feeds, graph)
            self.took_s.append(self._clock() - began)
        self.waited_s += began - asked
        return found


def _feeds_numbers(pipeline: SinglePass) -> bool:
    return all(spec.dtype != ROW for spec in pipeline.feeds)


def _power_of_two(value: float, least: int, most: int) -> int:
    """The largest power of two up to `value`, within bounds."""
    return int(min(most, max(least, 2 ** int(np.log2(max(1.0, value))))))
