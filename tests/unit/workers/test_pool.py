"""The model pool: each model loaded once, within a budget, checked against its digest, warmed up before use."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from models.bundle import seal_bundle
from service.catalog import PublishedModel
from service.config import Provider
from service.errors import BlobUnavailable, BundleUnusable, ModelNotFound
from service.metrics import REGISTRY
from tests.fakes import ScriptedGraph
from tests.unit.models.example_bundles import graph, manifest_table, toml
from tests.unit.workers.shelf import Shelf, small_bundle
from workers.pool import ModelPool
from workers.runtime import CPU, CUDA, OnnxRuntime, OutOfMemory


class CountingRuntime:
    """ONNX Runtime; remembers what it loaded, has each graph count as `size_mb`, and passes for a GPU unless told."""

    name = "counting 1.0"
    provider = CUDA

    def __init__(self, size_mb: float = 10, faults: dict[int, Exception] | None = None) -> None:
        self._real = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1)
        self._size_mb = size_mb
        self._faults = faults
        self.graphs: list[ScriptedGraph] = []

    def load(self, path: Path, *, allow_tf32: bool = False) -> ScriptedGraph:
        """See Runtime."""
        self.graphs.append(ScriptedGraph(self._real.load(path), self._faults, size_mb=self._size_mb))
        return self.graphs[-1]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def runtime() -> CountingRuntime:
    return CountingRuntime()


@pytest.fixture
def models(shelf: Shelf, tmp_path: Path) -> list[PublishedModel]:
    """Three models, of 10 MB each."""
    return [shelf.put(small_bundle(tmp_path / name, name, max_batch=4)) for name in ("a", "b", "c")]


def pool(shelf: Shelf, runtime: CountingRuntime, tmp_path: Path, budget_mb: float = 1000) -> ModelPool:
    return ModelPool(runtime, shelf, shelf.blobs, cache=tmp_path / "cache", budget_mb=budget_mb)


def test_a_model_is_loaded_when_it_is_first_asked_for(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path)
    assert (len(runtime.graphs), models_in.used_mb) == (0, 0)
    loaded = models_in.get(models[0].id)
    assert (loaded.model, loaded.batch_limit) == (models[0], 4)
    assert (len(runtime.graphs), models_in.used_mb) == (1, 10)


def test_a_graph_with_names_of_its_own_runs_in_the_terms_of_its_pipeline(
    shelf: Shelf, runtime: CountingRuntime, tmp_path: Path
) -> None:
    folder = small_bundle(tmp_path / "own", "own").folder
    (folder / "model.onnx").write_bytes(graph(feed="X", output="Y").SerializeToString())
    names = {"inputs": {"features": "X"}, "outputs": {"probability": "Y"}}
    (folder / "manifest.toml").write_text(toml(manifest_table() | {"graph": names}))
    loaded = pool(shelf, runtime, tmp_path).get(shelf.put(seal_bundle(folder)).id)
    feeds = loaded.pipeline.preprocess([loaded.pipeline.encode({"dose": 10, "age": 50})])
    assert loaded.graph.run(feeds)["probability"] == pytest.approx(np.array([[0.5]]))
    assert loaded.graph.beside().run(feeds).keys() == {"probability"}


def test_the_same_model_is_loaded_once(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path)
    assert models_in.get(models[0].id) is models_in.get(models[0].id)
    assert len(runtime.graphs) == 1


def test_a_model_has_run_at_its_smallest_and_largest_batch_before_it_is_used(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    pool(shelf, runtime, tmp_path).get(models[0].id)
    assert runtime.graphs[0].batch_sizes == [1, 4]


def test_on_the_cpu_a_model_has_run_once_before_it_is_used(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    runtime.provider = CPU
    pool(shelf, runtime, tmp_path).get(models[0].id)
    assert runtime.graphs[0].batch_sizes == [1]


def test_a_model_whose_largest_batch_does_not_fit_is_used_with_a_smaller_one(
    shelf: Shelf, models: list[PublishedModel], tmp_path: Path
) -> None:
    runtime = CountingRuntime(faults={3: OutOfMemory()})
    assert pool(shelf, runtime, tmp_path).get(models[0].id).batch_limit == 2


def test_a_model_that_fits_the_budget_exactly_drives_nobody_out(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path, budget_mb=30)
    for model in [*models, *models]:
        models_in.get(model.id)
    assert (len(runtime.graphs), models_in.used_mb) == (3, 30)


def test_past_the_budget_the_model_used_longest_ago_leaves(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path, budget_mb=25)
    first, second, third = models
    models_in.get(first.id)
    models_in.get(second.id)
    models_in.get(first.id)
    models_in.get(third.id)
    assert models_in.used_mb == 20
    models_in.get(first.id)
    assert len(runtime.graphs) == 3
    models_in.get(second.id)
    assert len(runtime.graphs) == 4


def test_a_model_larger_than_the_budget_is_loaded_alone(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path, budget_mb=5)
    models_in.get(models[0].id)
    models_in.get(models[1].id)
    assert models_in.used_mb == 10


def test_the_metric_tells_what_is_loaded(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path, budget_mb=25)
    for model in models:
        models_in.get(model.id)
    assert REGISTRY.get_sample_value("medqueue_models_loaded_megabytes") == models_in.used_mb


def test_a_batch_limit_that_shrank_is_remembered(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path)
    models_in.get(models[0].id).batch_limit = 1
    assert models_in.get(models[0].id).batch_limit == 1


def test_a_model_whose_files_differ_from_what_was_published_is_refused(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    for location in shelf.blobs.blobs:
        if location.endswith("model.onnx"):
            shelf.blobs.blobs[location] += b"\0"
    models_in = pool(shelf, runtime, tmp_path)
    with pytest.raises(BundleUnusable):
        models_in.get(models[0].id)
    assert (runtime.graphs, models_in.used_mb) == ([], 0)


def test_an_unknown_model_is_not_found(shelf: Shelf, runtime: CountingRuntime, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        pool(shelf, runtime, tmp_path).get(uuid4())


def test_a_model_that_could_not_be_fetched_is_loaded_later(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path)
    shelf.blobs.away = True
    with pytest.raises(BlobUnavailable):
        models_in.get(models[0].id)
    shelf.blobs.away = False
    assert models_in.get(models[0].id).model == models[0]


def test_warming_up_loads_every_stable_model(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    shelf.put(small_bundle(tmp_path / "d", "d"), stable=False)
    models_in = pool(shelf, runtime, tmp_path)
    assert models_in.warm_up() == ["a", "b", "c"]
    assert models_in.used_mb == 30


def test_warming_up_drives_out_no_model_it_has_loaded(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path, budget_mb=25)
    warmed = models_in.warm_up()
    before = len(runtime.graphs)
    for model in models:
        if model.name in warmed:
            models_in.get(model.id)
    assert len(runtime.graphs) == before
