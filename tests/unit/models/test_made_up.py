"""Numbers and drugs of a written text that its source does not have."""

import pytest

from models.training.made_up import drug_names, drugs_of, numbers_of


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("The patient is a 26-year-old.", {"26"}),
        ("I'm twenty six, with two children.", {"20", "6", "26", "2"}),
        ("twenty-six", {"20", "6", "26"}),
        ("In two thousand eight, on 01/10/09", {"2", "8", "2008", "1", "10", "9"}),
        ("twenty twelve", {"20", "12", "2012"}),
        ("nineteen eighty-four", {"19", "80", "4", "84", "1984"}),
        ("0.5 mg", {"0", "5"}),
        ("No, none.", set()),
    ],
)
def test_numbers_are_read_in_digits_and_in_words(text: str, numbers: set[str]) -> None:
    assert numbers_of(text) == numbers


def test_drugs_are_known_by_ingredient_and_brand_in_any_case() -> None:
    found = drugs_of("She takes Metformin, Tylenol and insulins; her name is April.")
    assert found == {"metformin", "tylenol"}


def test_names_of_drugs_are_single_words_of_some_length() -> None:
    assert len(drug_names()) > 1000
    assert all(name.isalpha() and len(name) >= 5 for name in drug_names())
