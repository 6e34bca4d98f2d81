"""Tables with words as scikit-learn exports them: published unchanged, and answered as scikit-learn itself does."""

import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from models.bundle import fitted, renew_golden, seal_bundle
from models.checking import check_bundle, publishable
from models.golden import answer
from models.manifest import BundleRefused, ModelManifest
from models.pipelines import Case, InputRejected, load_pipeline
from models.sandbox import CpuRun
from tests.unit.models.test_foreign_graphs import FILES, MOST_LINES

PREDICTED: dict[str, list[dict[str, Any]]] = json.loads((FILES / "predicted.json").read_text())
# Inputs beside those predicted, of which too few differ.
FURTHER: dict[str, list[dict[str, Any]]] = {
    "sklearn-ordinal": [{"sex": "male", "site": "leg, lower"}],
    "sklearn-text": [{"note": "chest pain"}],
}
STAGES = ["early", "late", "distant"]
SEX = '{ name = "sex", title = "Sex", type = "category", values = ["female", "male"] }'
SITE = '{ name = "site", title = "Site", type = "category", values = ["Arm", "Rücken", "leg, lower"] }'
AGE = '{ name = "age", title = "Age", unit = "a", maximum = 120.0 }'
VISITS = '{ name = "visits", title = "Visits", type = "integer", minimum = 0, maximum = 99 }'
SMOKER = '{ name = "smoker", title = "Smoker", type = "boolean" }'
STAGE = '{ name = "stage", title = "Stage", type = "category", values = ["early", "late", "distant"], as = "index" }'
NOTE = '{ name = "note", title = "Note", type = "text", max_length = 200 }'

# File -> its [graph] table, its labels, its features.
FOREIGN = {
    "sklearn-columns": ("", '["low", "high"]', [AGE, VISITS, SEX, SITE]),
    "sklearn-ordinal": (
        'inputs.features = "X"\noutputs.probabilities = "output_probability"',
        '["high", "low"]',
        [SEX, SITE],
    ),
    "sklearn-codes": ("", '["low", "high"]', [AGE, SMOKER, STAGE]),
    "sklearn-text": ('inputs.note = "text_in"', '["low", "high"]', [NOTE]),
}


def manifest_of(name: str, graph: str, labels: str, features: list[str]) -> str:
    table = f"[graph]\n{graph}\n" if graph else ""
    return f"""\
name = "{name}"
version = "1.0.0"
kind = "diagnosis"
pipeline = "tabular-classification"
title = "Somebody else's model"
summary = "Published as it came."
license = "CC0-1.0"
{table}[parameters]
labels = {labels}
features = [{", ".join(features)}]
"""


def test_the_example_of_the_documents_serves_what_it_speaks_of(tmp_path: Path) -> None:
    """docs/models.md, "Tables with words", of the graph with an input for each column."""
    page = (FILES.parents[3] / "docs" / "models.md").read_text()
    [block] = re.findall(r"```toml\n(.*?)```", page.split("## Tables with words\n")[1], re.DOTALL)[:1]
    folder = write(tmp_path, "sklearn-columns")
    head = manifest_of("sklearn-columns", *FOREIGN["sklearn-columns"]).split("[parameters]")[0]
    (folder / "manifest.toml").write_text(head + block)
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    publishable(folder, CpuRun())


def inputs(name: str) -> list[dict[str, Any]]:
    """The inputs of a foreign file, as scikit-learn was given them."""
    return [case["input"] for case in PREDICTED[name]] + FURTHER.get(name, [])


def sent(given: dict[str, Any]) -> dict[str, Any]:
    """What a caller sends of an input: scikit-learn was given the stage as its number."""
    return given if "stage" not in given else {**given, "stage": STAGES[given["stage"]]}


def write(folder: Path, name: str, **changes: Any) -> Path:
    graph, labels, features = FOREIGN[name]
    folder.mkdir(parents=True, exist_ok=True)
    text = manifest_of(name, changes.get("graph", graph), labels, changes.get("features", features))
    (folder / "manifest.toml").write_text(text)
    (folder / "model.onnx").write_bytes((FILES / f"{name}.onnx").read_bytes())
    (folder / "CARD.md").write_text("# Somebody else's model\n")
    cases = [{"input": sent(each), "expected": {}} for each in inputs(name)]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    return folder


def published(folder: Path, name: str) -> Path:
    write(folder, name)
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_table_with_words_is_published_unchanged(name: str, tmp_path: Path) -> None:
    assert len(manifest_of(name, *FOREIGN[name]).splitlines()) <= MOST_LINES
    bundle = publishable(published(tmp_path, name), CpuRun())
    assert bundle.model_path.read_bytes() == (FILES / f"{name}.onnx").read_bytes()


@pytest.mark.parametrize("name", FOREIGN)
def test_its_probabilities_are_those_that_scikit_learn_predicts(name: str, tmp_path: Path) -> None:
    manifest = publishable(published(tmp_path, name), CpuRun()).manifest
    pipeline = load_pipeline(manifest)
    cases = [Case(pipeline.encode(sent(case["input"]))) for case in PREDICTED[name]]
    assert len(cases) == 12
    results = answer(cases, pipeline.open(tmp_path), fitted(tmp_path, manifest, pipeline, CpuRun()))
    for predicted, found in zip(PREDICTED[name], results, strict=True):
        shares = found["probabilities"]
        assert isinstance(shares, dict)
        assert list(shares.values()) == pytest.approx(predicted["probabilities"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "field", "value", "code", "detail"),
    [
        ("sklearn-columns", "sex", "Female", "not_allowed",
         'sex must be one of "female", "male". Did you mean "female"?'),
        ("sklearn-columns", "site", "nose", "not_allowed",
         'site must be one of "Arm", "Rücken", "leg, lower".'),
        ("sklearn-ordinal", "site", "", "not_allowed", 'site must be one of "Arm", "Rücken", "leg, lower".'),
        ("sklearn-codes", "stage", "terminal", "not_allowed",
         'stage must be one of "early", "late", "distant".'),
        ("sklearn-codes", "stage", 1, "wrong_type",
         'stage must be a text, one of "early", "late", "distant".'),
        ("sklearn-columns", "visits", 2.5, "wrong_type",
         "visits must be a whole number between 0 and 99."),
    ],
)  # fmt: skip
def test_a_value_that_the_graph_was_not_made_for_is_refused(
    name: str, field: str, value: object, code: str, detail: str
) -> None:
    pipeline = load_pipeline(ModelManifest.parse(manifest_of(name, *FOREIGN[name])))
    with pytest.raises(InputRejected) as caught:
        pipeline.encode({**sent(PREDICTED[name][0]["input"]), field: value})
    assert [(each.pointer, each.code, each.detail) for each in caught.value.faults] == [
        (f"/{field}", code, detail)
    ]


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("sklearn-columns", {"features": [AGE, VISITS, SEX]}, ["no feed 'site'"]),
        ("sklearn-columns", {"features": [AGE, VISITS, SEX, SITE, NOTE]}, ["'note' is missing"]),
        ("sklearn-columns", {"features": [AGE, VISITS, SEX, STAGE], "graph": 'inputs.stage = "site"'},
         ["'stage' has another element type, string, which int32 does not convert to",
          'without `as = "index"`']),
        ("sklearn-codes", {"features": [AGE, SMOKER, STAGE.replace(', as = "index"', "")]},
         ["'stage' has another element type, int64, which string does not convert to",
          'with `as = "index"`']),
        ("sklearn-codes", {"features": [AGE, SMOKER, AGE.replace('"age"', '"stage"')]},
         ["'stage' has another element type, int64", '`type = "integer"`']),
        ("sklearn-ordinal", {"features": [SEX, SITE, NOTE]}, ["'features' has another shape"]),
        ("sklearn-ordinal", {"graph": 'inputs.sex = "X"\ninputs.site = "Y"\noutputs.probabilities = "output_probability"'},
         ["to 'Y', and the graph's inputs are 'X': correct the key `inputs.site`", "'sex' has another shape"]),
        ("sklearn-text", {"graph": 'inputs.notes = "text_in"'},
         ["the pipeline knows no 'notes'; it has 'features', 'note': rename the key `inputs.notes`"]),
    ],
)  # fmt: skip
def test_features_that_do_not_meet_the_graph_are_refused_by_their_key(
    name: str, changes: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    write(tmp_path, name, **changes)
    faults = [
        fault for fault in check_bundle(tmp_path, CpuRun()) if fault.place == "manifest.toml: graph.inputs"
    ]
    for part in words:
        assert any(part in fault.detail for fault in faults), (part, faults)


@pytest.mark.parametrize(
    ("feature", "found"),
    [
        (STAGE.replace(" }", ", required = false, missing = 0 }"), []),
        (STAGE.replace(" }", ", required = false, missing = -1 }"), ["probe_failed"]),
        (STAGE.replace('"distant"]', '"distant", "unknown"]'), ["values_unknown"]),
    ],
)
def test_what_stands_for_an_absent_value_and_each_category_must_be_known_to_the_graph(
    feature: str, found: list[str], tmp_path: Path
) -> None:
    write(tmp_path, "sklearn-codes", features=[AGE, SMOKER, feature])
    renew_golden(tmp_path, CpuRun())
    seal_bundle(tmp_path)
    assert [fault.code for fault in check_bundle(tmp_path)] == found  # in a sandbox, as publishing runs it


def test_scores_beyond_probabilities_are_found_for_categories_too(tmp_path: Path) -> None:
    """The probe asks for each value; this graph answers a logit that the golden cases keep within 0 and 1."""
    folder = write(tmp_path, "sklearn-codes")
    grades = ["I", "II", "III", "IV", "V", "VI"]
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Constant", [], ["last"], value_float=float(len(grades) - 2)),
        helper.make_node("Cast", ["stage"], ["place"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["place", "last"], ["number"]),
        helper.make_node("Sub", ["one", "number"], ["rest"]),
        helper.make_node("Concat", ["rest", "number"], ["scores"], axis=1),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("stage", TensorProto.INT64, ["n", 1])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, folder / "model.onnx")
    text = manifest_of(
        "codes",
        'outputs.probabilities = "scores"',
        '["low", "high"]',
        [STAGE.replace(json.dumps(STAGES), json.dumps(grades))],
    )
    (folder / "manifest.toml").write_text(text)
    cases = [{"input": {"stage": grade}} for grade in grades[:-1]]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    with pytest.raises(BundleRefused) as caught:
        publishable(folder, CpuRun())
    assert [fault.code for fault in caught.value.faults] == ["not_a_probability"]
