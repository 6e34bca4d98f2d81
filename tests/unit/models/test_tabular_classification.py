"""Tables of numbers: what is accepted, how it is stored, and how each fault is worded."""

import json
import math
import struct
import sys
from types import FrameType
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.field_codes import FieldCode
from models.manifest import ManifestInvalid
from models.pipelines import FieldFault, InputRejected, Pipeline, RowFault
from models.pipelines.columns import NumberColumn
from models.pipelines.rows import FieldPipeline
from models.probing import HasExtremes
from tests.unit.models.example_bundles import FEATURES, manifest, single_pass

PIPELINE = single_pass(manifest())
OPTIONAL_AGE = single_pass(manifest(features=[FEATURES[0], FEATURES[1] | {"required": False}]))


def wide_pipeline(width: int) -> Pipeline:
    """A pipeline with `width` features in 0..1."""
    names = [f"marker_{index}" for index in range(width)]
    features = [{"name": n, "title": n, "unit": "1", "minimum": 0.0, "maximum": 1.0} for n in names]
    return single_pass(manifest(features=features))


def faults_of(value: object, pipeline: Pipeline = PIPELINE) -> tuple[FieldFault, ...]:
    with pytest.raises(InputRejected) as caught:
        pipeline.encode(value)
    return caught.value.faults


def test_an_input_is_stored_as_little_endian_doubles_in_the_manifests_order() -> None:
    assert PIPELINE.encode({"age": 61, "dose": 12.5}) == struct.pack("<dd", 12.5, 61.0)


@pytest.mark.parametrize("value", [{"dose": 0, "age": 0}, {"dose": 50.0, "age": 120}])
def test_the_ends_of_a_range_belong_to_it(value: dict[str, float]) -> None:
    assert len(PIPELINE.encode(value)) == 16


@pytest.mark.parametrize(
    ("dose", "code", "detail"),
    [
        (None, "missing_field", "dose is missing: send a number between 0 and 50 mg."),
        ("12.5", "wrong_type", "dose must be a number between 0 and 50 mg."),
        (True, "wrong_type", "dose must be a number between 0 and 50 mg."),
        ([1.0], "wrong_type", "dose must be a number between 0 and 50 mg."),
        (math.nan, "not_finite", "dose must be a finite number between 0 and 50 mg."),
        (math.inf, "not_finite", "dose must be a finite number between 0 and 50 mg."),
        (-math.inf, "not_finite", "dose must be a finite number between 0 and 50 mg."),
        (50.1, "out_of_range", "dose must be between 0 and 50 mg."),
        (-0.1, "out_of_range", "dose must be between 0 and 50 mg."),
        (10**400, "out_of_range", "dose must be between 0 and 50 mg."),
    ],
)
def test_a_bad_number_is_named_with_its_range_and_unit(dose: object, code: str, detail: str) -> None:
    assert faults_of({"dose": dose, "age": 40}) == (FieldFault("/dose", FieldCode(code), detail),)


def test_an_absent_field_is_missing() -> None:
    assert faults_of({"age": 40})[0].code == "missing_field"


def test_a_number_without_unit_is_worded_without_one() -> None:
    [fault] = faults_of({"marker_0": 2, "marker_1": 0}, wide_pipeline(2))
    assert fault.detail == "marker_0 must be between 0 and 1."


@pytest.mark.parametrize("value", [None, [], "dose", 3, b"dose"])
def test_only_an_object_is_an_input(value: object) -> None:
    assert faults_of(value) == (
        FieldFault("", FieldCode.NOT_AN_OBJECT, "Send a JSON object with one value per field."),
    )


def test_all_faults_are_reported_together() -> None:
    faults = faults_of({"dose": "x", "weight": 70, "height": 2})
    assert [(fault.pointer, fault.code) for fault in faults] == [
        ("/dose", "wrong_type"),
        ("/age", "missing_field"),
        ("/weight", "unknown_field"),
        ("/height", "unknown_field"),
    ]


def test_an_unknown_field_is_answered_with_the_name_it_resembles() -> None:
    [fault] = faults_of({"dose": 1, "age": 2, "dosis": 3})
    assert fault.detail == "The model does not take this field: remove it. Did you mean dose?"


@pytest.mark.parametrize("key", ["weight", "age".rjust(65)])
def test_an_unknown_field_that_resembles_none_is_to_be_removed(key: str) -> None:
    [fault] = faults_of({"dose": 1, "age": 2, key: 3})
    assert fault.detail == "The model does not take this field: remove it."


def test_an_unknown_field_is_pointed_at_as_rfc_6901_wants() -> None:
    assert faults_of({"dose": 1, "age": 2, "a/b~c": 3})[0].pointer == "/a~1b~0c"


def test_of_countless_unknown_fields_the_first_twenty_are_named() -> None:
    faults = faults_of({"dose": 1, "age": 2} | {f"extra{index}": 0 for index in range(1000)})
    assert len(faults) == 21
    assert faults[-1] == FieldFault(
        "", FieldCode.UNKNOWN_FIELD, "Remove 980 more fields the model does not take."
    )


@given(st.text(min_size=6), st.integers(min_value=10**6))
def test_no_fault_repeats_a_submitted_value(text: str, number: int) -> None:
    worded = " ".join(fault.detail for fault in faults_of({"dose": f"<{text}>", "age": number}))
    assert f"<{text}>" not in worded
    assert str(number) not in worded


NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=2),
    st.integers(-5, 130),
    st.floats(-5, 130),
    st.lists(st.integers(), max_size=1),
)


@pytest.mark.parametrize("pipeline", [PIPELINE, OPTIONAL_AGE])
@given(value=st.dictionaries(st.sampled_from(["dose", "age", "weight"]), NUMBERS))
def test_what_the_published_schema_accepts_is_what_encode_accepts(
    pipeline: Pipeline, value: dict[str, Any]
) -> None:
    try:
        pipeline.encode(value)
    except InputRejected:
        accepted = False
    else:
        accepted = True
    assert accepted == jsonschema.Draft202012Validator(pipeline.input_schema()).is_valid(value)


def python_calls(pipeline: Pipeline, value: object) -> int:
    """How many Python functions `encode` calls (C functions are not counted)."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        pipeline.encode(value)
    finally:
        sys.setprofile(None)
    return count


def test_a_good_input_costs_no_python_call_per_field() -> None:
    few, many = (wide_pipeline(width) for width in (2, 300))
    calls = [
        python_calls(pipeline, {f"marker_{index}": 0.5 for index in range(width)})
        for pipeline, width in ((few, 2), (many, 300))
    ]
    assert calls[0] == calls[1] <= 3


def test_an_optional_field_may_be_null_or_absent_and_is_stored_as_nan() -> None:
    for value in ({"dose": 1.0}, {"dose": 1.0, "age": None}):
        dose, age = struct.unpack("<dd", OPTIONAL_AGE.encode(value))
        assert dose == 1.0
        assert math.isnan(age)


@pytest.mark.parametrize("dose", [0, 50.0])
def test_the_ends_of_a_range_belong_to_it_where_another_field_is_absent_too(dose: float) -> None:
    assert struct.unpack("<dd", OPTIONAL_AGE.encode({"dose": dose}))[0] == dose


def test_an_optional_field_that_is_sent_must_still_be_right() -> None:
    assert faults_of({"dose": 1.0, "age": 130}, OPTIONAL_AGE)[0].code == "out_of_range"
    assert faults_of({"dose": 1.0, "age": math.nan}, OPTIONAL_AGE)[0].code == "not_finite"


def test_a_batch_becomes_one_float32_matrix_in_the_order_given() -> None:
    payloads = [PIPELINE.encode({"dose": row, "age": 2 * row}) for row in (3, 1, 2)]
    feeds = PIPELINE.preprocess(payloads)
    assert list(feeds) == ["features"]
    assert feeds["features"].dtype == np.float32
    assert feeds["features"].tolist() == [[3, 6], [1, 2], [2, 4]]


def test_a_damaged_stored_row_is_named_by_its_place() -> None:
    good = PIPELINE.encode({"dose": 1, "age": 2})
    with pytest.raises(RowFault) as caught:
        PIPELINE.preprocess([good, good[:-1], good])
    assert (caught.value.index, caught.value.fault.code) == (1, "stored_input_damaged")


def test_the_schema_gives_title_unit_range_and_example() -> None:
    schema: Any = PIPELINE.input_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    dose = schema["properties"]["dose"]
    assert (dose["title"], dose["unit"], dose["minimum"], dose["maximum"]) == ("Dose", "mg", 0.0, 50.0)
    assert schema["examples"] == [{"dose": 10.0, "age": 40.0}]
    assert json.loads(json.dumps(schema)) == schema


def test_the_schema_names_a_unit_only_where_there_is_one() -> None:
    described: Any = PIPELINE.input_schema()["properties"]
    assert described["dose"]["description"].endswith("Unit: mg.")
    plain: Any = wide_pipeline(2).input_schema()["properties"]
    assert "Unit" not in plain["marker_0"]["description"]


@pytest.mark.parametrize(
    "feature",
    ["plain", {"minimum": 18.0, "maximum": 120.0}, {"minimum": 3.0}, {"maximum": -1.0}, {"minimum": 1.0, "maximum": 1.0000001},
     {"minimum": -50.0, "maximum": 50.0, "required": False}],
)  # fmt: skip
def test_an_example_is_shown_where_the_manifest_gives_none_and_it_is_taken(feature: Any) -> None:
    own = feature if isinstance(feature, str) else {"name": "plain", "title": "Plain", **feature}
    pipeline = single_pass(manifest(features=[own, FEATURES[0]]))
    schema: Any = pipeline.input_schema()
    [example] = schema["examples"]
    assert set(example) == {"plain", "dose"}
    assert pipeline.encode(example)


@pytest.mark.parametrize(
    ("feature", "example"),
    [
        ({}, 0.0),
        ({"minimum": 18.0, "maximum": 120.0}, 69.0),
        ({"minimum": 3.0}, 3.0),
        ({"minimum": -3.0}, 0.0),
        ({"maximum": -1.0}, -1.0),
        ({"minimum": 18.0, "maximum": 120.0, "example": 20.0}, 20.0),
        ({"minimum": 18.0, "maximum": 120.0, "example": 120.0}, 120.0),
    ],
)
def test_an_example_is_the_middle_of_the_range_or_as_near_to_zero_as_one_without_an_end_allows(
    feature: dict[str, Any], example: float
) -> None:
    own = {"name": "plain", "title": "Plain", **feature}
    schema: Any = single_pass(manifest(features=[own, FEATURES[0]])).input_schema()
    assert schema["examples"][0]["plain"] == example


@pytest.mark.parametrize(
    ("feature", "advice"),
    [
        ({"minimum": 5.0, "maximum": 5.0}, "minimum must be less than maximum"),
        ({"example": 51.0}, "example must lie between minimum and maximum"),
        ({"name": "Dose"}, "lower-case letters"),
        ({"unit": ""}, "UCUM code"),
        ({"maximum": 1e39}, "at most"),
        ({"name": "age"}, "give each feature its own name"),
    ],
)
def test_a_feature_that_makes_no_sense_is_refused(feature: dict[str, Any], advice: str) -> None:
    with pytest.raises(ManifestInvalid, match=advice):
        single_pass(manifest(features=[FEATURES[0] | feature, FEATURES[1]]))


@pytest.mark.parametrize("wrong", [-0.1, 50.1, 1e300, math.nan, math.inf, -math.inf])
def test_one_number_of_a_column_past_either_end_is_a_fault_of_its_row(wrong: float) -> None:
    assert isinstance(PIPELINE, FieldPipeline)
    doses = NumberColumn(np.array([0.0, wrong, 50.0]))
    _, faults = PIPELINE.check_columns([doses, NumberColumn(np.array([1.0, 2.0, 3.0]))], 3)
    assert faults.any_of(3).tolist() == [False, True, False]


def test_a_column_whose_numbers_all_are_in_range_has_no_fault() -> None:
    assert isinstance(PIPELINE, FieldPipeline)
    columns = [NumberColumn(np.array([0.0, 50.0])), NumberColumn(np.array([0.0, 120.0]))]
    feeds, faults = PIPELINE.check_columns(columns, 2)
    assert not faults.any_of(2).any()
    assert feeds["features"].tolist() == [[0.0, 0.0], [50.0, 120.0]]


@pytest.mark.parametrize(("pipeline", "codes"), [(PIPELINE, ["missing_field"]), (OPTIONAL_AGE, [])])
def test_an_absent_cell_is_missing_where_its_field_is_required_and_else_fed_as_nan(
    pipeline: Pipeline, codes: list[str]
) -> None:
    assert isinstance(pipeline, FieldPipeline)
    ages = NumberColumn(np.array([40.0, 500.0]), np.array([False, True]))
    feeds, faults = pipeline.check_columns([NumberColumn(np.array([1.0, 2.0])), ages], 2)
    assert [kind.code for kind in faults.kinds] == codes
    assert feeds["features"][0].tolist() == [1.0, 40.0]
    assert math.isnan(feeds["features"][1, 1])


def test_a_cell_of_another_type_is_a_fault_whatever_number_stands_for_it() -> None:
    assert isinstance(PIPELINE, FieldPipeline)
    doses = NumberColumn(np.array([1.0, 2.0]), wrong_type=np.array([True, False]))
    _, faults = PIPELINE.check_columns([doses, NumberColumn(np.array([1.0, 2.0]))], 2)
    assert [kind.code for kind in faults.kinds] == ["wrong_type"]
    assert faults.any_of(2).tolist() == [True, False]


def test_a_graph_is_tried_at_the_middle_and_the_ends_of_its_ranges() -> None:
    pipeline = single_pass(manifest(features=[FEATURES[0] | {"minimum": 10.0}, FEATURES[1]]))
    assert isinstance(pipeline, HasExtremes)
    rows = [struct.unpack("<dd", row) for row in pipeline.extremes()]
    assert rows == [(30, 60), (10, 0), (50, 120), (10, 60), (50, 60), (30, 0), (30, 120)]
