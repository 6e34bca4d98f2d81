"""`medqueue models quantize`: what it prints, which figures it compares, and what it refuses to read."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from models.bundle import BundleRefused, bundled, read_bundle, seal_bundle, side_files
from models.pipelines import load_pipeline
from models.variants import measuring
from models.variants.measuring import LocalModel
from service.cli import main
from service.cli.evaluation.local import read_cases
from service.cli.evaluation.losses import Loss, as_metrics, check_losses, losses

NAME = "breast-cancer-wisconsin"
FOLDER = next(folder for folder in bundled() if folder.name == NAME)
VERSION = read_bundle(FOLDER).manifest.version
CASES = [
    {"input": case.input, "expected": case.expected["label"]}
    for case in read_bundle(FOLDER).golden
    if case.expected["label"] is not None
]

Captured = pytest.CaptureFixture[str]
Run = Callable[..., int]


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "ROUND_S", 0.001)


@pytest.fixture
def quantize(tmp_path: Path) -> Run:
    def run(*words: str, source: str = NAME) -> int:
        return main(["models", "quantize", source, "--out", str(tmp_path / "variant"), *words])

    return run


def lines(path: Path, *cases: Any) -> str:
    path.write_text("".join(json.dumps(case) + "\n" for case in cases))
    return str(path)


def table(path: Path) -> str:
    """The labelled cases as a table with a column `is`, where M is malignant."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*CASES[0]["input"], "is"])
        writer.writerows([*case["input"].values(), case["expected"][0].upper()] for case in CASES)
    return str(path)


def test_sizes_times_deviation_and_figures_are_printed(
    quantize: Run, tmp_path: Path, capsys: Captured
) -> None:
    data = table(tmp_path / "ward.csv")
    words = ("--data", data, "--label", "is", "--value", "M=malignant", "--value", "B=benign")
    assert quantize("--to", "int8", *words) == 0
    shown = capsys.readouterr().out
    assert f"version       {VERSION}-int8\n" in shown
    assert "MB (-" in shown
    assert "CPU per item" in shown
    assert "; 0.01 is allowed" in shown
    assert "sensitivity" in shown
    figures = read_bundle(tmp_path / "variant").manifest.metrics
    assert figures.keys() >= {"auc", "sensitivity", "brier_score", "share_answered"}
    assert (figures["cases"], figures["measured_with"]) == (len(CASES), "ward.csv")


def test_a_program_gets_the_same_as_a_document(quantize: Run, tmp_path: Path, capsys: Captured) -> None:
    calibration = lines(tmp_path / "typical.ndjson", *({"input": case["input"]} for case in CASES))
    source = tmp_path / "source"
    source.mkdir()
    for path in FOLDER.iterdir():
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    manifest = source / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("[runtime]\n", "[runtime]\nvariant_tolerance = 0.05\n"))
    golden = json.loads((source / "golden.json").read_text())
    golden["cases"] = [case for case in golden["cases"] if not case["expected"]["abstained"]]
    (source / "golden.json").write_text(json.dumps(golden))
    seal_bundle(source)
    assert quantize("--to", "int8", "--calibration", calibration, "--json", source=str(source)) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["precision"]) == (f"{VERSION}-int8-static", "int8")
    assert found["digest"] == read_bundle(tmp_path / "variant").digest
    assert found["bytes"]["after"] < found["bytes"]["before"]
    assert 0.01 < found["deviation"]["largest"] <= found["deviation"]["allowed"] == 0.05
    assert found["figures"] == []


def test_dynamic_scales_are_told_to_need_rows_alone(quantize: Run, capsys: Captured) -> None:
    assert quantize("--to", "int8", "--dynamic") == 0
    assert "Rows are run one by one" in capsys.readouterr().err


def test_what_a_manifest_does_not_allow_is_a_fault_and_no_variant(
    quantize: Run, tmp_path: Path, capsys: Captured
) -> None:
    assert quantize("--to", "int8", "--version", VERSION) == 1
    assert "variant_version" in capsys.readouterr().out
    assert not (tmp_path / "variant").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--to", "fp16", "--dynamic"), "are for --to int8"),
        (("--to", "int8", "--dynamic", "--calibration", "{data}"), "choose it or --dynamic"),
        (("--to", "int8", "--calibration", "{data}.missing"), "does not exist"),
        (("--to", "int8", "--calibration", "{empty}"), "is empty: it needs"),
        (("--to", "fp16", "--label", "is"), "--data"),
        (("--to", "fp16", "--data", "{table}"), "--label COLUMN"),
        (("--to", "fp16", "--data", "{table}", "--label", "was"), "There is no column was"),
        (("--to", "fp16", "--data", "{table}", "--label", "is"), "--value VALUE=LABEL"),
        (("--to", "fp16", "--data", "{unlabelled}"), "a case without a truth"),
        (("--to", "fp16", "--data", "{wrong}"), "line 2 is no input of the model: /mean_radius"),
        (("--to", "fp16", "--data", "{text}"), "line 1 is not an object"),
        (("--to", "fp32"), "'fp32' is not one of"),
    ],
)
def test_what_cannot_be_read_is_refused_and_no_variant_written(
    words: tuple[str, ...], reason: str, quantize: Run, tmp_path: Path, capsys: Captured
) -> None:
    wrong = {"input": CASES[0]["input"] | {"mean_radius": -1}, "expected": "benign"}
    files = {
        "data": lines(tmp_path / "data.ndjson", *CASES),
        "empty": lines(tmp_path / "empty.ndjson"),
        "table": table(tmp_path / "table.csv"),
        "unlabelled": lines(tmp_path / "unlabelled.ndjson", {"input": CASES[0]["input"]}),
        "wrong": lines(tmp_path / "wrong.ndjson", CASES[0], wrong),
        "text": lines(tmp_path / "text.ndjson", "a text"),
    }
    assert quantize(*(word.format(**files) for word in words)) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "variant").exists()


def test_a_folder_that_exists_and_a_bundle_that_does_not_are_refused(
    quantize: Run, tmp_path: Path, capsys: Captured
) -> None:
    assert quantize("--to", "fp16", source="no-such-bundle") == 2
    assert "neither a bundled model nor a folder" in capsys.readouterr().err
    (tmp_path / "variant").mkdir()
    assert quantize("--to", "fp16") == 2
    assert "is there already" in capsys.readouterr().err


def test_a_table_and_lines_are_read_alike(tmp_path: Path) -> None:
    model = LocalModel(FOLDER)
    rows = read_cases(Path(table(tmp_path / "a.csv")), model.pipeline, "is")
    told = read_cases(Path(lines(tmp_path / "a.ndjson", *CASES)), model.pipeline, None)
    assert [each.case for each in rows] == [each.case for each in told]
    assert [each.truth for each in rows] == [each.truth[0].upper() for each in told]
    assert rows[1].place == "row 2"


def test_files_of_a_folder_are_read_and_an_odd_one_is_named(tmp_path: Path) -> None:
    folder = next(each for each in bundled() if each.name == "pneumonia-xray-28")
    bundle = read_bundle(folder)
    pipeline = load_pipeline(bundle.manifest, side_files(folder))
    (tmp_path / "normal").mkdir()
    odd = tmp_path / "normal" / "b.png"
    odd.write_bytes(b"no image")
    with pytest.raises(click.UsageError, match=r"b\.png is no input of the model"):
        read_cases(tmp_path, pipeline, None)


def test_files_with_an_index_are_read_with_their_truth(tmp_path: Path) -> None:
    folder = next(each for each in bundled() if each.name == "pneumonia-xray-28")
    pipeline = load_pipeline(read_bundle(folder).manifest, side_files(folder))
    Image.new("L", (40, 36), 100).save(tmp_path / "a.png")
    lines(tmp_path / "index.ndjson", {"file": "a.png", "expected": "normal"})
    (case,) = read_cases(tmp_path, pipeline, None)
    assert (case.place, case.truth) == ("a.png", "normal")


def test_figures_of_equal_models_lose_nothing_and_those_of_a_worse_one_do(tmp_path: Path) -> None:
    model = LocalModel(FOLDER)
    cases = read_cases(Path(lines(tmp_path / "a.ndjson", *CASES)), model.pipeline, None)
    found = losses(model, model, cases, {})
    assert {each.name for each in found} >= {"AUC", "accuracy", "share answered"}
    assert {each.loss for each in found} == {0}
    check_losses(found, 0)


@pytest.mark.parametrize(
    ("name", "before", "after", "loss"),
    [
        ("AUC", 0.9, 0.8, 0.1),
        ("AUC", 0.8, 0.9, -0.1),
        ("AUC", 0.9, None, float("inf")),
        ("count error of cells in an image", 0.1, 0.2, 0.1),
        ("Dice of refractive error", 0.9, 0.8, 0.1),
        ("share answered", 0.9, 0.8, 0.1),
        ("share answered", 0.8, 0.9, 0.1),
        ("Brier score", 0.1, 0.2, 0.1),
        ("solubility: root mean squared error", 20.0, 21.0, 0.05),
    ],
)
def test_a_loss_is_what_is_worse_and_a_share_of_figures_above_one(
    name: str, before: float, after: float | None, loss: float
) -> None:
    found = Loss(name, before, after)
    assert found.loss == pytest.approx(loss)
    if loss <= 0:
        check_losses([found], 0)
        return
    with pytest.raises(BundleRefused) as caught:
        check_losses([found], loss * 0.99 if after is not None else 1e9)
    assert caught.value.faults[0].code == "variant_loses"
    assert caught.value.faults[0].place == f"metrics: {name}"


def test_figures_become_metrics_of_the_manifest() -> None:
    found = [Loss("AUC, mean of one against the rest", 0.9, 0.876543), Loss("F1", 0.5, None)]
    assert as_metrics(found, 7, "a.csv") == {
        "auc_mean_of_one_against_the_rest": 0.87654,
        "cases": 7,
        "measured_with": "a.csv",
    }
