"""The loaded models of this process, within a memory budget; the one used longest ago leaves first."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from models.bundle import Bundle
from models.golden import encode_cases
from models.pipelines import Pipeline
from models.signature import Fitting
from service.catalog import Catalog, PublishedModel
from service.catalog.bundles import fetch
from service.metrics import BATCH_LIMIT, MODELS_LOADED_MB
from service.storage import BlobStore
from workers.fitted import FittedGraph
from workers.runtime import CPU, LoadedGraph, OutOfMemory, Runtime

log = structlog.get_logger()


@dataclass
class LoadedModel:
    """A published model in memory. `batch_limit` shrinks when a run is out of memory.

    `retries_first` says whose turn the next claim is: jobs claimed before, or fresh ones.
    """

    model: PublishedModel
    pipeline: Pipeline
    graph: LoadedGraph
    batch_limit: int
    retries_first: bool = True


class ModelPool:
    """Loads models when they are first asked for. Several threads may ask."""

    def __init__(
        self, runtime: Runtime, catalog: Catalog, blobs: BlobStore, *, cache: Path, budget_mb: float
    ) -> None:
        self._runtime = runtime
        self._catalog = catalog
        self._blobs = blobs
        self._cache = cache
        self._budget_mb = budget_mb
        self._loaded: OrderedDict[UUID, LoadedModel] = OrderedDict()
        self._lock = threading.RLock()  # of what is loaded: nobody waits while a model is being loaded

    @property
    def used_mb(self) -> float:
        """What the loaded models count, in MiB."""
        with self._lock:
            return sum(loaded.graph.size_mb for loaded in self._loaded.values())

    def get(self, version_id: UUID) -> LoadedModel:
        """The model, loaded and warmed up. Raises ModelNotFound, BundleUnusable, BlobUnavailable or ProviderUnavailable."""
        with self._lock:
            found = self._loaded.get(version_id)
            if found is not None:
                self._loaded.move_to_end(version_id)
                return found
        model = self._catalog.version(version_id)
        bundle, graph = self._open(model)
        self._make_room(graph.size_mb)
        return self._take_in(model, bundle, graph)

    def warm_up(self) -> list[str]:
        """Load what `stable` points at, as far as the budget goes; the names of those models."""
        names = []
        for name in self._catalog.names():
            if "stable" not in self._catalog.aliases_of(name):
                continue
            model = self._catalog.resolve(name)
            bundle, graph = self._open(model)
            if self._loaded and self.used_mb + graph.size_mb > self._budget_mb:
                continue
            self._take_in(model, bundle, graph)
            names.append(name)
        return names

    def _open(self, model: PublishedModel) -> tuple[Bundle, LoadedGraph]:
        bundle = fetch(self._blobs, model, self._cache)
        return bundle, self._runtime.load(bundle.model_path, allow_tf32=model.manifest.runtime.allow_tf32)

    def _take_in(self, model: PublishedModel, bundle: Bundle, graph: LoadedGraph) -> LoadedModel:
        loaded = LoadedModel(model, model.pipeline, _fitted(model, graph), model.manifest.runtime.max_batch)
        _run_golden(loaded, bundle, largest=self._runtime.provider != CPU)
        with self._lock:
            kept = self._loaded.setdefault(model.id, loaded)  # another thread may have been faster
        MODELS_LOADED_MB.set(self.used_mb)
        log.info("model_loaded", model=model.name, version=model.version, provider=self._runtime.provider)
        return kept

    def _make_room(self, size_mb: float) -> None:
        with self._lock:
            while self._loaded and self.used_mb + size_mb > self._budget_mb:
                _, gone = self._loaded.popitem(last=False)
                log.info("model_unloaded", model=gone.model.name, version=gone.model.version)


def _fitted(model: PublishedModel, graph: LoadedGraph) -> LoadedGraph:
    """A graph in the terms of the model's pipeline."""
    pipeline = model.pipeline
    return FittedGraph(
        graph, Fitting(model.manifest.graph, pipeline.feeds, pipeline.outputs, graph.signature)
    )


def _run_golden(loaded: LoadedModel, bundle: Bundle, *, largest: bool) -> None:
    """Run a golden case alone and in the `largest` batch, so that the first caller does not pay for the first run.

    Where the largest batch does not fit into memory, halves of it are tried. On the CPU there is nothing to gain from
    it: a first large batch takes as long there as the second (1.26 and 1.20 s for 256 X-ray images), and so long a start.
    """
    payload = encode_cases(bundle.golden[:1], loaded.pipeline)[0]
    loaded.graph.run(loaded.pipeline.preprocess([payload]))
    while largest and loaded.batch_limit > 1:
        try:
            loaded.graph.run(loaded.pipeline.preprocess([payload] * loaded.batch_limit))
        except OutOfMemory:
            loaded.batch_limit //= 2
            BATCH_LIMIT.labels(loaded.model.name).set(loaded.batch_limit)
        else:
            return
