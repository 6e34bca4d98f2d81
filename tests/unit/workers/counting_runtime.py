"""A runtime that counts what it loads, and can load and compute as a faulty one does."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.pipelines import Array
from models.signature import Signature
from service.config import Provider
from tests.fakes import ScriptedGraph
from workers.runtime import CUDA, LoadedGraph, OnnxRuntime


class CountingRuntime:
    """ONNX Runtime; remembers what it loaded, has each graph count as `size_mb`, and passes for a GPU unless told."""

    name = "counting 1.0"
    provider = CUDA

    def __init__(self, size_mb: float = 10, faults: dict[int, Exception] | None = None) -> None:
        self._real = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1)
        self._size_mb = size_mb
        self._faults = faults
        self.graphs: list[ScriptedGraph] = []
        self.may_use_tf32: list[bool] = []
        self.load_faults: list[Exception] = []
        self.off_by = 0.0
        self.off_from = 1

    def load(self, path: Path, *, allow_tf32: bool = False) -> ScriptedGraph:
        """See Runtime."""
        self.may_use_tf32.append(allow_tf32)
        if self.load_faults:
            raise self.load_faults.pop(0)
        graph = DeviatingGraph(self._real.load(path), self)
        self.graphs.append(ScriptedGraph(graph, self._faults, size_mb=self._size_mb))
        return self.graphs[-1]


class DeviatingGraph:
    """A graph as another provider computes it: each output is off by some, in batches of some size or larger."""

    size_mb = 1.0

    def __init__(self, real: LoadedGraph, runtime: CountingRuntime) -> None:
        self._real = real
        self._runtime = runtime

    @property
    def signature(self) -> Signature:
        """See LoadedGraph."""
        return self._real.signature

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See Graph."""
        size = max(map(len, feeds.values()))
        gap = self._runtime.off_by if size >= self._runtime.off_from else 0.0
        return {name: value + np.float32(gap) for name, value in self._real.run(feeds).items()}

    def trim(self) -> None:
        """See LoadedGraph."""
        self._real.trim()

    def beside(self) -> "DeviatingGraph":
        """See LoadedGraph."""
        return DeviatingGraph(self._real.beside(), self._runtime)

    def stop(self) -> None:
        """See Graph."""
        self._real.stop()
