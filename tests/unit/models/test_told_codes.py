"""Codes of diagnoses that were half read: each counts in full, or the answer says what it did not."""

from typing import Any

import pytest

from models.bundle import ZOO, fitted, read_bundle, side_files
from models.drug_safety import DrugSafety, Kind, Level, Patient, Reason, Review
from models.drug_safety.diagnoses import EXCEPT, FILE
from models.drug_safety.tables import TableUnusable
from models.pipelines import Case, Source, load_pipeline
from models.pipelines.contract import InputRejected
from models.pipelines.plan_diagnoses import NOT_COMPARED
from models.sandbox import CpuRun
from tests.unit.models.drug_tables import PACKAGE, bundled, changed
from tests.unit.models.test_health_advice import RUN as ADVICE_RUN
from tests.unit.models.test_treatment_plan import PIPELINE as PLAN
from tests.unit.models.test_treatment_plan import RUN as PLAN_RUN
from tests.unit.models.test_treatment_plan import SCORING, SOURCE, answered, plan

ICD_9 = "http://hl7.org/fhir/sid/icd-9-cm"


def review(*drugs: str, **facts: Any) -> Review:
    known = {"allergies": (), "age_years": 30, "sex": "female", "breastfeeding": False}
    return bundled().review(Patient(**{**known, **facts}), [], list(drugs))


def kinds(found: Review) -> set[Kind]:
    return {each.kind for each in (*found.removed, *found.flagged)}


@pytest.mark.parametrize(
    "code",
    ["585", "N18", "I12", "I12.9", "I13", "403", "403.9", "404", "404.9", "404.90", "E14.2", "E11.2", "E11.21", "250.4",
     "250.40", "249.40", "585.9", "N18.9"],
)  # fmt: skip
def test_kidney_disease_without_a_stage_flags_what_has_a_limit(code: str) -> None:
    found = review("metformin", diagnoses=(code,), pregnant=False)
    assert [(each.kind, each.with_) for each in found.flagged] == [
        (Kind.RENAL, f"kidney function not known ({code})")
    ]


@pytest.mark.parametrize("code", ["N18.1", "N18.2", "585.1", "585.2", "E11.9", "N28.9", "402.90", "T79.5XXS"])
def test_the_first_two_stages_and_other_diseases_flag_nothing(code: str) -> None:
    assert Kind.RENAL not in kinds(review("metformin", diagnoses=(code,), pregnant=False))


@pytest.mark.parametrize(
    "code",
    ["Z32.01", "Z32.1", "Z36", "Z36.9", "Z36.89", "Z03.71", "Z64.0", "V72.42", "V28.0", "V28", "V91.00", "V89.01", "V61.7",
     "O60.02"],
)  # fmt: skip
def test_a_positive_test_and_care_of_a_pregnancy_say_that_there_is_one(code: str) -> None:
    [finding] = review("methotrexate", diagnoses=(code,)).removed
    assert (finding.kind, finding.level) == (Kind.PREGNANCY, Level.CONTRAINDICATED)


@pytest.mark.parametrize("code", ["Z32.02", "Z32.00", "V72.41", "Z30.9", "Z31.0", "Z37.0", "V27.0", "Z39.2"])
def test_a_negative_test_and_care_before_or_after_say_nothing_of_now(code: str) -> None:
    assert Kind.PREGNANCY not in kinds(review("methotrexate", diagnoses=(code,)))


def test_a_positive_test_of_a_man_is_refused() -> None:
    folder = ZOO / "health-advice-recommender"
    pipeline = load_pipeline(read_bundle(folder).manifest, side_files(folder))
    with pytest.raises(InputRejected):
        pipeline.encode({"age": 40.0, "sex": "male", "conditions": ["Z32.01"]})


@pytest.mark.parametrize(
    ("code", "flag"),
    [
        ("T39.1X2A", "suicidal-thoughts"),
        ("T42.4X2A", "suicidal-thoughts"),
        ("T58.02XA", "suicidal-thoughts"),
        ("T71.162A", "suicidal-thoughts"),
        ("K57.31", "digestive-bleeding-found"),
        ("K29.01", "digestive-bleeding-found"),
        ("K62.5", "digestive-bleeding-found"),
    ],
)
def test_advice_raises_the_flag_of_self_harm_and_of_bleeding(code: str, flag: str) -> None:
    folder = ZOO / "health-advice-recommender"
    pipeline = load_pipeline(read_bundle(folder).manifest, side_files(folder))
    case = Case(pipeline.encode({"age": 50.0, "conditions": [code]}), {})
    found: Any = pipeline.open(folder).score(ADVICE_RUN, [case])[0].result
    assert flag in {each["id"] for each in found["seek_care"]}


def recommended(name: str, *codes: str) -> Any:
    folder = ZOO / name
    bundle = read_bundle(folder)
    pipeline = load_pipeline(bundle.manifest, side_files(folder))
    run = fitted(folder, bundle.manifest, pipeline, CpuRun())
    case = Case(pipeline.encode({"diagnoses": list(codes), "age": 60.0}), {})
    return pipeline.open(folder).score(run, [case])[0].result


@pytest.mark.parametrize("name", ["care-service-recommender", "medication-recommender"])
def test_a_code_that_may_be_of_another_system_is_told_once_where_it_counted(name: str) -> None:
    found = recommended(name, "V42.0", f"{ICD_9}|V42.0", "I10")
    told = [each for each in found["unchecked"] if each["reason"] == Reason.AMBIGUOUS_CODE]
    assert [each["subject"] for each in told] == ["V42.0"]
    assert f"{ICD_9}|V42.0" in told[0]["detail"]
    assert recommended("care-service-recommender", f"{ICD_9}|V42.0")["unchecked"] == []


def test_each_section_of_a_plan_tells_a_code_that_may_be_of_another_system() -> None:
    found = plan(answered("I25.1"), diagnoses=["V42.0"], allergies=[])
    for name in ("interventions", "drugs", "services"):
        told = [each["subject"] for each in found[name]["unchecked"] if each["reason"] == "ambiguous-code"]
        assert told == ["V42.0"], name


def test_an_answer_that_is_no_condition_is_told_beside_diagnoses_that_it_may_contradict() -> None:
    source = Source(SOURCE.job, "heart-disease-cleveland", "1.0.0", SOURCE.digest)
    sent = PLAN.encode({"age": 66.0, "diagnoses": ["I25.10"]})
    case = Case(sent, {}, {"diagnosis": answered(None, label="no_disease")}, {"diagnosis": source})
    result: Any = SCORING.score(PLAN_RUN, [case])[0].result
    [told] = [each for each in result["unchecked"] if each["reason"] == NOT_COMPARED]
    assert told["subject"] == "diagnosis"
    assert "no_disease of heart-disease-cleveland" in told["detail"]
    assert "send the plan again" in told["detail"]
    assert plan(answered("I25.1"), diagnoses=["I25.10"])["unchecked"] == []
    assert plan(answered(None))["unchecked"] == []


def test_a_code_that_the_rule_counts_is_not_said_to_be_known_to_no_section() -> None:
    found = plan(answered("C50.9"), diagnoses=["I10"], drugs=["estradiol"], allergies=[])
    assert "breast cancer (C50.9)" in {each["against"] for each in found["drugs"]["flagged_present"]}
    [read] = found["diagnoses"]
    assert read["used_by"] == []
    assert "the rule that reviews drugs counts it" in read["unrecognised"]


def test_an_exception_that_is_below_none_of_its_codes_is_refused() -> None:
    with pytest.raises(TableUnusable, match=r"except: F11\.21 is below none of the codes"):
        changed(FILE, "304.0; F11.2,304.03; F11.21", "304.0,304.03; F11.21")


def test_a_table_of_earlier_bundles_without_exceptions_is_read() -> None:
    def read(path: str) -> bytes:
        content = (PACKAGE / path).read_bytes()
        if path != f"tables/{FILE}":
            return content
        header = b"ingredients,codes,diagnosis,level,condition,mechanism,source,date\n"
        return header + b"metformin,276.2; E87.2,acidosis,contraindicated,,lactic acidosis,label,2025\n"

    assert EXCEPT not in read(f"tables/{FILE}").decode()
    found = DrugSafety.read(read, "tables").review(
        Patient(allergies=(), diagnoses=("E87.20",)), [], ["metformin"]
    )
    assert [each.kind for each in found.removed] == [Kind.DIAGNOSIS]
