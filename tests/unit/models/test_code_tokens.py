"""Allergies and drugs by a code behind the URI or the object identifier of its system, as FHIR writes tokens."""

from typing import Any

import pytest

from models.drug_safety import Kind, Patient, Reason, Review
from tests.unit.models.drug_tables import bundled

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


def review(*drugs: str, **facts: Any) -> Review:
    known = {"age_years": 30, "sex": "female", "pregnant": False, "breastfeeding": False}
    return bundled().review(Patient(**{**known, **facts}), [], list(drugs))


def kinds(found: Review) -> set[Kind]:
    return {each.kind for each in (*found.removed, *found.flagged)}


@pytest.mark.parametrize(
    "allergy",
    [
        f"{RXNORM}|1191",
        f"{RXNORM} | 1191",
        "urn:oid:2.16.840.1.113883.6.88|1191",
        "2.16.840.1.113883.6.88|1191",
    ],
)
def test_an_allergy_by_a_token_of_rxnorm_is_one_to_its_ingredient(allergy: str) -> None:
    found = review("aspirin", "metformin", allergies=(allergy,))
    assert {(each.drug, each.kind, each.with_) for each in found.removed} == {
        ("aspirin", Kind.ALLERGY, allergy)
    }
    assert [each for each in found.unchecked if each.reason is Reason.ALLERGY_NOT_UNDERSTOOD] == []


@pytest.mark.parametrize(
    "allergy",
    [f"{RXNORM}|999999999", "http://snomed.info/sct|91936005", "urn:oid:2.16.840.1.113883.6.96|1191"],
)
def test_an_allergy_by_a_token_that_is_not_known_is_told_once_and_whole(allergy: str) -> None:
    found = review("aspirin", "amoxicillin", allergies=(allergy,))
    told = [each.subject for each in found.unchecked if each.reason is Reason.ALLERGY_NOT_UNDERSTOOD]
    assert told == [allergy]
    assert not {Kind.ALLERGY, Kind.ALLERGY_CLASS} & kinds(found)


def test_a_drug_by_a_token_of_rxnorm_is_known() -> None:
    found = bundled().review(Patient(allergies=("aspirin",)), [f"{RXNORM}|1191"], [])
    assert [(each.drug, each.kind) for each in found.present] == [(f"{RXNORM}|1191", Kind.ALLERGY)]
