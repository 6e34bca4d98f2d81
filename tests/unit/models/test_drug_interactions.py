"""Interactions of the drug safety rule: between classes and substances, in both directions, in the order of ranks."""

import random

import pytest

from models.drug_safety import Kind, Level, Patient, Reason
from tests.unit.models.drug_tables import bundled

UNKNOWN = Patient()


def levels(drug: str, other: str) -> set[Level]:
    return {finding.level for finding in bundled().between(drug, other)}


def test_a_drug_that_is_contraindicated_with_a_present_one_is_removed() -> None:
    review = bundled().review(UNKNOWN, ["simvastatin"], ["itraconazole", "acetaminophen"])
    assert review.kept == ("acetaminophen",)
    [finding] = review.removed
    assert (finding.drug, finding.with_, finding.kind) == ("itraconazole", "simvastatin", Kind.INTERACTION)
    assert finding.level is Level.CONTRAINDICATED
    assert finding.mechanism.startswith("Risque majoré d'effets indésirables")
    assert (finding.language, finding.date) == ("fr", "2020-10")


def test_a_lower_ranked_drug_is_removed_because_of_a_higher_ranked_one() -> None:
    for ranked in (["simvastatin", "itraconazole"], ["itraconazole", "simvastatin"]):
        assert bundled().review(UNKNOWN, [], ranked).kept == (ranked[0],)


def test_a_removed_drug_removes_nothing() -> None:
    review = bundled().review(UNKNOWN, ["simvastatin"], ["itraconazole", "triazolam", "quinidine"])
    assert review.kept == ("triazolam", "quinidine")  # quinidine is contraindicated with itraconazole


def test_a_precaution_is_flagged_and_the_drug_kept() -> None:
    review = bundled().review(UNKNOWN, ["warfarin"], ["acetaminophen"])
    assert review.kept == ("acetaminophen",)
    assert [finding.level for finding in review.flagged] == [Level.PRECAUTION]


def test_what_is_not_recommended_is_kept_if_asked_for() -> None:
    pair = ["vancomycin"], ["piperacillin/tazobactam"]
    assert bundled().review(UNKNOWN, *pair).kept == ()
    review = bundled().review(UNKNOWN, *pair, removing=frozenset())
    assert review.kept == ("piperacillin/tazobactam",)
    assert {finding.level for finding in review.flagged} == {Level.NOT_RECOMMENDED}


def test_what_is_contraindicated_is_removed_even_if_asked_for() -> None:
    assert bundled().review(UNKNOWN, ["simvastatin"], ["itraconazole"], removing=frozenset()).kept == ()


def test_a_conditional_contraindication_counts_and_says_its_condition() -> None:
    found = bundled().between("aspirin", "warfarin")
    assert found[0].level is Level.CONTRAINDICATED
    assert "doses anti-inflammatoires" in found[0].condition
    assert [finding.level for finding in found] == sorted(
        (finding.level for finding in found), key=list(Level).index
    )


@pytest.mark.parametrize(
    ("drug", "other", "contraindicated"),
    [
        ("sodium oxybate", "morphine", True),
        ("lorazepam", "morphine", False),
        ("amiodarone", "sotalol", True),
        ("amiodarone", "lidocaine", False),
        ("sacubitril", "enalapril", True),
        ("sitagliptin", "enalapril", False),
        ("gemfibrozil", "simvastatin", True),
        ("fenofibrate", "simvastatin", False),
        ("cotrimoxazole", "citalopram", True),
        ("cotrimoxazole", "haloperidol", False),
    ],
)
def test_a_row_on_a_class_holds_for_the_substances_of_its_condition_alone(
    drug: str, other: str, contraindicated: bool
) -> None:
    assert (Level.CONTRAINDICATED in levels(drug, other)) is contraindicated


def test_a_narrowed_row_names_the_pair_as_published() -> None:
    rules = [finding.rule for finding in bundled().between("sodium oxybate", "morphine")]
    assert "MÉDICAMENTS SÉDATIFS with AUTRES MÉDICAMENTS SÉDATIFS" in rules


def test_classes_whose_spelling_differs_by_a_hyphen_are_one() -> None:
    assert levels("metoprolol", "verapamil") == levels("bisoprolol", "verapamil") != set()


def test_a_drug_does_not_interact_with_itself_though_its_class_does() -> None:
    assert levels("ibuprofen", "naproxen") == {Level.NOT_RECOMMENDED, Level.TAKE_INTO_ACCOUNT}
    assert levels("ibuprofen", "ibuprofen") == set()


def test_products_interact_through_each_ingredient() -> None:
    assert levels("Zosyn", "Vancocin") == {Level.NOT_RECOMMENDED}
    assert len(bundled().between("Zosyn", "Vancocin")) == 1  # both ingredients by the same row: said once
    assert len(bundled().review(UNKNOWN, ["Vancocin"], ["Zosyn"]).removed) == 1


def test_interactions_are_symmetric() -> None:
    names = [each.name for each in bundled().ingredients.all if each.terms]
    for drug, other in random.Random(7).choices([(a, b) for a in names[::9] for b in names[::11]], k=5000):
        there = {finding[2:3] + finding[4:] for finding in bundled().between(drug, other)}
        back = {finding[2:3] + finding[4:] for finding in bundled().between(other, drug)}
        assert there == back, (drug, other)


def test_unknown_names_are_kept_and_listed() -> None:
    review = bundled().review(UNKNOWN, ["mystery present"], ["mystery proposed"])
    assert review.kept == ("mystery proposed",)
    listed = {(each.subject, each.reason) for each in review.unchecked if each.check is None}
    assert listed == {("mystery present", Reason.UNKNOWN_NAME), ("mystery proposed", Reason.UNKNOWN_NAME)}


def test_an_ingredient_that_the_interactions_lack_is_listed() -> None:
    review = bundled().review(UNKNOWN, [], ["Norco"])
    assert ("Norco", Kind.INTERACTION, Reason.NO_ENTRY) in [each[:3] for each in review.unchecked]


def test_an_ingredient_without_entry_is_checked_by_its_assigned_classes() -> None:
    review = bundled().review(
        UNKNOWN, ["sildenafil", "warfarin"], ["isosorbide mononitrate", "ketorolac", "propofol"]
    )
    assert review.kept == ("propofol",)
    assert {finding.drug: finding.level for finding in review.removed} == {
        "isosorbide mononitrate": Level.CONTRAINDICATED,
        "ketorolac": Level.NOT_RECOMMENDED,
    }
    detail = {each.subject: each.detail for each in review.unchecked if each.reason is Reason.NO_ENTRY}
    assert (
        detail["ketorolac"]
        == "the interactions have no entry for ketorolac: only rows on its classes and labels were checked"
    )


def test_interactions_by_route_are_listed_as_unchecked() -> None:
    review = bundled().review(UNKNOWN, ["cholestyramine"], ["digoxin"])
    assert ("cholestyramine", Kind.INTERACTION, Reason.ROUTE_UNKNOWN) in [
        each[:3] for each in review.unchecked
    ]


IRREVERSIBLE = ["phenelzine", "Nardil", "tranylcypromine", "Parnate", "isocarboxazid", "Marplan"]
ONLY_B = ["selegiline", "Eldepryl", "Emsam", "rasagiline", "Azilect", "Xadago"]
SEROTONERGIC = [
    "sertraline", "citalopram", "fluoxetine", "venlafaxine", "duloxetine", "amitriptyline", "mirtazapine", "trazodone",
    "vilazodone", "tramadol", "meperidine", "methadone", "dextromethorphan", "sumatriptan", "linezolid", "bupropion",
]  # fmt: skip


@pytest.mark.parametrize("present", IRREVERSIBLE + ONLY_B)
def test_serotonergic_drugs_are_removed_beside_an_inhibitor_of_monoamine_oxidase(present: str) -> None:
    for drug in SEROTONERGIC:
        found = bundled().review(Patient(allergies=()), [present], [drug])
        assert [each.with_ for each in found.removed[:1]] == [present], drug
        if present in IRREVERSIBLE and drug == "sertraline":
            assert found.removed[0].level is Level.CONTRAINDICATED


def test_an_inhibitor_without_an_entry_is_said_to_have_none() -> None:
    found = bundled().review(Patient(allergies=()), ["Parnate", "Marplan", "Nardil"], [])
    assert {each.subject for each in found.unchecked if each.reason is Reason.NO_ENTRY} == {
        "Parnate",
        "Marplan",
    }


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("metoprolol", "amiodarone", Level.PRECAUTION),
        ("ritonavir", "sildenafil", Level.CONTRAINDICATED),
        ("linezolid", "sertraline", Level.CONTRAINDICATED),
    ],
)
def test_a_pair_is_one_finding_by_its_most_serious_row(one: str, other: str, level: Level) -> None:
    assert len(bundled().between(one, other)) > 1
    present = bundled().review(Patient(), [one, other], []).present
    beside = bundled().review(Patient(), [one], [other])
    for findings in (present, beside.removed + beside.flagged):
        assert [each.level for each in findings if each.kind is Kind.INTERACTION] == [level]
