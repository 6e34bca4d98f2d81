"""A loaded graph whose tensors have other names or types than its pipeline's: converted on the way in and out."""

from collections.abc import Mapping

from models.pipelines import Array
from models.signature import Fitting, Signature
from workers.runtime import LoadedGraph


class FittedGraph:
    """A graph in its pipeline's terms. One thread at a time."""

    def __init__(self, graph: LoadedGraph, fitting: Fitting, *, side_mb: float = 0) -> None:
        """`side_mb` is the size of the bundle's side files, in MiB: weights beside the graph are mapped with it."""
        self._graph = graph
        self._fitting = fitting
        self._side_mb = side_mb

    @property
    def size_mb(self) -> float:
        """See LoadedGraph."""
        return self._graph.size_mb + self._side_mb

    @property
    def signature(self) -> Signature:
        """See LoadedGraph; in the graph's own terms."""
        return self._graph.signature

    def beside(self) -> "FittedGraph":
        """See LoadedGraph."""
        return FittedGraph(self._graph.beside(), self._fitting, side_mb=self._side_mb)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See Graph."""
        return self._fitting.run(self._graph.run, feeds)

    def stop(self) -> None:
        """See Graph."""
        self._graph.stop()
