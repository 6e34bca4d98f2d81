"""What passes between pipelines and those who use them: faults, options, JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema
import numpy as np
import pytest

import models.pipelines.contract
from models.field_codes import FieldCode
from models.pipelines import (
    Answer,
    Array,
    Case,
    FieldFault,
    InputRejected,
    PredictionInvalid,
    RowFault,
    no_options_schema,
    pointer_to,
    refuse_options,
    result_json,
    score_in_one_pass,
)
from tests.unit.models.example_bundles import manifest, single_pass

FIRST = FieldFault("/dose", FieldCode.MISSING_FIELD, "dose is missing.")
WHOLE = FieldFault("", FieldCode.NOT_AN_OBJECT, "Send a JSON object.")


def test_errors_say_where_and_which_rule_and_nothing_of_the_input() -> None:
    assert str(InputRejected(FIRST, WHOLE)) == "/dose: missing_field, input: not_an_object"
    assert InputRejected(FIRST, WHOLE).faults == (FIRST, WHOLE)
    [unfit] = InputRejected().faults
    assert (unfit.pointer, unfit.code) == ("", "input_unfit")
    assert unfit.detail == "The model does not take this input: compare it with the model's card."
    row = RowFault(3, FIRST)
    assert (row.index, row.fault, str(row)) == (3, FIRST, "row 3: missing_field")
    invalid = PredictionInvalid((1, 4), "no number")
    assert (invalid.rows, invalid.reason, str(invalid)) == ((1, 4), "no number", "rows 1, 4: no number")


@pytest.mark.parametrize(
    ("keys", "pointer"), [((), ""), (("a",), "/a"), (("a", "0", ""), "/a/0/"), (("~1", "a/b"), "/~01/a~1b")]
)
def test_a_pointer_is_written_as_rfc_6901_wants(keys: Sequence[str], pointer: str) -> None:
    assert pointer_to(*keys) == pointer


def refusal(value: object) -> list[tuple[str, str, str]]:
    with pytest.raises(InputRejected) as caught:
        refuse_options(value)
    return [(fault.pointer, fault.code, fault.detail) for fault in caught.value.faults]


def test_a_pipeline_without_options_takes_an_empty_object_alone() -> None:
    assert refuse_options({}) == {}
    schema: Any = no_options_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    valid = jsonschema.Draft202012Validator(schema).is_valid
    assert valid({})
    assert (schema["type"], schema["properties"]) == ("object", {})
    assert not any(map(valid, ({"top": 1}, [], None)))
    detail = "The model takes no options: remove it."
    assert refusal({"top": 1, "a/b": 2}) == [
        ("/top", "unknown_option", detail),
        ("/a~1b", "unknown_option", detail),
    ]
    told = [("", "not_an_object", "Send the options as a JSON object.")]
    assert refusal([]) == refusal(None) == refusal("top") == told


def test_of_countless_options_the_first_twenty_are_told() -> None:
    found = refusal({f"o{number}": 1 for number in range(1000)})
    assert [pointer for pointer, _, _ in found] == [f"/o{number}" for number in range(20)]


@pytest.mark.parametrize("result", [{"a": float("nan")}, {"a": [float("inf")]}, {"a": {1, 2}, "b": object()}])
def test_what_is_no_json_names_the_row_alone(result: object) -> None:
    with pytest.raises(PredictionInvalid) as caught:
        result_json(result)
    assert (caught.value.rows, caught.value.reason) == ((0,), "the result cannot be written as JSON")


def test_one_run_scores_all_cases_in_their_order() -> None:
    pipeline = single_pass(manifest())
    cases = [Case(pipeline.encode({"dose": dose, "age": 40})) for dose in (10, 20)]
    runs: list[list[list[float]]] = []

    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        runs.append(feeds["features"].tolist())
        return {"probability": feeds["features"][:, :1] / 100}

    first, second = score_in_one_pass(pipeline, run, cases)
    assert runs == [[[10.0, 40.0], [20.0, 40.0]]]
    assert isinstance(first, Answer)
    found: Any = [answer.result for answer in (first, second)]
    assert [round(result["probabilities"]["ill"], 6) for result in found] == [0.1, 0.2]
    assert first.artifacts == ()


def test_the_type_of_arrays_is_given_to_who_asks_at_run_time() -> None:
    array: Any = models.pipelines.__getattr__("Array")
    assert array == models.pipelines.contract.__getattr__("Array")
    assert array.__origin__ is np.ndarray
    for module in (models.pipelines, models.pipelines.contract):
        with pytest.raises(AttributeError, match=r"^Arrays$"):
            module.__getattr__("Arrays")
