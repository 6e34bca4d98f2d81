"""The drug safety rule in a recommender: which drugs it takes out of the ranking, what it is told, and what it says."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import drug_safety
from models.drug_safety import FILES, DrugSafety, Level, Patient
from models.manifest import BundleRefused, ManifestInvalid
from models.pipelines import Case, InputRejected
from models.pipelines.contract import SideFileUnusable
from models.pipelines.drug_safety_rule import DrugSafetyReview, DrugSafetyRule
from models.pipelines.item_catalogue import Item
from models.pipelines.recommendation import Recommendation
from tests.unit.models.example_recommender import IDS, recommender

SHIPPED = Path(drug_safety.__file__).parent
TABLES = SHIPPED / "tables"
RULE = {"kind": "drug-safety", "folder": "tables", "age": "age", "sex": "sex"}
WARFARIN = Item("warfarin", "Warfarin", None, (), None)
ASPIRIN = Item("aspirin", "Aspirin", None, (), None)


def rule_of(**parameters: str) -> DrugSafetyRule:
    return DrugSafetyRule.model_validate({"kind": "drug-safety", "folder": "tables", **parameters})


def scored(made: Recommendation, folder: Path = SHIPPED, options: Any = None, **fields: Any) -> Any:
    case = Case(made.encode(fields), made.check_options(options or {}))
    order = np.arange(len(IDS), 0, -1, dtype=np.float32)  # as the catalogue is
    answers = made.open(folder).score(
        lambda feeds, graph="model": {"scores": np.tile(order, (len(feeds["history"]), 1))}, [case]
    )
    return answers[0].result


def test_a_contraindicated_drug_is_removed_with_its_reason_and_source() -> None:
    found = scored(recommender(rule=RULE), history=["insulin"], present=["warfarin"], age=70.0)
    assert "aspirin" not in [item["id"] for item in found["items"]]
    removed = [each for each in found["removed"] if each["id"] == "aspirin"]
    assert removed[0]["against"] == "warfarin"
    assert (removed[0]["kind"], removed[0]["level"]) == ("interaction", "contraindicated")
    assert all(each["source"] and each["date"] and each["language"] == "fr" for each in removed)
    assert found["rule"] == "drug-safety"
    assert found["unknown"] == [{"field": "present", "code": "warfarin"}]  # to the catalogue, not to the rule


def test_a_drug_is_known_to_the_rule_by_whatever_name_the_catalogue_lists() -> None:
    made = recommender(rule=RULE)
    by_code = scored(made, history=["hicl:3660"], present=["hicl:3660"])
    assert not [each for each in by_code["unchecked"] if each["subject"] == "hicl:3660"]
    assert by_code == scored(made, history=["furosemide"], present=["furosemide"])


def test_what_the_rule_does_not_know_is_unchecked() -> None:
    found = scored(recommender(rule=RULE), history=["furosemide", "unheard of"])
    assert ("unheard of", None, "unknown-name") in [
        (each["subject"], each["check"], each["reason"]) for each in found["unchecked"]
    ]


def test_a_brand_is_the_item_of_its_ingredient() -> None:
    made = recommender(rule=RULE)
    by_brand = scored(made, history=["Lopressor", "Novolin R"], present=["Lopressor"])
    assert by_brand["known"] == 1
    found = scored(made, history=["aspirin"], present=["Lopressor", "Klor-Con"])
    assert not {"metoprolol", "potassium chloride"} & {item["id"] for item in found["items"]}
    assert found["unknown"] == []


def test_a_product_of_several_counts_as_each() -> None:
    found = scored(recommender(rule=RULE), history=["Excedrin extra strength"])
    assert found["known"] == 1
    assert "aspirin" not in [item["id"] for item in found["items"]]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"present": ["aspirin", "VIOXX 12"]}, ("/present/1", "not_allowed")),
        ({"history": ["furosemide", "Frusemide"]}, None),
        ({"history": ["furosemide", "Furosemide"]}, None),
        ({"present": ["furosemide", "furosemide", "unheard of", "unheard of"]}, None),
        ({"history": ["calcium citrate", "calcium acetate"]}, None),
        ({"present": ["Lopressor 25 mg", "metoprolol"]}, None),
        ({"history": ["furosemide", "hicl:3660"]}, None),
        ({"present": ["rofecoxib sodium"]}, ("/present/0", "not_allowed")),
    ],
)
def test_names_of_one_drug_are_one_item(fields: dict[str, Any], wanted: tuple[str, str] | None) -> None:
    made = recommender(rule=RULE)
    if wanted is None:
        made.encode(fields)
        return
    with pytest.raises(InputRejected) as refused:
        made.encode(fields)
    assert [(fault.pointer, str(fault.code)) for fault in refused.value.faults] == [wanted]


def test_a_brand_beside_its_generic_counts_once_and_is_told() -> None:
    found = scored(recommender(rule=RULE), history=["furosemide"], present=["Lopressor", "metoprolol"])
    assert found["known"] == 2
    [told] = [each for each in found["unchecked"] if each["reason"] == "named-twice"]
    assert (told["subject"], told["check"]) == ("Lopressor, metoprolol", "duplicate")
    pairs = [(each["id"], each["kind"], each["explanation"], each["condition"]) for each in found["flagged"]]
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize(
    "present",
    [
        ["furosemide", "furosemide"],
        ["furosemide", "Furosemide "],
        ["furosemide", "hicl:3660"],
        ["metoprolol", "rxnorm:6918"],
        ["Lopressor 25 mg", "Lopressor 25 mg"],
    ],
)
def test_a_drug_that_is_listed_twice_counts_once_and_is_told(present: list[str]) -> None:
    made = recommender(rule=RULE)
    found = scored(made, history=["insulin"], present=[*present, "aspirin"])
    once = scored(made, history=["insulin"], present=[present[0], "aspirin"])
    [told] = [each for each in found["unchecked"] if each["reason"] == "named-twice"]
    assert told["check"] == "duplicate"
    assert "see that it is not given twice" in told["detail"]
    assert found["items"] == once["items"]
    assert [each["kind"] for each in found["flagged_present"]] == [
        each["kind"] for each in once["flagged_present"]
    ]


def test_what_the_patient_takes_is_held_against_the_patient_and_never_removed() -> None:
    found = scored(
        recommender(rule=RULE),
        history=["insulin"],
        present=["amoxicillin", "lisinopril", "Metformin 500 mg", "metoprolol"],
        allergies=["PCN"], pregnant=True, age=30.0, sex="female", creatinine_clearance_ml_min=20.0,
    )  # fmt: skip
    told = {(each["id"], each["kind"], each["level"], each["against"]) for each in found["flagged_present"]}
    assert {
        ("amoxicillin", "allergy-class", "contraindicated", "PCN"),
        ("lisinopril", "pregnancy", "contraindicated", "pregnancy"),
        ("Metformin 500 mg", "renal", "contraindicated", "creatinine clearance 20 ml/min"),
    } <= told
    assert all(each["source"] and each["date"] for each in found["flagged_present"])
    assert {each["id"] for each in found["removed"]}.isdisjoint(["amoxicillin", "lisinopril"])


def test_drugs_that_the_patient_takes_are_held_against_one_another_once() -> None:
    present = ["warfarin", "aspirin", "sildenafil", "nitroglycerin", "verapamil", "metoprolol"]
    found = scored(recommender(rule=RULE), present=present)
    pairs = [(each["id"], each["against"], each["level"]) for each in found["flagged_present"]
             if each["kind"] == "interaction"]  # fmt: skip
    assert ("warfarin", "aspirin", "contraindicated") in pairs
    assert {("verapamil", "metoprolol"), ("sildenafil", "nitroglycerin")} <= {pair[:2] for pair in pairs}
    assert not {pair[:2] for pair in pairs} & {pair[1::-1] for pair in pairs}
    assert found["flagged_present"][0]["level"] == "contraindicated"
    named = {
        each["display"]
        for each in scored(recommender(rule=RULE), present=["diltiazem", "metoprolol"])["flagged_present"]
    }
    assert named == {"Metoprolol"}


def test_the_filtration_rate_counts_for_lack_of_a_clearance_where_the_manifest_has_it() -> None:
    made = recommender(rule={**RULE, "egfr": True})
    by_rate, by_clearance = (
        scored(made, history=["insulin"], present=["metformin"], **{field: 20.0})  # type: ignore[arg-type]  # a field of the rule
        for field in ("egfr", "creatinine_clearance_ml_min")
    )
    named = json.dumps(by_rate).replace("estimated glomerular filtration rate 20", "creatinine clearance 20")
    assert json.loads(named) == by_clearance
    against = {each["against"] for each in by_rate["flagged_present"]}
    assert against == {"estimated glomerular filtration rate 20 ml/min"}
    assert {each["kind"] for each in by_rate["flagged_present"]} == {"renal"}
    for fields, fault in (
        ({"egfr": 20.0, "creatinine_clearance_ml_min": 150.0}, ("/egfr", "invalid_value")),
        ({"egfr": 0.5}, ("/egfr", "out_of_range")),
        ({"creatinine_clearance_ml_min": 1.2}, ("/creatinine_clearance_ml_min", "out_of_range")),
    ):
        with pytest.raises(InputRejected) as refused:
            made.encode({"history": ["insulin"], **fields})
        assert [(each.pointer, str(each.code)) for each in refused.value.faults] == [fault]
    with pytest.raises(InputRejected):
        recommender(rule=RULE).encode({"history": ["insulin"], "egfr": 20.0})


@pytest.mark.parametrize("value", [0.25, 1.2])
def test_a_creatinine_or_a_clearance_per_second_is_no_clearance(value: float) -> None:
    with pytest.raises(InputRejected) as refused:
        recommender(rule=RULE).encode({"history": ["insulin"], "creatinine_clearance_ml_min": value})
    [fault] = refused.value.faults
    assert (fault.pointer, str(fault.code)) == ("/creatinine_clearance_ml_min", "out_of_range")
    assert "multiply mL/s by 60; a creatinine in mg/dL is no clearance" in fault.detail


def test_what_is_not_known_of_the_patient_is_told_of_present_drugs_too() -> None:
    found = scored(recommender(rule=RULE), history=["insulin"], present=["metformin"])
    told = {(each["subject"], each["reason"]) for each in found["unchecked_present"]}
    assert ("metformin", "renal-function-unknown") in told


def test_present_drugs_are_reviewed_where_the_model_abstains() -> None:
    found = scored(recommender(rule=RULE), history=["amoxicillin", "unheard of"], allergies=["penicillin"])
    assert (found["abstained"], found["unchecked"]) == (True, [])
    assert [(each["id"], each["against"]) for each in found["flagged_present"]] == [
        ("amoxicillin", "penicillin")
    ]
    assert found["unchecked_present"][0]["subject"] == "unheard of"


def test_an_order_that_could_not_be_read_stands_before_what_is_said_of_recommended_drugs() -> None:
    found = scored(recommender(rule=RULE), history=["insulin"], present=["hold warfarin 5 mg", "metoprool"])
    first = found["unchecked"][:2]
    assert [each["reason"] for each in first] == ["unknown-name"] * 2
    assert "it names warfarin beside what is not understood" in first[0]["detail"]
    assert first[1]["detail"].endswith("did you mean metoprolol?")


def test_tables_of_names_are_read_for_the_first_name_and_refused_if_they_cannot_be_used() -> None:
    parts = rule_of().parts(lambda _: b"\xff")
    with pytest.raises(SideFileUnusable, match="not UTF-8"):
        parts("Lasix")


def test_without_a_rule_nothing_is_removed_and_the_answer_says_so() -> None:
    found = scored(recommender(), history=["insulin"], present=["warfarin"])
    assert "aspirin" in [item["id"] for item in found["items"]]
    assert (found["removed"], found["rule"]) == ([], None)


def test_the_rule_is_told_all_that_is_known_of_the_patient() -> None:
    seen: list[Patient] = []

    class Watching(DrugSafety):
        def __init__(self) -> None: ...

        def review(self, patient: Patient, *more: Any, **others: Any) -> Any:
            seen.append(patient)
            return drug_safety.Review((), (), (), ())

    facts = {
        "age": 70.0, "sex": "female", "allergies": ["penicillin"], "pregnant": False, "breastfeeding": None,
        "creatinine_clearance_ml_min": 25.0,
    }  # fmt: skip
    DrugSafetyReview(DrugSafetyRule.model_validate(RULE), Watching()).review(facts, [], [])
    DrugSafetyReview(rule_of(), Watching()).review({}, [], [])
    assert seen[0] == Patient(("penicillin",), 70.0, "female", False, None, 25.0)
    assert seen[1] == Patient()


def test_an_empty_list_of_allergies_means_none_and_a_missing_one_unknown() -> None:
    made = recommender(rule=RULE)
    assert made.read_input(made.encode({"history": ["aspirin"], "allergies": []})).allergies == []  # type: ignore[attr-defined]  # a field of the rule
    assert made.read_input(made.encode({"history": ["aspirin"]})).allergies is None  # type: ignore[attr-defined]  # as above


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"allergies": "penicillin"}, "/allergies"),
        ({"allergies": [""]}, "/allergies/0"),
        ({"pregnant": "no"}, "/pregnant"),
        ({"creatinine_clearance_ml_min": -1.0}, "/creatinine_clearance_ml_min"),
        ({"creatinine_clearance_ml_min": 301.0}, "/creatinine_clearance_ml_min"),
    ],
)
def test_what_the_rule_asks_for_is_checked_at_submit(fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InputRejected) as refused:
        recommender(rule=RULE).encode({"history": ["aspirin"], **fields})
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_a_bundle_may_bring_tables_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for name in FILES:
        (tmp_path / "tables" / name).write_bytes((TABLES / name).read_bytes())
    path = tmp_path / "tables" / "interactions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        [header, *lines] = list(csv.reader(file))
    kept = [line for line in lines if "ACETYLSALICYLIQUE" not in line[0] + line[1] + line[5]]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *kept])
    own = rule_of().open(tmp_path)
    shipped = rule_of().open(SHIPPED)
    assert shipped.review({}, ["warfarin"], [ASPIRIN]).removed[0].level == Level.CONTRAINDICATED
    assert own.review({}, ["warfarin"], [ASPIRIN]).removed == ()


def test_tables_that_are_missing_refuse_the_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="the bundle lacks this table"):
        recommender(rule=RULE).open(tmp_path)


@pytest.mark.parametrize(
    "rule",
    [{"kind": "another"}, {**RULE, "age": "years"}, {**RULE, "folder": "../tables"}, {"folder": "tables"}],
)
def test_a_rule_that_cannot_be_used_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ManifestInvalid, match="rule"):
        recommender(rule=rule)


def test_a_field_of_the_context_cannot_have_the_name_of_one_of_the_rule() -> None:
    field = {"name": "pregnant", "title": "Pregnant", "type": "category", "values": ["yes", "no"]}
    with pytest.raises(ManifestInvalid, match="its own name"):
        recommender(rule={"kind": "drug-safety"}, context=[field])
    recommender(context=[field])


def test_a_manifest_may_have_drugs_that_are_not_recommended_flagged() -> None:
    metoprolol = Item("metoprolol", "Metoprolol", None, (), None)
    strict = rule_of().open(SHIPPED)
    mild = rule_of(removes="contraindicated").open(SHIPPED)
    assert {each.level for each in strict.review({}, ["verapamil"], [metoprolol]).removed} == {
        "not recommended"
    }
    found = mild.review({}, ["verapamil"], [metoprolol])
    assert (found.kept, found.removed) == ((metoprolol,), ())
    assert "not recommended" in {each.level for each in found.flagged}
    assert mild.review({}, ["warfarin"], [ASPIRIN]).kept == ()


def test_drugs_ranked_higher_count_as_taken() -> None:
    found = rule_of().open(SHIPPED).review({}, [], [WARFARIN, ASPIRIN])
    assert [item.id for item in found.kept] == ["warfarin"]
    assert {each.against for each in found.removed} == {"warfarin"}
