"""The system of a code decides what the code says: in the review of drugs, in recommenders, in plans and in advice."""

from typing import Any

import pytest

from models.bundle import ZOO, read_bundle, side_files
from models.drug_safety import Kind, Patient, Reason, Review
from models.drug_safety.codes import NAMES, System, read_code
from models.drug_safety.diagnoses import FILE
from models.drug_safety.tables import TableUnusable
from models.pipelines import Case, load_pipeline
from models.pipelines.context_fields import CodesField
from models.pipelines.contract import InputRejected
from models.pipelines.plan_advice import for_advice
from tests.unit.models.drug_tables import bundled, changed
from tests.unit.models.test_health_advice import RUN
from tests.unit.models.test_treatment_plan import answered, plan

CM, ICD_10, ICD_9, SNOMED = (
    "http://hl7.org/fhir/sid/icd-10-cm",
    "http://hl7.org/fhir/sid/icd-10",
    "http://hl7.org/fhir/sid/icd-9-cm",
    "http://snomed.info/sct",
)
DRUGS = (
    "potassium chloride", "spironolactone", "metformin", "amoxicillin", "sulfamethoxazole", "morphine", "iohexol",
    "lisinopril", "ketorolac",
)  # fmt: skip
ACCIDENTS = (
    "V45.1XXA",
    "V14.0XXA",
    "V14.2XXA",
    "V14.5XXA",
    "V15.08XA",
    "V451XXA",
    "V22.1XXA",
    "V23.4XXD",
    "v45.1xxa",
)


def review(*codes: str, drugs: tuple[str, ...] = DRUGS) -> Review:
    patient = Patient(
        allergies=(), age_years=30, sex="female", breastfeeding=False, diagnoses=codes, potassium_mmol_l=4.2
    )
    return bundled().review(patient, [], drugs)


def objected(found: Review) -> set[tuple[str, str]]:
    kinds = {Kind.RENAL, Kind.ALLERGY, Kind.ALLERGY_CLASS, Kind.PREGNANCY, Kind.DIAGNOSIS}
    return {(each.drug, each.kind) for each in (*found.removed, *found.flagged) if each.kind in kinds}


def told(found: Review, reason: Reason) -> list[str]:
    return [each.subject for each in found.unchecked if each.reason is reason]


@pytest.mark.parametrize("system", ["", f"{CM}|", f"{ICD_10}|", "urn:oid:2.16.840.1.113883.6.90|"])
@pytest.mark.parametrize("code", ACCIDENTS)
def test_an_accident_of_transport_is_no_status_of_icd_9(code: str, system: str) -> None:
    found = review(f"{system}{code}")
    assert objected(found) == set()
    assert told(found, Reason.AMBIGUOUS_CODE) == told(found, Reason.DIAGNOSIS_NOT_UNDERSTOOD) == []


@pytest.mark.parametrize("code", ["V45.1", "V14.0", "V14.2", "V15.08", "V22.1", "V23.4", "V451", "V45"])
def test_a_code_of_icd_10_by_its_system_is_none_of_icd_9_though_it_lacks_its_end(code: str) -> None:
    found = review(f"{CM}|{code}")
    assert objected(found) == set()
    assert told(found, Reason.AMBIGUOUS_CODE) == []


@pytest.mark.parametrize(
    ("code", "drug", "kind"),
    [
        ("V45.1", "metformin", Kind.RENAL),
        ("V14.0", "amoxicillin", Kind.ALLERGY_CLASS),
        ("V14.2", "sulfamethoxazole", Kind.ALLERGY_CLASS),
        ("V14.5", "morphine", Kind.ALLERGY_CLASS),
        ("V15.08", "iohexol", Kind.ALLERGY_CLASS),
        ("V1508", "iohexol", Kind.ALLERGY_CLASS),
        ("V22.1", "lisinopril", Kind.PREGNANCY),
        ("E875", "potassium chloride", Kind.DIAGNOSIS),
        ("E8750", "potassium chloride", Kind.DIAGNOSIS),
    ],
)
def test_without_a_system_the_reading_that_the_tables_know_counts_and_the_doubt_is_told(
    code: str, drug: str, kind: Kind
) -> None:
    found = bundled().review(Patient(allergies=(), age_years=30, sex="female", diagnoses=(code,)), [], DRUGS)
    assert (drug, kind) in objected(found)
    [doubt] = [each for each in found.unchecked if each.reason is Reason.AMBIGUOUS_CODE]
    assert doubt.subject == code
    assert all(f"{system}|{code}" in doubt.detail for system in (ICD_10, ICD_9))
    assert found.unchecked[0] == doubt


@pytest.mark.parametrize("code", ["V45.1", "V14.0", "V22.1"])
def test_a_code_of_icd_9_by_its_system_is_in_no_doubt(code: str) -> None:
    found = review(f"{ICD_9}|{code}")
    assert objected(found)
    assert told(found, Reason.AMBIGUOUS_CODE) == []


@pytest.mark.parametrize("code", ["E8750", "E875", "E875.0", "E8700", "E930.5"])
def test_an_external_cause_of_icd_9_is_no_disease_of_icd_10(code: str) -> None:
    found = review(f"{ICD_9}|{code}")
    assert objected(found) == set()
    assert told(found, Reason.DIAGNOSIS_NOT_UNDERSTOOD) == []


@pytest.mark.parametrize("code", ["E875.0", "E930.5", "E9305"])
def test_an_external_cause_with_its_dot_or_beyond_icd_10_needs_no_system(code: str) -> None:
    read = read_code(code)
    assert read is not None
    assert (read.system, read.bare, read.other) == (System.ICD_9_CM, f"{code[:4]}.{code[-1]}", None)


@pytest.mark.parametrize(
    "text",
    [f"{CM}|650", f"{ICD_10}|276.7", f"{SNOMED}|E87.5", f"{ICD_9}|E87.5", f"{ICD_9}|N18.6", f"{ICD_9}|V45.1XXA",
     f"{CM}|77386006", "http://fhir.de/CodeSystem/bfarm/icd-10-gm|E87.5", "icd-10-cm|E87.5", "|E87.5"],
)  # fmt: skip
def test_a_code_that_is_not_of_its_system_or_of_one_that_is_not_read_counts_for_nothing_and_is_told(
    text: str,
) -> None:
    found = review(text)
    assert objected(found) == set()
    [lost] = [each for each in found.unchecked if each.reason is Reason.DIAGNOSIS_NOT_UNDERSTOOD]
    assert lost.subject == text
    assert "not" in lost.detail
    assert "correct one of them" in lost.detail or "none that is read" in lost.detail


@pytest.mark.parametrize(
    "name", ["medication-recommender", "care-service-recommender", "treatment-plan-recommender"]
)
@pytest.mark.parametrize(
    ("code", "known"),
    [
        ("V42.0", True), (f"{ICD_9}|V42.0", True), ("V420", True), (f"{CM}|V42.0", False), ("V42.0XXA", False),
        (f"{CM}|V42.0XXA", False), (f"{SNOMED}|E87.5", False), (f"{ICD_10}|276.7", False), (f"{ICD_9}|E87.5", False),
        (f"{ICD_9}|E8750", False), (f"{ICD_9}|276.7", True), (f"{ICD_9}|2767", True), (f"{CM}|E875", True), ("E875", False),
        (f"{CM}|E87.5", True), ("icd-10-cm|E87.5", False),
    ],
)  # fmt: skip
def test_a_group_of_diagnoses_has_codes_of_their_systems_alone(name: str, code: str, known: bool) -> None:
    table = {
        "name": "diagnoses",
        "title": "Diagnoses",
        "type": "codes",
        "file": "diagnoses.csv",
        "category": 3,
    }
    columns = CodesField.model_validate(table).columns(lambda path: (ZOO / name / path).read_bytes())
    assert (columns.unknown([code]) == []) is known
    assert bool(columns.facts([code])) is known


ADVICE = ZOO / "health-advice-recommender"
PIPELINE = load_pipeline(read_bundle(ADVICE).manifest, side_files(ADVICE))


def advice(*codes: str) -> Any:
    sent = {"age": 50.0, "sex": "female", "conditions": list(codes)}
    return PIPELINE.open(ADVICE).score(RUN, [Case(PIPELINE.encode(sent), {})])[0].result


@pytest.mark.parametrize(
    "code", [f"{SNOMED}|I10", f"{ICD_10}|38341003", f"{ICD_9}|I10", f"{ICD_9}|401.9", "401.9", "icd-10|I10"]
)
def test_advice_refuses_a_code_that_is_not_of_its_system(code: str) -> None:
    with pytest.raises(InputRejected) as refused:
        PIPELINE.encode({"age": 50.0, "conditions": [code]})
    assert [str(each.code) for each in refused.value.faults] == ["wrong_format"]


def test_advice_tells_a_code_that_may_be_an_external_cause() -> None:
    asked, named = advice("E875"), advice(f"{ICD_10}|E875")
    assert {each["id"] for each in asked["items"]} == {each["id"] for each in named["items"]}
    assert [(each["subject"], each["reason"]) for each in asked["unchecked"]] == [("E875", "ambiguous-code")]
    assert named["unchecked"] == []


def test_advice_takes_an_accident_for_no_pregnancy_and_no_dialysis() -> None:
    sent = {"age": 50.0, "sex": "male", "egfr": 90.0, "conditions": ["V22.1", "V45.1", "I10"]}
    found: Any = PIPELINE.open(ADVICE).score(RUN, [Case(PIPELINE.encode(sent), {})])[0].result
    assert [each["code"] for each in found["unknown"]] == ["V22.1", "V45.1"]
    assert found["unchecked"] == []


def test_a_plan_gives_advice_the_codes_of_icd_10_alone() -> None:
    codes = ["i509", f"{CM}|E875", "E875", "V45.1", f"{ICD_9}|V45.1", f"{SNOMED}|I10", "428.0"]
    assert for_advice(codes) == (["I50.9", "E87.5"], codes[2:])


def test_a_label_of_a_job_keeps_the_system_of_its_code() -> None:
    found = plan(answered("V45.1", CM), diagnoses=["I10"], allergies=[], options={"top": 50})
    assert not [each for each in found["drugs"]["removed"] if each["kind"] == "renal"]
    assert found["diagnoses"][0]["unrecognised"]
    same = plan(answered("E87.5", CM), allergies=[])["drugs"]
    assert "hyperkalemia (E87.5)" in {each["against"] for each in same["removed"]}


def test_a_pregnancy_of_another_system_is_refused_by_no_recommender() -> None:
    folder = ZOO / "medication-recommender"
    pipeline = load_pipeline(read_bundle(folder).manifest, side_files(folder))
    for code in ("V23.4XXA", f"{CM}|V23.4", f"{CM}|V22"):
        assert pipeline.encode({"sex": "male", "diagnoses": [code]})
    with pytest.raises(InputRejected) as refused:
        pipeline.encode({"sex": "male", "diagnoses": ["V22.1"]})
    assert "if it is of ICD-10, put that system before it" in refused.value.faults[0].detail


@pytest.mark.parametrize("system", [name for names in NAMES.values() for name in names])
def test_each_name_of_a_system_is_in_the_document(system: str) -> None:
    document = (ZOO.parents[1] / "docs" / "drug-safety.md").read_text()
    assert f"`{system.removeprefix('urn:oid:')}`" in document


def test_a_table_with_what_is_no_code_is_refused() -> None:
    with pytest.raises(TableUnusable, match="no code of ICD-10-CM"):
        changed(FILE, "276.7; E87.5", "276.7; hyperkalemia")
