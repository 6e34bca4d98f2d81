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


@pytest.mark.parametrize(
    "said", ["Skip the metformin.", "I came off metformin.", "Metformin is off the table."]
)
def test_a_stop_in_other_words_is_a_denial(said: str) -> None:
    assert faults_of(f"Patient: {said}", "Metformin.").lost
    assert not any(faults_of(f"Patient: {said}", said)[1:])


@pytest.mark.parametrize(
    "said", ["Metformin is fine.", "Put metformin in the bin.", "I took metformin years back."]
)
def test_a_part_with_a_drug_that_lacks_a_word_of_its_statement_is_cut(said: str) -> None:
    assert faults_of(f"Patient: {said}", "Metformin.").cut
    assert not any(faults_of(f"Patient: {said}", said)[1:])


@pytest.mark.parametrize(
    "dialogue",
    [
        "Doctor: Does he take warfarin?\nPatient: Yes.",
        "Doctor: What does your sister take?\nPatient: Warfarin.",
        "Doctor: Any epilepsy?\nPatient: In my sister, who has warfarin.",
    ],
)
def test_a_part_that_names_nobody_is_of_others_where_they_alone_are_meant(dialogue: str) -> None:
    assert faults_of(dialogue, "Warfarin.").of_others


def test_what_the_patient_says_of_himself_elsewhere_is_not_of_others() -> None:
    dialogue = "Patient: I take warfarin.\nDoctor: Does he take warfarin?\nPatient: Yes."
    assert not faults_of(dialogue, "Take warfarin.").of_others


@pytest.mark.parametrize(
    ("dialogue", "note"),
    [
        ("Doctor: Aspirin, warfarin. Do you take any of them?\nPatient: No.", "Aspirin, warfarin."),
        ("Doctor: You had polio in 2019. Do you remember that?\nPatient: No.", "Polio."),
        ("Doctor: You never smoked. Have you?\nPatient: Yes.", "Never smoked."),
        ("Doctor: Past history of stroke.\nPatient: Funny, that one is new to me.", "Stroke."),
        ("Doctor: The scan showed a tumor.\nPatient: They mixed my scan up.", "Scan showed a tumor."),
        ("Guest_clinician: Allergy to latex.\nPatient: That belongs to the next bed.", "Latex."),
        ("Patient: Diabetes. Gout. I don't have any of those.", "Diabetes. Gout."),
        ("Patient: I have none of the following. Diabetes. Gout.", "Gout."),
        ("Patient: My sugar was high. No, low.", "Sugar high."),
        ("Patient: I was prescribed metoprolol. I never filled it.", "Prescribed metoprolol."),
        ("Patient: I have a pacemaker. That's what my brother says.", "Pacemaker."),
        ("Doctor: The patient next door has measles. A cough?\nPatient: Yes.", "Patient next door measles."),
    ],
)
def test_a_statement_that_is_denied_or_taken_back_in_other_words_is_lost(dialogue: str, note: str) -> None:
    assert faults_of(dialogue, note).lost or faults_of(dialogue, note).added


@pytest.mark.parametrize(
    ("dialogue", "note"),
    [
        ("Doctor: You take warfarin.\nPatient: Uh-huh, that's right.", "Take warfarin."),
        ("Doctor: You had polio. Do you remember that?\nPatient: Yes.", "Polio."),
        ("Patient: I have gout. I don't have any fever.", "Gout. Don't have any fever."),
        ("Patient: My knee hurts. No swelling.", "Knee hurts. No swelling."),
    ],
)
def test_a_statement_that_stands_is_not_lost(dialogue: str, note: str) -> None:
    assert not any(faults_of(dialogue, note)[1:])
