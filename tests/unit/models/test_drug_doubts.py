"""What an input leaves in doubt is told: drugs in question or of a strength of 0, and which figure of the kidneys counted."""

from typing import Any

import pytest

from models.drug_safety import Kind, Patient, Reason, Review
from tests.unit.models.drug_tables import bundled
from tests.unit.models.example_recommender import recommender


def review(*present: str, **facts: float) -> Review:
    patient = Patient(allergies=(), age_years=70, sex="male", diagnoses=(), **facts)  # type: ignore[arg-type]  # figures
    return bundled().review(patient, list(present), ["aspirin", "metformin"])


@pytest.mark.parametrize(
    "name",
    [
        "warfarin?",
        "?warfarin",
        "warfarin ?",
        "warfarin\uff1f",
        "warfarin 0 mg",
        "warfarin 0mg po",
        "warfarin 0.0 mg",
        "warfarin 0 tab",
    ],
)
def test_a_drug_in_doubt_is_counted_and_told(name: str) -> None:
    found = review(name)
    assert ("aspirin", name) in {(each.drug, each.with_) for each in (*found.removed, *found.flagged)}
    [told] = [each for each in found.unchecked if each.reason is Reason.NAME_DOUBTED]
    assert (told.subject, "leave it out" in told.detail) == (name, True)


@pytest.mark.parametrize(
    "name", ["warfarin", "warfarin 10 mg", "warfarin 0.5 mg", "warfarin 1.0 mg tab", "warfarin 100 mg"]
)
def test_a_plain_drug_is_in_no_doubt(name: str) -> None:
    assert [each for each in review(name).unchecked if each.reason is Reason.NAME_DOUBTED] == []


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"egfr_ml_min": 12.0}, "estimated glomerular filtration rate 12 ml/min"),
        ({"creatinine_clearance_ml_min": 12.0}, "creatinine clearance 12 ml/min"),
        ({"creatinine_clearance_ml_min": 12.0, "egfr_ml_min": 20.0}, "creatinine clearance 12 ml/min"),
    ],
)
def test_a_finding_names_the_figure_of_the_kidneys_that_was_sent(facts: dict[str, float], named: str) -> None:
    found = review(**facts)
    assert {each.with_ for each in (*found.removed, *found.flagged) if each.kind is Kind.RENAL} == {named}


def test_null_for_the_history_is_as_good_as_none() -> None:
    pipeline = recommender()
    sent = {"diagnoses": ["I50.9"]}
    assert pipeline.encode({"history": None, **sent}) == pipeline.encode(sent)
    schema: Any = pipeline.input_schema()
    assert schema["properties"]["history"]["type"] == ["array", "null"]
