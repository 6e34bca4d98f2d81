"""Bundles of written rules: no graph, no ONNX file, and golden cases that are compared all the same."""

from pathlib import Path
from typing import Any

import pytest

from models.bundle import read_bundle, seal_bundle
from models.checking import check_bundle
from models.manifest import ManifestInvalid, ModelManifest
from service.cli import main
from tests.unit.models.example_bundles import manifest_table, told, toml, write_bundle
from tests.unit.models.example_rules import write_rules

RULES = 'method = "rules"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good bundle of rules, sealed."""
    monkeypatch.syspath_prepend(tmp_path)
    return write_rules(tmp_path / "bundle", tmp_path)


def test_a_bundle_of_rules_is_publishable_without_a_graph(folder: Path) -> None:
    assert check_bundle(folder) == []
    assert read_bundle(folder).graph_paths == {}
    assert {path.name for path in folder.iterdir()} == {"manifest.toml", "golden.json", "CARD.md"}


def test_a_changed_rule_fails_its_golden_cases(folder: Path) -> None:
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("12.0", "2.0"))
    seal_bundle(folder)
    assert {fault.code for fault in check_bundle(folder)} == {"golden_alone"}


def test_a_bundle_of_a_pipeline_without_graphs_has_to_say_that_rules_answer(folder: Path) -> None:
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(RULES, ""))
    assert ("manifest.toml: method", "graph_name_unknown") in told(check_bundle(folder))


def test_a_bundle_of_a_pipeline_with_graphs_cannot_say_that_rules_answer(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "dose-effect")
    (folder / "manifest.toml").write_text(toml(manifest_table() | {"method": "rules"}))
    (folder / "model.onnx").unlink()
    seal_bundle(folder)
    assert told(check_bundle(folder)) == {("manifest.toml: method", "graph_missing")}


def test_a_manifest_of_rules_with_a_graph_is_refused() -> None:
    tables: tuple[dict[str, Any], ...] = ({"graph": {}}, {"graphs": {"model": {}}})
    for graphs in tables:
        with pytest.raises(ManifestInvalid, match="remove"):
            ModelManifest.parse(toml(manifest_table() | {"method": "rules"} | graphs))


def test_the_faults_of_a_refused_manifest_of_rules_include_no_missing_graph(folder: Path) -> None:
    manifest = folder / "manifest.toml"
    manifest.write_text("unknown = 1\n" + manifest.read_text())
    assert told(check_bundle(folder)) == {("manifest.toml: unknown", "manifest_invalid")}


def test_the_method_is_stored_only_where_it_is_stated() -> None:
    stated = ModelManifest.model_validate(manifest_table() | {"method": "rules"})
    assert stated.model_dump(mode="json")["method"] == "rules"
    assert "method" not in ModelManifest.model_validate(manifest_table()).model_dump(mode="json")


def test_rules_have_no_variant_of_lower_precision(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "variant")
    assert main(["models", "quantize", str(folder), "--to", "fp16", "--out", out]) == 1
    assert "variant_gains_nothing" in "".join(capsys.readouterr())
