"""What results tell of absent fields: of tables with words, and as a column, however many fields and rows there are."""

import json
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pipelines import Array, Case
from models.pipelines.missing_fields import missing_column, with_missing
from tests.unit.models.schemas import assert_fits
from tests.unit.models.test_mixed_classification import GOOD, LENIENT, PIPELINE


@pytest.mark.parametrize("width", [1, 8, 9, 64, 65, 130])
@given(seed=st.integers(0, 99), count=st.integers(0, 50), share=st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_each_row_tells_of_its_own_absent_fields(width: int, seed: int, count: int, share: float) -> None:
    absent = np.random.default_rng(seed).random((count, width)) < share
    names = [f"field_{number}" for number in range(width)]
    column = missing_column(names, absent)
    assert column.name == "missing"
    assert len(set(column.words)) == len(column.words)
    found = [json.loads(column.words[code] or "") for code in column.codes]
    assert found == [[names[place] for place in np.flatnonzero(row)] for row in absent]


def test_the_schema_of_a_result_stays_as_it_is_where_every_field_is_required() -> None:
    schema = {"type": "object", "properties": {"label": {}}, "required": ["label"]}
    assert with_missing(schema, [], "absent") is schema
    assert with_missing(schema, ["age"], "absent")["required"] == ["label"]


def test_an_answer_tells_which_optional_fields_were_absent() -> None:
    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return {"probability": np.full((len(feeds["features"]), 1), 0.75, np.float32)}

    cases = [Case(LENIENT.encode(each)) for each in (GOOD, {"sex": "male", "note": None}, {})]
    answers = [each.result for each in LENIENT.open(Path()).score(run, cases)]
    every = [*GOOD]
    assert [answer["missing"] for answer in answers] == [
        [],
        [name for name in every if name != "sex"],
        every,
    ]
    for answer in answers:
        assert_fits(answer, LENIENT.result_schema())
    with pytest.raises(jsonschema.ValidationError):
        assert_fits(answers[0] | {"missing": ["fever"]}, LENIENT.result_schema())
    earlier = {name: value for name, value in answers[0].items() if name != "missing"}
    assert_fits(earlier, LENIENT.result_schema())


def test_a_model_that_requires_every_field_tells_of_none() -> None:
    def run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        return {"probability": np.array([[0.75]], np.float32)}

    [answer] = PIPELINE.open(Path()).score(run, [Case(PIPELINE.encode(GOOD))])
    assert "missing" not in answer.result
    assert "missing" not in json.dumps(PIPELINE.result_schema())
