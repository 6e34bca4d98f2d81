"""Values as people write them: what a manifest declares for a category or a flag is read as that, and nothing else is."""

import json
from typing import Any

import jsonschema
import pytest

from models.manifest import ManifestInvalid
from models.pipelines import InputRejected, SinglePassPipeline
from models.pipelines.schema_columns import ColumnKind, input_fields, missing_markers
from tests.unit.models.example_bundles import FEATURES, manifest, single_pass

SEX = {
    "name": "sex", "title": "Sex", "type": "category", "values": ["female", "male"],
    "written": {"0": "female", "1": "male", "W": "female"},
}  # fmt: skip
SMOKER = {
    "name": "smoker",
    "title": "Smoker",
    "type": "boolean",
    "written": {"1": True, "0": False, "yes": True},
}
FORMS = [
    ("sex", "female", "female"), ("sex", "0", "female"), ("sex", 0, "female"), ("sex", 1.0, "male"), ("sex", "W", "female"),
    ("smoker", True, True), ("smoker", 1, True), ("smoker", "0", False), ("smoker", "yes", True), ("smoker", "False", False),
]  # fmt: skip


def pipeline(*features: dict[str, Any], **parameters: Any) -> SinglePassPipeline:
    return single_pass(manifest(features=list(features), **parameters))


CODED = pipeline(SEX, SMOKER)


@pytest.mark.parametrize(("field", "written", "meant"), FORMS)
def test_a_declared_form_is_stored_as_the_value_that_it_means(
    field: str, written: object, meant: object
) -> None:
    case = {"sex": "male", "smoker": False, field: written}
    jsonschema.validate(case, CODED.input_schema())
    assert CODED.decode(CODED.encode(case)) == {"sex": "male", "smoker": False, field: meant}


@pytest.mark.parametrize(
    ("field", "value", "code", "detail"),
    [
        ("sex", 2, "wrong_type", 'sex must be a text, one of "female", "male", also written 0, 1, W.'),
        ("sex", True, "wrong_type", 'sex must be a text, one of "female", "male", also written 0, 1, W.'),
        ("sex", 0.5, "wrong_type", 'sex must be a text, one of "female", "male", also written 0, 1, W.'),
        ("sex", 10**400, "wrong_type", 'sex must be a text, one of "female", "male", also written 0, 1, W.'),
        ("sex", "2", "not_allowed", 'sex must be one of "female", "male", also written 0, 1, W.'),
        ("sex", "w", "not_allowed", 'sex must be one of "female", "male", also written 0, 1, W. Did you mean "W"?'),
        ("smoker", 2, "wrong_type", "smoker must be true or false, also written 1, 0, yes."),
        ("smoker", "no", "wrong_type", "smoker must be true or false, also written 1, 0, yes."),
    ],
)  # fmt: skip
def test_what_is_not_declared_is_refused(field: str, value: object, code: str, detail: str) -> None:
    case = {"sex": "male", "smoker": False, field: value}
    with pytest.raises(InputRejected) as caught:
        CODED.encode(case)
    assert [(fault.code, fault.detail) for fault in caught.value.faults] == [(code, detail)]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(case, CODED.input_schema())


def test_without_declared_forms_a_number_is_no_value() -> None:
    plain = pipeline({**SEX, "written": {}}, {**SMOKER, "written": {}})
    with pytest.raises(InputRejected) as caught:
        plain.encode({"sex": 0, "smoker": 1})
    assert len(caught.value.faults) == 2


def test_files_have_codes_for_values_with_declared_forms() -> None:
    optional = {**SEX, "required": False, "missing": ""}
    kinds = {field.name: field.kind for field in input_fields(pipeline(optional, SMOKER).input_schema())}
    assert kinds == {"sex": ColumnKind.CODE, "smoker": ColumnKind.CODE}


def test_the_schema_tells_the_markers_of_absent_values() -> None:
    schema = pipeline(*FEATURES, missing=["?", "NA"]).input_schema()
    assert missing_markers(schema) == ("?", "NA")
    assert missing_markers(json.loads(json.dumps(CODED.input_schema()))) == ()


@pytest.mark.parametrize(
    ("features", "more", "advice"),
    [
        ([{**SEX, "written": {"2": "other"}}], {}, "'other' is none of the values"),
        ([{**SEX, "display": {"other": "Neither"}}], {}, "display: 'other' is none of the values"),
        ([{**SEX, "written": {"male": "female"}}], {}, "'male' is a value itself"),
        ([{**SEX, "written": {" m": "male"}}], {}, "without spaces around it"),
        ([{**SMOKER, "written": {"true": False}}], {}, "true must mean true"),
        ([SEX], {"missing": ["W"]}, "'W' is a value of 'sex'"),
        ([SMOKER], {"missing": ["false"]}, "'false' is a value of 'smoker'"),
    ],
)
def test_a_contradictory_manifest_is_refused(
    features: list[dict[str, Any]], more: dict[str, Any], advice: str
) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        pipeline(*features, **more)
    assert advice in caught.value.faults[0].detail
