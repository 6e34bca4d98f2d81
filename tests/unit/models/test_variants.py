"""Bundles of lower precision: sound, within the bounds of the manifest that they come from, or not written at all."""

import json
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from models.bundle import BundleRefused, Fault, bundled, read_bundle, renew_golden, seal_bundle
from models.checking import check_bundle
from models.golden_cases import GoldenCase, encode_cases
from models.pipelines import Case, load_pipeline, no_files
from models.precision import precision_of
from models.sandbox import CpuRun
from models.toml_text import toml_text
from models.variants import measuring
from models.variants.making import Gain, write_variant
from models.variants.measuring import LocalModel, largest
from models.variants.schemes import SCHEMES
from tests.unit.models.example_bundles import graph, manifest_table, toml, write_bundle

BREAST_CANCER = next(folder for folder in bundled() if folder.name == "breast-cancer-wisconsin")
VERSION = read_bundle(BREAST_CANCER).manifest.version


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "ROUND_S", 0.001)


def calibration() -> list[Case]:
    bundle = read_bundle(BREAST_CANCER)
    return list(encode_cases(answered(bundle.golden), load_pipeline(bundle.manifest, no_files)))


def answered(cases: Sequence[GoldenCase]) -> list[GoldenCase]:
    """Those without the foreign ones: static scales clip them, and what is clipped is no longer foreign."""
    return [case for case in cases if not case.expected["abstained"]]


def made(suffix: str, folder: Path, source: Path = BREAST_CANCER, **how: Any) -> Gain:
    scheme = SCHEMES[suffix]
    cases = calibration() if scheme.calibrated else []
    return write_variant(source, folder, scheme, calibration=cases, **how)[1]


def refused(suffix: str, folder: Path, source: Path = BREAST_CANCER, **how: Any) -> Fault:
    """The only fault for which a variant is refused. Nothing is left of it."""
    with pytest.raises(BundleRefused) as caught:
        made(suffix, folder, source, **how)
    assert list(folder.parent.glob(f"*{folder.name}*")) == []
    (fault,) = caught.value.faults
    return fault


def table_of(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "manifest.toml").read_text())


def changed(folder: Path, model: onnx.ModelProto | None = None, **runtime: Any) -> Path:
    """The bundle of tests with another graph, or other limits, and golden answers of its own."""
    write_bundle(folder)
    (folder / "manifest.toml").write_text(toml(manifest_table() | {"runtime": runtime}))
    if model is not None:
        onnx.save(model, str(folder / "model.onnx"))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundled model that allows more than others: calibrated with its few golden cases, it deviates by 0.04."""
    folder = tmp_path_factory.mktemp("source") / "bundle"
    shutil.copytree(BREAST_CANCER, folder)
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("[runtime]\n", "[runtime]\nvariant_tolerance = 0.05\n"))
    golden = json.loads((folder / "golden.json").read_text())
    golden["cases"] = [case for case in golden["cases"] if not case["expected"]["abstained"]]
    (folder / "golden.json").write_text(json.dumps(golden))
    seal_bundle(folder)
    return folder


@pytest.mark.parametrize("suffix", SCHEMES)
def test_a_variant_is_a_sound_bundle_that_says_its_precision_and_answers_as_the_original(
    suffix: str, source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "variant"
    gain = made(suffix, folder, source)
    original, variant = read_bundle(source), read_bundle(folder)
    assert variant.manifest.version == f"{original.manifest.version}-{suffix}"
    assert variant.manifest.runtime.precision == SCHEMES[suffix].precision
    assert precision_of([folder / "model.onnx"]) == SCHEMES[suffix].precision
    assert [case.expected for case in variant.golden] == [case.expected for case in original.golden]
    assert {case.tolerance for case in variant.golden} == {gain.tolerance} == {0.05}
    assert 0 < gain.deviation.value <= gain.tolerance
    assert gain.bytes_after < gain.bytes_before == (source / "model.onnx").stat().st_size
    assert gain.bytes_after == (folder / "model.onnx").stat().st_size
    assert variant.card.startswith(original.card.rstrip())
    assert f"{original.manifest.version} ({original.digest})" in variant.card
    assert variant.manifest.metrics["measured_on"] == original.manifest.version

    dynamic = suffix == "int8-dynamic"
    assert table_of(folder).get("graph", {}).get("row_by_row", False) is dynamic
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("row_by_row = true\n", "row_by_row = false\n"))
    seal_bundle(folder)
    mixed = {fault.code for fault in check_bundle(folder)} & {"golden_batched", "golden_reordered"}
    assert bool(mixed) is dynamic


@pytest.mark.parametrize("ticks", [1, 5])
def test_cpu_time_is_of_one_case(ticks: int, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that advances by a second each time it is read, or each fifth time, as a kernel's does by whole ticks."""
    readings = count()
    monkeypatch.setattr("time.process_time", lambda: float(next(readings) // ticks * ticks))
    model = LocalModel(source)
    cases = encode_cases(read_bundle(source).golden, model.pipeline)
    rows = min(measuring.MOST_ROWS, model.manifest.runtime.max_batch)
    before, after = measuring.cpu_ms([model, model], cases)
    assert before == after == pytest.approx(1000 / rows, rel=0.5 * (ticks > 1))


def test_static_scales_come_from_the_calibration(source: Path, tmp_path: Path) -> None:
    """With the scales of one unremarkable case, larger numbers are clipped."""
    with pytest.raises(BundleRefused) as caught:
        write_variant(source, tmp_path / "v", SCHEMES["int8-static"], calibration=calibration()[3:4])
    assert caught.value.faults[0].code == "variant_deviates"


def test_a_variant_that_deviates_more_than_the_manifest_allows_is_not_written(tmp_path: Path) -> None:
    source = changed(tmp_path / "source", variant_tolerance=1e-6)
    fault = refused("fp16", tmp_path / "variant", source)
    assert (fault.code, "`runtime.variant_tolerance` allows 1e-06" in fault.detail) == (
        "variant_deviates",
        True,
    )


def large_and_back() -> onnx.ModelProto:
    """The model of tests with numbers up to 3,000,000 between, which float16 does not hold."""
    extra = [
        helper.make_node("MatMul", ["logit", "wide"], ["eight"]),
        helper.make_node("MatMul", ["eight", "narrow"], ["one"]),
        helper.make_node("Mul", ["one", "times"], ["large"]),
        helper.make_node("Div", ["large", "times"], ["mixed"]),
    ]
    model = graph(extra)
    added = {"wide": np.ones((1, 8)), "narrow": np.full((8, 1), 1 / 8), "times": np.array([3e4])}
    model.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in added.items()
    )
    return model


def test_what_overflows_float16_at_the_limits_of_the_inputs_stays_in_float32(tmp_path: Path) -> None:
    source = changed(tmp_path / "source", large_and_back())
    gain = made("fp16", tmp_path / "variant", source)
    assert gain.said == SCHEMES["fp16"].attempts[1].said
    kept = onnx.load(str(tmp_path / "variant" / "model.onnx")).graph.initializer
    assert {each.name for each in kept if each.data_type == onnx.TensorProto.FLOAT} >= {"times"}
    only_first = replace(SCHEMES["fp16"], attempts=SCHEMES["fp16"].attempts[:1])
    with pytest.raises(BundleRefused) as caught:
        write_variant(source, tmp_path / "other", only_first)
    assert caught.value.faults[0].code == "variant_deviates"


def test_a_bundle_of_few_weights_is_not_worth_eight_bits(tmp_path: Path) -> None:
    fault = refused("int8", tmp_path / "variant", write_bundle(tmp_path / "source"))
    assert (fault.place, fault.code) == ("model.onnx", "variant_gains_nothing")


def test_static_scales_that_hide_what_is_foreign_make_no_variant(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(BREAST_CANCER, source)
    manifest = source / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("[runtime]\n", "[runtime]\nvariant_tolerance = 0.05\n"))
    seal_bundle(source)
    fault = refused("int8-static", tmp_path / "variant", source)
    assert (fault.code, "differs at /label" in fault.detail) == ("variant_deviates", True)


def test_no_variant_is_made_of_a_variant_whatever_its_manifest_states(tmp_path: Path) -> None:
    source = tmp_path / "source"
    made("int8", source)
    manifest = source / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('precision = "int8"\n', ""))
    seal_bundle(source)
    fault = refused("fp16", tmp_path / "variant", source)
    assert (fault.code, "int8 already" in fault.detail) == ("variant_of_variant", True)


def test_a_variant_has_another_version_than_the_original(tmp_path: Path) -> None:
    assert refused("fp16", tmp_path / "variant", version=VERSION).code == "variant_version"


def test_an_old_graph_has_to_be_exported_again_for_eight_bits(tmp_path: Path) -> None:
    old = graph()
    old.opset_import[0].version = 12
    old.ir_version = 7
    source = changed(tmp_path / "source", old)
    assert refused("int8", tmp_path / "variant", source).code == "variant_operator_set"


def test_weights_in_another_file_have_to_be_loaded_into_the_graph(tmp_path: Path) -> None:
    source = changed(tmp_path / "source")
    onnx.save(
        graph(), str(source / "model.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0
    )  # fmt: skip
    seal_bundle(source)
    assert refused("fp16", tmp_path / "variant", source).code == "variant_external_data"


def test_a_bundle_that_is_not_sound_has_no_variant(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "source")
    (source / "CARD.md").write_text("# Another card\n")
    assert refused("fp16", tmp_path / "variant", source).place == "CARD.md"


def test_no_folder_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "variant").mkdir()
    with pytest.raises(FileExistsError):
        made("fp16", tmp_path / "variant")


def test_measured_figures_replace_those_of_the_original(tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []

    def measure(original: LocalModel, variant: LocalModel) -> dict[str, float | str]:
        seen.extend([original.manifest.model_dump(), variant.manifest.model_dump()])
        return {"auc": 0.99, "cases": 20}

    made("fp16", tmp_path / "variant", measure=measure, version="2.0.0")
    assert [each["version"] for each in seen] == [VERSION, "2.0.0"]
    assert read_bundle(tmp_path / "variant").manifest.metrics == {"auc": 0.99, "cases": 20}
    assert "those of the variant: auc 0.99, cases 20" in (tmp_path / "variant" / "CARD.md").read_text()


def test_figures_that_lose_too_much_keep_the_variant_from_being_written(tmp_path: Path) -> None:
    def measure(*_: LocalModel) -> dict[str, float | str]:
        raise BundleRefused(Fault("metrics: AUC", "variant_loses", "it falls"))

    assert refused("fp16", tmp_path / "variant", measure=measure).code == "variant_loses"


def test_the_largest_deviation_is_of_numbers_and_infinite_for_anything_else() -> None:
    one = {"label": "ill", "probabilities": {"ill": 0.75, "well": 0.25}, "parts": [1, 2], "sure": True}
    close = {"label": "ill", "probabilities": {"ill": 0.5, "well": 0.125}, "parts": [1, 2], "sure": True}
    found = largest([one, None, one], [one, close, close])
    assert (found.value, found.case, found.place) == (0.25, 2, "/probabilities/ill")
    for other in ({"label": "well"}, {"parts": [1]}, {"parts": [1, "2"]}, {"sure": 1}, {"sure": False}):
        assert largest([one], [one | other]).value == float("inf")
    assert largest([one], [None]).value == float("inf")
    assert largest([{"a": 1.0}], [{"a": float("nan")}]).value == float("inf")


@pytest.mark.parametrize("folder", bundled(), ids=lambda folder: folder.name)
def test_a_manifest_that_was_written_again_says_the_same(folder: Path) -> None:
    table = table_of(folder)
    assert tomllib.loads(toml_text(table)) == table


def test_texts_with_quotes_and_keys_with_blanks_are_written_as_toml_has_them() -> None:
    table = {"a": 'say "no"\n\t\\', "é b": {"c.d": [1, -2.5, True], "e": [{"x": "y"}, {}]}}
    assert tomllib.loads(toml_text(table | {"none": None})) == table
