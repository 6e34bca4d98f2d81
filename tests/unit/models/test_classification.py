"""Probabilities as results: threshold, abstention, and what cannot be a probability."""

import json
import math
from collections.abc import Iterable
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.manifest import ManifestInvalid
from models.pipelines import (
    Label,
    PredictionInvalid,
    TensorSpec,
)
from models.pipelines.columns import CategoryColumn, ResultColumn
from models.pipelines.rows import FieldPipeline
from tests.unit.models.example_bundles import LABELS, flat, manifest, manifest_table, single_pass
from tests.unit.models.schemas import assert_fits

THIRD = {"id": "unclear", "display": "Unclear", "system": "http://example.org/codes", "code": "U"}


def results(probabilities: list[Any], name: str = "probability", **parameters: Any) -> list[dict[str, Any]]:
    """The results of a batch whose graph gave `probabilities` (rows)."""
    pipeline = single_pass(manifest(**parameters))
    rows: list[Any] = pipeline.postprocess(
        {name: np.array(probabilities, dtype=np.float32)}, len(probabilities)
    )
    return rows


def three_labels(probabilities: list[list[float]], **parameters: Any) -> list[dict[str, Any]]:
    """The same for a model with three labels."""
    labels = [*LABELS, THIRD]
    name = parameters.get("output", "probabilities")
    return results(probabilities, name, labels=labels, positive=None, threshold=None, **parameters)


def test_the_positive_label_is_answered_from_the_threshold_on() -> None:
    below, at = results([[0.49999], [0.5]])
    assert (below["label"], at["label"]) == ("well", "ill")


def test_a_result_says_everything_a_reader_needs() -> None:
    assert results([[0.75]]) == [
        {
            "type": "classification",
            "label": "ill",
            "display": "Ill",
            "code": {"system": "http://example.org/codes", "code": "I"},
            "probabilities": {"well": 0.25, "ill": 0.75},
            "threshold": 0.5,
            "abstained": False,
            "abstain_reason": None,
        }
    ]


def rows_of(columns: Iterable[ResultColumn], count: int) -> list[dict[str, Any]]:
    """Columns of results as rows."""
    cells: dict[str, list[Any]] = {}
    for column in columns:
        if isinstance(column, CategoryColumn):
            assert (column.codes >= -1).all()
            cells[column.name] = [None if code < 0 else column.words[code] for code in column.codes]
        else:
            cells[column.name] = [None] * count if column.values is None else list(column.values)
    return [{name: column[row] for name, column in cells.items()} for row in range(count)]


EDGES = [0.0, 0.25, 0.5, 0.75, 1.0, 0.24999, 0.74999, 0.49999, -0.00005, 1.00005]
BAND = {"lower": 0.25, "upper": 0.75, "reason": "too close to call"}


@pytest.mark.parametrize(
    "parameters", [{}, {"abstain": BAND}, {"positive": "well"}, {"positive": "well", "abstain": BAND}]
)
@given(probabilities=st.lists(st.one_of(st.sampled_from(EDGES), st.floats(0, 1, width=32)), max_size=20))
def test_columns_of_two_labels_say_what_results_say(
    parameters: dict[str, Any], probabilities: list[float]
) -> None:
    pipeline = single_pass(manifest(**parameters))
    assert isinstance(pipeline, FieldPipeline)
    outputs = {"probability": np.array(probabilities, np.float32).reshape(-1, 1)}
    expected: list[Any] = pipeline.postprocess(outputs, len(probabilities))
    columns = pipeline.result_columns(outputs, len(probabilities))
    assert rows_of(columns, len(probabilities)) == [flat(result) for result in expected]


@pytest.mark.parametrize("parameters", [{}, {"abstain": BAND}])
@given(
    rows=st.lists(
        st.sampled_from(
            [[0.25, 0.25, 0.5], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.75, 0.125, 0.125], [1.00005, 0.0, 0.0]]
        ),
        max_size=9,
    )
)
def test_columns_of_three_labels_say_what_results_say(
    parameters: dict[str, Any], rows: list[list[float]]
) -> None:
    labels = [*LABELS, THIRD]
    pipeline = single_pass(manifest(labels=labels, positive=None, threshold=None, **parameters))
    assert isinstance(pipeline, FieldPipeline)
    outputs = {"probabilities": np.array(rows, np.float32).reshape(-1, 3)}
    expected: list[Any] = pipeline.postprocess(outputs, len(rows))
    assert rows_of(pipeline.result_columns(outputs, len(rows)), len(rows)) == [
        flat(result) for result in expected
    ]


NOVELTY = {
    "limit": 3.0, "false_alarm_rate": 0.01, "catch_rate": 0.9, "foreign_set": "noise", "source": "a fifth kept apart",
    "reason": "unlike all that it knows",
}  # fmt: skip


@pytest.mark.parametrize("parameters", [{}, {"abstain": BAND}])
@given(rows=st.lists(st.tuples(st.sampled_from(EDGES), st.sampled_from([-1.0, 2.99, 3.0, 3.01, 1e30]))))
def test_columns_of_novel_rows_say_what_results_say(
    parameters: dict[str, Any], rows: list[tuple[float, float]]
) -> None:
    pipeline = single_pass(manifest(novelty=NOVELTY, **parameters))
    assert isinstance(pipeline, FieldPipeline)
    given = np.array(rows, np.float32).reshape(-1, 2)
    outputs = {"probability": given[:, :1], "novelty": given[:, 1:]}
    expected: list[Any] = pipeline.postprocess(outputs, len(rows))
    assert [row["abstain_reason"] == NOVELTY["reason"] for row in expected] == [row[1] >= 3 for row in rows]
    columns = pipeline.result_columns(outputs, len(rows))
    assert rows_of(columns, len(rows)) == [flat(result) for result in expected]


def test_a_novel_input_is_not_answered_however_sure_the_graph_is() -> None:
    pipeline = single_pass(manifest(novelty=NOVELTY))
    outputs = {
        "probability": np.array([[1.0], [1.0]], np.float32),
        "novelty": np.array([[2.9], [3.1]], np.float32),
    }
    known, novel = pipeline.postprocess(outputs, 2)
    assert (known["label"], known["abstained"], known["abstain_reason"]) == ("ill", False, None)
    assert (novel["label"], novel["abstained"], novel["abstain_reason"]) == (None, True, NOVELTY["reason"])


@pytest.mark.parametrize("novelty", [[[1.0], [math.nan]], [[1.0], [math.inf]]])
def test_a_novelty_that_is_no_number_is_no_answer(novelty: list[list[float]]) -> None:
    pipeline = single_pass(manifest(novelty=NOVELTY))
    outputs = {"probability": np.ones((2, 1), np.float32), "novelty": np.array(novelty, np.float32)}
    with pytest.raises(PredictionInvalid, match="novelty") as refused:
        pipeline.postprocess(outputs, 2)
    assert refused.value.rows == (1,)


def test_a_novelty_of_another_shape_is_no_answer() -> None:
    pipeline = single_pass(manifest(novelty=NOVELTY))
    outputs = {"probability": np.ones((2, 1), np.float32), "novelty": np.ones((2, 2), np.float32)}
    with pytest.raises(PredictionInvalid, match="shape"):
        pipeline.postprocess(outputs, 2)


def test_the_positive_label_may_come_first() -> None:
    [result] = results([[0.75]], positive="well")
    assert result["label"] == "well"
    assert result["probabilities"] == {"well": 0.75, "ill": 0.25}


def test_in_the_abstain_band_no_label_is_answered() -> None:
    band = {"lower": 0.25, "upper": 0.75, "reason": "too close to call"}
    rows = results([[0.2], [0.25], [0.5], [0.75]], abstain=band)
    assert [row["label"] for row in rows] == ["well", None, None, "ill"]
    assert [row["abstained"] for row in rows] == [False, True, True, False]
    assert (rows[1]["code"], rows[1]["display"], rows[1]["abstain_reason"]) == (
        None,
        None,
        "too close to call",
    )
    assert rows[1]["probabilities"]["ill"] == 0.25


def test_of_three_labels_the_most_probable_is_answered_without_a_threshold() -> None:
    [result] = three_labels([[0.25, 0.25, 0.5]])
    assert (result["label"], result["threshold"]) == ("unclear", None)


def test_of_three_labels_an_unsure_first_is_kept_back() -> None:
    sure, unsure = three_labels(
        [[0.0, 0.125, 0.875], [0.25, 0.25, 0.5]], abstain={"lower": 0.0, "upper": 0.75, "reason": "unsure"}
    )
    assert (sure["label"], unsure["label"]) == ("unclear", None)


@pytest.mark.parametrize(
    ("probability", "reason"),
    [
        (np.nan, "not a finite number"),
        (np.inf, "not a finite number"),
        (1.01, "not between 0 and 1"),
        (-0.01, "not between 0 and 1"),
    ],
)
def test_rows_without_a_probability_are_named(probability: float, reason: str) -> None:
    with pytest.raises(PredictionInvalid, match=reason) as caught:
        results([[0.5], [probability], [0.5], [probability]])
    assert caught.value.rows == (1, 3)


def test_probabilities_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(PredictionInvalid, match="do not sum to 1"):
        three_labels([[0.5, 0.5, 0.5]])


@pytest.mark.parametrize("rows", [[0.5, 0.5], [[0.5, 0.5]], [[[0.5]]]])
def test_an_output_of_another_shape_is_refused(rows: list[Any]) -> None:
    with pytest.raises(PredictionInvalid, match="has the shape"):
        results(rows)


def test_rounding_of_the_graph_never_shows_as_a_probability_outside_of_0_and_1() -> None:
    above, below = results([[1.00009], [-0.00009]])
    assert above["probabilities"] == {"well": 0.0, "ill": 1.0}
    assert below["probabilities"] == {"well": 1.0, "ill": 0.0}


@pytest.mark.parametrize("probability", [1.00011, -0.00011])
def test_more_than_rounding_is_refused(probability: float) -> None:
    with pytest.raises(
        PredictionInvalid,
        match="not between 0 and 1; if it is a logit, say so with `output`; for a regression use the pipeline",
    ):
        results([[probability]])


@pytest.mark.parametrize(("last", "is_refused"), [(0.5009, False), (0.5011, True), (0.4989, True)])
def test_probabilities_sum_to_one_but_for_rounding(last: float, is_refused: bool) -> None:
    rows = [[0.25, 0.25, 0.5], [0.25, 0.25, last]]
    if not is_refused:
        assert [row["label"] for row in three_labels(rows)] == ["unclear", "unclear"]
        return
    with pytest.raises(PredictionInvalid, match="if they are logits, say so with `output`") as caught:
        three_labels(rows)
    assert caught.value.rows == (1,)


@pytest.mark.parametrize(
    ("logit", "probability"),
    [(0.0, 0.5), (2.0, 0.880797), (-2.0, 0.119203), (1000.0, 1.0), (-1000.0, 0.0), (3e38, 1.0)],
)
def test_a_logit_becomes_a_probability_by_the_logistic_function(logit: float, probability: float) -> None:
    [result] = results([[logit]], "logit", output="logit")
    assert result["probabilities"] == pytest.approx({"well": 1 - probability, "ill": probability})


@pytest.mark.parametrize(
    ("logits", "probabilities"),
    [
        ([0.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]),
        ([1.0, 0.0, -1.0], [0.665241, 0.244728, 0.090031]),
        ([1000.0, 1001.0, -1000.0], [0.268941, 0.731059, 0.0]),
        ([-1000.0, -1001.0, -3000.0], [0.731059, 0.268941, 0.0]),
    ],
)
def test_logits_become_probabilities_by_softmax_however_large_they_are(
    logits: list[float], probabilities: list[float]
) -> None:
    [result] = three_labels([logits], output="logits")
    assert list(result["probabilities"].values()) == pytest.approx(probabilities, abs=1e-6)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_no_logit(odd: float) -> None:
    with pytest.raises(PredictionInvalid, match="not a finite number") as one:
        results([[0.0], [odd]], "logit", output="logit")
    with pytest.raises(PredictionInvalid, match="not a finite number") as several:
        three_labels([[0.0, 0.0, 0.0], [0.0, odd, 0.0]], output="logits")
    assert one.value.rows == several.value.rows == (1,)


@pytest.mark.parametrize("parameters", [{}, {"output": "logit"}])
def test_of_no_rows_there_are_no_results(parameters: dict[str, Any]) -> None:
    pipeline = single_pass(manifest(**parameters))
    assert isinstance(pipeline, FieldPipeline)
    outputs = {parameters.get("output", "probability"): np.empty((0, 1), np.float32)}
    assert pipeline.postprocess(outputs, 0) == []
    assert rows_of(pipeline.result_columns(outputs, 0), 0) == []


SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Classification",
    "type": "object",
    "properties": {
        "type": {"const": "classification"},
        "label": {"enum": ["well", "ill", None], "description": "null when the model abstained"},
        "display": {"type": ["string", "null"]},
        "code": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"system": {"type": "string"}, "code": {"type": "string", "x-column": "code"}},
                    "required": ["system", "code"],
                },
                {"type": "null"},
            ]
        },
        "probabilities": {
            "type": "object",
            "properties": {
                "well": {"type": "number", "minimum": 0, "maximum": 1},
                "ill": {"type": "number", "minimum": 0, "maximum": 1},
            },
            "required": ["well", "ill"],
            "additionalProperties": False,
            "x-column": "probability",
        },
        "threshold": {"type": ["number", "null"], "description": "of the positive label's probability"},
        "abstained": {"type": "boolean"},
        "abstain_reason": {"type": ["string", "null"]},
    },
    "required": [
        "type", "label", "display", "code", "probabilities", "threshold", "abstained", "abstain_reason",
    ],
}  # fmt: skip


def test_results_are_plain_json_and_fit_the_schema_that_is_published() -> None:
    pipeline = single_pass(manifest(abstain={"lower": 0.4, "upper": 0.6, "reason": "close"}))
    assert pipeline.result_schema() == SCHEMA
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for row in pipeline.postprocess({"probability": np.array([[0.1], [0.5]], np.float32)}, 2):
        assert_fits(json.loads(json.dumps(row)), SCHEMA)


def test_the_graph_must_give_what_the_labels_ask_for() -> None:
    three = manifest(labels=[*LABELS, THIRD], positive=None, threshold=None)
    assert single_pass(manifest()).outputs == (TensorSpec("probability", "float32", (1,)),)
    assert single_pass(three).outputs == (
        TensorSpec("probabilities", "float32", (3,), ("well", "ill", "unclear")),
    )
    assert single_pass(manifest(output="logit")).outputs == (TensorSpec("logit", "float32", (1,)),)
    assert single_pass(manifest(output="logits")).outputs == (
        TensorSpec("logits", "float32", (2,), ("well", "ill")),
    )


def test_labels_come_in_the_graphs_order() -> None:
    assert [label.id for label in single_pass(manifest()).labels()] == ["well", "ill"]


def test_a_label_may_be_its_id_alone() -> None:
    [first, _] = single_pass(manifest(labels=["well", "ill"])).labels()
    assert first == Label(id="well", display="well", system=None, code=None)


@pytest.mark.parametrize(
    ("parameters", "advice"),
    [
        ({"labels": LABELS[:1]}, "at least 2 elements"),
        ({"labels": [f"l{n}" for n in range(1001)], "positive": None, "threshold": None}, "at most 1000"),
        ({"labels": ["well", "i" * 65]}, r"parameters\.labels\[1\]\.id: .*at most 64"),
        ({"labels": ["well", "Ill"]}, r"parameters\.labels\[1\]\.id: write lower-case"),
        ({"labels": [LABELS[0] | {"code": None}, LABELS[1]]}, "give system and code together, or neither"),
        ({"labels": [LABELS[0], LABELS[0]]}, "give each label its own id"),
        ({"positive": "sick"}, "give `positive`"),
        ({"threshold": None}, "give `positive`"),
        ({"positive": None}, "give `positive`"),
        ({"positive": None, "threshold": None, "output": "probability"}, "name probabilities or logits"),
        ({"positive": None, "threshold": None, "output": "logit"}, "name probabilities or logits"),
        ({"labels": [*LABELS, THIRD]}, "positive and threshold are for two labels"),
        ({"labels": [*LABELS, THIRD], "positive": None}, "positive and threshold are for two labels"),
        ({"labels": [*LABELS, THIRD], "threshold": None}, "positive and threshold are for two labels"),
        ({"abstain": {"lower": 0.6, "upper": 0.4, "reason": "x"}}, "lower must be less than upper"),
        ({"abstain": {"lower": 0.5, "upper": 0.5, "reason": "x"}}, "lower must be less than upper"),
        ({"labels": [LABELS[0] | {"system": "ICD-10"}, LABELS[1]]}, r"parameters\.labels\[0\]\.system"),
        ({"speed": 3}, r"parameters\.speed: remove this key"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], advice: str) -> None:
    with pytest.raises(ManifestInvalid, match=advice):
        single_pass(manifest(**parameters))


def test_an_unknown_pipeline_is_answered_with_the_known_ones() -> None:
    table = manifest_table() | {"pipeline": "crystal-ball"}
    with pytest.raises(ManifestInvalid, match="tabular-classification") as caught:
        single_pass(type(manifest()).model_validate(table))
    assert caught.value.faults[0].code == "unknown_pipeline"
