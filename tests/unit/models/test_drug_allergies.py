"""Allergies as they are recorded, and what the drug safety rule has against which drug."""

import pytest

from models.drug_safety import Finding, Kind, Level, Patient, Reason, Review
from tests.unit.models.drug_tables import bundled


def review(allergy: str, *proposed: str) -> Review:
    return bundled().review(Patient(allergies=(allergy,)), [], list(proposed))


def against(allergy: str, drug: str) -> Finding | None:
    found = review(allergy, drug)
    kinds = {Kind.ALLERGY, Kind.ALLERGY_CLASS}
    return next((each for each in found.removed + found.flagged if each.kind in kinds), None)


@pytest.mark.parametrize(
    "recorded",
    ["PCN", "penicillins", "PENICILLIN G BENZATHINE", "Pencillin", "amoxicillin", "AUGMENTIN", "Zosyn", "pcn (rash)",
     "allergic to penicillin", "Penicillin allergy", "codeine, PCN", "PCN, SULFA", "1297882"],
)  # fmt: skip
def test_an_allergy_to_penicillins_removes_a_penicillin(recorded: str) -> None:
    finding = against(recorded, "ampicillin")
    assert finding is not None
    assert (finding.kind, finding.level) == (Kind.ALLERGY_CLASS, Level.CONTRAINDICATED)
    assert (finding.with_, finding.rule) == (recorded, "penicillins")


def test_penicillamine_is_no_penicillin() -> None:
    assert against("PENICILLAMINE", "amoxicillin") is None
    assert against("PENICILLAMINE", "penicillamine") is not None


@pytest.mark.parametrize(
    ("recorded", "drug", "level"),
    [
        ("MORPHINE SULFATE", "morphine", Level.CONTRAINDICATED),
        ("TYLENOL", "Norco", Level.CONTRAINDICATED),
        ("VICODIN", "acetaminophen", Level.CONTRAINDICATED),
        ("penicillin", "cefazolin", Level.PRECAUTION),
        ("cephalosporins", "piperacillin tazobactam".replace(" ", "/"), Level.NOT_RECOMMENDED),
        ("SULFA", "Bactrim", Level.CONTRAINDICATED),
        ("sulfa", "furosemide", Level.PRECAUTION),
        ("SULFA'S", "sulfamethoxazole", Level.CONTRAINDICATED),
        ("ASPIRIN", "ketorolac", Level.CONTRAINDICATED),
        ("NSAIDS", "aspirin", Level.CONTRAINDICATED),
        ("codeine", "oxycodone", Level.PRECAUTION),
        ("lipitor", "simvastatin", Level.PRECAUTION),
        ("Statins", "simvastatin", Level.CONTRAINDICATED),
        ("lisinopril", "enalapril", Level.CONTRAINDICATED),
        ("LEVAQUIN", "ciprofloxacin", Level.CONTRAINDICATED),
        ("egg", "propofol", Level.CONTRAINDICATED),
        ("IV dye", "iopamidol", Level.NOT_RECOMMENDED),
    ],
)
def test_the_level_is_that_of_ingredient_class_or_cross_reaction(
    recorded: str, drug: str, level: Level
) -> None:
    finding = against(recorded, drug)
    assert finding is not None
    assert finding.level is level


@pytest.mark.parametrize(
    ("recorded", "drug"),
    [
        ("penicillin", "aztreonam"),
        ("codeine", "fentanyl"),
        ("beta blockers", "amlodipine"),
        ("latex", "heparin"),
        ("none", "heparin"),
    ],
)
def test_an_allergy_is_against_nothing_else(recorded: str, drug: str) -> None:
    found = review(recorded, drug)
    assert found.removed == found.flagged == ()
    assert Reason.ALLERGY_NOT_UNDERSTOOD not in [each.reason for each in found.unchecked]


@pytest.mark.parametrize(
    "recorded", ["see cerner", "shellfish", "IODINE", "", " ", ",", "()", "p", "🩺" * 4000, "a" * 10**6]
)
def test_what_no_table_has_is_listed(recorded: str) -> None:
    listed = [
        each.subject
        for each in review(recorded, "heparin").unchecked
        if each.reason is Reason.ALLERGY_NOT_UNDERSTOOD
    ]
    assert listed == [recorded.strip() if recorded.strip(" ,") else recorded]


def test_the_part_that_is_not_understood_is_listed_and_the_rest_checked() -> None:
    found = review("Codeine, Bee Pollen,", "codeine")
    assert found.kept == ()
    assert [each.subject for each in found.unchecked if each.check is Kind.ALLERGY] == ["Bee Pollen"]


def test_unknown_allergies_are_listed_and_none_known_are_not() -> None:
    for allergies, listed in ((None, 1), ((), 0)):
        found = bundled().review(Patient(allergies=allergies), [], ["heparin"])
        assert len([each for each in found.unchecked if each.reason is Reason.ALLERGIES_UNKNOWN]) == listed
