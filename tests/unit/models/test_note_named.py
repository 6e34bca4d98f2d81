"""note-writer cuts no sentence that names a drug, a disease or an allergy, and takes nobody else's for the patient's."""

import re

import pytest

from tests.unit.models.test_note_settled import note_of
from tests.unit.models.test_note_writer import writer

SPARED = re.compile(r"\b(?:a|an|the|am|is|are|have|has|been|some|very|i|my|you|your)\b")
STOPS = (
    "Skip the metformin.", "Omit the metformin.", "Cease the metformin.", "Forget the metformin.", "Remove the metformin.",
    "Take off the metformin.", "Leave out the metformin.", "Leave off the metformin.", "Eliminate the metformin.",
    "Get rid of the metformin.", "Throw out the metformin.", "Forgo the metformin.", "I hand back the metformin.",
)  # fmt: skip
STOPPED = (
    "I came off lisinopril.", "I skipped lisinopril.", "I went off lisinopril.", "I ran out of lisinopril.",
    "I am done with lisinopril.", "Lisinopril is out.", "I took lisinopril in the past.", "Lisinopril is dangerous for me.",
    "I flush lisinopril down the sink.",
)  # fmt: skip
DENIED = ("The scan is clear of stroke.", "Stroke is off the table.", "It is a myth that you had a stroke.")


def bare(text: str) -> str:
    """A text in small letters without marks and without the words that may be left out."""
    return " ".join(SPARED.sub(" ", re.sub(r"[^a-z0-9 ]", " ", text.lower())).split())


def unfounded(note: str, name: str, said: str) -> list[str]:
    """The sentences of a note with a name that are not all of what was said."""
    return [each for each in note.split(".") if name in each.lower() and bare(each) != bare(said)]


@pytest.mark.parametrize("said", STOPS)
def test_an_order_about_a_drug_is_kept_with_all_of_its_words_or_not_at_all(said: str) -> None:
    note = writer().note(f"Doctor: {said} Take the insulin.", "Patient: Okay.")
    assert "insulin" in note.lower()
    assert unfounded(note, "metformin", said) == [], note


@pytest.mark.parametrize("said", STOPPED)
def test_a_drug_that_is_not_taken_is_not_listed_as_one_that_is(said: str) -> None:
    note = writer().note("Doctor: Which medicines do you take?", f"Patient: {said} Metoprolol I take.")
    assert "metoprolol" in note.lower()
    assert unfounded(note, "lisinopril", said) == [], note


@pytest.mark.parametrize("said", DENIED)
def test_a_disease_that_is_ruled_out_in_any_words_is_not_stated(said: str) -> None:
    note = writer().note(f"Doctor: {said} You have a migraine.")
    assert "migraine" in note.lower()
    assert unfounded(note, "stroke", said) == [], note


@pytest.mark.parametrize("asked", ["Any drug allergies?", "Are you allergic to penicillin?"])
def test_a_drug_that_is_tolerated_is_not_listed_as_an_allergy(asked: str) -> None:
    note = note_of(f"Doctor: {asked}", "Patient: Penicillin is fine. Sulfa gives me hives.")
    assert unfounded(note, "penicillin", "Penicillin is fine.") == [], note


@pytest.mark.parametrize(
    ("turns", "theirs"),
    [
        (("Doctor: Does he take warfarin?", "Patient: Yes."), "warfarin"),
        (("Doctor: Has she had seizures?", "Patient: Yes."), "seizures"),
        (("Doctor: Has she had seizures?", "Patient: No."), "seizures"),
        (("Doctor: What does she take?", "Patient: Dilantin and warfarin."), "dilantin"),
        (
            (
                "Doctor: Your sister has epilepsy, correct?",
                "Patient: Yes.",
                "Doctor: And she takes Dilantin three hundred milligrams?",
                "Patient: Yes.",
            ),
            "dilantin",
        ),
    ],
)
def test_what_a_doctor_asks_about_him_or_her_is_not_the_patients(turns: tuple[str, ...], theirs: str) -> None:
    assert theirs not in note_of(*turns).lower()


def test_what_a_guest_is_asked_about_a_child_is_the_patients() -> None:
    assert "seizures" in note_of("Doctor: Has she had seizures?", "Guest_family: Yes.").lower()


@pytest.mark.parametrize(
    "said",
    ["If I had a stroke I would know.", "I take less than two pills of it.", "I had half a bottle of wine."],
)
def test_a_sentence_that_a_word_reverses_is_kept_whole_or_not_at_all(said: str) -> None:
    [result] = writer().results(f"Doctor: How are you doing today?\nPatient: I have back pain. {said}")
    note = (result["text"] or "").lower()
    whole = said.lower().replace(" two ", " 2 ")
    assert not re.search("stroke|pills|wine", note) or whole in note, note
