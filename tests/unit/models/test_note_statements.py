"""note-writer keeps what a doctor states only if it is affirmed, and nothing that others say of themselves."""

import pytest

from tests.unit.models.test_note_settled import note_of

STATED = (
    ("You take warfarin.", "warfarin"), ("You take metformin.", "metformin"),
    ("You are allergic to penicillin.", "penicillin"), ("So you have cancer.", "cancer"),
    ("You have asthma. Right?", "asthma"), ("I see you take warfarin. What dose?", "warfarin"),
)  # fmt: skip
UNSETTLED = (
    "Used to.", "They changed it to Eliquis.", "I was supposed to.", "Do I?", "That's news to me.", "In the past.",
    "Until last month.", "Formerly.", "I wish.", "I outgrew that.", "What? Who told you that?", "I did.", "I had.",
    "Mm-mm.", "Uh-uh.", "Huh.", "Do I.", "Yes, until last month.", "Yes\u2026 no.", "If you say so.",
    "My husband, yes.", "Oh.",
)  # fmt: skip
AFFIRMED = (
    "Yes.",
    "Yeah.",
    "Right.",
    "Correct.",
    "That's right.",
    "Mm-hmm.",
    "Exactly.",
    "I do.",
    "Yes, I do.",
    "Okay, doctor.",
)


@pytest.mark.parametrize(("said", "named"), STATED)
@pytest.mark.parametrize("reply", UNSETTLED)
def test_a_statement_that_the_next_turn_does_not_affirm_is_left_out(
    said: str, named: str, reply: str
) -> None:
    note = note_of(f"Doctor: {said}", f"Patient: {reply}")
    assert named not in note.lower(), note


@pytest.mark.parametrize("reply", ["Used to.", "Do I?", "I outgrew that."])
def test_a_guests_statement_that_the_patient_does_not_affirm_is_left_out(reply: str) -> None:
    assert "warfarin" not in note_of("Guest_family: He takes warfarin.", f"Patient: {reply}").lower()


@pytest.mark.parametrize("reply", AFFIRMED)
def test_a_statement_that_is_affirmed_is_kept(reply: str) -> None:
    assert "take warfarin" in note_of("Doctor: You take warfarin.", f"Patient: {reply}").lower()


def test_a_statement_that_is_affirmed_and_taken_back_is_left_out() -> None:
    note = note_of("Doctor: You take warfarin.", "Patient: Yes.", "Patient: Wait, used to.")
    assert "warfarin" not in note.lower()


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("Guest_family: I have diabetes myself. I take insulin.", ("diabetes", "insulin")),
        ("Guest_clinician: I have asthma, too.", ("asthma",)),
        ("Doctor: I had asthma as a child.", ("asthma",)),
        ("Doctor: I take lisinopril myself.", ("lisinopril",)),
        ("Doctor: My asthma is worse.", ("asthma",)),
        ("Doctor: Another patient of mine takes warfarin.", ("warfarin",)),
        ("Doctor: Another patient takes warfarin.", ("warfarin",)),
        ("Doctor: Some people have a stroke from warfarin.", ("warfarin", "stroke")),
        ("Doctor: Do you have asthma?\nGuest_family: I do.", ("asthma",)),
        ("Doctor: Do you have asthma?\nGuest_family: No, I don't.", ("asthma",)),
    ],
)
def test_what_others_say_of_themselves_is_not_the_patients(said: str, named: tuple[str, ...]) -> None:
    note = note_of(said).lower()
    assert not [each for each in named if each in note], note


def test_what_a_guest_says_of_a_relative_is_kept() -> None:
    assert "son has a fever" in note_of("Guest_family: My son has a fever.").lower()


LABELS = (
    "Nurse",
    "Interpreter",
    "Mother",
    "Dr. Smith",
    "Social worker",
    "**Nurse",
    "Speaker 2",
    "Gest_family",
    "Patient's mother",
)


def test_what_a_doctor_plans_is_kept() -> None:
    note = note_of("Doctor: I recommend acetaminophen for the pain.", "Patient: Okay.")
    assert "recommend acetaminophen" in note


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("said", ["I have asthma.", "He takes warfarin.", "Asthma and warfarin."])
def test_nothing_is_kept_of_a_speaker_with_another_label(label: str, said: str) -> None:
    note = note_of("Doctor: Anything else?", f"{label}: {said}").lower()
    assert not {"asthma", "warfarin"} & set(note.replace(".", " ").split()), note


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("answer", ["No.", "Yes."])
def test_an_answer_of_a_speaker_with_another_label_answers_nothing(label: str, answer: str) -> None:
    assert "asthma" not in note_of("Doctor: Do you have asthma?", f"{label}: {answer}").lower()


def test_a_label_within_a_line_begins_a_turn() -> None:
    assert "asthma" not in note_of("Doctor: Anything else? Nurse: Asthma.").lower()


def test_a_doctor_or_guest_with_a_number_is_a_doctor_or_guest() -> None:
    assert "No asthma" in note_of("Doctor_2: Do you have asthma?", "Patient: No.")
    assert "seizures" in note_of("Doctor: Has she had seizures?", "Guest_family_1: Yes.").lower()
