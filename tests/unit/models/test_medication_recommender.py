"""medication-recommender: what its catalogue holds, and that no recommended drug is contraindicated beside those present."""

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import drug_safety
from models.bundle import fitted, read_bundle, side_files
from models.drug_safety import DrugSafety, Level
from models.pipelines import Case, InputRejected, load_pipeline
from models.pipelines.recommendation import Recommendation
from models.sandbox import CpuRun

FOLDER = Path(__file__).parents[3] / "models" / "zoo" / "medication-recommender"
BUNDLE = read_bundle(FOLDER)
PIPELINE = load_pipeline(BUNDLE.manifest, side_files(FOLDER))
assert isinstance(PIPELINE, Recommendation)
DRUGS = [item.id for item in PIPELINE.catalogue.items]
SCORING = PIPELINE.open(FOLDER)
RUN = fitted(FOLDER, BUNDLE.manifest, PIPELINE, CpuRun())
ICD_10 = "http://hl7.org/fhir/sid/icd-10-cm"
SHIPPED = Path(drug_safety.__file__).parent
SAFETY = DrugSafety.read(lambda path: (SHIPPED / path).read_bytes(), "tables")


def answer(top: int = 10, **fields: Any) -> Any:
    [found] = SCORING.score(RUN, [Case(PIPELINE.encode(fields), {"top": top})])
    return found.result


def ids(result: Any) -> list[str]:
    return [item["id"] for item in result["items"]]


def test_what_only_carries_other_drugs_is_no_item() -> None:
    carriers = ("sodium chloride", "dextrose", "glucose", "lactated ringer", "water", "flush", "iohexol")
    assert not [drug for drug in DRUGS if any(each in drug for each in carriers)]
    assert len(DRUGS) > 150


def test_the_codes_of_the_source_name_the_drugs() -> None:
    assert ids(answer(history=["hicl:3660", "hicl:1820"])) == ids(answer(history=["furosemide", "aspirin"]))
    assert answer(history=["rxnorm:4603"])["known"] == 1


@pytest.mark.parametrize(
    "word", ["adult", "carbonate", "ferrous", "hydroxide", "oxide", "pneumococcal", "syrg", "vitamin"]
)
def test_a_part_of_a_name_is_no_drug(word: str) -> None:
    assert answer(history=[word])["unknown"] == [{"field": "history", "code": word}]


def test_every_drug_is_known_to_the_rule_that_reviews_it() -> None:
    assert [drug for drug in DRUGS if not SAFETY.ingredients.named(drug)] == []


def test_the_tables_of_the_rule_are_those_that_come_with_medqueue() -> None:
    for name in drug_safety.FILES:
        copied = (FOLDER / "drug_safety" / name).read_bytes()
        assert copied == (SHIPPED / "tables" / name).read_bytes(), f"copy {name}, seal the bundle"


def test_an_allergy_and_failing_kidneys_remove_drugs_that_are_ranked_without_them() -> None:
    fields: dict[str, Any] = {
        "history": ["vancomycin", "norepinephrine"],
        "diagnoses": ["038.9", "486"],
        "age": 66.0,
    }
    plain, warned = answer(20, **fields), answer(20, **fields, allergies=["penicillin"])
    assert "piperacillin / tazobactam" in ids(plain)
    assert "piperacillin / tazobactam" not in ids(warned)
    assert {"allergy", "allergy-class"} & {each["kind"] for each in warned["removed"]}
    assert {"allergies-unknown"} <= {each["reason"] for each in plain["unchecked"]}
    assert "metformin" in ids(answer(50, history=["insulin regular"], diagnoses=["250"]))
    failing = answer(50, history=["insulin regular"], diagnoses=["250"], creatinine_clearance_ml_min=15.0)
    assert [each["kind"] for each in failing["removed"] if each["id"] == "metformin"] == ["renal"]


def test_hyperkalemia_is_named_as_such_and_never_a_reason_for_potassium() -> None:
    assert "potassium chloride" in ids(answer(3, history=["metoprolol"]))
    for sent in ({"diagnoses": ["E87.5"]}, {"diagnoses": ["276.7"]}, {"potassium": 6.5}):
        found = answer(50, history=["metoprolol"], allergies=[], **sent)
        named = {each["display"] for item in found["items"] for each in item["reasons"]}
        assert not [display for display in named if "hypo" in display.lower()]
        assert "potassium chloride" not in ids(found)
        [removed] = [each for each in found["removed"] if each["id"] == "potassium chloride"]
        assert (removed["kind"], removed["level"]) == ("diagnosis", "contraindicated")
    missing = answer(50, history=["metoprolol"], diagnoses=["E87.6"])
    [potassium] = [item for item in missing["items"] if item["id"] == "potassium chloride"]
    assert (potassium["rank"], potassium["reasons"][0]["code"]) == (1, "E87.6")


def test_electrolytes_are_never_shown_beside_failing_kidneys_without_a_word() -> None:
    found = answer(50, diagnoses=["N17.9"], creatinine_clearance_ml_min=8.0, allergies=[])
    flagged = {each["id"] for each in found["flagged"]}
    for drug in ("potassium chloride", "magnesium sulfate", "potassium phosphate / sodium phosphate"):
        assert drug not in ids(found) or drug in flagged


def test_what_the_rule_reads_of_diagnoses_is_told_and_heart_failure_warns_of_diltiazem() -> None:
    found = answer(50, diagnoses=["I50.9", "I48.0"])
    assert [each["reason"] for each in found["unchecked"] if each["subject"] == "diagnoses"] == ["not-read"]
    [warned] = [each for each in found["flagged"] if (each["id"], each["kind"]) == ("diltiazem", "diagnosis")]
    assert (warned["level"], warned["against"]) == ("not recommended", "heart failure (I50.9)")
    assert "diltiazem" not in ids(answer(50, diagnoses=["I50.22", "I48.0"]))


def test_the_notice_of_the_licence_is_in_the_bundle_and_no_id_of_a_patient() -> None:
    assert "Open Database License" in (FOLDER / "NOTICE.txt").read_text()
    assert "NOTICE.txt" in BUNDLE.manifest.files
    for name in ("catalogue.csv", "diagnoses.csv", "past_history.csv"):
        with (FOLDER / name).open(encoding="utf-8", newline="") as file:
            columns = next(csv.reader(file))
        assert not {"patientunitstayid", "uniquepid", "hospitalid"} & {*columns}


@given(
    st.lists(
        st.sampled_from([*DRUGS, "itraconazole", "ritonavir", "verapamil"]),
        min_size=1,
        max_size=8,
        unique=True,
    ),
    st.integers(1, 50),
)
@settings(max_examples=60, deadline=None)
def test_no_recommended_drug_is_contraindicated_beside_a_present_or_another_one(
    present: list[str], top: int
) -> None:
    found = ids(answer(top, present=present))
    assert not {*found} & {*present}
    for place, drug in enumerate(found):
        for other in (*present, *found[:place]):
            assert Level.CONTRAINDICATED not in {each.level for each in SAFETY.between(drug, other)}, (
                drug,
                other,
            )


def test_diabetic_ketoacidosis_is_answered_with_insulin_because_of_it() -> None:
    found = answer(diagnoses=["E10.1"], age=30.0)
    insulin = next(item for item in found["items"] if item["id"] == "insulin regular")
    assert insulin["reasons"][0]["field"] == "diagnoses"
    assert insulin["rank"] <= 5


def test_what_is_present_by_brand_is_never_ranked_and_counts_as_known() -> None:
    fields: dict[str, Any] = {"history": ["metoprolol"], "diagnoses": ["428.0"]}
    found = answer(50, **fields, present=["metoprolol", "Lasix", "Coumadin", "Hyzaar"])
    assert not {"furosemide", "warfarin", "losartan", "hydrochlorothiazide"} & {*ids(found)}
    assert found["unknown"] == []
    named = answer(
        50, **fields, present=["metoprolol", "furosemide", "warfarin", "losartan", "hydrochlorothiazide"]
    )
    assert ids(found) == ids(named)


def test_a_withdrawn_drug_is_refused_by_brand_too() -> None:
    for present in (["Vioxx"], ["Darvocet"]):
        with pytest.raises(InputRejected) as refused:
            PIPELINE.encode({"history": ["aspirin"], "present": present})
        assert [str(fault.code) for fault in refused.value.faults] == ["not_allowed"]


def test_a_withdrawn_drug_that_was_stored_before_is_unknown_to_the_model() -> None:
    stored = b'\x01{"history":["aspirin"],"present":["Vioxx"]}'
    [found] = SCORING.score(RUN, [Case(stored, {})])
    assert {"field": "present", "code": "Vioxx"} in found.result["unknown"]  # type: ignore[operator]  # a list


def test_a_code_of_pregnancy_and_one_of_kidney_failure_count_as_what_they_say() -> None:
    sent: dict[str, Any] = {
        "allergies": [],
        "sex": "female",
        "age": 30.0,
        "creatinine_clearance_ml_min": 90.0,
    }
    found = answer(top=50, diagnoses=[f"{ICD_10}|Z33.1", "N18.6", "K 92.2", "I10"], **sent)
    removed = {each["id"]: each["against"] for each in found["removed"]}
    assert removed["lisinopril"] == "pregnancy (Z33.1)"
    assert removed["ketorolac"] == "creatinine clearance below 15 ml/min (N18.6)"
    told = [(each["subject"], each["reason"]) for each in found["unchecked"]]
    assert told[:2] == [("K 92.2", "diagnosis-not-understood"), ("N18.6", "contradicted")]
