"""Diseases by codes of other chapters, such as that of pregnancy: advice and the review of drugs know them as the disease."""

from typing import Any

import pytest

from models.bundle import ZOO, read_bundle, side_files
from models.drug_safety import Kind, Level, Patient
from models.drug_safety.coded_facts import may_say_pregnant, says_pregnant, stage_of
from models.drug_safety.codes import read_code
from models.pipelines import Case, load_pipeline
from models.pipelines.advice_catalogue import Catalogue
from tests.unit.models.drug_tables import bundled
from tests.unit.models.test_health_advice import RUN

ADVICE = ZOO / "health-advice-recommender"
PIPELINE = load_pipeline(read_bundle(ADVICE).manifest, side_files(ADVICE))
CATALOGUE = Catalogue.read((ADVICE / "catalogue.toml").read_bytes(), "catalogue.toml")


@pytest.mark.parametrize("code", ["E10.9", "O24.011", "O24.111", "O24.311", "O24.811", "O24.03"])
def test_diabetes_that_was_there_before_a_pregnancy_is_diabetes(code: str) -> None:
    pregnant = {"age": 30.0, "sex": "female", "pregnant": True}
    sent = {"conditions": [code], "symptoms": ["persistent_vomiting"], "medicines": ["insulin"]}
    found: Any = PIPELINE.open(ADVICE).score(RUN, [Case(PIPELINE.encode({**pregnant, **sent}), {})])[0].result
    assert "vomiting-with-diabetes" in {each["id"] for each in found["seek_care"]}
    assert "hypoglycaemia-carry-sugar" in {
        each["id"] for each in (*found["items"], *found["withheld"], *found["undetermined"])
    }


@pytest.mark.parametrize("code", ["O24.410", "O24.911", "P70.2", "O99.810"])
def test_diabetes_of_pregnancy_or_of_the_newborn_is_not(code: str) -> None:
    assert "diabetes" not in CATALOGUE.groups_of(code)


@pytest.mark.parametrize(
    ("code", "group"),
    [
        ("O10.011", "hypertension"), ("O11.2", "hypertension"), ("O13.1", "hypertension"), ("O16.2", "hypertension"),
        ("O13.1", "pregnancy-complication"), ("O90.3", "heart-failure"), ("I09.81", "heart-failure"),
        ("I97.131", "heart-failure"), ("O99.211", "obesity"), ("O99.332", "tobacco"), ("O25.11", "malnutrition"),
        ("F53.0", "depression"), ("O85", "sepsis-or-organ-failure"), ("O90.41", "sepsis-or-organ-failure"),
        ("T81.44XA", "sepsis-or-organ-failure"), ("O88.211", "acute-heart"), ("I97.121", "acute-heart"),
        ("I97.820", "acute-stroke"), ("I97.820", "stroke"), ("I12.9", "chronic-kidney-disease"),
        ("I13.10", "chronic-kidney-disease"), ("E11.22", "chronic-kidney-disease"), ("O10.211", "chronic-kidney-disease"),
        ("T82.41XA", "dialysis"), ("Z49.31", "dialysis"), ("E08.649", "hypoglycaemia"), ("M1A.00X0", "gout"),
        ("E89.0", "hypothyroidism"), ("Z95.1", "coronary-disease"), ("T82.855A", "coronary-disease"),
        ("X78.1XXA", "suicidality"), ("E08.3511", "proliferative-retinopathy"), ("Z3A.20", "pregnancy"),
        ("O98.711", "pregnancy"), ("O99.411", "pregnancy"), ("O99.330", "pregnancy"), ("O9A.211", "pregnancy"),
    ],
)  # fmt: skip
def test_advice_knows_a_condition_by_the_codes_of_other_chapters(code: str, group: str) -> None:
    assert group in CATALOGUE.groups_of(code)


@pytest.mark.parametrize("code", ["O99.214", "O99.335", "O98.73", "O99.43", "O9A.22", "O99.815", "O99.893"])
def test_childbirth_and_the_puerperium_are_no_pregnancy(code: str) -> None:
    read = read_code(code)
    assert read is not None
    assert not says_pregnant(read)
    assert may_say_pregnant(read)
    assert "pregnancy" not in CATALOGUE.groups_of(code)


@pytest.mark.parametrize(
    "code",
    [
        "O99.210",
        "O99.313",
        "O99.332",
        "O99.810",
        "O99.843",
        "O99.891",
        "O98.711",
        "O99.411",
        "O9A.111",
        "O99.012",
    ],
)
def test_a_disease_that_complicates_a_pregnancy_says_that_there_is_one(code: str) -> None:
    read = read_code(code)
    assert read is not None
    assert says_pregnant(read)


@pytest.mark.parametrize(
    ("drug", "code", "level"),
    [
        ("ibuprofen", "O90.3", Level.NOT_RECOMMENDED),
        ("verapamil", "O90.3", Level.CONTRAINDICATED),
        ("methylergonovine", "O13.3", Level.CONTRAINDICATED),
        ("methylergonovine", "642.43", Level.CONTRAINDICATED),
        ("mefloquine", "F53.0", Level.CONTRAINDICATED),
        ("estradiol", "O87.1", Level.CONTRAINDICATED),
        ("propranolol", "J82.83", Level.CONTRAINDICATED),
        ("dabigatran", "T82.6XXA", Level.CONTRAINDICATED),
        ("metformin", "E14.1", Level.CONTRAINDICATED),
    ],
)
def test_the_review_of_drugs_knows_a_diagnosis_by_the_codes_of_other_chapters(
    drug: str, code: str, level: Level
) -> None:
    patient = Patient(allergies=(), age_years=40, sex="female", pregnant=False, diagnoses=(code,))
    found = bundled().review(patient, [], [drug])
    [finding] = [each for each in (*found.removed, *found.flagged) if each.kind is Kind.DIAGNOSIS]
    assert (finding.level, code in finding.with_) == (level, True)


@pytest.mark.parametrize(
    ("code", "below"),
    [
        ("T82.41XA", 15),
        ("996.56", 15),
        ("O10.211", None),
        ("O08.4", None),
        ("D63.1", None),
        ("639.3", None),
        ("T79.5XXA", None),
    ],
)
def test_kidneys_by_the_codes_of_other_chapters(code: str, below: float | None) -> None:
    read = read_code(code)
    assert read is not None
    found = stage_of(read)
    assert found is not None
    assert found[1] == (float("inf") if below is None else below)
