"""A bundle that is scored in this process, to compare it with another one: its answers, and what they cost."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from models.bundle import fitted, opened, read_manifest, side_files
from models.difference import deviation
from models.golden import answer
from models.manifest import BundleRefused
from models.pipelines import Array, Case, load_pipeline
from models.sandbox import CpuRun

ROUNDS: Final = 9
ROUND_S: Final = 0.05  # least CPU of a round, so that the clock's steps do not count
MOST_ROWS: Final = 32  # of a timed batch

Result = Mapping[str, object]


class LocalModel:
    """A bundle on the CPU, in one thread.

    `run` runs its graphs as its pipeline does. `recorded` has what each graph was fed, if that is asked for.
    """

    def __init__(self, folder: Path, *, recording: bool = False, optimized: bool = True) -> None:
        """Raises BundleRefused. `optimized`: whether ONNX Runtime may replace operators by others."""
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.pipeline = load_pipeline(self.manifest, side_files(folder))
        self.recorded: dict[Path, list[Mapping[str, Array]]] = {}
        self._recording = recording
        self._cpu = CpuRun(optimized=optimized)
        self._scoring = opened(folder, self.pipeline)
        self.run = fitted(folder, self.manifest, self.pipeline, self._graph)

    def answers(self, cases: Sequence[Case]) -> list[Result]:
        """The results of cases that are scored as one batch. Raises BundleRefused."""
        return answer(cases, self._scoring, self.run)

    def alone(self, case: Case) -> Result | None:
        """The result of one case; None if it has none."""
        try:
            return self.answers([case])[0]
        except BundleRefused:
            return None

    def _graph(self, path: Path, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        if self._recording:
            self.recorded.setdefault(path, []).append(dict(feeds))
        return self._cpu(path, feeds)


@dataclass(frozen=True)
class Deviation:
    """The largest difference of an answer from the original's; infinite where more than a number differs."""

    value: float
    case: int
    place: str

    def __str__(self) -> str:
        how = "what is not a number differs" if math.isinf(self.value) else f"{self.value:.2g}"
        return f"{how} at {self.place or '/'} of case {self.case}"


def largest(expected: Sequence[Result | None], found: Sequence[Result | None]) -> Deviation:
    """The largest deviation of the answers `found` from those `expected`. Cases without an expected answer do not count."""
    every = []
    for case, (one, other) in enumerate(zip(expected, found, strict=True)):
        if one is not None:
            value, place = deviation(one, other)
            every.append(Deviation(value, case, place))
    return max(every, key=lambda each: each.value, default=Deviation(0.0, 0, ""))


def cpu_ms(models: Sequence[LocalModel], cases: Sequence[Case]) -> list[float]:
    """CPU milliseconds for a case, by each of the models, from its stored input to its result.

    They take turns with the same batch of at most MOST_ROWS cases; the median of ROUNDS rounds.
    """
    batch = [cases[at % len(cases)] for at in range(min(MOST_ROWS, models[0].manifest.runtime.max_batch))]
    for model in models:
        model.answers(batch)  # the first is slower than all others
    rounds = [[_timed(model, batch) for model in models] for _ in range(ROUNDS)]
    return [1000 * median(times) / len(batch) for times in zip(*rounds, strict=True)]


def _timed(model: LocalModel, batch: Sequence[Case]) -> float:
    """CPU seconds of one batch, of which as many are scored as take ROUND_S by the clock; it may advance by ticks."""
    times, taken, began = 0, 0.0, time.process_time()
    while taken < ROUND_S:
        model.answers(batch)
        times, taken = times + 1, time.process_time() - began
    return taken / times
