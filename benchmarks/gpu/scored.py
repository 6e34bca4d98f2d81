"""A bundle whose golden cases the checks score over and over, on graphs of their choice."""

from collections.abc import Mapping
from pathlib import Path

from models.bundle import read_bundle, side_files
from models.golden_cases import encode_cases
from models.manifest import MODEL
from models.pipelines import Array, Run, load_pipeline
from workers.fitted import FittedGraphs, fitted
from workers.runtime import LoadedGraph


class Scored:
    """The bundle in `folder`, which has one graph, with both halves of its pipeline."""

    def __init__(self, folder: Path) -> None:
        self.bundle = read_bundle(folder)
        self.name = self.bundle.manifest.name
        self.pipeline = load_pipeline(self.bundle.manifest, side_files(folder))
        self.scoring = self.pipeline.open(folder)
        self._cases = encode_cases(self.bundle.golden, self.pipeline)

    def on(self, graph: LoadedGraph) -> FittedGraphs:
        """A loaded graph in the pipeline's terms."""
        return fitted(self.bundle.manifest, self.pipeline, {MODEL: graph}, side_bytes=0)

    def score(self, run: Run, size: int) -> None:
        """Score `size` golden cases in one batch. Raises what `run` raises."""
        self.scoring.score(run, [self._cases[row % len(self._cases)] for row in range(size)])

    def passes(self, graphs: FittedGraphs, size: int) -> list[Mapping[str, Array]]:
        """What the pipeline feeds to the graph for so many golden cases: for each of its runs one set of tensors."""
        fed: list[Mapping[str, Array]] = []

        def run(feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
            fed.append(feeds)
            return graphs.run(feeds, graph)

        self.score(run, size)
        return fed
