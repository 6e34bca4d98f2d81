"""Ranked lists: expected ids that no answer holds are told, as of one that the catalogue lacks each case is a miss."""

from typing import Any

from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.scoring import Scored


def case(place: str, expected: Any, *ids: str) -> Scored:
    items = [{"id": each} for each in ids]
    return Scored(place, expected, {}, {"type": "recommendation", "items": items, "abstained": not ids})


def test_expected_ids_that_stand_in_no_answer_are_told_once() -> None:
    scored = [
        case("line 1", ["aspirin", "Lasix"], "aspirin", "furosemide"),
        case("line 2", {"Lasix": 2}, "aspirin"),
    ]
    [told] = evaluated(scored, [], {}, "recommendation").notes
    assert told.startswith("1 of the expected ids stand in no answer and count as missed (Lasix): ")
    assert "catalogue" in told


def test_expected_ids_that_stand_in_some_answer_are_not_told() -> None:
    scored = [case("line 1", ["aspirin"], "furosemide"), case("line 2", ["furosemide"], "aspirin")]
    assert evaluated(scored, [], {}, "recommendation").notes == []
