"""Golden cases: what must be in them, and what a batch must not change."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.golden import check_golden, check_inputs, renewed_golden
from models.golden_cases import GoldenFailed, encode_cases, parse_golden
from models.manifest import BundleRefused, Fault, parse_parameters
from models.pipelines import Answer, Array, Artifact, Case, Pipeline, Run, load_pipeline
from models.pipelines.tabular_classification import TabularClassification, TabularParameters
from tests.unit.models.example_bundles import golden_table, manifest, told
from tests.unit.models.example_images import gradient, png

PIPELINE = load_pipeline(manifest())
SCORING = PIPELINE.open(Path())
Outputs = dict[str, Array]


def score(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    """The model of example_bundles in numpy."""
    logit = feeds["features"] @ np.array([[0.1], [0.02]], np.float32) - 2
    return {"probability": (1 / (1 + np.exp(-logit))).astype(np.float32)}


def mixing_rows(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    """A graph that centres each batch on itself, as a forgotten batch normalisation does."""
    features = feeds["features"] - feeds["features"].mean(axis=0) + 20
    return score({"features": features if len(features) > 1 else feeds["features"]})


def knowing_the_order(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    """A graph that is right only while the rows come in ascending order."""
    rows = feeds["features"]
    return score({"features": rows if rows[0, 0] <= rows[-1, 0] else rows[::-1]})


def slightly_off_in_a_batch(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    return {"probability": score(feeds)["probability"] + np.float32(1e-4 * (len(feeds["features"]) > 1))}


def not_finite(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    return {"probability": np.full((len(feeds["features"]), 1), np.nan, np.float32)}


def too_few_rows(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    return {"probability": score(feeds)["probability"][:1]}


def without_the_output(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    return {"score": score(feeds)["probability"]}


def raising(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    raise MemoryError("out of memory")


def exiting(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    raise SystemExit(1)


GOOD = renewed_golden(json.dumps(golden_table()), PIPELINE, SCORING, score)


def faults_of(run: Any, text: str = GOOD, pipeline: Pipeline = PIPELINE) -> list[Fault]:
    faults = check_golden(parse_golden(text), pipeline, pipeline.open(Path()), 1e-5, run)
    assert all(place.startswith("golden.json") for place, _ in told(faults))
    return faults


class Counting:
    """The pipeline of the examples with whole numbers of any size in its answers."""

    def __init__(self, count: object) -> None:
        self.count = count

    def __getattr__(self, name: str) -> Any:
        return getattr(PIPELINE, name)

    def result_schema(self) -> dict[str, object]:
        return {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}

    def open(self, folder: Path) -> Any:
        return self

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        return [Answer({"count": self.count}) for _ in cases]


@pytest.mark.parametrize(("count", "stored"), [(2**63 - 1, True), (2**70, False), (float("nan"), False)])
def test_an_answer_that_fails_a_job_is_refused_as_a_golden_case(count: object, stored: bool) -> None:
    pipeline: Any = Counting(count)
    table = golden_table()
    for case in table["cases"]:
        case["expected"] = {"count": 2**70 if count == 2**70 else 2**63 - 1}
    found = told(check_golden(parse_golden(json.dumps(table)), pipeline, pipeline, 1e-5, score))
    assert (("golden.json: case 0", "golden_failed") in found) is not stored
    if stored:
        assert json.loads(renewed_golden(json.dumps(table), pipeline, pipeline, score)) == table
        return
    with pytest.raises(
        GoldenFailed, match=r"case 0: a job with this answer is refused \(prediction_invalid\)"
    ):
        renewed_golden(json.dumps(table), pipeline, pipeline, score)


def test_a_model_that_answers_as_written_has_no_faults() -> None:
    assert faults_of(score) == []


def test_a_wrong_answer_is_reported_once_though_it_fails_in_every_arrangement() -> None:
    table = json.loads(GOOD)
    table["cases"][2]["expected"]["probabilities"]["ill"] += 0.01
    faults = faults_of(score, json.dumps(table))
    assert [(fault.place, fault.code) for fault in faults] == [("golden.json: case 2", "golden_alone")]
    assert "/probabilities/ill is" in faults[0].detail


@pytest.mark.parametrize(
    ("run", "codes"),
    [
        (mixing_rows, {"golden_batched"}),
        (knowing_the_order, {"golden_reordered"}),
        (not_finite, {"golden_failed"}),
        (too_few_rows, {"golden_failed"}),
        (without_the_output, {"golden_failed"}),
        (raising, {"golden_failed"}),
        (exiting, {"golden_failed"}),
    ],
)
def test_a_model_that_fails_is_refused(run: Any, codes: set[str]) -> None:
    assert {fault.code for fault in faults_of(run)} == codes


def test_a_model_whose_artifacts_could_not_be_stored_is_refused() -> None:
    class Drawing:
        """A scoring half whose files have no good names."""

        def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
            """See Scoring."""
            mask = Artifact("Mask 1.png", "image/png", b"")
            return [answer._replace(artifacts=(mask,)) for answer in SCORING.score(run, cases)]

    (fault,) = check_golden(parse_golden(GOOD), PIPELINE, Drawing(), 1e-5, score)
    assert fault.code == "golden_failed"
    assert "another name than [a-z0-9]" in fault.detail


def test_a_case_has_the_artifacts_alone_that_it_has_in_a_batch_and_that_it_expects() -> None:
    class Drawing:
        """A scoring half that forgets a file in a batch."""

        def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
            """See Scoring."""
            files = [Artifact("mask.png", "image/png", b"x"), Artifact("note.txt", "text/plain", b"x")]
            made = tuple(files if len(cases) == 1 else files[:1])
            return [answer._replace(artifacts=made) for answer in SCORING.score(run, cases)]

    faults = check_golden(parse_golden(GOOD), PIPELINE, Drawing(), 1e-5, score)
    assert {fault.code for fault in faults} == {"golden_batched"}
    assert faults[0].detail.startswith("/artifacts has 1 entries, expected 2 as when scored alone")
    table = json.loads(GOOD)
    table["cases"][1]["expected"]["artifacts"] = [{"name": "mask.png"}, {"name": "note.csv"}]
    (alone, *_) = check_golden(parse_golden(json.dumps(table)), PIPELINE, Drawing(), 1e-5, score)
    assert (alone.code, alone.place) == ("golden_alone", "golden.json: case 1")
    assert "/artifacts/1/name is 'note.txt'" in alone.detail
    table["cases"][1]["expected"]["artifacts"] = [
        {"name": "mask.png", "media_type": "image/png"},
        {"name": "note.txt", "media_type": "text/csv"},
    ]
    (alone, *_) = check_golden(parse_golden(json.dumps(table)), PIPELINE, Drawing(), 1e-5, score)
    assert "/artifacts/1/media_type is 'text/plain'" in alone.detail


def test_a_batch_must_agree_with_its_rows_more_closely_than_with_the_expectation() -> None:
    faults = faults_of(slightly_off_in_a_batch, GOOD.replace('"input"', '"tolerance": 0.1, "input"'))
    assert {fault.code for fault in faults} == {"golden_batched"}
    assert "the manifest tolerates 1e-05" in faults[0].detail


def test_fewer_than_five_cases_prove_too_little() -> None:
    table = json.loads(GOOD)
    for count, codes in ((5, []), (4, ["golden_too_few"]), (0, ["golden_too_few"])):
        text = json.dumps({"cases": table["cases"][:count]})
        assert [fault.code for fault in faults_of(score, text)] == codes


def test_cases_that_are_the_same_prove_too_little() -> None:
    table = json.loads(GOOD)
    first = table["cases"][1:5]
    again = {"input": {"age": 40, "dose": 20}, "expected": {}, "note": "the last once more"}
    assert first[3]["input"] == {"dose": 20.0, "age": 40.0}
    [fault] = faults_of(score, json.dumps({"cases": [*first, again]}))
    assert (fault.place, fault.code) == ("golden.json", "golden_too_few")
    assert fault.detail == "give at least 5 cases that differ in their inputs or options; there are 4"


SMOKER = {"name": "smoker", "title": "Smoker", "type": "boolean"}
STAGE = {"name": "stage", "title": "Stage", "type": "category", "values": ["I", "II"]}
VISITS = {"name": "visits", "title": "Visits", "type": "integer", "minimum": 0, "maximum": 3}
DOSE = {"name": "dose", "title": "Dose", "minimum": 0.0, "maximum": 1.0}


@pytest.mark.parametrize(
    ("features", "inputs", "asked"),
    [
        ([SMOKER], [{"smoker": True}, {"smoker": False}], None),
        ([SMOKER], [{"smoker": True}] * 5, 2),
        ([SMOKER | {"required": False, "missing": False}], [{"smoker": True}, {}, {"smoker": False}], None),
        ([SMOKER | {"required": False, "missing": False}], [{"smoker": True}, {}, {"smoker": None}], 3),
        ([VISITS], [{"visits": visits} for visits in (0, 1, 2)], 4),
        ([VISITS], [{"visits": visits} for visits in (0, 1, 2, 3)], None),
        ([STAGE, SMOKER], [{"stage": stage, "smoker": True} for stage in ("I", "II")] * 3, 4),
        ([VISITS, STAGE], [{"visits": visits, "stage": "I"} for visits in (0, 1, 2, 3)], 5),
        ([DOSE], [{"dose": 0.1 * count} for count in range(4)], 5),
        ([SMOKER, DOSE], [{"dose": 0.1, "smoker": True}, {"dose": 0.1, "smoker": False}] * 3, 5),
    ],
)
def test_where_there_are_fewer_inputs_than_five_all_are_asked_for(
    features: list[dict[str, Any]], inputs: list[dict[str, Any]], asked: int | None
) -> None:
    pipeline = load_pipeline(manifest(features=features))
    cases = parse_golden(json.dumps({"cases": [{"input": each, "expected": {}} for each in inputs]}))
    faults = [(fault.code, fault.detail.split(" cases")[0]) for fault in check_inputs(cases, pipeline)]
    assert faults == ([] if asked is None else [("golden_too_few", f"give at least {asked}")])


def test_an_input_the_pipeline_refuses_is_named() -> None:
    table = json.loads(GOOD)
    table["cases"][4]["input"]["dose"] = 51
    [fault] = faults_of(score, json.dumps(table))
    assert (fault.place, fault.code) == ("golden.json: case 4", "golden_input_rejected")
    assert "dose must be between 0 and 50 mg" in fault.detail


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[]",
        "{}",
        '{"cases": {}}',
        '{"cases": [{"input": {}}]}',
        '{"cases": [{"input": {}, "expected": {}, "tolerance": -1}]}',
        '{"cases": [{"input": {}, "expected": {}, "hope": 1}]}',
    ],
)
def test_a_file_that_is_not_golden_json_is_refused(text: str) -> None:
    with pytest.raises(BundleRefused) as caught:
        parse_golden(text)
    assert {code for _, code in told(caught.value.faults)} == {"golden_invalid"}
    assert all(fault.place.startswith("golden.json") for fault in caught.value.faults)


def test_a_file_is_given_to_the_pipeline_as_bytes() -> None:
    pipeline = load_pipeline(manifest("image-classification"))
    file = png(gradient(9, 9))
    case = {"input": {"data": base64.b64encode(file).decode()}, "expected": {}}
    assert encode_cases(parse_golden(json.dumps({"cases": [case]})), pipeline) == [Case(file)]


@pytest.mark.parametrize("given", [{"data": "no base64!"}, {"upload_id": "u1"}, "text"])
def test_a_file_that_cannot_be_read_is_named(given: object) -> None:
    pipeline = load_pipeline(manifest("image-classification"))
    cases = parse_golden(json.dumps({"cases": [{"input": given, "expected": {}}]}))
    with pytest.raises(GoldenFailed, match="case 0"):
        encode_cases(cases, pipeline)


def test_an_option_that_the_pipeline_refuses_is_named() -> None:
    table = json.loads(GOOD)
    table["cases"][1]["options"] = {"top": 3}
    [fault] = faults_of(score, json.dumps(table))
    assert (fault.place, fault.code) == ("golden.json: case 1", "golden_input_rejected")
    assert fault.detail == "/options/top The model takes no options: remove it."


class Forgetful(TabularClassification):
    """Reads back an age that nobody sent."""

    def decode(self, payload: bytes) -> dict[str, float | None]:
        return super().decode(payload) | {"age": 1.0}


class Fragile(TabularClassification):
    def encode(self, value: object) -> bytes:
        raise KeyError("dose")


class Exiting(TabularClassification):
    """Ends the process instead of refusing."""

    def encode(self, value: object) -> bytes:
        raise SystemExit("no licence")


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        (Exiting, "golden_failed", "the pipeline fails on this input: SystemExit: no licence"),
        (Forgetful, "golden_not_read_back", "read back differently"),
        (Fragile, "golden_failed", "the pipeline fails on this input: KeyError: 'dose'"),
    ],
)
def test_a_pipeline_that_fails_on_an_input_or_does_not_read_it_back_is_named(
    kind: type[TabularClassification], code: str, reason: str
) -> None:
    parameters = parse_parameters(TabularParameters, manifest())
    found = faults_of(score, GOOD, kind(parameters))
    assert {fault.code for fault in found} == {code}
    assert {fault.place for fault in found} >= {"golden.json: case 0"}
    assert reason in found[0].detail


def test_a_case_that_is_renewed_may_lack_its_answer() -> None:
    table = golden_table()
    for case in table["cases"]:
        case.pop("expected", None)
    renewed = renewed_golden(json.dumps(table), PIPELINE, SCORING, score)
    assert faults_of(score, renewed) == []


def test_a_case_without_its_answer_is_named_with_what_to_write() -> None:
    table = golden_table()
    del table["cases"][1]["expected"]
    table["cases"][1]["note"] = "the youngest"
    with pytest.raises(BundleRefused) as caught:
        parse_golden(json.dumps(table))
    [fault] = caught.value.faults
    assert (fault.place, fault.code) == ("golden.json: cases[1].expected", "golden_invalid")
    for words in (
        "case 1",
        "counted from 0",
        "the youngest",
        '"expected": {"label"',
        "medqueue models seal --golden",
    ):
        assert words in fault.detail


def test_renewing_keeps_the_keys_a_case_expects_and_its_notes() -> None:
    table = golden_table()
    table["cases"][0] |= {"expected": {"label": "?"}, "note": "the youngest", "tolerance": 0.01}
    first, second, *_ = json.loads(renewed_golden(json.dumps(table), PIPELINE, SCORING, score))["cases"]
    assert (first["expected"], first["note"], first["tolerance"]) == ({"label": "well"}, "the youngest", 0.01)
    assert second["expected"]["probabilities"]["ill"] == round(float(1 / (1 + np.exp(1.3))), 7)


def test_a_long_error_of_a_run_is_shortened() -> None:
    def failing(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
        raise ValueError("x" * 40_000)

    [fault] = faults_of(failing)
    assert len(fault.detail) == 300
