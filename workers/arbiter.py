"""Jobs go first: in a worker process a batch runs its graph only while no job is being scored, one micro-batch at a time.

A job that arrives in the middle of a micro-batch runs after it on a GPU, which does one thing at a time. On the CPU it runs
in parallel, and the kernel prefers it, since the thread of batches has a higher niceness.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from models.manifest import MODEL
from models.pipelines import Array
from workers.fitted import Graphs

LOOK_S = 1.0


class GraphArbiter:
    """Alternates jobs and batches. A job is claimed and opened at once; only its run waits for a running micro-batch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs = 0
        self._runs = False

    @contextmanager
    def job(self) -> Iterator[None]:
        """Jobs are being claimed or scored for the duration of the block: batches start nothing."""
        with self._changed:
            self._jobs += 1
        try:
            yield
        finally:
            with self._changed:
                self._jobs -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        """Return once no micro-batch is in progress. To be called within `job`, so that none starts."""
        with self._changed:
            while self._runs:
                self._changed.wait()

    @contextmanager
    def micro_batch(self, while_waiting: Callable[[], object]) -> Iterator[None]:
        """Hold the graph exclusively once no job is being scored; until then `while_waiting` is called and may raise."""
        self.give_way(while_waiting, take=True)
        try:
            yield
        finally:
            with self._changed:
                self._runs = False
                self._changed.notify_all()

    def give_way(self, while_waiting: Callable[[], object], *, take: bool = False) -> None:
        """Return once no job is being scored; with `take`, hold the graph from then on."""
        while True:
            with self._changed:
                if not self._jobs:
                    self._runs = self._runs or take
                    return
                self._changed.wait(LOOK_S)
            while_waiting()


class YieldingGraphs:
    """Loaded graphs whose runs give way to jobs. `begin` is called with the graph before each run; for `while_waiting` see
    GraphArbiter."""

    def __init__(
        self,
        graphs: Graphs,
        arbiter: GraphArbiter,
        *,
        begin: Callable[[Graphs], object],
        while_waiting: Callable[[], object],
    ) -> None:
        self._graphs = graphs.beside()
        self._arbiter = arbiter
        self._begin = begin
        self._while_waiting = while_waiting

    def run(self, feeds: Mapping[str, Array], graph: str = MODEL) -> dict[str, Array]:
        """See Graphs."""
        with self._arbiter.micro_batch(self._while_waiting):
            self._begin(self._graphs)
            return self._graphs.run(feeds, graph)

    def stop(self) -> None:
        """See Graphs."""
        self._graphs.stop()
