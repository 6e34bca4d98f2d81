"""note-writer keeps nothing of a question whose answer may have been taken back, or that excepts what it names."""

import pytest

from tests.unit.models.test_note_writer import NO, writer

BEFORE = (
    "Doctor: What brings you in today?",
    "Patient: I fell on the ice two days ago, and my left knee hurts and is swollen.",
)
TAKEN_BACK = (
    ("Are you allergic to penicillin?", "Patient: No.", "Patient: Oh wait, yes, it gave me anaphylaxis."),
    ("Do you have any chest pain?", "Patient: No.", "Patient: Wait, yes, I do have chest pain."),
    ("Any fever?", "Patient: No.", "Patient: Actually yes, since yesterday."),
    ("Do you have any chest pain?", "Patient: No.", "Guest_family: He does."),
    ("Any fever?", "Guest_family: No.", "Patient: Yes."),
    ("Are you allergic to penicillin?", "Patient: No.", "Guest_family: Yes, mom said he nearly died."),
    ("Do you have any chest pain?", "Patient: No.", "Doctor: Really?", "Patient: Well, yes."),
    ("Do you have any chest pain?", "Patient: No.", "Doctor: Are you sure?", "Patient: Well, yes."),
    ("Do you have any chest pain?", "Patient: No.", "Doctor: None at all?", "Patient: Yes."),
)


def note_of(*turns: str) -> str:
    """The note of a dialogue that ends so; nothing where the model abstains."""
    [result] = writer().results("\n".join((*BEFORE, *turns)))
    return result["text"] or ""


def test_what_was_said_before_is_still_written() -> None:
    notes = [note_of(f"Doctor: {turns[0]}", *turns[1:]) for turns in TAKEN_BACK]
    assert sum("knee" in note for note in notes) > len(TAKEN_BACK) / 2


@pytest.mark.parametrize("turns", TAKEN_BACK, ids=lambda turns: turns[-1])
def test_a_denial_that_is_taken_back_is_not_in_the_note(turns: tuple[str, ...]) -> None:
    note = note_of(f"Doctor: {turns[0]}", *turns[1:])
    assert not NO.search(note), note


@pytest.mark.parametrize(
    ("asked", "excepted"),
    [
        ("Besides penicillin, any allergies?", "penicillin"),
        ("Apart from chest pain, do you have shortness of breath?", "chest"),
        ("Any allergies aside from penicillin?", "penicillin"),
        ("Are you allergic to anything except penicillin?", "penicillin"),
    ],
)
def test_a_question_that_excepts_something_leaves_no_word(asked: str, excepted: str) -> None:
    note = note_of(f"Doctor: {asked}", "Patient: No.")
    assert excepted not in note.lower()
    assert not NO.search(note), note


def test_an_answer_that_the_doctor_goes_on_from_is_kept() -> None:
    note = writer().note(
        "Doctor: Do you have any chest pain?", "Patient: No.", "Doctor: Any fever?", "Patient: No."
    )
    assert len(NO.findall(note)) == 2, note
