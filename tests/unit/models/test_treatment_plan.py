"""treatment-plan, by treatment-plan-recommender: answers of diagnosis jobs become conditions, and the sections use them."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models import drug_safety
from models.bundle import ZOO, fitted, read_bundle, side_files
from models.drug_safety.ingredients import Ingredients
from models.manifest import BundleRefused, ManifestInvalid, ModelManifest
from models.pipelines import Case, InputRejected, RowFault, Source, load_pipeline
from models.pipelines.plan_diagnoses import NO_CODE, OTHER_SYSTEM, UNKNOWN_CODE
from models.pipelines.plan_scoring import NO_CONDITION
from models.pipelines.treatment_plan import TreatmentPlan
from models.release import released
from models.sandbox import CpuRun

FOLDER = ZOO / "treatment-plan-recommender"
BUNDLE = read_bundle(FOLDER)
PIPELINE = TreatmentPlan.load(BUNDLE.manifest, side_files(FOLDER))
SCORING = PIPELINE.open(FOLDER)
RUN = fitted(FOLDER, BUNDLE.manifest, PIPELINE, CpuRun())
ICD_10 = "http://hl7.org/fhir/sid/icd-10"
OBSERVED = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
SOURCE = Source("01a20178-34e2-71dd-924c-9e5807b634d9", "pneumonia-xray-28", "1.0.0", "sha256:" + "0" * 64)


def answered(code: str | None, system: str = ICD_10, **fields: Any) -> bytes:
    """The stored result of a classifier."""
    coding = None if code is None else {"system": system, "code": code}
    result = {"type": "classification", "label": "found", "display": "Found", "code": coding, "threshold": 0.5,
              "probabilities": {"found": 0.9, "other": 0.1}, "abstained": False, "abstain_reason": None}  # fmt: skip
    return json.dumps(result | fields).encode()


def case(*answers: bytes, options: dict[str, Any] | None = None, **fields: Any) -> Case:
    names = ("diagnosis", "diagnosis_2", "diagnosis_3", "diagnosis_4")
    parts = dict(zip(names, answers, strict=False))
    sources = dict.fromkeys(parts, SOURCE)
    return Case(PIPELINE.encode({"age": 66.0, **fields}), options or {}, parts, sources)


def plan(*answers: bytes, **fields: Any) -> Any:
    [found] = SCORING.score(RUN, [case(*answers, **fields)])
    return found.result


def ids(section: Any) -> list[str]:
    return [item["id"] for item in section["items"]]


def test_a_condition_that_a_job_answered_does_what_the_same_code_does_when_it_is_sent() -> None:
    answered_by_job = plan(answered("J18.9"), interventions=["mechanical ventilation"])
    normal = answered("N", OBSERVED)
    sent = plan(normal, diagnoses=["J18.9"], interventions=["mechanical ventilation"])
    for section in ("interventions", "drugs", "services", "advice"):
        assert answered_by_job[section] == sent[section]
    assert {"diagnoses"} <= {
        each["field"] for item in answered_by_job["interventions"]["items"] for each in item["reasons"]
    }


def test_an_answer_names_its_job_and_model_and_the_sections_that_use_it() -> None:
    [read] = plan(answered("I25.1"))["diagnoses"]
    assert (read["job"], read["model"], read["model_version"], read["model_digest"]) == SOURCE
    assert (read["part"], read["label"], read["probability"]) == ("diagnosis", "found", 0.9)
    assert read["used_by"] == ["interventions", "drugs", "services", "advice"]
    assert read["unrecognised"] is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answered(None), NO_CODE),
        (answered("J18.9", "http://example.org/codes"), OTHER_SYSTEM.format(system="http://example.org/codes")),
        (answered("N", OBSERVED, display="Pneumonia, unspecified"), OTHER_SYSTEM.format(system=OBSERVED)),
        (answered("Q99.9"), UNKNOWN_CODE),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_condition_says_why_and_alone_makes_no_plan(answer: bytes, reason: str) -> None:
    found = plan(answer, drugs=["furosemide"])
    assert found["diagnoses"][0]["unrecognised"] == reason
    assert found["diagnoses"][0]["used_by"] == []
    assert (found["abstained"], found["abstain_reason"]) == (True, NO_CONDITION)
    assert [found[name] for name in ("interventions", "drugs", "services", "advice")] == [None] * 4
    beside = plan(answer, answered("J18.9"))
    assert beside["abstained"] is False
    assert [each["unrecognised"] for each in beside["diagnoses"]] == [reason, None]


@pytest.mark.parametrize(
    "answer", [answered("J18.9", label=None, abstained=True), b"{}", b'{"label": 7}', b"[]", b"not JSON"]
)
def test_a_result_without_an_answer_is_never_scored_with(answer: bytes) -> None:
    good = case(answered("J18.9"))
    with pytest.raises(RowFault) as refused:
        SCORING.score(RUN, [good, case(answered("J18.9"), answer)])
    assert refused.value.index == 1
    assert (refused.value.fault.pointer, refused.value.fault.code) == ("/diagnosis_2", "result_unfit")


def test_plans_are_the_same_alone_and_beside_others_that_abstain() -> None:
    cases = [
        case(answered("J18.9"), drugs=["norepinephrine"]),
        case(answered("N", OBSERVED)),
        case(answered("I25.1"), answered("J18.9"), sex="female"),
    ]
    together = SCORING.score(RUN, cases)
    assert [SCORING.score(RUN, [each])[0] for each in cases] == together
    assert [each.result["abstained"] for each in together] == [False, True, False]


def test_a_drug_that_the_patient_must_not_get_is_removed_with_the_reason() -> None:
    fields: dict[str, Any] = {"drugs": ["vancomycin", "norepinephrine"], "diagnoses": ["A41.9"]}
    plain = plan(answered("J18.9"), **fields, allergies=[])
    warned = plan(answered("J18.9"), **fields, allergies=["penicillin"])
    assert "piperacillin / tazobactam" in ids(plain["drugs"])
    assert "piperacillin / tazobactam" not in ids(warned["drugs"])
    [removed] = [each for each in warned["drugs"]["removed"] if each["id"] == "piperacillin / tazobactam"]
    assert (removed["level"], removed["against"]) == ("contraindicated", "penicillin")
    assert warned["interventions"] == plain["interventions"]


def test_drugs_that_are_present_count_for_the_advice_by_brand_too() -> None:
    fields: dict[str, Any] = {"systolic": 150.0, "diastolic": 90.0, "diagnoses": ["I10"]}
    without, with_warfarin = (
        plan(answered("I25.1"), **fields, drugs=drugs)["advice"] for drugs in ([], ["Coumadin"])
    )
    greens = "Much more leafy greens change the effect of warfarin."
    assert greens in {each["reason"] for each in with_warfarin["withheld"]}
    assert greens not in {each["reason"] for each in without["withheld"]}
    stopped = plan(answered("I25.1"), **fields, drugs=["Coumadin"], drugs_present=[])["advice"]
    assert stopped == without


def test_what_the_patient_takes_is_reviewed_with_the_diagnoses_of_jobs_and_a_drug_twice_is_told() -> None:
    present = ["sumatriptan", "Lasix", "lasix", "amoxicillin"]
    found = plan(answered("I25.1"), drugs_present=present, allergies=["penicillin"])["drugs"]
    told = {each["id"]: (each["kind"], each["level"]) for each in found["flagged_present"]}
    assert told["sumatriptan"] == ("diagnosis", "contraindicated")
    assert told["amoxicillin"] == ("allergy-class", "contraindicated")
    assert [each["subject"] for each in found["unchecked"] if each["reason"] == "named-twice"] == [
        "Lasix, lasix"
    ]
    assert plan(answered(None), drugs_present=present)["drugs"] is None


def test_the_filtration_rate_stands_for_a_clearance_that_is_not_sent() -> None:
    sent = {"diagnoses": ["E11.9", "N18.6"], "allergies": [], "options": {"top": 40}}
    with_rate, with_clearance = (
        plan(**sent, **known)["drugs"] for known in ({"egfr": 8.0}, {"creatinine_clearance_ml_min": 8.0})
    )
    assert {each["reason"] for each in with_rate["unchecked"] if each["check"] == "renal"} == {"not-read"}
    assert "renal" in {each["kind"] for each in with_rate["removed"] + with_rate["flagged"]}
    named = [
        each
        | {"against": each["against"].replace("estimated glomerular filtration rate", "creatinine clearance")}
        for each in with_rate["flagged"]
    ]
    assert named == with_clearance["flagged"]
    assert with_rate["items"] == with_clearance["items"]
    assert plan(**sent, egfr=80.0, creatinine_clearance_ml_min=100.0)["drugs"]["items"]


def test_what_the_rule_of_drugs_does_not_read_of_the_input_is_unchecked() -> None:
    sent: dict[str, Any] = {"diagnoses": ["E87.5"], "potassium": 7.5, "symptoms": ["chest_pain"]}
    drugs = plan(**sent, medicines=["vitamin_k_antagonist", "insulin"], drugs=["insulin regular"])["drugs"]
    told = {each["subject"] for each in drugs["unchecked"] if each["reason"] == "not-read"}
    assert told == {"symptoms", "diagnoses", "vitamin_k_antagonist"}
    assert drugs["unchecked"][0]["subject"] == "vitamin_k_antagonist"
    named = plan(**sent, medicines=["vitamin_k_antagonist"], drugs_present=["Coumadin"])["drugs"]
    assert "vitamin_k_antagonist" not in {each["subject"] for each in named["unchecked"]}


def test_diagnoses_of_jobs_and_the_potassium_forbid_drugs_as_those_that_are_sent_do() -> None:
    options = {"top": 50}
    for found in (
        plan(answered("E87.5"), options=options, allergies=[]),
        plan(answered("J18.9"), options=options, allergies=[], potassium=6.5),
        plan(answered("J18.9"), options=options, allergies=[], diagnoses=[f"{ICD_10}|E87.5"]),
    ):
        assert "potassium chloride" not in ids(found["drugs"])
        [removed] = [each for each in found["drugs"]["removed"] if each["id"] == "potassium chloride"]
        assert removed["against"].startswith("hyperkalemia (")
        told = [each for each in found["drugs"]["unchecked"] if each["subject"] == "diagnoses"]
        assert len(told) == 1


def test_codes_that_advice_cannot_read_are_told_and_not_taken_for_others() -> None:
    """E880 is a fall on stairs in ICD-9, and would be a metabolic disorder in ICD-10."""
    unknown = plan(answered("J18.9"), diagnoses=["E880", "250.00"])["advice"]["unknown"]
    assert {"field": "diagnoses", "code": "E880"} in unknown
    assert {"field": "diagnoses", "code": "250.00"} in unknown


def test_a_code_without_a_dot_that_two_systems_have_is_unknown() -> None:
    """E8700 is a cut in ICD-9-CM, and would be a disorder of electrolytes in ICD-10."""
    assert PIPELINE.diagnoses.unknown(["E87.0", "E8700", "N179"]) == ["E8700"]


def test_options_reach_every_section() -> None:
    found = plan(answered("I25.1"), options={"top": 3, "reasons": 0, "language": "zh"})
    assert [len(found[name]["items"]) for name in ("interventions", "drugs", "services")] == [3, 3, 3]
    assert not any(item["reasons"] for item in found["drugs"]["items"])
    assert found["advice"]["language"] == "zh"


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"age": 300.0}, ("/age", "out_of_range")),
        ({"age": None}, ("/age", "wrong_type")),
        ({"drugs": ["Vioxx"]}, ("/drugs/0", "not_allowed")),
        ({"interventions": ["chest tube", "Chest  Tube"]}, ("/interventions/1", "doubled")),
        ({"interventions": ["x"] * 201}, ("/interventions", "too_long")),
        ({"systolic": 80.0, "diastolic": 120.0}, ("/diastolic", "invalid_value")),
        ({"pregnant": True, "sex": "male"}, ("/pregnant", "invalid_value")),
        ({"diagnoses": ["J18.9", "O24.4"], "sex": "male"}, ("/diagnoses/1", "invalid_value")),
        ({"diagnoses": ["O24.4"], "age": 30.0, "pregnant": False}, ("/diagnoses/0", "invalid_value")),
        ({"glucose": 18.0}, ("/glucose", "out_of_range")),
        ({"egfr": 8.0, "creatinine_clearance_ml_min": 150.0}, ("/egfr", "invalid_value")),
        ({"conditions": ["J18.9"]}, ("/conditions", "unknown_field")),
    ],
)
def test_a_wrong_field_is_refused_where_it_is_wrong(fields: dict[str, Any], fault: tuple[str, str]) -> None:
    with pytest.raises(InputRejected) as refused:
        PIPELINE.encode({"age": 66.0, **fields})
    assert [(each.pointer, str(each.code)) for each in refused.value.faults] == [fault]


def test_no_intervention_names_a_drug() -> None:
    """The rule reviews drugs alone, so nothing that gives one may stand in another section."""
    shipped = Path(drug_safety.__file__).parent
    known = Ingredients.read(lambda path: (shipped / path).read_bytes(), "tables")
    names = [part for item in PIPELINE.sections["interventions"].catalogue.items
             for name in item.names for part in name.replace("|", ": ").split(": ")]  # fmt: skip
    assert [name for name in names if known.named(name)] == []
    words = (
        "contrast",
        "medication",
        "antibacterial",
        "saline",
        "insulin",
        "vasopressor",
        "analgesic",
        "consult",
    )
    assert [
        name for name in names if name != "without contrast" and any(word in name for word in words)
    ] == []


def test_copied_files_are_those_of_the_bundles_that_they_come_from() -> None:
    copies = {
        "drugs/model.onnx": "medication-recommender/model.onnx",
        "drugs/catalogue.csv": "medication-recommender/catalogue.csv",
        "services/model.onnx": "care-service-recommender/model.onnx",
        "services/catalogue.csv": "care-service-recommender/catalogue.csv",
        "diagnoses.csv": "medication-recommender/diagnoses.csv",
        "past_history.csv": "medication-recommender/past_history.csv",
        "advice/catalogue.toml": "health-advice-recommender/catalogue.toml",
    } | {f"drug_safety/{name}": f"medication-recommender/drug_safety/{name}" for name in drug_safety.FILES}
    for copied, name in copies.items():
        assert (FOLDER / copied).read_bytes() == (ZOO / name).read_bytes(), (
            f"{name} has changed: run train.py of treatment-plan-recommender, and give it a new version"
        )


def test_a_plan_names_the_bundles_that_its_sections_come_from() -> None:
    made_of = plan(answered("J18.9"))["made_of"]
    assert [each["section"] for each in made_of] == ["drugs", "services", "advice"]
    for each in made_of:
        assert each["version"] == read_bundle(ZOO / each["model"]).manifest.version
        assert each["digest"] == released()[each["model"]]


def test_the_notice_of_the_licence_is_in_the_bundle_and_no_id_of_a_patient() -> None:
    assert "Open Database License" in (FOLDER / "NOTICE.txt").read_text()
    assert "NOTICE.txt" in BUNDLE.manifest.files
    with (FOLDER / "interventions" / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == ["id", "display", "also"]


def changed(**tables: Any) -> ModelManifest:
    """The manifest with other parameters."""
    parameters = BUNDLE.manifest.parameters | tables
    return BUNDLE.manifest.model_copy(update={"parameters": parameters})


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"diagnoses": "age"}, "no field 'age' of the type `codes`"),
        ({"drugs": None}, "advice: it depends on drugs"),
        ({"systems": []}, "systems"),
        ({"context": [each for each in BUNDLE.manifest.parameters["context"] if each["name"] != "sex"]}, "sex"),
        ({"context": [each | {"required": False} for each in BUNDLE.manifest.parameters["context"]]}, "`age`"),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit_each_other_are_refused(tables: dict[str, Any], words: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        load_pipeline(changed(**tables), side_files(FOLDER))
    assert words in str(refused.value)


def test_a_group_of_medicines_that_no_table_has_is_refused(tmp_path: Path) -> None:
    advice = BUNDLE.manifest.parameters["advice"]
    misspelt = changed(advice=advice | {"medicines": {"lithium": ["lithum"]}})
    folder = tmp_path / "bundle"
    shutil.copytree(FOLDER, folder)
    with pytest.raises(BundleRefused) as refused:
        load_pipeline(misspelt, side_files(FOLDER)).open(folder)
    assert "'lithum'" in str(refused.value)


def test_a_code_of_pregnancy_counts_for_drugs_as_it_does_for_advice() -> None:
    fields: dict[str, Any] = {"age": 30.0, "sex": "female", "allergies": [], "options": {"top": 50}}
    for found in (
        plan(diagnoses=["O24.410", "I10"], **fields),
        plan(answered("O24.410"), diagnoses=["I10"], **fields),
    ):
        against = {each["against"] for each in found["drugs"]["removed"] if each["id"] == "lisinopril"}
        assert against == {"pregnancy (O24.410)"}
        assert "Drink no alcohol in pregnancy." in {each["text"] for each in found["advice"]["items"]}


def test_a_filtration_rate_that_contradicts_a_code_is_told_and_the_code_counts() -> None:
    found = plan(diagnoses=["Z99.2", "I10"], egfr=80.0, allergies=[], options={"top": 50})
    drugs = found["drugs"]
    assert ("Z99.2", "contradicted") in {(each["subject"], each["reason"]) for each in drugs["unchecked"]}
    assert [each["subject"] for each in found["advice"]["unchecked"]] == ["Z99.2"]
    assert "potassium chloride" in {each["id"] for each in drugs["removed"]}


@pytest.mark.parametrize(
    ("values", "flag"), [({"potassium": 1.5}, "potassium-very-low"), ({"sodium": 118.0}, "sodium-very-low")]
)
def test_values_at_the_danger_of_life_withhold_exercise_in_a_plan(
    values: dict[str, float], flag: str
) -> None:
    person = {"allergies": [], "sex": "male", "activity": 10.0}
    advice = plan(answered("I25.1"), **person, **values)["advice"]
    assert flag in [each["id"] for each in advice["seek_care"]]
    assert not [each for each in advice["items"] if each["category"] == "activity"]


def of_model(model: str, **answers: str | None) -> Any:
    """A plan of jobs of one model; `answers` are labels with the codes that they have."""
    names = ("diagnosis", "diagnosis_2", "diagnosis_3", "diagnosis_4")
    results = [answered(code, label=label.rstrip("_")) for label, code in answers.items()]
    parts = dict(zip(names, results, strict=False))
    sources = dict.fromkeys(parts, SOURCE._replace(model=model))
    [found] = SCORING.score(RUN, [Case(PIPELINE.encode({"age": 66.0}), {}, parts, sources)])
    return found.result


def test_other_answers_of_one_model_are_told_where_one_is_a_condition() -> None:
    found = of_model("heart-disease-cleveland", disease="I25.1", no_disease=None)
    [told] = found["unchecked"]
    assert (told["subject"], told["reason"]) == ("diagnosis, diagnosis_2", "contradicted")
    assert "diagnosis disease, diagnosis_2 no_disease" in told["detail"]
    assert "`after`" in told["detail"]
    assert not found["abstained"]


def test_answers_of_one_model_that_agree_or_hold_no_condition_contradict_nothing() -> None:
    assert of_model("heart-disease-cleveland", disease="I25.1", disease_="I25.1")["unchecked"] == []
    assert of_model("heart-disease-cleveland", no_disease=None, unclear=None)["unchecked"] == []
    assert plan(answered("I25.1"))["unchecked"] == []


def test_the_rule_names_the_filtration_rate_that_was_sent_to_a_plan() -> None:
    drugs = plan(answered("I25.1"), egfr=12.0, options={"top": 50}, allergies=[])["drugs"]
    against = {each["against"] for each in (*drugs["removed"], *drugs["flagged"]) if each["kind"] == "renal"}
    assert against == {"estimated glomerular filtration rate 12 ml/min"}


def test_null_for_what_was_had_is_as_good_as_nothing() -> None:
    sent = {"interventions": None, "drugs": None, "services": None}
    assert plan(answered("J18.9"), **sent) == plan(answered("J18.9"))
