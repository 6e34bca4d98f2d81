"""Codes, figures and allergies of one patient, read together: what a code says counts, and contradictions are told."""

import pytest

from models.drug_safety import Finding, Kind, Level, Patient, Reason, Review
from tests.unit.models.drug_tables import bundled

WOMAN = {"allergies": (), "age_years": 30, "sex": "female", "breastfeeding": False}
ICD_10_CM = "http://hl7.org/fhir/sid/icd-10-cm"


def review(*proposed: str, **facts: object) -> Review:
    return bundled().review(Patient(**{**WOMAN, **facts}), [], list(proposed))  # type: ignore[arg-type]  # fields of a patient


def told(found: Review, *reasons: Reason) -> list[tuple[str, Reason]]:
    return [(each.subject, each.reason) for each in found.unchecked if each.reason in reasons]


def of_kind(found: Review, kind: Kind) -> list[Finding]:
    return [each for each in (*found.removed, *found.flagged) if each.kind is kind]


@pytest.mark.parametrize(
    "code",
    ["Z33.1", "Z34.90", "Z3A.20", "O09.511", "O24.410", "O99.011", "O9A.111", "O60.02", "O00.101", "V22.1", "V23.9", "643.03",
     f"{ICD_10_CM}|Z33.1", "urn:oid:2.16.840.1.113883.6.90|Z33.1", "2.16.840.1.113883.6.103|V22.1", "z331"],
)  # fmt: skip
def test_a_code_of_pregnancy_counts_where_nothing_else_is_said(code: str) -> None:
    found = review("lisinopril", "acetaminophen", diagnoses=("I10", code))
    assert found.kept == ("acetaminophen",)
    [finding] = of_kind(found, Kind.PREGNANCY)
    bare = code.rpartition("|")[2]
    assert (finding.with_, finding.level) == (f"pregnancy ({bare})", Level.CONTRAINDICATED)


@pytest.mark.parametrize("code", ["O85", "O90.4", "O94", "Z87.59", "670.02", "I10"])
def test_a_code_of_the_puerperium_or_the_past_is_no_pregnancy(code: str) -> None:
    found = review("lisinopril", diagnoses=(code,))
    assert of_kind(found, Kind.PREGNANCY) == []
    assert ("lisinopril", Reason.PREGNANCY_UNKNOWN) in told(found, Reason.PREGNANCY_UNKNOWN)


def test_a_code_that_leaves_open_whether_a_pregnancy_lasts_yields_to_what_is_said() -> None:
    asked = review("methotrexate", diagnoses=("O00.101",))
    assert told(asked, Reason.PREGNANCY_UNKNOWN) == [("O00.101", Reason.PREGNANCY_UNKNOWN)]
    assert of_kind(review("methotrexate", diagnoses=("O00.101",), pregnant=False), Kind.PREGNANCY) == []


@pytest.mark.parametrize("facts", [{"pregnant": False}, {"sex": "male"}, {"age_years": 70}])
def test_a_certain_code_of_pregnancy_counts_against_what_else_is_said_and_that_is_told(
    facts: dict[str, object],
) -> None:
    found = review("lisinopril", diagnoses=("Z33.1",), **facts)
    assert found.kept == ()
    assert told(found, Reason.CONTRADICTED) == [("Z33.1", Reason.CONTRADICTED)]


@pytest.mark.parametrize(
    "code", ["N18.6", "N18.5", "Z99.2", "Z49.31", "I12.0", "I13.2", "585.6", "N186", "V45.11"]
)
@pytest.mark.parametrize(
    "drug", ["ketorolac", "dabigatran", "metformin", "potassium chloride", "methotrexate"]
)
def test_kidney_failure_by_code_is_held_to_the_limits_below_15(code: str, drug: str) -> None:
    found = review(drug, diagnoses=(code,), pregnant=False)
    assert found.kept == ()
    [renal] = [each for each in of_kind(found, Kind.RENAL) if each.level is Level.CONTRAINDICATED]
    assert renal.with_ == f"creatinine clearance below 15 ml/min ({code})"
    assert told(found, Reason.RENAL_FUNCTION_UNKNOWN, Reason.CONTRADICTED) == []


@pytest.mark.parametrize(
    ("drug", "code", "levels"),
    [
        ("ketorolac", "N18.4", [Level.CONTRAINDICATED]),
        ("apixaban", "N18.4", [Level.PRECAUTION]),
        ("dofetilide", "N18.4", [Level.PRECAUTION]),
        ("potassium chloride", "N18.4", [Level.PRECAUTION]),
        ("metformin", "N18.4", [Level.CONTRAINDICATED]),
        ("metformin", "N18.30", [Level.PRECAUTION]),
        ("metformin", "N18.32", [Level.PRECAUTION]),
        ("metformin", "N18.31", []),
        ("ketorolac", "N18.30", []),
        ("gabapentin", "N18.31", [Level.PRECAUTION]),
        ("ketorolac", "N17.9", [Level.PRECAUTION]),
        ("dabigatran", "N19", [Level.PRECAUTION]),
        ("metformin", "E11.22", [Level.PRECAUTION]),
        ("metformin", "I12.9", [Level.PRECAUTION]),
        ("metformin", "584.9", [Level.PRECAUTION]),
        ("metformin", "N18.2", []),
    ],
)
def test_a_stage_counts_by_its_upper_end_and_what_its_lower_end_forbids_is_flagged(
    drug: str, code: str, levels: list[Level]
) -> None:
    found = of_kind(review(drug, diagnoses=(code,), pregnant=False), Kind.RENAL)
    assert [each.level for each in found][:1] == levels
    assert all(code in each.with_ for each in found)


def test_a_row_that_a_stage_may_reach_says_from_where_on_it_forbids() -> None:
    [finding] = of_kind(review("dofetilide", diagnoses=("N18.4",)), Kind.RENAL)
    assert finding.condition.startswith("contraindicated below 20 ml/min; the code does not say")


def test_of_several_codes_the_worst_stage_counts() -> None:
    [finding] = of_kind(review("potassium chloride", diagnoses=("N18.4", "N18.6", "N17.9")), Kind.RENAL)
    assert finding.level is Level.CONTRAINDICATED
    assert finding.with_ == "creatinine clearance below 15 ml/min (N18.4, N18.6, N17.9)"


def test_kidney_function_that_no_code_states_stays_unknown() -> None:
    assert ("metformin", Reason.RENAL_FUNCTION_UNKNOWN) in told(
        review("metformin", diagnoses=("N17.9",)), Reason.RENAL_FUNCTION_UNKNOWN
    )


@pytest.mark.parametrize(
    ("code", "clearance", "contradicts"),
    [("N18.6", 90, True), ("Z99.2", 60, True), ("N18.5", 15, True), ("N18.6", 14, False), ("N18.4", 60, True),
     ("N18.4", 45, False), ("N17.9", 90, False), ("N18.2", 20, False)],
)  # fmt: skip
def test_a_clearance_above_what_a_code_says_is_told_and_the_stricter_counts(
    code: str, clearance: float, contradicts: bool
) -> None:
    found = review("ketorolac", diagnoses=(code,), creatinine_clearance_ml_min=clearance)
    assert told(found, Reason.CONTRADICTED) == [(code, Reason.CONTRADICTED)] * contradicts
    assert (found.kept == ()) is (contradicts or clearance < 30)


@pytest.mark.parametrize(
    ("code", "potassium", "forbidden", "told_of"),
    [
        ("E87.6", 5.6, "potassium chloride", ["E87.6"]),
        ("276.8", 5.6, "potassium chloride", ["276.8"]),
        ("E87.5", 3.0, "sodium polystyrene sulfonate", ["E87.5"]),
        ("E87.5", 4.4, "potassium chloride", []),
    ],
)
def test_a_measured_potassium_counts_before_a_code_that_says_the_opposite(
    code: str, potassium: float, forbidden: str, told_of: list[str]
) -> None:
    drugs = ("potassium chloride", "sodium polystyrene sulfonate")
    found = review(*drugs, diagnoses=(code,), potassium_mmol_l=potassium)
    assert [each.drug for each in of_kind(found, Kind.DIAGNOSIS)] == [forbidden]
    assert [subject for subject, _ in told(found, Reason.CONTRADICTED)] == told_of


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ICD-10: K92.2", "did you mean K92.2?"),
        ("K 92.2", "did you mean K92.2?"),
        ("ICD-10-CM|K92.2", "did you mean K92.2?"),
        ("K92.2 ruled out", "did you mean K92.2?"),
        ("578.9 (GI bleed)", "did you mean 578.9?"),
        ("GI bleed", "send codes"),
        ("urn:oid:2.16.840.1.113883.6.1|K92.2", "did you mean K92.2?"),
        ("http://snomed.info/sct|74474003", "send codes"),
    ],
)
def test_a_diagnosis_that_is_no_code_is_named_and_does_not_count(text: str, meant: str) -> None:
    found = review("warfarin", diagnoses=("I10", text), pregnant=False)
    assert found.kept == ("warfarin",)
    [named] = [each for each in found.unchecked if each.reason is Reason.DIAGNOSIS_NOT_UNDERSTOOD]
    assert (named.subject, meant in named.detail) == (text, True)


@pytest.mark.parametrize(
    "system",
    [ICD_10_CM, "http://hl7.org/fhir/sid/icd-10", "urn:oid:2.16.840.1.113883.6.90", "2.16.840.1.113883.6.90"],
)
def test_a_code_behind_its_system_is_read(system: str) -> None:
    found = review("warfarin", diagnoses=(f"{system}|K92.2",), pregnant=False)
    assert [each.kind for each in found.removed] == [Kind.DIAGNOSIS]


@pytest.mark.parametrize(
    ("code", "recorded", "removed"),
    [
        ("Z88.0", (), True),
        ("Z88.0", ("latex",), True),
        ("V14.0", None, True),
        ("Z88.0", ("penicillin",), False),
        ("Z88.0", ("ampicillin (rash)",), False),
    ],
)
def test_an_allergy_by_code_counts_and_is_told_if_the_list_lacks_it(
    code: str, recorded: tuple[str, ...] | None, removed: bool
) -> None:
    found = review("amoxicillin", diagnoses=(code,), allergies=recorded)
    assert found.kept == ()
    by_code = [each for each in found.removed if each.with_ == f"{code} (penicillins)"]
    assert bool(by_code) is removed
    assert told(found, Reason.ALLERGY_BY_CODE) == [(code, Reason.ALLERGY_BY_CODE)] * removed


def test_sulfonamides_by_code_count_and_codes_that_name_no_class_are_told() -> None:
    found = review("sulfamethoxazole", "amoxicillin", diagnoses=("Z88.2", "Z88.1", "Z88.8"))
    assert found.kept == ("amoxicillin",)
    assert [subject for subject, _ in told(found, Reason.ALLERGY_NOT_NAMED)] == ["Z88.1", "Z88.8"]


@pytest.mark.parametrize(
    ("code", "drug"),
    [("Z91.041", "iohexol"), ("Z91041", "iohexol"), ("V15.08", "iohexol"), ("Z91.012", "propofol"), ("V15.03", "propofol"),
     ("Z91.010", "fat emulsion")],
)  # fmt: skip
def test_codes_of_allergies_other_than_to_drugs_count_where_a_drug_has_the_substance(
    code: str, drug: str
) -> None:
    found = review(drug, diagnoses=(code,), allergies=())
    assert [each.kind for each in found.removed] == [Kind.ALLERGY_CLASS]
    assert [subject for subject, _ in told(found, Reason.ALLERGY_BY_CODE)] == [code]


@pytest.mark.parametrize(
    ("code", "words"),
    [("Z91.040", "latex"), ("V15.07", "latex"), ("Z91.018", "food"), ("Z91.030", "insects"), ("Z91.048", "other than a drug")],
)  # fmt: skip
def test_codes_of_allergies_that_no_table_holds_against_a_drug_are_told(code: str, words: str) -> None:
    found = review("heparin", diagnoses=(code,), allergies=())
    [detail] = [
        each.detail for each in found.unchecked if (each.subject, each.reason) == (code, Reason.NOT_READ)
    ]
    assert words in detail


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"allergies": "PCN"}, TypeError),
        ({"diagnoses": "K92.2"}, TypeError),
        ({"diagnoses": (427.31,)}, TypeError),
        ({"pregnant": "no"}, TypeError),
        ({"breastfeeding": 1}, TypeError),
        ({"age_years": "70"}, TypeError),
        ({"sex": "F"}, ValueError),
        ({"sex": "male", "pregnant": True}, ValueError),
    ],
)
def test_a_patient_of_another_type_is_refused_with_what_to_give(
    wrong: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(reversed(wrong))):
        Patient(**wrong)  # type: ignore[arg-type]  # on purpose
