"""How much of a list of orders the drug safety rule understands."""

import pytest

from models.drug_safety.coverage import read_as, understood, understood_allergy
from tests.unit.models.drug_tables import PACKAGE, bundled


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hicl:1866", "known, with an entry in the interactions"),
        ("hicl:1730", "known, some ingredient by its classes alone"),
        ("levetiracetam", "known, some ingredient without interactions"),
        ("hicl:926", "known to have no active ingredient"),
        ("hicl:936", "known, with an entry in the interactions"),
        ("hicl:0", "unknown"),
    ],
)
def test_an_order_is_counted_by_what_is_known_of_it(name: str, expected: str) -> None:
    assert understood(bundled(), name) == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("ACETAMINOPHEN 325 MG PO TABS", "the ingredients of its code"),
        ("APAP 325 MG, CODEINE 30 MG", "these, and others that it names"),
        ("WARFARIN SODIUM 5 MG PO TABS", "other ingredients"),
        ("PHARMACY TO DOSE", "unknown"),
    ],
)
def test_an_order_as_written_is_compared_with_its_code(order: str, expected: str) -> None:
    assert read_as(bundled(), order, "hicl:1866") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PCN, SULFA", "understood"),
        ("PCN, mango", "understood in part"),
        ("see cerner", "not understood"),
        ("none", "understood"),
    ],
)
def test_an_allergy_is_counted_by_what_is_understood_of_it(text: str, expected: str) -> None:
    assert understood_allergy(bundled(), text) == expected


def test_every_code_is_understood() -> None:
    codes = [line.split(",")[:2] for line in (PACKAGE / "tables" / "codes.csv").read_text().splitlines()[1:]]
    assert len(codes) > 250
    assert [code for system, code in codes if understood(bundled(), f"{system}:{code}") == "unknown"] == []
