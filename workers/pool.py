"""The loaded models of this process, within a memory budget; the least recently used one is unloaded first."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from uuid import UUID

import structlog

from models.bundle import Bundle, opened
from models.golden_cases import GoldenCase, GoldenFailed
from models.manifest import BundleRefused
from models.pipelines import Pipeline, Scoring
from models.pipelines.arrivals import ContinuousScoring
from models.pipelines.schema_columns import ResultField, integer_fields
from service.catalog import Catalog, PublishedModel
from service.catalog.bundles import fetch
from service.errors import BlobUnavailable, BundleUnusable, ModelNotFound, ModelUnavailable
from service.jobs.execution import FIRST_IN_RING
from service.metrics import BATCH_LIMIT, MODELS_LOADED_MB
from service.storage import BlobStore
from workers.fitted import FittedGraphs, Graphs, fitted
from workers.pace import Pace
from workers.provider import ProviderUnavailable
from workers.refusals import MEND, MORE_MEMORY, ModelRefused, Refusals
from workers.runtime import CPU, OutOfMemory, Runtime
from workers.trial import Trial

log = structlog.get_logger()


@dataclass
class LoadedModel:
    """A published model in memory, its bundle opened by its pipeline. `batch_limit` shrinks when a run is out of memory.

    `golden` are rows to measure with, `integers` the fields of a result that a batch has integer columns for.
    `retries_first`: whether the next claim takes jobs claimed before, or fresh ones. `last_tenant`: whose fresh job was
    claimed last, after whom the next claim goes on.
    """

    model: PublishedModel
    pipeline: Pipeline
    scoring: Scoring
    graphs: Graphs
    batch_limit: int
    golden: Sequence[GoldenCase] = ()
    retries_first: bool = True
    last_tenant: UUID = FIRST_IN_RING
    integers: Sequence[ResultField] = ()
    pace: Pace = field(default_factory=Pace)

    @property
    def claim_limit(self) -> int:
        """How many jobs a claim may take: a micro-batch that does not take long, or as many as run beside one another."""
        if isinstance(self.scoring, ContinuousScoring):
            return self.batch_limit
        return self.pace.limit(self.batch_limit, slow=self.is_slow)

    @property
    def is_slow(self) -> bool:
        """Whether it is scored in the slow lane (workers.jobs.lanes): it takes long, or waits for jobs that join."""
        waits = self.model.manifest.runtime.max_wait_ms > 0 or isinstance(self.scoring, ContinuousScoring)
        return waits or self.pace.is_slow

    @property
    def lets_join(self) -> bool:
        """Whether other jobs may join the model's runs."""
        return self.batch_limit > 1 and isinstance(self.scoring, ContinuousScoring)


class ModelPool:
    """Loads models when they are first requested. Thread-safe."""

    def __init__(
        self,
        runtime: Runtime,
        catalog: Catalog,
        blobs: BlobStore,
        *,
        cache: Path,
        budget_mb: float,
        refusals: Refusals | None = None,
    ) -> None:
        self.refusals = refusals or Refusals()
        self._runtime = runtime
        self._catalog = catalog
        self._blobs = blobs
        self._cache = cache
        self._budget_mb = budget_mb
        self._loaded: OrderedDict[UUID, LoadedModel] = OrderedDict()
        self._lock = threading.RLock()  # guards what is loaded; not held while a model is being loaded

    @property
    def provider(self) -> str:
        """See Runtime."""
        return self._runtime.provider

    @property
    def used_mb(self) -> float:
        """The counted memory of the loaded models, in MiB."""
        with self._lock:
            return sum(loaded.graphs.size_mb for loaded in self._loaded.values())

    def get(self, version_id: UUID) -> LoadedModel:
        """The model, loaded and tried.

        Raises ModelRefused if this worker must not score it, ModelNotFound, BundleUnusable or BlobUnavailable.
        """
        self.refusals.check(version_id)
        with self._lock:
            found = self._loaded.get(version_id)
            if found is not None:
                self._loaded.move_to_end(version_id)
                return found
        model = self._catalog.version(version_id)
        bundle = self._fetch(model)
        while True:
            try:
                graph = self._load(model, bundle)
                self._make_room(graph.size_mb)
                return self._take_in(model, bundle, graph)
            except ProviderUnavailable as fault:
                raise self.refusals.refuse(model, str(fault)) from fault
            except OutOfMemory as fault:
                if not self._unload_oldest():
                    reason = "it does not fit into memory, even alone"
                    raise self.refusals.refuse(model, reason, MORE_MEMORY) from fault

    def is_slow(self, version_id: UUID) -> bool:
        """Whether a model takes long: it is slow, or has to be loaded first."""
        with self._lock:
            found = self._loaded.get(version_id)
        return found is None or found.is_slow

    def model(self, version_id: UUID) -> PublishedModel:
        """The published model with this id. Raises ModelNotFound."""
        return self._catalog.version(version_id)

    def warm_up(
        self,
        asked_for: Sequence[UUID] = (),
        fails: Callable[[PublishedModel, Exception], None] | None = None,
    ) -> list[str]:
        """Load the versions `asked_for`, as far as the memory budget allows; returns the names of what was loaded.

        If none of them can be loaded, the first `stable` model that can be, which shows that this worker is able to score.
        `fails` is called for each model whose bundle cannot be fetched; without `fails` the error is raised. Raises
        ProviderUnavailable.
        """
        asked = [model.name for model in self._versions(asked_for) if self._warmed(model, fails)]
        if asked:
            return asked
        return [model.name for model in islice(self._loaded_one_by_one(fails), 1)]

    def _versions(self, asked_for: Sequence[UUID]) -> Iterator[PublishedModel]:
        for version_id in asked_for:
            with suppress(ModelNotFound):
                yield self._catalog.version(version_id)

    def _loaded_one_by_one(
        self, fails: Callable[[PublishedModel, Exception], None] | None
    ) -> Iterator[PublishedModel]:
        """Load the stable models one by one, first those that score the most cases at once: they are the smallest."""
        names = [name for name in self._catalog.names() if "stable" in self._catalog.aliases_of(name)]
        models = [self._catalog.resolve(name) for name in names]
        for model in sorted(models, key=lambda each: -each.manifest.runtime.max_batch):
            if self._warmed(model, fails):
                yield model

    def _warmed(
        self, model: PublishedModel, fails: Callable[[PublishedModel, Exception], None] | None
    ) -> bool:
        """Load a model if there is room; whether it is loaded. Raises as `warm_up`."""
        try:
            bundle = self._fetch(model)
            graph = self._load(model, bundle)
            if self._loaded and self.used_mb + graph.size_mb > self._budget_mb:
                return False
            self._take_in(model, bundle, graph)
        except ModelRefused:
            return False  # reported by name; this worker has others to score
        except (BundleUnusable, BlobUnavailable, OSError) as error:
            if fails is None:
                raise
            fails(model, error)
            return False
        except OutOfMemory:
            reason = "it does not fit into memory with the models that are loaded"
            self.refusals.refuse(model, reason, MORE_MEMORY)
            return False
        return True

    def scorable(self) -> list[UUID] | None:
        """The versions that this worker may score; None for all."""
        refused = self.refusals.current()
        if not refused:
            return None
        versions = (each for name in self._catalog.names() for each in self._catalog.versions_of(name))
        return [model.id for model in versions if model.id not in refused]

    def _fetch(self, model: PublishedModel) -> Bundle:
        """The model's bundle, with its pipeline. Raises ModelRefused, BundleUnusable or BlobUnavailable."""
        bundle = fetch(self._blobs, model, self._cache)
        try:
            _ = model.pipeline
        except ModelUnavailable as unavailable:
            raise self.refusals.refuse(model, unavailable.reason, MEND) from unavailable
        return bundle

    def _load(self, model: PublishedModel, bundle: Bundle) -> FittedGraphs:
        """The graphs. Raises OutOfMemory, ProviderUnavailable, or ModelRefused if a file cannot be used here."""
        try:
            graphs = {
                name: self._runtime.load(path, allow_tf32=model.manifest.runtime.allow_tf32)
                for name, path in bundle.graph_paths.items()
            }
            return fitted(model.manifest, model.pipeline, graphs, side_bytes=bundle.side_bytes)
        except (OutOfMemory, ProviderUnavailable):
            raise
        except Exception as fault:
            reason = f"it cannot be loaded ({type(fault).__name__})"
            raise self.refusals.refuse(model, reason) from fault

    def _opened(self, model: PublishedModel, bundle: Bundle) -> Scoring:
        """The scoring half of the model's pipeline. Raises OutOfMemory or ModelRefused."""
        try:
            return opened(bundle.folder, model.pipeline)
        except BundleRefused as refused:
            if isinstance(refused.__cause__, MemoryError):
                raise OutOfMemory from refused
            raise self.refusals.refuse(model, str(refused), MEND) from refused

    def _integers(self, model: PublishedModel) -> Sequence[ResultField]:
        """The integers among a result's fields. Raises ModelRefused if the schema of an author's own pipeline is none."""
        try:
            return integer_fields(model.pipeline.result_schema())
        except Exception as fault:
            reason = f"its result schema cannot be read ({type(fault).__name__})"
            raise self.refusals.refuse(model, reason, MEND) from fault

    def _take_in(self, model: PublishedModel, bundle: Bundle, graph: Graphs) -> LoadedModel:
        began = time.perf_counter()
        scoring = self._opened(model, bundle)
        largest = model.manifest.runtime.max_batch
        integers = self._integers(model)
        loaded = LoadedModel(model, model.pipeline, scoring, graph, largest, bundle.golden, integers=integers)
        self._try_out(loaded, bundle)
        self.refusals.lift(model.id)
        with self._lock:
            kept = self._loaded.setdefault(model.id, loaded)  # another thread may have been first
        MODELS_LOADED_MB.set(self.used_mb)
        log.info(
            "model_loaded",
            model=model.name,
            version=model.version,
            provider=self._runtime.provider,
            tried_s=round(time.perf_counter() - began, 3),
        )
        return kept

    def _try_out(self, loaded: LoadedModel, bundle: Bundle) -> None:
        """Check that the model answers its golden cases here. Raises OutOfMemory or ModelRefused.

        On a GPU its largest batch is run as well. On the CPU that would only delay the start: there the first large batch
        takes as long as the second (1.26 and 1.20 s for 256 X-ray images).
        """
        provider = self._runtime.provider
        tried = Trial(loaded.graphs, loaded.pipeline, loaded.scoring, bundle)
        try:
            if provider == CPU:
                faults = tried.compare(tried.affordable(), largest=loaded.batch_limit)
                tried.end()
            else:
                loaded.batch_limit = tried.fitting(loaded.batch_limit)
                faults = tried.compare(bundle.golden, largest=loaded.batch_limit)
        except GoldenFailed as failed:
            faults = list(failed.faults)
        if faults:
            more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
            reason = f"its golden cases come out differently on {provider}: {faults[0]}{more}"
            raise self.refusals.refuse(loaded.model, reason)
        if loaded.batch_limit < loaded.model.manifest.runtime.max_batch:
            BATCH_LIMIT.labels(loaded.model.name).set(loaded.batch_limit)

    def _make_room(self, size_mb: float) -> None:
        with self._lock:
            while self._loaded and self.used_mb + size_mb > self._budget_mb:
                self._unload_oldest()

    def _unload_oldest(self) -> bool:
        """Unload the least recently used model; returns whether there was one."""
        with self._lock:
            if not self._loaded:
                return False
            _, gone = self._loaded.popitem(last=False)
        log.info("model_unloaded", model=gone.model.name, version=gone.model.version)
        return True
