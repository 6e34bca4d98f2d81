"""The model pool: each model loaded once, within a budget, checked against its digest, warmed up before use."""

from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from models.bundle import seal_bundle
from models.pipelines import SinglePass
from service.catalog import PublishedModel
from service.errors import BlobUnavailable, BundleUnusable, ModelNotFound
from service.metrics import REGISTRY
from service.refusals import Refusal
from tests.unit.models.example_bundles import graph, manifest_table, toml
from tests.unit.models.plug_ins import WORDS, install
from tests.unit.workers.counting_runtime import CountingRuntime
from tests.unit.workers.shelf import Shelf, small_bundle
from workers.pool import ModelPool
from workers.provider import ProviderUnavailable
from workers.refusals import MEND, MORE_MEMORY, REFUSED_S, ModelRefused, Refusals
from workers.runtime import CPU, CUDA, OutOfMemory


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


def pool(
    shelf: Shelf,
    runtime: CountingRuntime,
    tmp_path: Path,
    budget_mb: float = 1000,
    refusals: Refusals | None = None,
) -> ModelPool:
    return ModelPool(
        runtime, shelf, shelf.blobs, cache=tmp_path / "cache", budget_mb=budget_mb, refusals=refusals
    )


def test_a_model_is_loaded_when_it_is_first_asked_for(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path)
    assert (len(runtime.graphs), models_in.used_mb) == (0, 0)
    loaded = models_in.get(models[0].id)
    assert (loaded.model, loaded.batch_limit) == (models[0], 4)
    assert (len(runtime.graphs), models_in.used_mb) == (1, 10)


def test_a_model_is_slow_until_it_is_loaded_and_has_shown_that_it_is_quick(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path)
    assert models_in.is_slow(models[0].id)
    loaded = models_in.get(models[0].id)
    assert models_in.is_slow(models[0].id)
    loaded.pace.took(4, 0.001, busy_s=0.001)
    assert not models_in.is_slow(models[0].id)
    assert models_in.is_slow(models[1].id)


def test_a_graph_with_names_of_its_own_runs_in_the_terms_of_its_pipeline(
    shelf: Shelf, runtime: CountingRuntime, tmp_path: Path
) -> None:
    folder = small_bundle(tmp_path / "own", "own").folder
    (folder / "model.onnx").write_bytes(graph(feed="X", output="Y").SerializeToString())
    names = {"inputs": {"features": "X"}, "outputs": {"probability": "Y"}}
    (folder / "manifest.toml").write_text(toml(manifest_table() | {"graph": names}))
    loaded = pool(shelf, runtime, tmp_path).get(shelf.put(seal_bundle(folder)).id)
    assert isinstance(loaded.pipeline, SinglePass)
    feeds = loaded.pipeline.preprocess([loaded.pipeline.encode({"dose": 10, "age": 50})])
    assert loaded.graphs.run(feeds)["probability"] == pytest.approx(np.array([[0.5]]))
    assert loaded.graphs.beside().run(feeds).keys() == {"probability"}


def test_weights_beside_the_graph_count_against_the_budget(
    shelf: Shelf, runtime: CountingRuntime, tmp_path: Path
) -> None:
    folder = small_bundle(tmp_path / "own", "own").folder
    (folder / "weights.bin").write_bytes(bytes(3 * 2**20))
    assert pool(shelf, runtime, tmp_path).get(shelf.put(seal_bundle(folder)).id).graphs.size_mb == 13


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
    assert runtime.graphs[0].batch_sizes[:2] == [1, 4]


def test_on_the_cpu_no_largest_batch_is_run_for_nothing(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    runtime.provider = CPU
    limits = small_bundle(tmp_path / "wide", "wide", max_batch=500)
    pool(shelf, runtime, tmp_path).get(shelf.put(limits).id)
    assert max(runtime.graphs[0].batch_sizes) == len(limits.golden)


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


def test_warming_up_loads_what_was_asked_for_stable_or_not(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    trial = shelf.put(small_bundle(tmp_path / "d", "d"), stable=False)
    models_in = pool(shelf, runtime, tmp_path)
    assert models_in.warm_up([trial.id, uuid4(), models[1].id]) == ["d", "b"]
    assert models_in.used_mb == 20


def test_warming_up_where_nothing_was_asked_for_loads_one_stable_model(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    shelf.put(small_bundle(tmp_path / "0", "0"), stable=False)
    models_in = pool(shelf, runtime, tmp_path)
    assert models_in.warm_up() == ["a"]
    assert models_in.used_mb == 10


def test_warming_up_where_nothing_was_asked_for_loads_a_small_model(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    shelf.put(small_bundle(tmp_path / "d", "d", max_batch=1024))
    assert pool(shelf, runtime, tmp_path).warm_up() == ["d"]


def test_a_model_whose_result_schema_cannot_be_read_is_refused(
    shelf: Shelf,
    runtime: CountingRuntime,
    models: list[PublishedModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(type(models[0].pipeline), "result_schema", lambda _self: None)
    with pytest.raises(ModelRefused, match="its result schema cannot be read"):
        pool(shelf, runtime, tmp_path).get(models[0].id)


def test_warming_up_loads_another_model_where_none_that_was_asked_for_can_be_loaded(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    runtime.load_faults = [RuntimeError("an operator that this build does not have")]
    assert pool(shelf, runtime, tmp_path).warm_up([models[2].id]) == ["a"]


def test_warming_up_drives_out_no_model_it_has_loaded(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path, budget_mb=25)
    warmed = models_in.warm_up([model.id for model in models])
    before = len(runtime.graphs)
    for model in models:
        if model.name in warmed:
            models_in.get(model.id)
    assert len(runtime.graphs) == before


@pytest.mark.parametrize("provider", [CPU, CUDA])
def test_a_model_that_answers_its_golden_cases_differently_here_is_refused_by_name(
    provider: str, shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    told: list[Mapping[str, Refusal]] = []
    runtime.provider, runtime.off_by = provider, 0.01
    models_in = pool(shelf, runtime, tmp_path, refusals=Refusals(told.append))
    with pytest.raises(ModelRefused, match=f"a 1.0.0: its golden cases come out differently on {provider}"):
        models_in.get(models[0].id)
    assert [list(each) for each in told] == [["a 1.0.0"]]
    assert "golden_alone" in told[0]["a 1.0.0"].reason
    assert models_in.used_mb == 0
    assert REGISTRY.get_sample_value("medqueue_models_refused") == 1


def test_a_model_that_answers_differently_in_a_batch_is_refused(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    runtime.off_by, runtime.off_from = 0.01, 2
    with pytest.raises(ModelRefused, match="golden_batched"):
        pool(shelf, runtime, tmp_path).get(models[0].id)


def test_a_model_within_its_golden_tolerance_is_not_refused(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    runtime.off_by = 1e-5
    assert pool(shelf, runtime, tmp_path).get(models[0].id).model == models[0]


def test_the_golden_cases_are_compared_in_batches_that_fit(shelf: Shelf, tmp_path: Path) -> None:
    runtime = CountingRuntime(faults={4: OutOfMemory()})
    model = shelf.put(small_bundle(tmp_path / "big", "big", max_batch=64))
    loaded = pool(shelf, runtime, tmp_path).get(model.id)
    assert loaded.batch_limit == 2
    assert max(runtime.graphs[0].batch_sizes[-10:]) == 2


def test_a_refused_model_is_tried_again_after_a_while_and_then_used(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    now, told = [0.0], list[Mapping[str, Refusal]]()
    models_in = pool(shelf, runtime, tmp_path, refusals=Refusals(told.append, clock=lambda: now[0]))
    runtime.off_by = 0.01
    for _ in range(3):
        with pytest.raises(ModelRefused):
            models_in.get(models[0].id)
    assert (len(runtime.graphs), models_in.scorable()) == (1, [models[1].id, models[2].id])
    runtime.off_by, now[0] = 0.0, REFUSED_S
    assert models_in.get(models[0].id).model == models[0]
    assert told[-1] == {}
    assert models_in.scorable() is None


def test_warming_up_goes_on_behind_a_model_that_is_refused(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    runtime.load_faults = [RuntimeError("an operator that this build does not have")]
    models_in = pool(shelf, runtime, tmp_path)
    assert models_in.warm_up([model.id for model in models]) == ["b", "c"]
    with pytest.raises(ModelRefused, match=r"cannot be loaded \(RuntimeError\)|cannot be loaded"):
        models_in.get(models[0].id)


def test_a_provider_that_is_gone_stops_the_warming_up_and_refuses_later(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path)
    runtime.load_faults = [ProviderUnavailable("missing driver"), ProviderUnavailable("missing driver")]
    with pytest.raises(ProviderUnavailable):
        models_in.warm_up([models[0].id])
    with pytest.raises(ModelRefused, match="missing driver"):
        models_in.get(models[0].id)


def test_a_model_takes_the_place_of_others_when_the_device_has_no_memory_left(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    models_in = pool(shelf, runtime, tmp_path)
    models_in.get(models[0].id)
    models_in.get(models[1].id)
    runtime.load_faults = [OutOfMemory()]
    assert models_in.get(models[2].id).model == models[2]
    assert models_in.used_mb == 20


def test_a_model_too_large_for_the_device_alone_is_refused(
    shelf: Shelf, models: list[PublishedModel], tmp_path: Path
) -> None:
    told: list[Mapping[str, Refusal]] = []
    runtime = CountingRuntime(faults={1: OutOfMemory()})
    with pytest.raises(ModelRefused, match="does not fit into memory, even alone"):
        pool(shelf, runtime, tmp_path, refusals=Refusals(told.append)).get(models[0].id)
    assert told[0]["a 1.0.0"].advice == MORE_MEMORY


@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_used_where_the_manifest_allows_it(
    allowed: bool, shelf: Shelf, runtime: CountingRuntime, tmp_path: Path
) -> None:
    model = shelf.put(small_bundle(tmp_path / "m", "m", allow_tf32=allowed))
    pool(shelf, runtime, tmp_path).get(model.id)
    assert runtime.may_use_tf32 == [allowed]


def test_a_model_whose_pipeline_is_not_installed_here_is_refused_and_others_load(
    shelf: Shelf, runtime: CountingRuntime, models: list[PublishedModel], tmp_path: Path
) -> None:
    folder = small_bundle(tmp_path / "own", "own").folder
    (folder / "manifest.toml").write_text(toml(manifest_table() | {"name": "own", "pipeline": "absent"}))
    astray = shelf.put(seal_bundle(folder))
    told: list[Mapping[str, Refusal]] = []
    models_in = pool(shelf, runtime, tmp_path, refusals=Refusals(told.append))
    with pytest.raises(ModelRefused, match="unknown_pipeline"):
        models_in.get(astray.id)
    assert told[0]["own 1.0.0"].advice == MEND
    assert astray.id in models_in.refusals.current()
    assert models_in.warm_up([astray.id, *(model.id for model in models)]) == ["a", "b", "c"]


def test_a_model_whose_files_its_pipeline_cannot_open_is_refused(
    shelf: Shelf, runtime: CountingRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = WORDS.replace('SideFile = "words.txt"', "str = 'x'").replace("read(parameters.words)", "b''")
    install(tmp_path, f"words-{uuid4().hex}", {"words": "{module}:load"}, source)
    folder = small_bundle(tmp_path / "own", "own").folder
    table = manifest_table() | {"name": "own", "pipeline": "words", "parameters": {}}
    (folder / "manifest.toml").write_text(toml(table))
    astray = shelf.put(seal_bundle(folder))
    told: list[Mapping[str, Refusal]] = []
    with pytest.raises(ModelRefused, match="bundle_not_opened"):
        pool(shelf, runtime, tmp_path, refusals=Refusals(told.append)).get(astray.id)
    assert told[0]["own 1.0.0"].advice == MEND
