"""Tables of more than numbers: what is accepted of each type, how it is stored and fed, and how each fault is worded."""

import json
import math
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.field_codes import FieldCode
from models.manifest import ManifestInvalid
from models.pipelines import FieldFault, InputRejected, RowFault
from models.pipelines.rows import FieldPipeline
from tests.unit.models.example_bundles import FEATURES, manifest, single_pass

DOSE, AGE = FEATURES
VISITS = {"name": "visits", "title": "Visits", "type": "integer", "unit": "1", "minimum": 0, "maximum": 99}
SMOKER = {"name": "smoker", "title": "Smoker", "type": "boolean"}
SEX = {"name": "sex", "title": "Sex", "type": "category", "values": ["female", "male"]}
STAGE = {"name": "stage", "title": "Stage", "type": "category", "values": ["I", "II", "III"], "as": "index"}
NOTE = {"name": "note", "title": "Note", "type": "text", "max_length": 20}
ALL = [DOSE, VISITS, SMOKER, SEX, STAGE, NOTE]
MISSING = {"visits": -1, "smoker": False, "sex": "", "stage": -1, "note": "none"}
OPTIONAL = [
    feature
    | {"required": False}
    | ({"missing": MISSING[name]} if (name := feature["name"]) in MISSING else {})
    for feature in ALL
]
GOOD = {"dose": 12.5, "visits": 3, "smoker": True, "sex": "male", "stage": "II", "note": "Bläschen"}

PIPELINE = single_pass(manifest(features=ALL))
LENIENT = single_pass(manifest(features=OPTIONAL))


def faults_of(value: object) -> tuple[FieldFault, ...]:
    with pytest.raises(InputRejected) as caught:
        PIPELINE.encode(value)
    return caught.value.faults


def test_an_input_is_stored_as_a_version_and_json_in_the_manifests_order() -> None:
    stored = PIPELINE.encode(dict(reversed(GOOD.items())))
    assert stored == b"\x01" + (
        '{"dose":12.5,"visits":3,"smoker":true,"sex":"male","stage":"II","note":"Bläschen"}'.encode()
    )
    assert PIPELINE.decode(stored) == GOOD


def test_what_is_absent_is_stored_as_null_and_fed_as_the_manifest_says() -> None:
    stored = LENIENT.encode({"sex": None})
    assert LENIENT.decode(stored) == dict.fromkeys(GOOD)
    [row] = LENIENT.preprocess([stored])["features"]
    assert math.isnan(row["dose"])
    assert {name: row[name] for name in MISSING} == MISSING


def test_each_feature_is_fed_as_a_column_of_its_type() -> None:
    fed = PIPELINE.preprocess([PIPELINE.encode(GOOD), PIPELINE.encode({**GOOD, "stage": "I", "note": "z"})])
    rows = fed["features"]
    assert [rows.dtype[name].name for name in GOOD] == [
        "float64",
        "int32",
        "bool",
        "object",
        "int32",
        "object",
    ]
    assert rows.tolist() == [(12.5, 3, True, "male", 1, "Bläschen"), (12.5, 3, True, "male", 0, "z")]
    specs = PIPELINE.feeds[0].columns
    assert {spec.name: spec.dtype for spec in specs} == {
        "dose": "float64",
        "visits": "int32",
        "smoker": "bool",
        "sex": "string",
        "stage": "int32",
        "note": "string",
    }


def test_a_number_keeps_all_its_digits() -> None:
    third = 1 / 3
    assert PIPELINE.preprocess([PIPELINE.encode({**GOOD, "dose": third})])["features"]["dose"][0] == third


@pytest.mark.parametrize(
    ("limits", "dtype"),
    [
        ({}, "int64"),
        ({"minimum": 0, "maximum": 2**31 - 1}, "int32"),
        ({"minimum": 0, "maximum": 2**31}, "int64"),
        ({"minimum": -(2**31) - 1, "maximum": 0}, "int64"),
        ({"minimum": 0, "maximum": 1, "required": False, "missing": 2**40}, "int64"),
    ],
)
def test_a_whole_number_has_the_bits_that_its_range_needs(limits: dict[str, Any], dtype: str) -> None:
    feature = {"name": "serial", "title": "Serial", "type": "integer", **limits}
    [spec] = single_pass(manifest(features=[feature])).feeds
    assert [column.dtype for column in spec.columns] == [dtype]


@pytest.mark.parametrize(
    ("field", "value", "code", "detail"),
    [
        ("dose", "1", "wrong_type", "dose must be a number between 0 and 50 mg."),
        ("visits", None, "missing_field", "visits is missing: send a whole number between 0 and 99."),
        ("visits", 2.5, "wrong_type", "visits must be a whole number between 0 and 99."),
        ("visits", True, "wrong_type", "visits must be a whole number between 0 and 99."),
        ("visits", "2", "wrong_type", "visits must be a whole number between 0 and 99."),
        ("visits", math.nan, "not_finite", "visits must be a finite number between 0 and 99."),
        ("visits", math.inf, "not_finite", "visits must be a finite number between 0 and 99."),
        ("visits", 100, "out_of_range", "visits must be between 0 and 99."),
        ("visits", -1, "out_of_range", "visits must be between 0 and 99."),
        ("visits", 10**400, "out_of_range", "visits must be between 0 and 99."),
        ("smoker", 1, "wrong_type", "smoker must be true or false."),
        ("smoker", "true", "wrong_type", "smoker must be true or false."),
        ("smoker", None, "missing_field", "smoker is missing: send true or false."),
        ("sex", "FEMALE ", "not_allowed", 'sex must be one of "female", "male". Did you mean "female"?'),
        ("sex", "femal", "not_allowed", 'sex must be one of "female", "male". Did you mean "female"?'),
        ("sex", "other", "not_allowed", 'sex must be one of "female", "male".'),
        ("sex", "", "not_allowed", 'sex must be one of "female", "male".'),
        ("sex", ["male"], "wrong_type", 'sex must be a text, one of "female", "male".'),
        ("sex", None, "missing_field", 'sex is missing: send one of "female", "male".'),
        ("stage", 1, "wrong_type", 'stage must be a text, one of "I", "II", "III".'),
        ("note", "", "too_short", "note is empty: send a text of at most 20 characters."),
        ("note", "x" * 21, "too_long", "note must be a text of at most 20 characters."),
        ("note", 5, "wrong_type", "note must be a text of at most 20 characters."),
        *(("note", half, "wrong_type", "note must be a text of at most 20 characters. Half a surrogate pair is no character.")
          for half in ("a\ud800", "\udfff")),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_with_what_to_send(field: str, value: object, code: str, detail: str) -> None:
    assert faults_of({**GOOD, field: value}) == (FieldFault(f"/{field}", FieldCode(code), detail),)


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        ("visits", 0, 0),
        ("visits", 99, 99),
        ("visits", 7.0, 7),
        ("note", "x" * 20, "x" * 20),
        ("dose", 50, 50.0),
    ],
)
def test_the_ends_of_what_is_accepted_belong_to_it(field: str, value: object, stored: object) -> None:
    decoded: Any = PIPELINE.decode(PIPELINE.encode({**GOOD, field: value}))
    assert decoded[field] == stored
    assert type(decoded[field]) is type(stored)


def test_what_stands_for_an_absent_category_may_be_any_number_of_32_bits() -> None:
    for missing in (-(2**31), 2**31 - 1):
        pipeline = single_pass(manifest(features=[STAGE | {"required": False, "missing": missing}]))
        assert pipeline.preprocess([pipeline.encode({})])["features"]["stage"].tolist() == [missing]


def test_a_value_that_two_are_near_to_is_given_no_hint() -> None:
    grade = {"name": "grade", "title": "Grade", "type": "category", "values": ["< 3", "> 3", "HER2-positive"]}
    pipeline = single_pass(manifest(features=[grade, DOSE]))
    for value in ("3", "HER2-negative"):
        with pytest.raises(InputRejected) as caught:
            pipeline.encode({"grade": value, "dose": 1})
        assert "Did you mean" not in caught.value.faults[0].detail


@pytest.mark.parametrize(
    ("count", "more"), [(20, ""), (21, " and 1 more, which"), (30, " and 10 more, which")]
)
def test_of_many_values_the_first_are_named(count: int, more: str) -> None:
    values = [f"code {number}" for number in range(count)]
    codes = {"name": "code", "title": "Code", "type": "category", "values": values}
    pipeline = single_pass(manifest(features=[codes]))
    with pytest.raises(InputRejected) as caught:
        pipeline.encode({"code": "none of them"})
    [fault] = caught.value.faults
    lists = " the model's input_schema lists." if more else "."
    assert fault.detail.endswith(f'"code 18", "code 19"{more}{lists}')
    assert '"code 20"' not in fault.detail
    schema: Any = pipeline.input_schema()
    assert schema["properties"]["code"]["enum"] == values


def test_all_faults_are_reported_together_and_unknown_fields_too() -> None:
    found = faults_of({"dose": "x", "visits": 1, "smoker": False, "sex": "m", "Stage": "I", "note": "x"})
    assert [(fault.pointer, fault.code) for fault in found] == [
        ("/dose", "wrong_type"),
        ("/sex", "not_allowed"),
        ("/stage", "missing_field"),
        ("/Stage", "unknown_field"),
    ]
    assert found[-1].detail == "The model does not take this field: remove it. Did you mean stage?"


@pytest.mark.parametrize("value", [None, [], "dose", 3])
def test_only_an_object_is_an_input(value: object) -> None:
    assert faults_of(value) == (
        FieldFault("", FieldCode.NOT_AN_OBJECT, "Send a JSON object with one value per field."),
    )


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(["female", "Male", "I", "IV", "", "x" * 21]),
    st.text(max_size=3),
    st.integers(-5, 130),
    st.floats(-5, 130),
    st.lists(st.integers(), max_size=1),
)


@pytest.mark.parametrize("pipeline", [PIPELINE, LENIENT])
@given(
    changes=st.dictionaries(st.sampled_from([*GOOD, "weight"]), VALUES),
    dropped=st.sets(st.sampled_from([*GOOD])),
)
def test_what_the_published_schema_accepts_is_what_encode_accepts(
    pipeline: Any, changes: dict[str, Any], dropped: set[str]
) -> None:
    value = {name: each for name, each in {**GOOD, **changes}.items() if name not in dropped}
    try:
        stored = pipeline.encode(value)
    except InputRejected:
        accepted = False
    else:
        accepted = True
        assert pipeline.decode(stored) == {name: value.get(name) for name in GOOD}
        assert len(pipeline.preprocess([stored])["features"]) == 1
    assert accepted == jsonschema.Draft202012Validator(pipeline.input_schema()).is_valid(value)


@given(st.text(min_size=6))
def test_no_fault_repeats_a_submitted_value(text: str) -> None:
    worded = " ".join(fault.detail for fault in faults_of(dict.fromkeys(GOOD, f"<{text}>" + "x" * 20)))
    assert f"<{text}>" not in worded


def test_a_damaged_stored_row_is_named_by_its_place() -> None:
    good = PIPELINE.encode(GOOD)
    bad = [
        good[:-1],
        b"\x02" + good[1:],
        good[1:],
        b"",
        b"\x01[]",
        b"\x01\xff",
        b"\x01" + json.dumps({**GOOD, "sex": "m"}).encode(),
        b"\x01" + json.dumps({**GOOD, "more": 1}).encode(),
    ]
    for payload in bad:
        with pytest.raises(RowFault) as caught:
            PIPELINE.preprocess([good, payload])
        assert (caught.value.index, caught.value.fault.code) == (1, "stored_input_damaged")
        with pytest.raises(InputRejected):
            PIPELINE.decode(payload)


@pytest.mark.parametrize("features", [ALL, OPTIONAL])
def test_the_schema_describes_each_feature_and_its_example_is_taken(features: list[dict[str, Any]]) -> None:
    pipeline = single_pass(manifest(features=features))
    schema: Any = pipeline.input_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    [example] = schema["examples"]
    assert example == {
        "dose": 10.0,
        "visits": 0,
        "smoker": False,
        "sex": "female",
        "stage": "I",
        "note": "text",
    }
    jsonschema.validate(example, schema)
    assert pipeline.encode(example)
    assert schema["properties"]["dose"]["description"] == "Unit: mg."
    assert schema["properties"]["visits"]["unit"] == "1"
    assert {rule["description"] for name, rule in schema["properties"].items() if name != "dose"} == {""}
    kinds = [rule["type"] for rule in schema["properties"].values()]
    plain = ["number", "integer", "boolean", "string", "string", "string"]
    assert kinds == (plain if features is ALL else [[kind, "null"] for kind in plain])


def test_examples_of_the_manifest_are_shown() -> None:
    shown = {"dose": 10.0, "visits": 4, "smoker": True, "sex": "male", "stage": "III", "note": "A rash"}
    schema: Any = single_pass(
        manifest(features=[feature | {"example": shown[feature["name"]]} for feature in ALL])
    ).input_schema()
    assert schema["examples"] == [shown]
    assert {name: rule["examples"] for name, rule in schema["properties"].items()} == {
        name: [value] for name, value in shown.items()
    }


def test_the_extremes_are_every_value_beside_what_is_shown() -> None:
    pipeline: Any = single_pass(manifest(features=[DOSE, SEX, SMOKER]))
    rows = [pipeline.decode(payload) for payload in pipeline.extremes()]
    shown = {"dose": 10.0, "sex": "female", "smoker": False}
    assert rows == [
        shown,
        shown | {"dose": 0.0},
        shown | {"dose": 50.0},
        shown,
        shown | {"sex": "male"},
        shown,
        shown | {"smoker": True},
    ]
    outputs = {"probability": np.array([[0.5], [0.1], [0.9], [0.5], [0.2], [0.5], [0.6]])}
    further = [pipeline.decode(payload) for payload in pipeline.further_extremes(outputs)]
    assert further == [
        {"dose": 50.0, "sex": "female", "smoker": True},
        {"dose": 0.0, "sex": "male", "smoker": False},
    ]


def test_the_extremes_of_what_may_be_absent_are_without_it_too() -> None:
    """But not without a number, for which the graph gets NaN: that may well answer NaN."""
    pipeline: Any = single_pass(manifest(features=[OPTIONAL[0], OPTIONAL[3]]))
    shown = {"dose": 10.0, "sex": "female"}
    rows = [pipeline.decode(payload) for payload in pipeline.extremes()]
    assert rows == [
        shown,
        shown | {"dose": 0.0},
        shown | {"dose": 50.0},
        shown,
        shown | {"sex": "male"},
        shown | {"sex": None},
    ]
    outputs = {"probability": np.array([[0.5], [0.9], [0.1], [0.5], [0.2], [0.6]])}
    assert [pipeline.decode(payload) for payload in pipeline.further_extremes(outputs)] == [
        {"dose": 0.0, "sex": None},
        {"dose": 50.0, "sex": "male"},
    ]


def test_a_table_of_numbers_alone_is_stored_and_batched_as_before() -> None:
    typed = [feature | {"type": "number"} for feature in FEATURES]
    for features in (FEATURES, typed, ["dose", "age"]):
        pipeline = single_pass(manifest(features=features))
        assert isinstance(pipeline, FieldPipeline)
        assert len(pipeline.encode({"dose": 1, "age": 2})) == 16
    assert not isinstance(PIPELINE, FieldPipeline)


def test_one_feature_makes_a_table() -> None:
    alone = single_pass(manifest(features=[DOSE]))
    assert alone.decode(alone.encode({"dose": 3})) == {"dose": 3.0}
    assert alone.preprocess([alone.encode({"dose": 3})])["features"].tolist() == [[3.0]]


@pytest.mark.parametrize(
    ("feature", "key", "advice"),
    [
        (SEX | {"type": "kategorie"}, "", "type must be one of number, integer, boolean, category, text"),
        (SEX | {"type": ["text"]}, "", "type must be one of number"),
        (SEX | {"values": []}, ".values", "at least 1 element"),
        (SEX | {"values": ["a", ""]}, ".values[1]", "it is empty"),
        (SEX | {"values": ["a", 1]}, ".values[1]", "write a string"),
        (SEX | {"values": ["a", "b", "a"]}, "", "values: name each value once"),
        ({key: SEX[key] for key in ("name", "title", "type")}, ".values", "add this key"),
        (SEX | {"as": "number"}, ".as", "'text' or 'index'"),
        (SEX | {"fed_as": "index"}, ".fed_as", "there is no such key here"),
        (SEX | {"minimum": 0}, ".minimum", "there is no such key here"),
        (SEX | {"example": "x"}, "", "example must be one of the values"),
        (SEX | {"required": False}, "", "give `missing`"),
        (SEX | {"missing": ""}, "", "with `required = false`, and only then"),
        (SEX | {"required": False, "missing": 0}, "", "missing must be a text"),
        (STAGE | {"required": False, "missing": ""}, "", 'with `as = "index"` a whole number'),
        (STAGE | {"required": False, "missing": 2**31}, ".missing", "a whole number of 32 bits"),
        (STAGE | {"required": False, "missing": -(2**31) - 1}, ".missing", "a whole number of 32 bits"),
        (STAGE | {"required": False, "missing": 1.5}, ".missing", "a whole number of 32 bits"),
        (STAGE | {"required": False, "missing": True}, ".missing", "a whole number of 32 bits"),
        (NOTE | {"max_length": 0}, ".max_length", "at least 1"),
        (NOTE | {"example": "x" * 21}, "", "at most max_length characters"),
        (NOTE | {"required": False}, "", "give `missing`"),
        (NOTE | {"values": ["a"]}, ".values", "there is no such key here"),
        (VISITS | {"minimum": 0.5}, ".minimum", "write a whole number"),
        (VISITS | {"maximum": 2**53 + 1}, ".maximum", "at most"),
        (VISITS | {"minimum": 99}, "", "minimum must be less than maximum"),
        (VISITS | {"example": 100}, "", "example must lie between"),
        (VISITS | {"required": False}, "", "give `missing`"),
        (SMOKER | {"required": False}, "", "give `missing`"),
        (SMOKER | {"unit": "1"}, ".unit", "there is no such key here"),
        (DOSE | {"missing": 0}, ".missing", "there is no such key here"),
        (SEX | {"name": "dose"}, None, "give each feature its own name"),
    ],
)  # fmt: skip
def test_a_feature_that_makes_no_sense_is_refused_by_its_key(
    feature: dict[str, Any], key: str | None, advice: str
) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        single_pass(manifest(features=[DOSE, feature]))
    [fault] = caught.value.faults
    place = "parameters" if key is None else f"parameters.features[1]{key}"
    assert fault.place == f"manifest.toml: {place}"
    assert advice in fault.detail
