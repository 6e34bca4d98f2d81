"""The bundled writer of notes: its words are those of the dialogue, negations stay, and what is no dialogue has no note."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import bundled, fitted, read_bundle, side_files
from models.difference import difference
from models.golden_cases import encode_cases
from models.pipelines import Case, InputRejected, load_pipeline
from models.sandbox import CpuRun
from models.training.foreign_dialogues import dialogues
from models.training.made_up import drugs_of, numbers_of
from models.training.note_faults import faults_of
from models.training.rouge import words_of

ADDED = {"no"}  # the one word of its own
NO = re.compile(r"\b(no|not|never|don't)\b", re.IGNORECASE)


class Writer:
    """The bundled model, opened."""

    def __init__(self) -> None:
        [folder] = [each for each in bundled() if each.name == "note-writer"]
        bundle = read_bundle(folder)
        self.manifest = bundle.manifest
        self.pipeline = load_pipeline(bundle.manifest, side_files(folder))
        self._scoring = self.pipeline.open(folder)
        self._run = fitted(folder, bundle.manifest, self.pipeline, CpuRun())
        golden: list[Any] = [
            self.pipeline.decode(each.payload) for each in encode_cases(bundle.golden, self.pipeline)
        ]
        self.dialogues: list[str] = [each["dialogue"] for each in golden]

    def results(self, *dialogues: str, **options: object) -> list[dict[str, Any]]:
        checked = self.pipeline.check_options(options)
        cases = [Case(self.pipeline.encode({"dialogue": each}), checked) for each in dialogues]
        return [dict(each.result) for each in self._scoring.score(self._run, cases)]

    def note(self, *turns: str, **options: object) -> str:
        [result] = self.results("\n".join(turns), **options)
        assert result["abstained"] is False, result
        return str(result["text"])


@lru_cache(maxsize=1)
def writer() -> Writer:
    """The model, opened once."""
    return Writer()


def spoken(dialogue: str) -> set[str]:
    """The words of a dialogue, and its numbers in digits."""
    return set(words_of(dialogue)) | numbers_of(dialogue)


OPTIONS: Sequence[dict[str, object]] = (
    {}, {"beams": 4}, {"temperature": 1.0, "seed": 1}, {"temperature": 2.0, "seed": 2, "top_p": 0.9}, {"max_new_tokens": 5},
)  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_no_word_number_or_drug_is_made_up_however_a_note_is_written(options: dict[str, object]) -> None:
    dialogues = writer().dialogues
    written = [
        (each, dialogue)
        for each, dialogue in zip(writer().results(*dialogues, **options), dialogues, strict=True)
        if each["text"]
    ]
    assert len(written) >= 4  # a sample is answered if it is likely enough
    for result, dialogue in written:
        text = str(result["text"])
        *whole, last = words_of(text)
        assert set(whole) <= spoken(dialogue) | ADDED
        is_cut = result["finish"] == "length"  # within a word, it may be
        assert last in spoken(dialogue) | ADDED or (
            is_cut and any(word.startswith(last) for word in spoken(dialogue))
        )
        assert numbers_of(text) <= numbers_of(dialogue)
        assert drugs_of(text) <= drugs_of(dialogue)


TURNS = (
    "Doctor: Any pain?",
    "Patient: No.",
    "Patient: Yes, 7.5 mg of it.",
    "Doctor: Lung cancer.",
    "Guest_family: Never.",
)


@given(st.lists(st.sampled_from(TURNS), max_size=9))
@settings(max_examples=25, deadline=None)
def test_turns_in_any_order_have_a_note_of_their_words_or_none(turns: list[str]) -> None:
    dialogue = "\n".join(["Doctor: How are you?", *turns])
    [result] = writer().results(dialogue)
    assert set(words_of(result["text"] or "")) <= spoken(dialogue) | ADDED


@pytest.mark.parametrize("answer", ["No.", "No, I do not.", "Never.", "Nope, none."])
def test_what_was_asked_and_denied_has_a_no_in_front(answer: str) -> None:
    note = writer().note("Doctor: Do you have any drug allergies?", f"Patient: {answer}")
    assert re.match(r"No\b.* allergies", note), note


def test_what_was_asked_and_confirmed_has_no_no() -> None:
    note = writer().note(
        "Doctor: Do you have any drug allergies?", "Patient: Yes, penicillin gives me a rash."
    )
    assert "penicillin" in note.lower()
    assert not NO.search(note)


@pytest.mark.parametrize(
    "said", ["I don't smoke or drink alcohol.", "I have never smoked tobacco.", "I do not use any drugs."]
)
def test_a_negation_stays_with_what_it_denies(said: str) -> None:
    note = writer().note("Doctor: Tell me about your habits.", f"Patient: {said}")
    assert NO.search(note), note


def test_numbers_in_words_are_written_in_digits_and_whole() -> None:
    note = writer().note(
        "Doctor: How old are you?",
        "Patient: I am seventy six years old, with back pain for twenty-two years.",
    )
    assert numbers_of(note) <= {"76", "22"}
    assert "76" in note


def test_the_point_of_a_decimal_is_not_the_end_of_a_sentence() -> None:
    note = writer().note(
        "Doctor: Which medicines do you take?", "Patient: Warfarin 7.5 mg. Two tablets of aspirin."
    )
    assert "7.5" in note
    assert "5.2" not in note.replace(" ", "")


FOREIGN = [
    "Anaemia is a condition in which the blood does not carry enough oxygen to the rest of the body.",
    "Shares fell on Monday as investors waited for the bank's decision about interest rates.",
    "Alice: Did you see the match last night?\nBob: Yes, it was a great goal in the last minute.",
]


@pytest.mark.parametrize("text", FOREIGN, ids=range(len(FOREIGN)))
def test_a_text_without_turns_of_doctor_or_patient_has_no_note(text: str) -> None:
    [result] = writer().results(text)
    assert (result["text"], result["abstained"]) == (None, True)


def test_a_dialogue_that_is_too_long_to_be_read_has_no_note() -> None:
    [result] = writer().results("Doctor: Any pain?\nPatient: Yes, in my back.\n" * 60)
    assert (result["text"], result["abstained"], result["truncated"]) == (None, True, True)


def test_a_dialogue_in_chinese_is_refused() -> None:
    with pytest.raises(InputRejected):
        writer().results("医生:最近总是咳嗽还发烧吗?\n患者:是的,已经三天了,晚上更厉害,吃了药也没有用。")


def test_beams_write_together_what_they_write_alone() -> None:
    dialogues = writer().dialogues
    together = writer().results(*dialogues, beams=4)
    for dialogue, found in zip(dialogues, together, strict=True):
        [alone] = writer().results(dialogue, beams=4)
        assert difference(alone, found, writer().manifest.runtime.tolerance) is None


def test_notes_are_no_worse_than_both_baselines() -> None:
    [folder] = [each for each in bundled() if each.name == "note-writer"]
    figures = json.loads((folder / "metrics.json").read_text())
    for name in ("lead", "retrieval"):
        low, high = figures[f"gain_on_{name}_95"]
        assert low < figures[f"gain_on_{name}"] < high
        assert figures[f"gain_on_{name}"] > 0
    assert figures["unsupported_numbers"] == figures["unsupported_drugs"] == 0


@pytest.mark.parametrize(
    ("asked", "said", "kept"),
    [
        ("Do you have asthma?", "My doctor ruled that out.", "asthma"),
        ("Do you take warfarin?", "I stopped it last year.", "warfarin"),
        ("Does anyone in your family have leukemia?", "My mother had breast cancer.", "leukemia"),
    ],
)
def test_a_question_that_is_neither_confirmed_nor_denied_leaves_no_word(
    asked: str, said: str, kept: str
) -> None:
    [result] = writer().results(f"Doctor: {asked}\nPatient: {said}")
    assert kept not in (result["text"] or "").lower()


@pytest.mark.parametrize(
    ("asked", "said", "meant"),
    [
        ("Does anyone in your family have cancer?", "My mother had breast cancer.", "mother"),
        ("Does your mother have diabetes?", "Yes, she does.", "mother"),
        ("Do you smoke?", "I quit ten years ago.", "quit"),
        ("Do you have asthma?", "Nah.", "no asthma"),
    ],
)
def test_what_turns_the_meaning_of_a_clause_is_kept_with_it(asked: str, said: str, meant: str) -> None:
    assert meant in writer().note(f"Doctor: {asked}", f"Patient: {said}").lower()


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("You have a fracture of the left wrist. We will put it in a cast.", "Does that worry you?"),
        ("You need to take your insulin every day and stop smoking.", "Any questions?"),
        ("I refer you for physical therapy, three times a week.", "Is that okay?"),
        ("Please do the exercises at home and keep to your diet.", "Do you have any other questions for me?"),
    ],
)
@pytest.mark.parametrize("answer", ["No.", "No, I don't.", "Nope."])
def test_a_no_denies_nothing_but_what_was_asked(said: str, asked: str, answer: str) -> None:
    [result] = writer().results(f"Doctor: {said} {asked}\nPatient: {answer}")
    assert not NO.search(result["text"] or ""), result
    assert not faults_of(f"Doctor: {said}", result["text"] or "").added


@pytest.mark.parametrize(
    "advice", ["Do not take aspirin.", "Stop smoking and avoid alcohol.", "Never use cocaine."]
)
def test_an_instruction_is_kept_as_it_was_given_or_not_at_all(advice: str) -> None:
    dialogue = f"Doctor: You have a stomach ulcer. {advice} Is that okay?\nPatient: No."
    [result] = writer().results(dialogue)
    found = faults_of(dialogue, result["text"] or "")
    assert (found.lost, found.added) == ([], [])


@pytest.mark.parametrize(
    "answer",
    [
        "I have no clue.",
        "No idea.",
        "No problem.",
        "No, I mean yes.",
        "No, just a little.",
        "I don't know.",
        "Not sure.",
        "Not really.",
        "Not that I know of.",
        "Absolutely not.",
        "Absolutely no.",
        "Certainly not.",
        "Surely not.",
        "Right, no.",
        "Incorrect.",
        "That's false.",
        "Wrong.",
        "Actually a lot.",
        "No, I do.",
        "Never took place.",
        "I doubt it.",
        "Not yet.",
        "None whatsoever.",
        "Thankfully not.",
    ],
)
def test_an_answer_that_is_neither_plain_yes_nor_plain_no_leaves_no_word_of_the_question(answer: str) -> None:
    [result] = writer().results(f"Doctor: Have you had any surgeries in the past?\nPatient: {answer}")
    assert "surger" not in (result["text"] or "").lower()


@pytest.mark.parametrize(
    "asked",
    ["Do you not see the swelling on your right hand?", "Isn't your right hand swollen with swelling?"],
)
@pytest.mark.parametrize("answer", ["No.", "Yes.", "No, I don't."])
def test_a_question_with_a_negation_leaves_no_word(asked: str, answer: str) -> None:
    [result] = writer().results(f"Doctor: {asked}\nPatient: {answer}")
    assert "swelling" not in (result["text"] or "").lower()


SENTENCES = (
    "You have a fracture of the left wrist.", "You don't have diabetes.", "Stop taking warfarin.",
    "I have chest pain, but no fever.", "I never had surgery.", "I can't sleep because of the cough.",
    "My mother denies alcohol.", "I used to smoke, but I quit.",
)  # fmt: skip
QUESTIONS = (
    "Any questions?", "Is that okay?", "Do you have asthma or allergies?", "Don't you have headaches?", "Vomiting or nausea?",
    "Have you noticed any rash on your arms?", "What about back pain?", "Do you smoke? Do you drink?", "",
)  # fmt: skip
ANSWERS = (
    "No.", "Yes.", "No, I don't.", "No, just sometimes.", "I don't think so.", "No idea.", "Never.", "Nope, none.",
    "Yes, but not often.", "No, I have neck pain.", "It comes and goes.", "Not that I know of.",
)  # fmt: skip
EXCHANGES = st.builds(
    lambda said, asked, answer, then: f"Doctor: {said} {asked}\nPatient: {answer} {then}",
    st.sampled_from(SENTENCES), st.sampled_from(QUESTIONS), st.sampled_from(ANSWERS), st.sampled_from((*SENTENCES, "")),
)  # fmt: skip


@given(st.lists(EXCHANGES, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_denial_is_lost_or_added_in_generated_dialogues(exchanges: list[str]) -> None:
    dialogue = "\n".join(exchanges)
    for options in ({}, {"temperature": 1.0, "seed": 5}):
        [result] = writer().results(dialogue, **options)
        found = faults_of(dialogue, result["text"] or "")
        assert (found.lost, found.added) == ([], []), (dialogue, result["text"])


def test_no_denial_is_lost_or_added_in_the_validation_part() -> None:
    [folder] = [each for each in bundled() if each.name == "note-writer"]
    figures = json.loads((folder / "metrics.json").read_text())
    assert (
        figures["denials_lost"]
        == figures["denials_added"]
        == figures["parts_cut"]
        == figures["parts_of_others"]
        == 0
    )
    assert figures["denials"] > 20


@pytest.mark.parametrize("dialogue", dialogues(), ids=range(len(dialogues())))
def test_a_dialogue_in_another_language_has_no_note(dialogue: str) -> None:
    [result] = writer().results(dialogue)
    assert (result["text"], result["abstained"]) == (None, True)


@pytest.mark.parametrize(
    "said",
    [
        "I take .25 mg of Xanax twice a day.",
        "I take Xanax,.25 mg, twice a day.",
        "I take digoxin .125 milligrams.",
        "The T-score is -2.5 on the scan.",
        "The temperature was \u22122 degrees Celsius.",
        "My potassium was <3 and my sodium >150.",
        "My potassium was < 3 on the test.",
        "I take \u00bd tablet of metoprolol.",
        "I take 1\u00bd tablets of warfarin.",
        "I take 0,5 mg of lorazepam.",
        "It was 1,5 mg of lorazepam.",
        "I take \u0665 mg of warfarin.",
        "I take 5\u00b5g of vitamin D.",
        "I take 3 \u00d7 2 tablets of aspirin.",
        "My blood count was 4.5x10^9 on the test.",
        "I take 20 mg.5 mg was before.",
        "I take 5mg/kg of it.",
    ],
)
@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_a_number_that_is_not_plain_is_never_in_a_note(said: str, options: dict[str, object]) -> None:
    [result] = writer().results(
        f"Doctor: Tell me what you take.\nPatient: I have back pain. {said} It helps me.", **options
    )
    assert not re.search(r"[0-9\u00bd\u0665\u00a7]|\bmg\b", result["text"] or ""), result["text"]


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("I take 7.5 mg of warfarin.", "7.5 mg"), ("I take 1,000 mg of metformin.", "1000 mg"),
        ("I take 1 000 mg of metformin.", "1 000 mg"), ("I take 10mg of warfarin.", "10mg"),
        ("I take 1/2 tablet of metoprolol.", "1/2"), ("My INR was 2.0-3.0 on warfarin.", "2.0-3.0"),
    ],
)  # fmt: skip
def test_a_plain_number_is_kept_as_it_stands(said: str, written: str) -> None:
    assert written in writer().note("Doctor: Which medicines do you take at home?", f"Patient: {said}")


@pytest.mark.parametrize(
    "dialogue",
    [
        "Doctor: What about your mother?\nPatient: Breast cancer and diabetes.",
        "Doctor: And your father?\nPatient: He died of cancer, of the breast.",
        "Doctor: How is your family?\nPatient: My brother is well. She had breast cancer since she was five.",
        "Doctor: Your chart says you have breast cancer.\nPatient: That's not me, that's my husband's chart.",
        "Doctor: I will prescribe this for the breast cancer, 500 mg a day.\nPatient: I'm allergic to it.",
        "Doctor: You don't have breast cancer, do you?\nPatient: Yes, I do.",
        "Doctor: No breast cancer?\nPatient: No.",
        "Doctor: Neither your mother nor father had breast cancer?\nPatient: Neither. But I do.",
        "Doctor: Did you have pain or breast cancer?\nPatient: Yes.",
        "Doctor: Which of these did you have?\nPatient: Pain yes, breast cancer no.",
        "Doctor: Do you have a history of breast cancer?\nPatient: Never. Well, I had a lump last week.",
    ],
)
@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_nothing_is_kept_of_what_is_contradicted_or_of_somebody_else(
    dialogue: str, options: dict[str, object]
) -> None:
    [result] = writer().results(dialogue, **options)
    assert "cancer" not in (result["text"] or "").lower(), result["text"]
