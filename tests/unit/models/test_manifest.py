"""The typed manifest: what it accepts, and how it words what it refuses."""

import json
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from models.manifest import (
    LONGEST_NAME,
    Fault,
    ManifestInvalid,
    ManifestTable,
    ModelManifest,
    is_name,
    parse_table,
    text_faults,
)
from tests.unit.models.example_bundles import manifest, manifest_table, told, toml


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(ManifestInvalid) as caught:
        ModelManifest.parse(text)
    assert all(place.startswith("manifest.toml") for place, _ in told(caught.value.faults))
    return caught.value.faults


def test_a_manifest_without_limits_gets_the_documented_ones() -> None:
    runtime = manifest().runtime
    assert (runtime.max_batch, runtime.max_wait_ms, runtime.run_timeout_s) == (64, 0, 30.0)
    assert (runtime.promised_s, runtime.tolerance, runtime.precision) == (60.0, 1e-5, None)


def test_a_manifest_written_as_toml_reads_as_its_table() -> None:
    assert ModelManifest.parse(toml(manifest_table())) == manifest()


def test_a_whole_number_stands_for_a_float() -> None:
    table = manifest_table() | {"runtime": {"run_timeout_s": 5}}
    assert ModelManifest.parse(toml(table)).runtime.run_timeout_s == 5.0


def test_tf32_is_stored_only_where_it_is_allowed() -> None:
    """The release before knows no such key, and reads what is stored while this one is rolled out."""
    allowed = ModelManifest.model_validate(manifest_table() | {"runtime": {"allow_tf32": True}})
    assert "allow_tf32" not in manifest().model_dump(mode="json")["runtime"]
    assert ModelManifest.model_validate(allowed.model_dump(mode="json")) == allowed


def test_a_manifest_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        manifest().name = "other"


@pytest.mark.parametrize(
    ("change", "place", "advice"),
    [
        ({"name": "Dose_Effect"}, "name", "lower-case letters and digits"),
        ({"version": "1.0"}, "version", "three numbers"),
        ({"kind": "oracle"}, "kind", "it must be 'diagnosis', 'recommendation' or 'generation'"),
        ({"title": ""}, "title", "it is empty"),
        ({"colour": "red"}, "colour", "remove this key"),
        ({"runtime": {"max_batch": "64"}}, "runtime.max_batch", "write a whole number"),
        ({"runtime": {"max_batch": 0}}, "runtime.max_batch", "at least 1"),
        ({"runtime": {"run_timeout_s": 0}}, "runtime.run_timeout_s", "greater than 0"),
        ({"runtime": {"precision": "fp8"}}, "runtime.precision", "'fp32'"),
        ({"runtime": {"patience": 1}}, "runtime.patience", "remove this key"),
        ({"metrics": {"auc": [1]}}, "metrics", "'auc' must be a finite number or a string"),
        ({"metrics": {"auc": True}}, "metrics", "'auc' must be a finite number or a string"),
        ({"files": {"CARD.md": "md5:00"}}, "files", "seal the bundle"),
    ],
)
def test_a_wrong_key_is_named_with_what_to_change(change: dict[str, Any], place: str, advice: str) -> None:
    faults = faults_of(toml(manifest_table() | change))
    assert {fault.code for fault in faults} == {"manifest_invalid"}
    assert any(place in fault.place and advice in fault.detail for fault in faults), faults


@pytest.mark.parametrize("key", ["name", "version", "kind", "pipeline", "title", "summary", "license"])
def test_a_missing_key_is_named(key: str) -> None:
    table = manifest_table()
    del table[key]
    assert faults_of(toml(table)) == (Fault(f"manifest.toml: {key}", "manifest_invalid", "add this key"),)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_limit_must_be_finite(number: str) -> None:
    [fault] = faults_of(toml(manifest_table()) + f"[runtime]\npromised_s = {number}\n")
    assert fault.place == "manifest.toml: runtime.promised_s"


def test_a_table_without_bounds_of_its_own_takes_no_nan_either() -> None:
    class Weight(ManifestTable):
        value: float

    with pytest.raises(ManifestInvalid, match="finite number"):
        parse_table(Weight, {"value": float("nan")})


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_figure_must_be_finite(number: str) -> None:
    [fault] = faults_of(toml(manifest_table()) + f"[metrics]\nauc = {number}\n")
    assert fault.place == "manifest.toml: metrics"
    assert fault.detail == "'auc' must be a finite number or a string"


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/etc/passwd",
        "a/../b",
        "a\\b",
        "C:x",
        ".hidden",
        "a//b",
        "",
        "a\nb",
        "./a",
        "a/",
        "\u202ea",
        "\u00e4",
    ],
)
def test_a_file_outside_the_bundle_is_refused(path: str) -> None:
    digest = f"sha256:{'0' * 64}"
    [fault] = faults_of(toml(manifest_table()) + f"[files]\n{json.dumps(path)} = '{digest}'\n")
    assert fault.place == "manifest.toml: files"
    assert "inside the bundle" in fault.detail


def test_side_files_in_folders_are_accepted() -> None:
    table = manifest_table() | {"files": {"vocabulary/words.v1.txt": f"sha256:{'0' * 64}"}}
    assert list(ModelManifest.parse(toml(table)).files) == ["vocabulary/words.v1.txt"]


def test_a_file_that_is_not_toml_says_where() -> None:
    [fault] = faults_of("name = dose")
    assert fault.code == "manifest_not_toml"
    assert "line 1" in fault.detail


def test_every_wrong_key_is_reported_at_once() -> None:
    table = manifest_table() | {"name": "A", "version": "x", "runtime": {"max_batch": -1}}
    assert len(faults_of(toml(table))) == 3


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"title": "a\x07b"}, "title"),
        ({"parameters": {"features": ["age", {"title": "a\x07b"}]}}, "parameters.features[1].title"),
        ({"parameters": {"a\x07b": 1}}, "parameters"),
        ({"parameters": {"a\x07b": {"title": "c\x07"}}}, "parameters.a?b.title"),
        ({"a\x07b": 1}, "the whole table"),
    ],
)
def test_a_control_character_is_named_with_its_place_wherever_it_stands(
    table: dict[str, Any], place: str
) -> None:
    advice = "a string contains the control character U+0007: remove it"
    faults = text_faults(table)
    assert Fault(f"manifest.toml: {place}", "manifest_invalid", advice) in faults
    assert {fault.detail for fault in faults} == {advice}


def test_tabs_and_line_ends_are_text() -> None:
    assert text_faults({"summary": "one\ttwo\nthree", "metrics": {"auc": 0.9, "shared": True}}) == []


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (f"number = {'9' * 5000}", "a number has too many digits"),
        ("deep = " + "[" * 5000 + "]" * 5000, "it is nested too deeply"),
    ],
)
def test_a_file_that_toml_cannot_hold_says_why(text: str, advice: str) -> None:
    assert faults_of(text) == (Fault("manifest.toml", "manifest_not_toml", advice),)


@pytest.mark.parametrize("path", ["../model.onnx", "/model.onnx", "a\\model.onnx", ""])
def test_a_graph_outside_the_bundle_is_refused(path: str) -> None:
    faults = faults_of(toml(manifest_table()) + f"[graph]\nfile = {json.dumps(path)}\n")
    assert any("inside the bundle" in fault.detail for fault in faults), faults


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("dose-effect-2", True),
        ("a" * LONGEST_NAME, True),
        ("a" * (LONGEST_NAME + 1), False),
        ("Dose", False),
        ("dose--effect", False),
        ("-dose", False),
        ("", False),
    ],
)
def test_a_model_is_called_by_lower_case_words(name: str, accepted: bool) -> None:
    assert is_name(name) is accepted


def test_a_figure_may_be_any_number_that_a_float_can_hold() -> None:
    table = manifest_table() | {
        "metrics": {"most": sys.float_info.max, "least": -sys.float_info.max, "whole": 3}
    }
    assert ModelManifest.parse(toml(table)).metrics == table["metrics"]
    [fault] = faults_of(toml(manifest_table()) + f"[metrics]\nauc = {10**309}\n")
    assert "'auc' must be a finite number" in fault.detail
