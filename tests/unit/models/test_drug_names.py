"""What the drug safety rule understands by a name."""

import pytest

from models.drug_safety.words import key
from tests.unit.models.drug_tables import bundled, changed


def ingredients(name: str) -> list[str]:
    return [each.name for each in bundled().ingredients.named(name)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aspirin", ["aspirin"]),
        ("  ASPIRIN ", ["aspirin"]),
        ("acide acétylsalicylique", ["aspirin"]),
        ("ACIDE ACETYLSALICYLIQUE", ["aspirin"]),
        ("paracétamol", ["acetaminophen"]),
        ("Salbutamol", ["albuterol"]),
        ("noradrénaline", ["norepinephrine"]),
        ("1191", ["aspirin"]),
        ("rxnorm:161", ["acetaminophen"]),
        ("losartan potassium", ["losartan"]),
        ("METOPROLOL TARTRATE", ["metoprolol"]),
        ("Tylenol", ["acetaminophen"]),
        ("lisinopril/hydrochlorothiazide", ["lisinopril", "hydrochlorothiazide"]),
        ("HYDROCODONE BIT/ACETAMINOPHEN", ["hydrocodone", "acetaminophen"]),
        ("DuoNeb", ["albuterol", "ipratropium"]),
        ("potassium chloride", ["potassium"]),
        ("sodium chloride", ["sodium chloride"]),
        ("potassium phosphate", ["potassium phosphate"]),
        ("quetiapine fumarate", ["quetiapine"]),
        ("amlodipine maleate monohydrate", ["amlodipine"]),
        ("hicl:1866", ["acetaminophen"]),
        ("HICL:1730", ["hydrocodone", "acetaminophen"]),
    ],
)
def test_a_name_means_its_ingredients(name: str, expected: list[str]) -> None:
    assert ingredients(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "/",
        "-",
        "sodium",
        "lisinoprl",
        "aspirin/mystery",
        "rxnorm:",
        "253 182",
        "rxnorm:0",
        "hicl:0",
        "hicl",
        "or",
    ],
)
def test_a_name_that_is_not_in_the_tables_means_nothing(name: str) -> None:
    assert ingredients(name) == []


def test_a_code_that_several_kinds_share_means_the_one_that_claims_it() -> None:
    assert ingredients("253182") == ["insulin regular"]
    assert changed("ingredients.csv", ",253182,", ",,").ingredients.named("253182") == ()


def test_every_ingredient_and_every_substance_is_found_by_its_name() -> None:
    assert [each.name for each in bundled().ingredients.all if ingredients(each.name) != [each.name]] == []


@pytest.mark.parametrize(
    "text", ["a" * 10**5, "999999999", "\ud800", "\x00", "\u0130", "ﬁ", "ⅷ", "🩺", "a\u0301"]
)
def test_any_text_has_a_key(text: str) -> None:
    assert ingredients(text) == []
    assert key(text) == key(key(text))
