"""note-writer keeps nothing that is doubted behind it, contradicted by somebody else, or asked in words that turn it."""

import pytest

from tests.unit.models.test_note_settled import note_of
from tests.unit.models.test_note_unaffirmed import named

DOUBTED = (
    ("I have asthma. I guess.", "asthma"),
    ("I have asthma. Or so I was told.", "asthma"),
    ("I have asthma. At least I think so.", "asthma"),
    ("I have asthma. Or is it COPD?", "asthma"),
    ("I have asthma. Forget it.", "asthma"),
    ("I have asthma. Ha ha, no.", "asthma"),
    ("I have lupus. Oh, that is Mary's chart.", "lupus"),
    ("I take warfarin. In theory.", "warfarin"),
    ("I take warfarin. Well, my wife does.", "warfarin"),
    ("I have warfarin in the house. It is for the dog.", "warfarin"),
    ("My sugar was 300. Or 130.", "300"),
    ("I weigh 150 pounds. Minus ten.", "150"),
    ("I had three strokes. Two, actually.", "3"),
)
CONTRADICTED = (
    ("Patient: So I have cancer.", "Doctor: That is not what I said.", "cancer"),
    ("Patient: I have appendicitis.", "Doctor: I doubt that.", "appendicitis"),
    ("Patient: I take warfarin.", "Guest_family: He does not.", "warfarin"),
    ("Patient: I take warfarin.", "Doctor: You mean aspirin.", "Patient: Yes.", "warfarin"),
    ("Patient: I never had a stroke.", "Guest_family: Yes, you did.", "stroke"),
    ("Patient: I do not smoke.", "Guest_family: He does.", "smoke"),
    ("Doctor: You take warfarin.", "Guest_family: I do.", "warfarin"),
    ("Doctor: You take warfarin.", "Guest_family: Yes, I do.", "Patient: Me too.", "warfarin"),
)
TURNED = (
    ("Which drugs do you avoid?", "Warfarin."),
    ("What do you avoid?", "Aspirin."),
    ("What did you stop?", "Metformin."),
    ("What did they rule out?", "Pneumonia."),
    ("Which one did you refuse?", "Morphine."),
    ("What was it not?", "Cancer."),
    ("Which drug did not work?", "Ibuprofen."),
    ("What would you like?", "Oxycodone."),
    ("What do you think you have?", "Lupus."),
    ("What does your neighbor say?", "Lupus."),
)
ASKED_AGAIN = (
    ("Do you have asthma?", "Patient: Yes.", "Doctor: So you have asthma.", "Patient: No.", "asthma"),
    ("Do you have chest pain?", "Patient: No.", "Doctor: You told the nurse you did.", "Patient: Right, I did.", "chest pain"),
)  # fmt: skip
UNMARKED = (
    "i dont have asthma",
    "I havent got asthma.",
    "I aint got asthma.",
    "DIDNT have asthma.",
    "I cant take aspirin.",
)
SUPPOSED = (
    "Doctor: Imagine you have asthma.", "Doctor: Let's assume you have asthma.", "Doctor: Suppose you have asthma.",
    "Patient: Allegedly I have asthma.", "Patient: Asthma, supposedly.", "Patient: In my dream I had asthma.",
    "Patient: The chart is wrong. It says asthma.", "Doctor: I will pretend that you have asthma.",
)  # fmt: skip
PLANNED = (
    ("Doctor: I suggest lupus.", "Patient: Okay.", "suggest"),
    ("Doctor: I'll check for lupus.", "check"),
    ("Doctor: I'll test you for HIV.", "test"),
    ("Doctor: I'd recommend lupus testing.", "Patient: Yeah.", "testing"),
)
ATTITUDES = (
    ("I'm scared of getting diabetes.", "diabetes", "scared"),
    ("I want oxycodone.", "oxycodone", "I want"),
    ("I nearly had a seizure at work.", "seizure", "I nearly had a"),
    ("I wish it was gout.", "gout", "wish"),
)
OF_OTHERS = (
    "My teacher has asthma.",
    "My cat has asthma.",
    "My ex takes methadone.",
    "My boss takes metformin.",
)
KEPT = (
    ("Patient: I have asthma. I think that's it.", "asthma"),
    ("Patient: I take warfarin. I guess that's all.", "warfarin"),
    ("Doctor: What did you say your allergies are?", "Patient: Penicillin.", "penicillin"),
    ("Patient: I take warfarin. My brother does, too.", "warfarin"),
    ("Patient: I take warfarin. It's for my heart.", "warfarin"),
    ("Patient: I have asthma. I think it is from the dust.", "asthma"),
    ("Patient: I take warfarin.", "Doctor: Good.", "warfarin"),
    ("Patient: I have asthma.", "Guest_family: He does.", "asthma"),
    ("Doctor: Which drugs do you take?", "Patient: Warfarin.", "warfarin"),
    ("Doctor: Do you have asthma?", "Patient: No.", "Doctor: Let me listen to your lungs.", "Patient: Okay.", "no asthma"),
    ("Doctor: You take warfarin.", "Guest_family: Yes.", "warfarin"),
)  # fmt: skip


@pytest.mark.parametrize(("said", "words"), DOUBTED)
def test_what_the_patient_doubts_in_the_next_sentence_is_left_out(said: str, words: str) -> None:
    note = note_of("Doctor: Anything else?", f"Patient: {said}")
    assert not named(note, words), note


@pytest.mark.parametrize("case", CONTRADICTED, ids=lambda case: " ".join(case[:-1]))
def test_what_somebody_else_contradicts_is_left_out(case: tuple[str, ...]) -> None:
    *turns, words = case
    note = note_of(*turns)
    assert not named(note, words), note


@pytest.mark.parametrize(("asked", "answer"), TURNED)
def test_an_answer_to_a_question_that_turns_it_does_not_stand_alone(asked: str, answer: str) -> None:
    note = note_of(f"Doctor: {asked}", f"Patient: {answer}")
    assert not named(note, answer.lower().strip(".")), note


@pytest.mark.parametrize("case", ASKED_AGAIN, ids=lambda case: " ".join(case[:-1]))
def test_an_answer_that_the_doctor_asks_again_for_is_left_out(case: tuple[str, ...]) -> None:
    asked, *turns, words = case
    note = note_of(f"Doctor: {asked}", *turns)
    assert words not in note.lower(), note


@pytest.mark.parametrize("said", UNMARKED)
def test_a_negation_without_its_apostrophe_is_one(said: str) -> None:
    note = note_of("Doctor: Anything else?", f"Patient: {said}")
    assert "n't" in note or not named(note, "asthma aspirin"), note


@pytest.mark.parametrize("case", KEPT, ids=lambda case: " ".join(case[:-1]))
def test_what_is_not_doubted_is_still_kept(case: tuple[str, ...]) -> None:
    *turns, words = case
    note = note_of(*turns)
    assert words in note.lower(), note


@pytest.mark.parametrize("said", SUPPOSED)
def test_what_is_supposed_is_left_out(said: str) -> None:
    note = note_of(said)
    assert not named(note, "asthma"), note


@pytest.mark.parametrize("case", PLANNED, ids=lambda case: " ".join(case[:-1]))
def test_of_what_the_doctor_plans_no_word_is_lost(case: tuple[str, ...]) -> None:
    *turns, plan = case
    note = note_of(*turns).lower()
    assert plan in note or not named(note, "lupus hiv"), note


@pytest.mark.parametrize("said", OF_OTHERS)
def test_whose_disease_or_drug_it_is_stays_in_the_note(said: str) -> None:
    note = note_of("Doctor: Anything else?", f"Patient: {said}").lower()
    assert said.lower() in note or not named(note, "asthma methadone metformin"), note


@pytest.mark.parametrize(("said", "words", "attitude"), ATTITUDES)
def test_what_is_feared_or_wanted_is_kept_with_the_word_that_says_so(
    said: str, words: str, attitude: str
) -> None:
    note = note_of("Doctor: Anything else?", f"Patient: {said}")
    assert attitude in note or not named(note, words), note
