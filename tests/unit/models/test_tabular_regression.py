"""Numbers with their unit and interval: from a graph's outputs, or by one half width; refused where they mean nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.manifest import ManifestInvalid
from models.pipelines import Array, Case, InputRejected, PredictionInvalid, SinglePassPipeline
from models.pipelines.schema_columns import result_columns, result_fields
from tests.unit.models.example_bundles import FEATURES, manifest, single_pass
from tests.unit.models.schemas import assert_fits
from tests.unit.models.test_written_values import SEX

INTERVAL = {"coverage": 0.9, "measured": 0.91, "method": "CV+", "source": "made up for tests"}
NOVELTY = {
    "limit": 3.0,
    "false_alarm_rate": 0.01,
    "catch_rate": 0.5,
    "foreign_set": "noise",
    "source": "made up",
}
ANSWER = {
    "type": "regression", "quantity": "Glucose", "value": 5.0, "unit": "mmol/L", "range": None,
    "code": {"system": "http://loinc.org", "code": "2345-7"},
    "interval": {"lower": 4.0, "upper": 7.0, "coverage": 0.9}, "abstained": False, "abstain_reason": None,
}  # fmt: skip


def pipeline(**parameters: Any) -> SinglePassPipeline:
    given = {
        "title": "Glucose", "unit": "mmol/L", "system": "http://loinc.org", "code": "2345-7", "features": [*FEATURES, SEX],
        "interval": INTERVAL, "novelty": NOVELTY,
    }  # fmt: skip
    table = {name: value for name, value in {**given, **parameters}.items() if value is not None}
    return single_pass(manifest("tabular-regression", **table))


def outputs(**changes: list[float]) -> dict[str, Array]:
    given = {"value": [5.0, 6.0], "lower": [4.0, 6.0], "upper": [7.0, 6.0], "novelty": [0.0, 3.0], **changes}
    return {name: np.array(values, np.float32)[:, None] for name, values in given.items()}


def test_the_graphs_numbers_become_a_value_with_unit_code_and_interval() -> None:
    answer, _ = pipeline().postprocess(outputs(), 2)
    assert answer == ANSWER
    assert_fits(answer, pipeline().result_schema())


def test_an_input_unlike_the_training_data_gets_neither_value_nor_interval() -> None:
    _, answer = pipeline().postprocess(outputs(), 2)
    assert (answer["value"], answer["interval"], answer["abstained"]) == (None, None, True)
    assert answer["abstain_reason"] == "unlike the data that the model was trained on"
    assert_fits(answer, pipeline().result_schema())


def test_one_half_width_makes_every_interval() -> None:
    model = pipeline(interval={**INTERVAL, "half_width": 1.5}, novelty=None)
    assert [spec.name for spec in model.outputs] == ["value"]
    intervals = [answer["interval"] for answer in model.postprocess(outputs(), 2)]
    assert intervals == [
        {"lower": value - 1.5, "upper": value + 1.5, "coverage": 0.9} for value in (5.0, 6.0)
    ]


def test_an_interval_is_cut_at_the_range_that_the_manifest_gives() -> None:
    model = pipeline(range={"minimum": 4.5, "maximum": 5.5})
    first, _ = model.postprocess(outputs(), 2)
    assert first["interval"] == {"lower": 4.5, "upper": 5.5, "coverage": 0.9}
    assert (first["value"], first["range"]) == (5.0, {"minimum": 4.5, "maximum": 5.5})
    beyond, _ = model.postprocess(outputs(value=[6.0, 6.0]), 2)
    assert beyond["interval"] == {"lower": 4.5, "upper": 6.0, "coverage": 0.9}  # it holds the value
    assert_fits(beyond, model.result_schema())


def test_a_range_goes_up() -> None:
    with pytest.raises(ManifestInvalid) as caught:
        pipeline(range={"minimum": 5.5, "maximum": 5.5})
    assert "minimum must be less than maximum" in caught.value.faults[0].detail


def test_without_an_interval_there_is_none() -> None:
    model = pipeline(interval=None, system=None, code=None)
    assert [spec.name for spec in model.outputs] == ["value", "novelty"]
    assert model.postprocess(outputs(), 2)[0] == {**ANSWER, "code": None, "interval": None}


@pytest.mark.parametrize(
    "bad",
    [
        {"value": [5.0, np.nan]}, {"lower": [4.0, 6.5]}, {"upper": [7.0, 5.5]}, {"novelty": [0.0, np.inf]},
        {"upper": [7.0, np.inf]},
    ],
)  # fmt: skip
def test_numbers_that_are_no_answer_are_refused_row_by_row(bad: dict[str, list[float]]) -> None:
    with pytest.raises(PredictionInvalid) as caught:
        pipeline().postprocess(outputs(**bad), 2)
    assert caught.value.rows == (1,)


def test_outputs_of_another_shape_are_refused() -> None:
    with pytest.raises(PredictionInvalid):
        pipeline().postprocess({**outputs(), "value": np.zeros((2, 2), np.float32)}, 2)


def test_a_batch_has_a_column_for_each_number() -> None:
    schema = pipeline().result_schema()
    columns = result_columns(result_fields(schema), pipeline().postprocess(outputs(), 2))
    assert {column.name: list(column.values) for column in columns} == {
        "quantity": ["Glucose"] * 2, "value": [5.0, None], "unit": ["mmol/L"] * 2, "range_minimum": [None] * 2,
        "range_maximum": [None] * 2, "code_system": ["http://loinc.org"] * 2, "code": ["2345-7"] * 2,
        "interval_lower": [4.0, None], "interval_upper": [7.0, None], "interval_coverage": [0.9, None],
        "abstained": [False, True], "abstain_reason": [None, "unlike the data that the model was trained on"],
    }  # fmt: skip


def test_an_answer_tells_which_optional_fields_were_absent() -> None:
    optional = [FEATURES[0], FEATURES[1] | {"required": False}, SEX]
    model = pipeline(features=optional)

    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return outputs()

    inputs = [{"dose": 1, "sex": "male"}, {"dose": 1, "age": 2, "sex": "male"}]
    answers = [each.result for each in model.open(Path()).score(run, [Case(model.encode(i)) for i in inputs])]
    assert [answer["missing"] for answer in answers] == [["age"], []]
    for answer in answers:
        assert_fits(answer, model.result_schema())
    assert {field.name: field.kind for field in result_fields(model.result_schema())}["missing"] == "json"


def test_inputs_are_those_of_every_table() -> None:
    model = pipeline()
    stored = model.encode({"dose": 1.5, "age": 40, "sex": 1})
    assert model.decode(stored) == {"dose": 1.5, "age": 40.0, "sex": "male"}
    assert model.preprocess([stored])["features"][0].tolist() == (1.5, 40.0, "male")
    with pytest.raises(InputRejected):
        model.encode({"dose": 51, "age": 40, "sex": 1})


def test_a_code_needs_its_system() -> None:
    with pytest.raises(ManifestInvalid) as caught:
        pipeline(system=None)
    assert "system and code together" in caught.value.faults[0].detail
