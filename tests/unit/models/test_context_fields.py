"""Codes of a recommender's context: which group each counts for, and what a reason says of it."""

import pytest

from models.pipelines.context_fields import CodesField
from tests.unit.models.test_recommendation import answer


@pytest.mark.parametrize("system", ["http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-10-cm"])
def test_a_code_may_stand_behind_the_address_of_its_system(system: str) -> None:
    plain, addressed = answer(diagnoses=["I50.9"]), answer(diagnoses=[f"{system}|I50.9"])
    assert addressed["unknown"] == []
    assert [item["score"] for item in addressed["items"]] == [item["score"] for item in plain["items"]]
    other = answer(history=["aspirin"], diagnoses=["http://example.org|I50.9"])["unknown"]
    assert [each["code"] for each in other] == ["http://example.org|I50.9"]


def test_a_reason_names_the_codes_that_were_sent_and_the_heading_of_their_group() -> None:
    [reason] = [
        each
        for item in answer(diagnoses=["I50.9", "428.0"])["items"]
        for each in item["reasons"]
        if item["id"] == "furosemide" and each["field"] == "diagnoses"
    ]
    assert (reason["code"], reason["display"]) == ("428.0, I50.9", "Heart failure")


def codes_read_as(*codes: str) -> list[str | None]:
    """The headings of the groups that codes count for, by groups that exclude and narrow."""
    groups = (
        "group,display,codes,except\n"
        "I50,Heart failure,,I50.8\n"
        "I50.2,Systolic heart failure,,\n"
        "T40,Poisoning,,T40.2X6\n"
    )
    table = {"name": "codes", "title": "Codes", "type": "codes", "file": "groups.csv", "category": 3}
    columns = CodesField.model_validate(table).columns(lambda _: groups.encode())
    return [next((fact.display for fact in columns.facts([code])), None) for code in codes]


def test_the_longest_listed_beginning_of_a_code_decides_and_an_excluded_one_is_of_no_group() -> None:
    assert codes_read_as("I50.9", "I509", "I50") == ["Heart failure"] * 3
    assert codes_read_as("I50.21", "I5021", "i50.2") == ["Systolic heart failure"] * 3
    assert codes_read_as("I50.8", "I50.81", "I5089", "T40.2X6A", "T402X6A") == [None] * 5
    assert codes_read_as("T40.2X1A") == ["Poisoning"]
