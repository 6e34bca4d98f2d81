"""Pregnancy, breastfeeding, renal function, age and duplicates in the drug safety rule."""

import math
import re

import pytest

from models.drug_safety import Kind, Level, Patient, Reason
from tests.unit.models.drug_tables import bundled

WOMAN = Patient(
    allergies=(),
    age_years=30,
    sex="female",
    pregnant=False,
    breastfeeding=False,
    creatinine_clearance_ml_min=100,
    diagnoses=(),
)


def patient(**facts: object) -> Patient:
    return Patient(**{**WOMAN.__dict__, **facts})


@pytest.mark.parametrize(
    ("facts", "drug", "kind", "level"),
    [
        ({"pregnant": True}, "isotretinoin", Kind.PREGNANCY, Level.CONTRAINDICATED),
        ({"pregnant": True}, "Coumadin", Kind.PREGNANCY, Level.CONTRAINDICATED),
        ({"pregnant": True}, "Zestril", Kind.PREGNANCY, Level.CONTRAINDICATED),
        ({"pregnant": True}, "simvastatin", Kind.PREGNANCY, Level.NOT_RECOMMENDED),
        ({"pregnant": True}, "estradiol", Kind.PREGNANCY, Level.CONTRAINDICATED),
        ({"pregnant": True}, "ulipristal", Kind.PREGNANCY, Level.CONTRAINDICATED),
        ({"pregnant": True}, "penicillamine", Kind.PREGNANCY, Level.CONTRAINDICATED),
        ({"pregnant": True}, "tretinoin", Kind.PREGNANCY, Level.CONTRAINDICATED),
        ({"pregnant": True}, "voriconazole", Kind.PREGNANCY, Level.NOT_RECOMMENDED),
        ({"pregnant": True}, "azathioprine", Kind.PREGNANCY, Level.NOT_RECOMMENDED),
        ({"pregnant": True}, "lorazepam", Kind.PREGNANCY, Level.PRECAUTION),
        ({"pregnant": True}, "aspirin", Kind.PREGNANCY, Level.PRECAUTION),
        ({"creatinine_clearance_ml_min": 14}, "eptifibatide", Kind.RENAL, Level.CONTRAINDICATED),
        ({"creatinine_clearance_ml_min": 14}, "tirofiban", Kind.RENAL, Level.PRECAUTION),
        ({"creatinine_clearance_ml_min": 14}, "deferasirox", Kind.RENAL, Level.CONTRAINDICATED),
        ({"creatinine_clearance_ml_min": 14}, "empagliflozin", Kind.RENAL, Level.CONTRAINDICATED),
        ({"creatinine_clearance_ml_min": 14}, "mannitol", Kind.RENAL, Level.NOT_RECOMMENDED),
        ({"creatinine_clearance_ml_min": 14}, "dalteparin", Kind.RENAL, Level.PRECAUTION),
        ({"creatinine_clearance_ml_min": 14}, "enalapril", Kind.RENAL, Level.PRECAUTION),
        ({"creatinine_clearance_ml_min": 14}, "ceftazidime", Kind.RENAL, Level.PRECAUTION),
        ({"pregnant": True}, "denosumab", Kind.PREGNANCY, Level.CONTRAINDICATED),
        ({"pregnant": True}, "leuprolide", Kind.PREGNANCY, Level.CONTRAINDICATED),
        ({"pregnant": True}, "rivaroxaban", Kind.PREGNANCY, Level.NOT_RECOMMENDED),
        ({"pregnant": True}, "edoxaban", Kind.PREGNANCY, Level.NOT_RECOMMENDED),
        ({"pregnant": True}, "bicalutamide", Kind.PREGNANCY, Level.CONTRAINDICATED),
        ({"pregnant": True}, "ivabradine", Kind.PREGNANCY, Level.NOT_RECOMMENDED),
        ({"creatinine_clearance_ml_min": 49}, "desmopressin", Kind.RENAL, Level.CONTRAINDICATED),
        ({"creatinine_clearance_ml_min": 45}, "cisplatin", Kind.RENAL, Level.NOT_RECOMMENDED),
        ({"creatinine_clearance_ml_min": 14}, "acetazolamide", Kind.RENAL, Level.CONTRAINDICATED),
        ({"creatinine_clearance_ml_min": 14}, "amantadine", Kind.RENAL, Level.CONTRAINDICATED),
        ({"creatinine_clearance_ml_min": 14}, "colistin", Kind.RENAL, Level.PRECAUTION),
        ({"creatinine_clearance_ml_min": 44}, "pemetrexed", Kind.RENAL, Level.NOT_RECOMMENDED),
        ({"breastfeeding": True}, "Tylenol-Codeine No.3", Kind.BREASTFEEDING, Level.NOT_RECOMMENDED),
        ({"creatinine_clearance_ml_min": 29.9}, "metformin", Kind.RENAL, Level.CONTRAINDICATED),
        ({"creatinine_clearance_ml_min": 30}, "metformin", Kind.RENAL, Level.PRECAUTION),
        ({"creatinine_clearance_ml_min": 0}, "dabigatran", Kind.RENAL, Level.CONTRAINDICATED),
        ({"creatinine_clearance_ml_min": 44}, "Macrobid", Kind.RENAL, Level.NOT_RECOMMENDED),
        ({"age_years": 15.9}, "aspirin", Kind.AGE, Level.NOT_RECOMMENDED),
        ({"age_years": 11}, "codeine", Kind.AGE, Level.CONTRAINDICATED),
        ({"age_years": 12}, "codeine", Kind.AGE, Level.PRECAUTION),
        ({"age_years": 1.9}, "promethazine", Kind.AGE, Level.CONTRAINDICATED),
        ({"age_years": 65}, "diphenhydramine", Kind.AGE, Level.PRECAUTION),
    ],
)
def test_a_limit_is_found_with_its_source(
    facts: dict[str, object], drug: str, kind: Kind, level: Level
) -> None:
    found = bundled().review(patient(**facts), [], [drug])
    finding = (found.removed + found.flagged)[0]
    assert (finding.kind, finding.level) == (kind, level)
    assert finding.source
    assert finding.date
    assert (found.kept == ()) is (level in {Level.CONTRAINDICATED, Level.NOT_RECOMMENDED})


@pytest.mark.parametrize(
    ("facts", "drug"),
    [
        ({"pregnant": False}, "isotretinoin"),
        ({"creatinine_clearance_ml_min": 45}, "metformin"),
        ({"age_years": 16}, "aspirin"),
        ({"age_years": 64.9}, "diphenhydramine"),
        ({"pregnant": True}, "acetaminophen"),
    ],
)
def test_outside_its_limits_a_drug_has_no_finding(facts: dict[str, object], drug: str) -> None:
    found = bundled().review(patient(**facts), [], [drug])
    assert found.removed + found.flagged == ()
    assert {each.reason for each in found.unchecked} <= {Reason.NOT_READ}


@pytest.mark.parametrize(
    ("facts", "subjects"),
    [
        ({}, []),
        ({"pregnant": True}, [Kind.PREGNANCY]),
        ({"diagnoses": ("Z33.1",), "pregnant": None}, [Kind.PREGNANCY]),
        ({"breastfeeding": True}, [Kind.BREASTFEEDING]),
        ({"creatinine_clearance_ml_min": 89}, [Kind.RENAL]),
        ({"creatinine_clearance_ml_min": 90}, []),
        ({"pregnant": True, "creatinine_clearance_ml_min": 25}, [Kind.PREGNANCY, Kind.RENAL]),
    ],
)
def test_that_a_table_which_counts_has_some_drugs_alone_is_told_once(
    facts: dict[str, object], subjects: list[Kind]
) -> None:
    found = bundled().review(patient(**facts), ["docusate"], ["simethicone", "sucralfate"]).unchecked
    told = [each for each in found if each.reason is Reason.NOT_READ and each.check]
    assert sorted(each.check or "" for each in told) == sorted(subjects)
    assert all(
        re.fullmatch(r"the table knows \d+ drugs: no entry of a drug says nothing of it", each.detail)
        for each in told
    )


@pytest.mark.parametrize(
    ("facts", "drug", "reason"),
    [
        ({"pregnant": None}, "warfarin", Reason.PREGNANCY_UNKNOWN),
        ({"pregnant": None, "sex": None}, "warfarin", Reason.PREGNANCY_UNKNOWN),
        ({"pregnant": None, "age_years": None}, "warfarin", Reason.PREGNANCY_UNKNOWN),
        ({"breastfeeding": None}, "codeine", Reason.BREASTFEEDING_UNKNOWN),
        ({"creatinine_clearance_ml_min": None}, "metformin", Reason.RENAL_FUNCTION_UNKNOWN),
        ({"age_years": None}, "aspirin", Reason.AGE_UNKNOWN),
    ],
)
def test_a_fact_that_a_limit_asks_for_and_nobody_knows_is_listed(
    facts: dict[str, object], drug: str, reason: Reason
) -> None:
    found = bundled().review(patient(**facts), [], [drug])
    assert found.kept == (drug,)
    assert (drug, reason) in [(each.subject, each.reason) for each in found.unchecked]


@pytest.mark.parametrize("facts", [{"sex": "male"}, {"age_years": 60.1}, {"age_years": 9.9}])
def test_pregnancy_is_not_asked_about_where_there_is_none(facts: dict[str, object]) -> None:
    found = bundled().review(patient(pregnant=None, breastfeeding=None, **facts), [], ["enalapril"])
    assert found.unchecked == ()


@pytest.mark.parametrize("number", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("name", ["age_years", "creatinine_clearance_ml_min"])
def test_a_number_that_is_none_is_refused(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=name):
        patient(**{name: number})


@pytest.mark.parametrize(
    ("present", "proposed", "level"),
    [
        ("furosemide", "Lasix", Level.NOT_RECOMMENDED),
        ("acetaminophen", "Norco", Level.NOT_RECOMMENDED),
        ("omeprazole", "pantoprazole", Level.NOT_RECOMMENDED),
        ("Lipitor", "rosuvastatin", Level.NOT_RECOMMENDED),
        ("lisinopril", "enalapril", Level.NOT_RECOMMENDED),
        ("lorazepam", "alprazolam", Level.PRECAUTION),
        ("potassium chloride", "Klor-Con", Level.TAKE_INTO_ACCOUNT),
        ("insulin lispro", "Humalog", Level.TAKE_INTO_ACCOUNT),
    ],
)
def test_duplicate_therapy_is_found_by_ingredient_and_by_group(
    present: str, proposed: str, level: Level
) -> None:
    found = bundled().review(WOMAN, [present], [proposed])
    duplicates = [each for each in found.removed + found.flagged if each.kind is Kind.DUPLICATE]
    assert [each.level for each in duplicates] == [level]
    assert (found.kept == ()) is (level is Level.NOT_RECOMMENDED)


@pytest.mark.parametrize(
    ("present", "proposed"),
    [
        ("insulin glargine", "insulin lispro"),
        ("dextrose", "D5W"),
        ("warfarin", "enoxaparin"),
        ("amlodipine", "diltiazem"),
    ],
)
def test_what_is_meant_to_be_together_is_no_duplicate(present: str, proposed: str) -> None:
    found = bundled().review(WOMAN, [present], [proposed])
    assert [each for each in found.removed + found.flagged if each.kind is Kind.DUPLICATE] == []


def test_a_proposal_given_twice_is_removed_the_second_time() -> None:
    assert bundled().review(WOMAN, [], ["heparin", "HEPARIN"]).kept == ("heparin",)
