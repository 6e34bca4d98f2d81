"""Tries a model that was just loaded: runs its golden cases on this worker's provider before the first job.

A model is checked on its publisher's CPU. Another processor, GPU, driver or library may compute something else, and a
wrong answer is worse than none.
"""

import threading
import time
from collections.abc import Mapping, Sequence

from models.bundle import Bundle
from models.golden import answer, compare_golden
from models.golden_cases import GoldenCase, GoldenFailed, encode_cases
from models.manifest import MODEL, Fault
from models.pipelines import Array, Case, Pipeline, Scoring
from workers.fitted import Graphs
from workers.runtime import OutOfMemory

AFFORDED_S = 5.0  # how much longer the comparison may make the loading of a model on the CPU


class Trial:
    """Trial runs of one loaded model. A run that takes longer than the manifest allows is stopped."""

    def __init__(self, graphs: Graphs, pipeline: Pipeline, scoring: Scoring, bundle: Bundle) -> None:
        self._graphs = graphs
        self._pipeline = pipeline
        self._scoring = scoring
        self._bundle = bundle

    def fitting(self, largest: int) -> int:
        """The largest batch that fits into memory, halved from `largest`. This also warms the model up for its first job.

        Raises GoldenFailed, or OutOfMemory if not even one case fits.
        """
        case = self._first()
        self._answer(case)
        while largest > 1:
            try:
                self._answer(case * largest)
            except OutOfMemory:
                largest //= 2
            else:
                break
        return largest

    def affordable(self) -> Sequence[GoldenCase]:
        """The golden cases, or as many as can be compared in AFFORDED_S, at least one.

        Raises GoldenFailed or OutOfMemory.
        """
        case = self._first()
        self._answer(case)  # a first run takes longer
        began = time.perf_counter()
        self._answer(case)
        once_s = max(time.perf_counter() - began, 1e-6)
        return self._bundle.golden[: max(1, int(AFFORDED_S / 3 / once_s))]

    def compare(self, cases: Sequence[GoldenCase], *, largest: int) -> list[Fault]:
        """Faults of the cases one by one, in batches of at most `largest`, and in reverse order. Raises OutOfMemory."""
        tolerance = self._bundle.manifest.runtime.tolerance
        short_of_memory: list[OutOfMemory] = []

        def run(feeds: Mapping[str, Array], graph: str = MODEL) -> dict[str, Array]:
            try:
                return self._run(feeds, graph)
            except OutOfMemory as fault:
                short_of_memory.append(fault)
                raise

        faults = compare_golden(cases, self._pipeline, self._scoring, tolerance, run, largest=largest)
        if short_of_memory:
            raise short_of_memory[0]
        return faults

    def end(self) -> None:
        """Free what batches left allocated: jobs may come alone, or not at all. Raises GoldenFailed or OutOfMemory."""
        self._graphs.trim()
        self._answer(self._first())

    def _first(self) -> list[Case]:
        return encode_cases(self._bundle.golden[:1], self._pipeline)

    def _answer(self, cases: list[Case]) -> None:
        try:
            answer(cases, self._scoring, self._run)
        except GoldenFailed as failed:
            if isinstance(failed.__cause__, OutOfMemory):
                raise failed.__cause__ from None
            raise

    def _run(self, feeds: Mapping[str, Array], graph: str = MODEL) -> dict[str, Array]:
        timer = threading.Timer(self._bundle.manifest.runtime.run_timeout_s, self._graphs.stop)
        timer.daemon = True
        timer.start()
        try:
            return self._graphs.run(feeds, graph)
        finally:
            timer.cancel()
