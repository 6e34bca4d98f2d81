"""Diagnoses in the drug safety rule: what they forbid, what nothing is known of, and that no table has them all."""

import pytest

from models.drug_safety import DrugSafety, Finding, Kind, Level, Patient, Reason
from tests.unit.models.drug_tables import PACKAGE, bundled

KNOWN = {"allergies": (), "age_years": 70, "sex": "male", "creatinine_clearance_ml_min": 90}


def patient(**facts: object) -> Patient:
    return Patient(**{**KNOWN, **facts})  # type: ignore[arg-type]  # fields of a patient


def found(drug: str, **facts: object) -> list[Finding]:
    review = bundled().review(patient(**facts), [], [drug])
    return [each for each in (*review.removed, *review.flagged) if each.kind is Kind.DIAGNOSIS]


@pytest.mark.parametrize(
    ("drug", "code", "level"),
    [
        ("potassium chloride", "E87.5", Level.CONTRAINDICATED),
        ("potassium phosphate / sodium phosphate", "276.7", Level.CONTRAINDICATED),
        ("Klor-Con", "e87.5", Level.CONTRAINDICATED),
        ("potassium chloride", "2767", Level.CONTRAINDICATED),
        ("potassium chloride", "E875", Level.CONTRAINDICATED),
        ("spironolactone", "E87.5", Level.CONTRAINDICATED),
        ("diltiazem", "I50.22", Level.CONTRAINDICATED),
        ("diltiazem", "I50.9", Level.NOT_RECOMMENDED),
        ("metformin", "E87.20", Level.CONTRAINDICATED),
        ("insulin lispro", "E16.2", Level.CONTRAINDICATED),
        ("heparin", "K92.2", Level.CONTRAINDICATED),
        ("labetalol", "493.90", Level.CONTRAINDICATED),
        ("metoprolol", "J45.909", Level.PRECAUTION),
        ("calcium gluconate", "E83.52", Level.CONTRAINDICATED),
        ("bupropion", "G40.909", Level.CONTRAINDICATED),
        ("bupropion", "F50.2", Level.CONTRAINDICATED),
        ("telithromycin", "G70.00", Level.CONTRAINDICATED),
        ("ciprofloxacin", "G70.00", Level.NOT_RECOMMENDED),
        ("magnesium sulfate", "G70.00", Level.NOT_RECOMMENDED),
        ("gentamicin", "358.00", Level.NOT_RECOMMENDED),
        ("pioglitazone", "I50.9", Level.CONTRAINDICATED),
        ("cilostazol", "428.0", Level.CONTRAINDICATED),
        ("dronedarone", "I50.22", Level.CONTRAINDICATED),
        ("methylene blue", "D55.0", Level.CONTRAINDICATED),
        ("rasburicase", "D55.0", Level.CONTRAINDICATED),
        ("dapsone", "D55.0", Level.NOT_RECOMMENDED),
        ("sumatriptan", "I25.10", Level.CONTRAINDICATED),
        ("valproic acid", "K72.90", Level.CONTRAINDICATED),
        ("oxybutynin", "R33.9", Level.CONTRAINDICATED),
        ("furosemide", "R34", Level.CONTRAINDICATED),
        ("lisinopril", "T78.3XXA", Level.CONTRAINDICATED),
        ("estradiol", "I63.9", Level.CONTRAINDICATED),
        ("estradiol", "I61.9", Level.CONTRAINDICATED),
        ("aspirin", "I61.9", Level.NOT_RECOMMENDED),
        ("argatroban", "I61.9", Level.CONTRAINDICATED),
        ("ibuprofen", "I21.4", Level.NOT_RECOMMENDED),
        ("ibuprofen", "I25.10", Level.PRECAUTION),
        ("naproxen", "K74.60", Level.NOT_RECOMMENDED),
        ("naltrexone", "F11.20", Level.PRECAUTION),
        ("naltrexone", "F11.23", Level.CONTRAINDICATED),
        ("dofetilide", "E87.6", Level.NOT_RECOMMENDED),
    ],
)
def test_a_diagnosis_forbids_a_drug_or_asks_for_care(drug: str, code: str, level: Level) -> None:
    [finding] = found(drug, diagnoses=(code, "J18.9"))
    assert (finding.level, finding.with_.endswith(f"({code})"), bool(finding.source)) == (level, True, True)


@pytest.mark.parametrize(
    ("drug", "code"),
    [
        ("potassium chloride", "E87.6"),
        ("potassium chloride", "N17.9"),
        ("diltiazem", "I48.0"),
        ("metoprolol", "I50.22"),
        ("calcium gluconate", "E83.51"),
        ("heparin", "K21.9"),
        ("insulin lispro", "E11.65"),
        ("amlodipine", "I10"),
    ],
)
def test_another_diagnosis_says_nothing_of_a_drug(drug: str, code: str) -> None:
    assert found(drug, diagnoses=(code,)) == []


def test_codes_of_one_diagnosis_are_one_finding() -> None:
    [finding] = found("potassium chloride", diagnoses=("E87.5", "276.7", "E87.5"), potassium_mmol_l=6)
    assert finding.with_ == "hyperkalemia (E87.5, 276.7, potassium 6 mmol/L)"


@pytest.mark.parametrize(("potassium", "number"), [(5.4, 0), (5.5, 1), (6.5, 1)])
def test_a_high_potassium_forbids_more_of_it(potassium: float, number: int) -> None:
    levels = [each.level for each in found("potassium chloride", potassium_mmol_l=potassium)]
    assert levels == [Level.CONTRAINDICATED] * number


@pytest.mark.parametrize(("potassium", "number"), [(3.5, 0), (3.4, 1)])
def test_a_low_potassium_asks_for_care_with_what_lowers_it(potassium: float, number: int) -> None:
    assert len(found("furosemide", potassium_mmol_l=potassium, diagnoses=())) == number


def test_what_is_not_known_of_diagnoses_is_unchecked_for_drugs_that_one_forbids() -> None:
    review = bundled().review(patient(), [], ["potassium chloride", "docusate"])
    told = [each for each in review.unchecked if each.reason is Reason.DIAGNOSES_UNKNOWN]
    assert [(each.subject, each.check) for each in told] == [("potassium chloride", Kind.DIAGNOSIS)]


def test_that_no_table_has_all_diagnoses_is_told_whenever_some_were_sent() -> None:
    def not_read(safety: DrugSafety, *codes: str) -> list[str]:
        listed = safety.review(patient(diagnoses=codes), [], ["docusate"]).unchecked
        return [each.detail for each in listed if each.reason is Reason.NOT_READ]

    without = DrugSafety.read(lambda path: (PACKAGE / path).read_bytes(), "tables", with_diagnoses=False)
    assert not_read(bundled()) == not_read(without) == []
    [some], [none] = not_read(bundled(), "I50.9"), not_read(without, "I50.9")
    assert "of its table alone" in some
    assert "reads no diagnoses" in none


@pytest.mark.parametrize(
    ("drug", "clearance", "levels"),
    [
        ("potassium chloride", 8, [Level.CONTRAINDICATED]),
        ("potassium chloride", 40, [Level.PRECAUTION]),
        ("potassium chloride", 60, []),
        ("potassium phosphate", 29, [Level.CONTRAINDICATED]),
        ("potassium phosphate / sodium phosphate", 8, [Level.CONTRAINDICATED]),
        ("sodium phosphate", 8, [Level.NOT_RECOMMENDED]),
        ("magnesium sulfate", 8, [Level.PRECAUTION]),
        ("magnesium sulfate", 30, []),
    ],
)
def test_electrolytes_that_failing_kidneys_retain_are_never_passed_over(
    drug: str, clearance: float, levels: list[Level]
) -> None:
    review = bundled().review(patient(diagnoses=(), creatinine_clearance_ml_min=clearance), [], [drug])
    kept = [each.level for each in (*review.removed, *review.flagged) if each.kind is Kind.RENAL]
    assert kept[:1] == levels
