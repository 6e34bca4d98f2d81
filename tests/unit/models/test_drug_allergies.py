"""Allergies as they are recorded, and what the drug safety rule has against which drug."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.drug_safety import Kind, Level, Patient, Reason
from tests.unit.models.drug_reviews import against, review, told
from tests.unit.models.drug_tables import bundled


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
        ("insulin", "insulin regular", Level.CONTRAINDICATED),
        ("insulin nph", "insulin lispro", Level.CONTRAINDICATED),
        ("vecuronium", "succinylcholine", Level.CONTRAINDICATED),
        ("rocuronium", "cisatracurium", Level.CONTRAINDICATED),
        ("magnesium", "Maalox", Level.CONTRAINDICATED),
        ("magnesium sulfate", "magnesium hydroxide", Level.CONTRAINDICATED),
        ("aluminium", "sucralfate", Level.CONTRAINDICATED),
        ("iron", "iron sucrose", Level.CONTRAINDICATED),
        ("novocaine", "lidocaine", Level.PRECAUTION),
        ("novocaine", "benzocaine", Level.CONTRAINDICATED),
        ("caines", "lidocaine", Level.CONTRAINDICATED),
        ("procaine", "benzocaine", Level.CONTRAINDICATED),
        ("IODINE", "povidone-iodine", Level.CONTRAINDICATED),
        ("iodine", "iohexol", Level.PRECAUTION),
        ("fentanyl", "remifentanil", Level.CONTRAINDICATED),
        ("fentanyl", "meperidine", Level.PRECAUTION),
        ("sulfa", "glimepiride", Level.CONTRAINDICATED),
    ],
)
def test_the_level_is_that_of_ingredient_class_or_cross_reaction(
    recorded: str, drug: str, level: Level
) -> None:
    finding = against(recorded, drug)
    assert finding is not None
    assert finding.level is level


# Ingredients whose names contain that of another, and that are another drug, or the salt of one.
ANOTHER_DRUG = {
    ("calcium", "heparin calcium"), ("potassium", "potassium canrenoate"), ("isosorbide", "isosorbide dinitrate"),
    ("isosorbide", "isosorbide mononitrate"), ("latex", "latex condom"),
}  # fmt: skip


def test_an_allergy_to_what_stands_in_the_name_of_an_ingredient_is_against_that_too() -> None:
    names = [each.name for each in bundled().ingredients.all]
    words = {name: name.replace("-", " ").split() for name in names}
    begun = {first for name in names for first in [" ".join(words[name][:-1])] if first}
    pairs = [
        (recorded, name)
        for recorded in sorted({*names, *begun})
        for name in names
        if f" {recorded} " in f" {' '.join(words[name])} " and (recorded, name) not in ANOTHER_DRUG
    ]
    assert len(pairs) > len(names)
    assert [each for each in pairs if against(*each) is None and not lost(each[0])] == []


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
    "recorded", ["see cerner", "shellfish", "", " ", ",", "()", "p", "🩺" * 4000, "a" * 10**6]
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


def lost(*recorded: str) -> list[str]:
    return [subject for subject, _ in told(*recorded)]


@pytest.mark.parametrize(
    ("recorded", "drugs"),
    [
        ("PCN (also morphine)", ["ampicillin", "morphine"]),
        ("Penicillin (and aspirin, vancomycin)", ["ampicillin", "aspirin", "vancomycin"]),
        ("PCN [morphine", ["ampicillin", "morphine"]),
        ("codeine, magnesium sulfate", ["codeine", "magnesium sulfate"]),
        ("codeine magnesium sulfate", ["codeine", "magnesium sulfate"]),
        ("aspirin\nmorphine | codeine", ["aspirin", "morphine", "codeine"]),
        ("PCN causes hives, morphine: severe itching (unknown)", ["ampicillin", "morphine"]),
        ("Patient is allergic to aspirin with rash", ["aspirin"]),
        ("NKDA except morphine", ["morphine"]),
    ],
)
def test_every_allergen_of_a_text_counts_also_in_brackets(recorded: str, drugs: list[str]) -> None:
    assert [drug for drug in drugs if against(recorded, drug) is None] == []
    assert lost(recorded) in ([], ["NKDA"])


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ("PCN (mango)", ["mango"]),
        ("PCN (since 2003)", ["since 2003"]),
        ("PCN morfine", ["PCN morfine"]),
        ("PCN 芒果", ["PCN 芒果"]),
        ("PCN, 芒果", ["PCN, 芒果"]),
        ("PCN, манго", ["манго"]),
        ("PCN 🥜", ["PCN 🥜"]),
        ("no aspirin but PCN", ["no aspirin"]),
        ("denies penicillin allergy", ["denies penicillin allergy"]),
        ("none of the penicillins", ["none of the penicillins"]),
        ("rash", ["rash"]),
        ("NKDA, hives", ["NKDA, hives"]),
        ("NKDA", []),
        ("PCN, non-steroidal anti-inflammatory drugs", []),
        ("NKDA except morphine", ["NKDA"]),
        ("no known drug allergies", []),
        ("PCN, hives", []),
        ("PCN - potassium", ["PCN - potassium"]),
        ("PCN: potassium (hives)", ["PCN: potassium"]),
        ("losartan potassium: hives", []),
    ],
)
def test_what_is_not_understood_of_a_text_is_listed(recorded: str, expected: list[str]) -> None:
    assert lost(recorded) == expected


@pytest.mark.parametrize(
    "recorded",
    ["penicillin rash no anaphylaxis", "Penicillin. Denies latex allergy", "penicillin - hives without anaphylaxis",
     "Non-severe rash to penicillin", "does not tolerate penicillin", "Cannot tolerate penicillin", "never give penicillin",
     "NO PENICILLIN", "penicillin not tolerated", "penicillin non-anaphylactic", "penicillin ok? No: anaphylaxis",
     "penicillin - patient denies other allergies", "no longer tolerates penicillin", "tolerates penicillin (hives)",
     "none of the penicillins", "penicillin: none", "denies penicillin", "no allergy to penicillin? anaphylaxis"],
)  # fmt: skip
def test_a_doubtful_denial_leaves_the_allergy(recorded: str) -> None:
    finding = against(recorded, "ampicillin")
    assert finding is not None
    assert finding.level is Level.CONTRAINDICATED


def test_a_denial_is_of_the_allergen_that_it_names() -> None:
    recorded = "no allergy to aspirin but PCN"
    assert against(recorded, "aspirin") is None
    assert against(recorded, "ampicillin") is not None


def test_a_text_that_denies_another_is_listed() -> None:
    assert lost("NKDA", "penicillin") == ["NKDA"]
    assert lost("NKDA", "latex") == []


def test_a_salt_is_no_allergen_of_its_own() -> None:
    assert against("dexamethasone sodium phosphate", "sodium phosphate") is None
    assert against("losartan potassium", "potassium chloride") is None
    assert against("losartan potassium", "losartan") is not None


NAMES = sorted(each.name for each in bundled().ingredients.all if each.active)


@given(
    st.sampled_from(NAMES),
    st.sampled_from(["PCN", "NKDA", "rash", "no aspirin", "mango", "latex", "", "dexamethasone"]),
    st.sampled_from(
        ["{0} ({1})", "{0} (also {1})", "({1}) {0}", "{0}, {1}", "{0}; {1}", "{0}/{1}", "{0} + {1}", "{0} & {1}",
         "{0} and {1}", "{0}\n{1}", "{0} [{1}]", "{0} - {1}", "{0}: {1} (hives)", "{0} but {1}", "no {1}, {0}",
         "{0} allergic to {1}", "{1} {0}", "{0}. {1} too", "{0} ({1}", "{0} except {1}"]
    ),
)  # fmt: skip
@settings(max_examples=600, deadline=None)
def test_a_drug_anywhere_in_a_text_is_found_or_listed(drug: str, other: str, form: str) -> None:
    recorded = form.format(other, drug)
    found = review(recorded, drug)
    listed = any(drug in each.subject for each in found.unchecked if each.check is Kind.ALLERGY)
    assert found.kept == () or listed, found


@pytest.mark.parametrize(
    "recorded",
    ["not allergic to penicillin?", "no allergy to penicillin\uff1f", "denies penicillin allergy (?)", "?not allergic to PCN",
     "tolerates penicillin? rash", "is he not allergic to penicillin", "p\u00e9nicilline", "Pen VK", "P.C.N.", "penicillin?"],
)  # fmt: skip
def test_a_question_denies_nothing_and_other_spellings_count(recorded: str) -> None:
    assert against(recorded, "ampicillin") is not None


@pytest.mark.parametrize("recorded", ["NKDA?", "none?", "no known allergies (?)"])
def test_a_question_whether_there_are_allergies_is_not_taken_for_none(recorded: str) -> None:
    found = [each.reason for each in review(recorded, "ampicillin").unchecked]
    assert Reason.ALLERGY_NOT_UNDERSTOOD in found


@pytest.mark.parametrize(
    ("recorded", "drug"),
    [
        ("SSRIs", "sertraline"), ("SNRI", "venlafaxine"), ("a.s.a.", "aspirin"), ("Septra DS", "sulfamethoxazole"),
        ("sulfonylureas", "glipizide"), ("CCBs", "diltiazem"), ("gentamycin", "gentamicin"), ("i.v. dye", "iohexol"),
        ("thiazides", "hydrochlorothiazide"), ("MAOIs", "phenelzine"), ("c\u00e9phalosporines", "ceftriaxone"),
    ],
)  # fmt: skip
def test_a_class_or_a_spelling_in_common_use_is_understood(recorded: str, drug: str) -> None:
    found = review(recorded, drug)
    assert [each.drug for each in found.removed] == [drug]
    assert Reason.ALLERGY_NOT_UNDERSTOOD not in [each.reason for each in found.unchecked]


def test_an_allergy_by_an_error_prone_abbreviation_counts_and_is_told() -> None:
    found = review("PCN, MTX rash", "methotrexate")
    assert [each.drug for each in found.removed] == ["methotrexate"]
    [told] = [each for each in found.unchecked if each.reason is Reason.ERROR_PRONE_NAME]
    assert "mitoxantrone" in told.detail
