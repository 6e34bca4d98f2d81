"""The loaded graphs of a bundle, adapted to its pipeline: tensors have the pipeline's names and types."""

from collections.abc import Mapping
from typing import Protocol

import structlog

from models.fitting import Fitting, GraphUnknown
from models.manifest import MODEL, ModelManifest
from models.pipelines import Array, Pipeline
from workers.runtime import LoadedGraph

log = structlog.get_logger()


class Graphs(Protocol):
    """The graphs that a pipeline runs. For one thread at a time."""

    @property
    def size_mb(self) -> float:
        """Their share of the memory budget, in MiB."""

    def run(self, feeds: Mapping[str, Array], graph: str = MODEL) -> dict[str, Array]:
        """The outputs of one graph by name. Raises OutOfMemory, RunTimedOut or RunFailed."""

    def stop(self) -> None:
        """Make a run in progress end with RunTimedOut, as soon as its kernel checks for this. Called from another thread."""

    def trim(self) -> None:
        """Let the next run of each graph free the memory that larger ones before it left allocated."""

    def beside(self) -> "Graphs":
        """The same graphs for another thread: their runs may overlap with these, and a stop ends only their own."""


class FittedGraphs:
    """Loaded graphs, each with a fitting that converts between the pipeline's tensors and the graph's."""

    def __init__(
        self, graphs: Mapping[str, LoadedGraph], fittings: Mapping[str, Fitting], *, side_mb: float = 0
    ) -> None:
        """`side_mb` is the size of the bundle's side files, in MiB: external weights are mapped along with their graph."""
        self._graphs = graphs
        self._fittings = fittings
        self._side_mb = side_mb

    @property
    def size_mb(self) -> float:
        """See Graphs."""
        return sum(graph.size_mb for graph in self._graphs.values()) + self._side_mb

    def trim(self) -> None:
        """See Graphs."""
        for graph in self._graphs.values():
            graph.trim()

    def beside(self) -> "FittedGraphs":
        """See Graphs."""
        graphs = {name: graph.beside() for name, graph in self._graphs.items()}
        return FittedGraphs(graphs, self._fittings, side_mb=self._side_mb)

    def run(self, feeds: Mapping[str, Array], graph: str = MODEL) -> dict[str, Array]:
        """See Graphs."""
        if graph not in self._graphs:
            unknown = GraphUnknown(graph, self._graphs)
            log.error("graph_unknown", reason=str(unknown))
            raise unknown
        return self._fittings[graph].run(self._graphs[graph].run, feeds)

    def stop(self) -> None:
        """See Graphs."""
        for graph in self._graphs.values():
            graph.stop()


def fitted(
    manifest: ModelManifest, pipeline: Pipeline, graphs: Mapping[str, LoadedGraph], *, side_bytes: int
) -> FittedGraphs:
    """Adapt loaded graphs to a pipeline. Raises ManifestInvalid if they do not fit it."""
    tables = manifest.graph_tables
    fittings = {
        name: Fitting(tables[name], pipeline.graphs[name], graph.signature) for name, graph in graphs.items()
    }
    return FittedGraphs(graphs, fittings, side_mb=side_bytes / 2**20)
