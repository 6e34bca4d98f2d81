"""Finds graphs whose rows affect each other where golden cases do not show it: those of unlike shape never run together.

Each case is scored once more with another row in its runs: its own feeds turned by one place, larger numbers, and zeros. Only
its own answer is compared, so it does not matter whether that row is an input that the pipeline would accept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from models.lazy import np
from models.manifest import MODEL, BundleRefused
from models.pipelines import Array, Case, Run

MOST_CASES: Final = 8

Result = Mapping[str, object]
Score = Callable[[Sequence[Case], Run], Sequence[Result]]


def answers_in_company(cases: Sequence[Case], score: Score, run: Run) -> Iterator[tuple[int, Result]]:
    """The index of a case, and its answer beside another row; for graphs alone that run cases of one shape together.

    Raises what `score` does for a case twice. Where it raises BundleRefused for a row that is no input, nothing is compared.
    """
    for index, case in enumerate(cases[:MOST_CASES]):
        together = _Together(run)
        score([case, case], together)
        for other in (_turned, _larger, np.zeros_like) if together.graphs else ():
            try:
                yield index, score([case], _beside(run, together.graphs, other))[0]
            except BundleRefused:
                continue


class _Together:
    """A run that notes which graphs were given several rows at once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.graphs: set[str] = set()

    def __call__(self, feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
        if all(map(np.ndim, feeds.values())) and min(map(len, feeds.values()), default=0) > 1:
            self.graphs.add(graph)
        return self._run(feeds, graph)


def _beside(run: Run, graphs: set[str], other: Callable[[Array], Array]) -> Run:
    """A run that gives a lone row another one to run with, and returns what the graph makes of the first."""

    def run_beside(feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
        if graph not in graphs or not all(np.ndim(feed) and len(feed) == 1 for feed in feeds.values()):
            return run(feeds, graph)
        both = {name: np.concatenate([feed, _of_kind(other(feed))]) for name, feed in feeds.items()}
        return {name: value[:1] for name, value in run(both, graph).items()}

    return run_beside


def _turned(feed: Array) -> Array:
    return np.roll(feed, 1, axis=1) if feed.ndim > 1 else feed


def _larger(feed: Array) -> Array:
    """Whole numbers may be places in a table, which has an end."""
    return feed * 2 + 1 if np.issubdtype(feed.dtype, np.floating) else feed


def _of_kind(row: Array) -> Array:
    """Texts are empty where numbers are 0."""
    return np.where(row == 0, "", row) if row.dtype == object else row
