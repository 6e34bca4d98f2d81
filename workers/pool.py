"""The loaded models of this process, within a memory budget; the one used longest ago leaves first."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from models.bundle import Bundle
from models.golden import encode_cases
from models.pipelines import Pipeline
from service.catalog import Catalog, PublishedModel, fetch
from service.metrics import MODELS_LOADED_MB
from service.storage import BlobStore
from workers.runtime import LoadedGraph, Runtime

log = structlog.get_logger()


@dataclass
class LoadedModel:
    """A published model in memory. `batch_limit` shrinks when a run is out of memory."""

    model: PublishedModel
    pipeline: Pipeline
    graph: LoadedGraph
    batch_limit: int


class ModelPool:
    """Loads models when they are first asked for."""

    def __init__(
        self, runtime: Runtime, catalog: Catalog, blobs: BlobStore, *, cache: Path, budget_mb: float
    ) -> None:
        self._runtime = runtime
        self._catalog = catalog
        self._blobs = blobs
        self._cache = cache
        self._budget_mb = budget_mb
        self._loaded: OrderedDict[UUID, LoadedModel] = OrderedDict()

    @property
    def used_mb(self) -> float:
        """What the loaded models count, in MiB."""
        return sum(loaded.graph.size_mb for loaded in self._loaded.values())

    def get(self, version_id: UUID) -> LoadedModel:
        """The model, loaded and warmed up. Raises ModelNotFound, BundleUnusable, BlobUnavailable or ProviderUnavailable."""
        found = self._loaded.get(version_id)
        if found is None:
            found = self._load(self._catalog.version(version_id))
        self._loaded.move_to_end(version_id)
        return found

    def warm_up(self) -> list[str]:
        """Load what `stable` points at, as far as the budget goes; the names of those models."""
        names = []
        for name in self._catalog.names():
            if self._catalog.aliases_of(name).get("stable") is None or self.used_mb >= self._budget_mb:
                continue
            self.get(self._catalog.resolve(name).id)
            names.append(name)
        return names

    def _load(self, model: PublishedModel) -> LoadedModel:
        bundle = fetch(self._blobs, model, self._cache)
        graph = self._runtime.load(bundle.model_path)
        self._make_room(graph.size_mb)
        loaded = LoadedModel(model, model.pipeline, graph, model.manifest.runtime.max_batch)
        _run_golden(loaded, bundle)
        self._loaded[model.id] = loaded
        MODELS_LOADED_MB.set(self.used_mb)
        log.info("model_loaded", model=model.name, version=model.version, provider=self._runtime.provider)
        return loaded

    def _make_room(self, size_mb: float) -> None:
        while self._loaded and self.used_mb + size_mb > self._budget_mb:
            _, gone = self._loaded.popitem(last=False)
            log.info("model_unloaded", model=gone.model.name, version=gone.model.version)


def _run_golden(loaded: LoadedModel, bundle: Bundle) -> None:
    """Run a golden case at the sizes that matter, so that the first caller does not pay for lazy initialisation."""
    payload = encode_cases(bundle.golden[:1], loaded.pipeline)[0]
    for size in sorted({1, loaded.batch_limit}):
        loaded.graph.run(loaded.pipeline.preprocess([payload] * size))
