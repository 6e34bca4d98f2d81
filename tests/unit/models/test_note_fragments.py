"""note-writer leaves out a sentence rather than part of it where what is left would say something else.

What may stand in a note is listed beside each exchange, by hand: the check shares nothing with the rules.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.models.test_note_settled import BEFORE, note_of
from tests.unit.models.test_note_writer import writer


class Exchange(NamedTuple):
    """Turns, and the sentences with numbers, drugs, relatives, changes or times that a note of them may have."""

    turns: str
    allowed: tuple[str, ...] = ()


WORTH_CHECKING = re.compile(
    r"\d|\b(?:twice|daily|every|needed|before|after|meals|breakfast|stopped|held|switched|increased|started|changed|your?|you"
    r"|mother|father|brother|sister|wife|husband|uncle|son|side|dose|tablet|tablets|pill|puffs|units|mg|one|cardiologist"
    r"|stroke|warfarin|metoprolol|metformin|acetaminophen|aspirin|lasix|torsemide|eliquis|insulin|diabetic|cancer)\b",
    re.IGNORECASE,
)
EXCHANGES = (
    Exchange("Doctor: Do you take metoprolol 25 or 50 mg?\nPatient: 50 mg twice daily."),
    Exchange("Doctor: And the warfarin?\nPatient: Stopped by my cardiologist in March."),
    Exchange("Doctor: And the warfarin?\nPatient: My cardiologist stopped it in March."),
    Exchange("Doctor: And the warfarin?\nPatient: That was held after the surgery."),
    Exchange("Doctor: And the warfarin?\nPatient: It was switched to Eliquis 5 mg."),
    Exchange("Doctor: And the metoprolol?\nPatient: Increased to 50 in May."),
    Exchange("Doctor: Do you take metformin 500 or 1000 mg?\nPatient: 1000 mg. The 500 was before."),
    Exchange("Doctor: And the metformin?\nPatient: I mean 500."),
    Exchange("Doctor: Which one, aspirin 81 or 325?\nPatient: The smaller one."),
    Exchange("Doctor: What about the inhaler?\nPatient: Two puffs as needed, before meals."),
    Exchange("Doctor: What about the insulin?\nPatient: Up to 20 units at night, at least 10."),
    Exchange("Doctor: Lasix?\nPatient: 40 mg in the morning, and the aspirin was stopped."),
    Exchange("Doctor: Any other pills?\nPatient: A water pill, 40 mg."),
    Exchange(
        "Doctor: Take acetaminophen 650 mg every six hours.\nPatient: I will do that.",
        ("take acetaminophen 650 mg every 6 hours",),
    ),
    Exchange(
        "Doctor: And the blood thinner?\nPatient: I take warfarin 5 mg every other day, no more than 10 mg a day.",
        ("i take warfarin 5 mg every other day, no more than 10 mg a day",),
    ),
    Exchange(
        "Doctor: How do you take the metoprolol?\nPatient: I take half of a metoprolol 50 mg, twice a day, before meals.",
        ("i take half of a metoprolol 50 mg, twice a day, before meals",),
    ),
    Exchange("Doctor: Did your mother have breast cancer?\nPatient: No."),
    Exchange("Doctor: Colon cancer?\nPatient: My brother, yes, at age 45."),
    Exchange("Doctor: Are you diabetic?\nPatient: No, no, no. My wife is."),
    Exchange("Doctor: Did your father have a stroke?\nPatient: My uncle did, at 60."),
    Exchange("Doctor: You had a stroke in 2015.\nPatient: My husband did."),
    Exchange("Doctor: Do you take aspirin every day?\nPatient: No."),
    Exchange("Doctor: And the aspirin?\nPatient: I take 81, my wife takes 325."),
    Exchange("Doctor: Who takes the aspirin?\nPatient: My husband."),
    Exchange("Doctor: Any cancer in the family?\nPatient: On my mother's side."),
    Exchange(
        "Doctor: What about the family?\nPatient: My sister had breast cancer at age 40.",
        ("my sister had breast cancer at age 40",),
    ),
)
TAKEN_BACK = (
    Exchange("Doctor: Which medicines?\nPatient: I take metoprolol 50 mg. I mean 25."),
    Exchange("Doctor: You take metoprolol 50 mg.\nPatient: It is 25 mg now."),
    Exchange("Doctor: Which medicines?\nPatient: I take warfarin 5 mg.\nDoctor: Still?\nPatient: No."),
    Exchange("Doctor: What was found?\nPatient: Breast cancer.\nDoctor: You?\nPatient: No, my aunt."),
    Exchange(
        "Doctor: Which medicines?\nPatient: I take warfarin.\nDoctor: Any fever?\nPatient: Yes, I do.\n"
        "Doctor: And the warfarin?\nPatient: Stopped in March."
    ),
)


SAID_BEFORE = "i fell on the ice 2 days ago, and my left knee hurts and is swollen"


def unfounded(note: str, allowed: Sequence[str]) -> list[str]:
    """The sentences of a note that are worth checking and not allowed."""
    sentences = [each.strip() for each in re.split(r"[.](?:\s|$)", note.lower())]
    return [each for each in sentences if WORTH_CHECKING.search(each) and each not in (SAID_BEFORE, *allowed)]


@pytest.mark.parametrize("exchange", [*EXCHANGES, *TAKEN_BACK], ids=lambda each: each.turns)
@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 3}], ids=str)
def test_what_would_say_something_else_without_its_words_is_left_out(
    exchange: Exchange, options: dict[str, object]
) -> None:
    [result] = writer().results("\n".join((*BEFORE, exchange.turns)), **options)
    assert result["text"], result  # it is answered
    assert unfounded(result["text"], exchange.allowed) == []


@given(st.lists(st.sampled_from(EXCHANGES), min_size=2, max_size=5))
@settings(max_examples=60, deadline=None)
def test_no_sentence_of_a_generated_dialogue_is_cut_or_loses_whom_it_is_about(
    exchanges: list[Exchange],
) -> None:
    note = note_of(*(each.turns for each in exchanges))
    assert unfounded(note, [sentence for each in exchanges for sentence in each.allowed]) == [], note


def test_what_is_said_in_one_sentence_is_still_written() -> None:
    whole = [each for each in EXCHANGES if each.allowed]
    notes = [note_of(each.turns).lower() for each in whole]
    assert all(each.allowed[0] in note for each, note in zip(whole, notes, strict=True)), notes


def test_words_of_a_question_that_mean_the_patient_are_left_out() -> None:
    note = writer().note("Doctor: Do you have pain in your chest or your arm?", "Patient: No.")
    assert "No pain in chest or arm." in note
