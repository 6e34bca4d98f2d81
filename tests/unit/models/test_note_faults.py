"""What a check of notes against their dialogues counts: denials, those that were lost, and those that were added."""

import pytest

from models.training.note_faults import faults_of

DIALOGUE = (
    "Doctor: You have a fracture of the left wrist. Any fever or chills?\nPatient: No.\nDoctor: Do you have asthma?\n"
    "Patient: Yes, I do. I don't smoke or drink alcohol, but I use cocaine. I stopped warfarin last year.\n"
    "Doctor: Do you take insulin?\nPatient: No, just sometimes.\nDoctor: Do you not see the swelling?\nPatient: No."
)


@pytest.mark.parametrize(
    "note",
    [
        "Fracture of the left wrist. No fever or chills.", "Asthma.", "Don't smoke or drink alcohol, but use cocaine.",
        "Stopped warfarin last year.", "Cocaine. Wrist.", "",
    ],
)  # fmt: skip
def test_what_the_dialogue_says_has_no_fault(note: str) -> None:
    found = faults_of(DIALOGUE, note)
    assert (found.lost, found.added) == ([], [])


@pytest.mark.parametrize(
    "note", ["Fever.", "Smoke.", "Warfarin last year.", "Alcohol, cocaine.", "Insulin.", "Swelling."]
)
def test_a_denial_that_the_note_lacks_is_lost(note: str) -> None:
    assert faults_of(DIALOGUE, note).lost


@pytest.mark.parametrize(
    "note",
    [
        "No fracture of the left wrist.",
        "No asthma.",
        "No cocaine.",
        "Not insulin.",
        "No fever and asthma.",
        "No swelling.",
    ],
)
def test_a_denial_of_what_was_not_denied_is_added(note: str) -> None:
    assert faults_of(DIALOGUE, note).added


def test_denials_are_counted() -> None:
    assert faults_of(DIALOGUE, "No fever. Asthma. Don't smoke, but use cocaine.").denials == [
        "no fever",
        "don't smoke,",
    ]


@pytest.mark.parametrize(
    "answer", ["No idea.", "No, but it hurts.", "No, I mean yes.", "Not sure.", "I don't know."]
)
def test_an_answer_that_is_not_plain_denies_nothing(answer: str) -> None:
    assert faults_of(f"Doctor: Do you have a fever?\nPatient: {answer}", "No fever.").added
