"""note-writer keeps no statement that the next turn, the closing question or the next sentence takes back."""

import pytest

from tests.unit.models.test_note_settled import note_of
from tests.unit.models.test_note_writer import writer

CLOSED_BY_A_QUESTION = (
    ("I will read a list of drugs. Aspirin, ibuprofen, warfarin. Do you take any of them?", "No.", "aspirin warfarin"),
    ("Asthma, diabetes, gout. Do you have any of these?", "No.", "asthma diabetes gout"),
    ("Penicillin, sulfa, latex. Are you allergic to any of them?", "No.", "penicillin sulfa latex"),
    ("You take Coumadin. Do you take it now?", "No.", "coumadin"),
    ("You had a heart attack in 2019. Do you remember that?", "No.", "heart"),
    ("You take metformin and lisinopril. Am I reading this correctly?", "Not at all.", "metformin lisinopril"),
    ("The records list two prior strokes. Did you have them?", "No.", "strokes"),
    ("You never smoked. Have you?", "Yes.", "smoked"),
    ("Your chart says lupus. Is that you?", "No.", "lupus"),
    ("Warfarin, five milligrams at night. Is this still your dose?", "Nope.", "warfarin"),
    ("You are allergic to latex. Have I got that right?", "No, you have not.", "latex allergic"),
    ("The last note says you had pneumonia. Did you?", "No, I didn't.", "pneumonia"),
    ("I have you down for epilepsy. Is it true?", "No.", "epilepsy"),
    ("Cocaine, heroin, cannabis. Have you used one of those?", "Never.", "cocaine heroin cannabis"),
    ("There is a tumor in the liver. Were you told that?", "No.", "tumor liver"),
    ("You stopped the insulin. Is that so?", "No.", "insulin"),
    ("It says here: hepatitis, anemia, asthma. Does any of it sound familiar?", "No.", "hepatitis anemia asthma"),
    ("You have had a pacemaker since 2015. Do you carry its card?", "No.", "pacemaker"),
    ("You do not drink. Do you?", "I do.", "drink"),
    ("You are diabetic. Is that a mistake?", "Yes.", "diabetic"),
    ("Asthma, diabetes, gout. Do you have any of these?", "Yes.", "asthma diabetes gout"),
    ("You take methadone. Am I wrong?", "Yes.", "methadone"),
    ("The chart lists seizures. Are those your wife's?", "Yes.", "seizures"),
    ("Angina, asthma, gout. Any of the three?", "None.", "angina asthma gout"),
    ("You have lupus. You have gout. Either of them?", "Neither.", "lupus gout"),
)  # fmt: skip
DENIED_BY_THE_NEXT_TURN = (
    ("Doctor: Past history of stroke.", "Patient: Funny, that one is new to me, doctor.", "stroke"),
    ("Doctor: The scan showed a tumor in the liver.", "Patient: They mixed my scan up with another person's.", "tumor liver"),
    (
        "Doctor: You are diabetic.", "Patient: What?", "Doctor: Your chart says diabetic.",
        "Patient: They mixed me up with somebody else.", "diabetic",
    ),
    (
        "Guest_clinician: Allergies are penicillin and latex.", "Patient: Those belong to the woman in the bed beside mine.",
        "penicillin latex woman allergies",
    ),
    ("Doctor: History of asthma.", "Patient: First I hear of it in all of these years.", "asthma"),
    ("Doctor: The list has warfarin on it.", "Patient: That would be the list of the man before me.", "warfarin"),
    ("Doctor: The MRI showed a stroke.", "Patient: Whose MRI are you looking at over there, doctor?", "stroke"),
    ("Doctor: Epilepsy since childhood.", "Patient: Somebody copied that from my twin's chart years ago.", "epilepsy"),
    ("Doctor: There is a pacemaker on the left side.", "Patient: I would surely know about a thing like that.", "pacemaker"),
    ("Doctor: Allergic to sulfa.", "Patient: I eat those pills like candy and feel great.", "sulfa allergic"),
    ("Doctor: The biopsy came back as melanoma.", "Patient: The lab called me to say they swapped two samples.", "melanoma"),
    ("Doctor: Metformin, insulin.", "Patient: You are reading me the list of the next one.", "metformin insulin"),
    ("Doctor: Prior hepatitis from blood.", "Patient: That is something my religion forbids me to have.", "hepatitis"),
    ("Doctor: You take warfarin.", "Patient: She does.", "warfarin"),
    ("Doctor: You are diabetic.", "Patient: Can I see whose chart that is?", "diabetic"),
    ("Doctor: You don't drink.", "Patient: I do.", "drink"),
    ("Doctor: You never had surgery.", "Patient: Yes.", "surgery"),
    ("Guest_family: He takes methadone.", "Patient: That is what my cousin swallows every single day.", "methadone"),
    ("Guest_clinician: She has lupus.", "Patient: The other lady on this ward has that, I heard.", "lupus"),
    ("Guest_clinician: Known epilepsy.", "Doctor: That is the woman in bed two.", "epilepsy woman"),
    ("Guest_clinician: Known lupus.", "Doctor: Thank you.", "Patient: Who told you that?", "lupus"),
    ("Doctor: We will continue the warfarin.", "Patient: News to me.", "warfarin"),
    ("Doctor: Aspirin.", "Patient: Okay.", "Doctor: Warfarin.", "Patient: Okay.", "aspirin warfarin"),
    ("Doctor: Asthma, lupus, gout.", "Doctor: Do you have any of these?", "Patient: No.", "asthma lupus gout"),
)  # fmt: skip
TAKEN_BACK_BY_THE_SPEAKER = (
    ("Diabetes. Gout. Lupus. I don't have any of those.", "diabetes gout lupus"),
    ("I have none of the following. Diabetes. Gout. Lupus.", "diabetes gout lupus"),
    ("My sugar was 300. No, 130.", "300 130 sugar"),
    ("I was prescribed metoprolol. I never filled it.", "metoprolol"),
    ("I had a pacemaker put in. That's what my brother says, anyway, but he is confusing me with Dad.", "pacemaker"),
    ("Asthma, epilepsy, lupus. None of them.", "asthma epilepsy lupus"),
    ("I am allergic to latex. Wait, no, to wool.", "latex"),
    ("I take warfarin. Sorry, I mean aspirin.", "warfarin"),
    ("I had a stroke. That was my brother.", "stroke brother"),
    ("I have lupus. That is what the other doctor told me, and he was wrong.", "lupus"),
    ("They put me on methadone. I did not take any of it.", "methadone"),
    ("Cancer. That's not what I have.", "cancer"),
    ("Hepatitis, anemia, asthma. I never had a single one of these.", "hepatitis anemia asthma"),
    ("I drink a bottle of vodka a day. Just kidding.", "vodka"),
    ("I had a heart attack. According to my wife.", "heart"),
    ("I am not on these drugs. Warfarin. Metformin.", "warfarin metformin"),
    ("I have epilepsy. Scratch that.", "epilepsy"),
    ("I was told to use insulin. I never did.", "insulin"),
    ("I have gout. Actually, it is arthritis.", "gout"),
    ("Seizures. Fainting. Strokes. Nope.", "seizures fainting strokes"),
    ("The chart has me down with asthma. It belongs to somebody else.", "asthma"),
)  # fmt: skip
OTHER_PATIENTS = (
    ("Doctor: The patient next door has tuberculosis. Do you have a cough?", "Patient: Yes.", "tuberculosis patient"),
    ("Doctor: The patient in room four has hepatitis.", "Patient: Okay.", "hepatitis patient"),
    ("Doctor: This patient before you had lupus.", "Patient: Yes.", "lupus"),
    ("Doctor: The man next to you has asthma.", "Patient: Yes.", "asthma"),
    ("Doctor: A woman I saw yesterday has lupus.", "Patient: Right.", "lupus"),
    ("Doctor: Your neighbor has epilepsy.", "Patient: Right.", "epilepsy"),
    ("Doctor: Your roommate takes methadone.", "Patient: Yes.", "methadone"),
    ("Doctor: The person in the other bed has influenza.", "Patient: Okay.", "influenza"),
    ("Doctor: The boy across the hall has measles.", "Patient: Okay.", "measles"),
    ("Doctor: The one before you had gout.", "Patient: Okay.", "gout"),
    ("Doctor: Did the patient next door have a stroke?", "Patient: Yes.", "stroke"),
    ("Guest_clinician: The patient next door takes warfarin.", "warfarin"),
    ("Guest_clinician: The lady in bed two has epilepsy.", "Doctor: Okay.", "epilepsy"),
    ("Doctor: Anything else?", "Patient: The woman in the next bed has tuberculosis.", "tuberculosis"),
    ("Doctor: Anything else?", "Patient: The man before me takes methadone.", "methadone"),
    ("Doctor: Anything else?", "Patient: Somebody else here has hepatitis.", "hepatitis"),
)  # fmt: skip
KEPT = (
    ("Doctor: You take warfarin.", "Patient: Yes.", "take warfarin"),
    ("Doctor: You take warfarin.", "Patient: Uh-huh, that's right.", "take warfarin"),
    ("Doctor: You take Coumadin. Do you take it now?", "Patient: Yes.", "take coumadin"),
    ("Doctor: I'm going to prescribe Tylenol.", "Patient: Can I get a note, too?", "tylenol"),
    ("Doctor: You have asthma. Is that right?", "Patient: Yes, that's right.", "asthma"),
    ("Doctor: You have a migraine. Any questions?", "Patient: No.", "migraine"),
    ("Doctor: History of asthma.", "Patient: Yes.", "asthma"),
    ("Doctor: You have lupus. You take insulin.", "Patient: Correct.", "take insulin"),
    ("Guest_clinician: He has asthma.", "Doctor: Thank you.", "asthma"),
    ("Guest_clinician: The patient takes warfarin.", "Doctor: Thank you.", "warfarin"),
    ("Doctor: Anything else?", "Patient: I have asthma. I never smoked.", "asthma"),
    ("Doctor: Anything else?", "Patient: I have asthma. I don't have any fever.", "don't have any fever"),
    ("Doctor: Anything else?", "Patient: I take warfarin. My brother has lupus.", "warfarin"),
    ("Doctor: Do you have asthma?", "Patient: No.", "no asthma"),
    ("Doctor: You look tired. Do you have asthma?", "Patient: No.", "no asthma"),
    ("Doctor: Do you have asthma?", "Patient: Yes.", "asthma"),
)  # fmt: skip


def named(note: str, words: str) -> list[str]:
    """Which of the words, of which none may be there, a note has."""
    return [each for each in words.split() if each in note.lower()]


@pytest.mark.parametrize(("said", "answer", "words"), CLOSED_BY_A_QUESTION)
def test_an_answer_to_the_closing_question_does_not_make_the_list_before_it_a_fact(
    said: str, answer: str, words: str
) -> None:
    note = note_of(f"Doctor: {said}", f"Patient: {answer}")
    assert not named(note, words), note


@pytest.mark.parametrize("case", DENIED_BY_THE_NEXT_TURN, ids=lambda case: case[0])
def test_a_statement_that_the_next_turn_denies_in_any_words_is_left_out(case: tuple[str, ...]) -> None:
    *turns, words = case
    note = note_of(*turns)
    assert not named(note, words), note


@pytest.mark.parametrize(("said", "words"), TAKEN_BACK_BY_THE_SPEAKER)
def test_what_the_patient_takes_back_in_the_next_sentence_is_left_out(said: str, words: str) -> None:
    note = note_of("Doctor: Anything else?", f"Patient: {said}")
    assert not named(note, words), note


@pytest.mark.parametrize("case", OTHER_PATIENTS, ids=lambda case: " ".join(case[:-1]))
def test_what_is_said_of_another_patient_is_left_out(case: tuple[str, ...]) -> None:
    *turns, words = case
    note = note_of(*turns)
    assert not named(note, words), note


@pytest.mark.parametrize("case", KEPT, ids=lambda case: " ".join(case[:-1]))
def test_what_is_affirmed_or_said_by_the_patient_is_still_kept(case: tuple[str, ...]) -> None:
    *turns, words = case
    note = note_of(*turns)
    assert words in note.lower(), note


def test_what_a_doctor_tells_a_clinician_who_asks_on_is_kept() -> None:
    [result] = writer().results(
        "Guest_clinician: Has she taken anything for her symptoms?\nDoctor: She's tried loratadine and montelukast.\n"
        "Guest_clinician: Has she noticed any relief with them?\nDoctor: Some relief."
    )
    assert "loratadine" in (result["text"] or "")
