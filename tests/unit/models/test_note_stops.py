"""note-writer loses no negation at a stop that ends no sentence, nor where a turn is broken off."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.models.test_note_settled import BEFORE, note_of

FINDINGS = ("cancer", "asthma", "chest pain", "penicillin", "warfarin")
REVERSED = re.compile(r"\b(?:no|not|never|don't|haven't|if|without)\b")
BROKEN = (
    "I don't think Dr. Lee found {}.", "I was never told by Dr. Lee that I have {}.",
    "I have not told Dr. Smith that I have {}.", "I am not... allergic to {}.", "I do not... have {}.",
    "I haven't had any... {}.", "I have not had since 8 a.m. any {}.", "I never, ever! had {}.",
    "I don't, you know? have {}.", "I have no hx. of {}.", "No one, not even Prof. Miller, said I have {}.",
    "I would not let Dr. Lee start {}.", "If Dr. Kim finds {}, I will call.", "I do not. Have {}.",
    "I am not\u2026 Allergic to {}.", "I am not allergic to. {}.", "I never had approx. 5 times {}.",
    "I have not been to the U.S. Army for {}.",
)  # fmt: skip
INTERRUPTED = (
    ("I am not allergic to", "Go on.", "{}."), ("I have never had", "Mm-hmm.", "asthma or {}."),
    ("I don't have any", "Yes?", "{}."), ("I am not allergic to.", "Go on.", "{}."),
    ("I have not been told that", "Okay.", "I have {}."), ("I came off", "Mm-hmm.", "{}."),
)  # fmt: skip
SAID = (
    "I have",
    "I do not have",
    "I never had",
    "I was not told",
    "If I get",
    "I would not take",
    "I have had no",
    "Without",
)
SHORT = (
    "Dr. Lee's", "Mr. Smith's", "Prof. Hall's", "at 8 a.m.", "approx. 5", "hx. of", "St. Mary's", "vs.",
    "in the U.S.", "Ms. Young's", "e.g.", "J. Smith's", "Rx. for", "pt. with", "... um", "ever! like", "you know? like",
    "... Well,", "M.D. Jones's", "dept. of",
)  # fmt: skip


def lost(note: str, finding: str) -> list[str]:
    """The sentences of a note that have the finding and no word of the negation."""
    return [each for each in note.lower().split(". ") if finding in each and not REVERSED.search(each)]


@pytest.mark.parametrize("said", BROKEN)
@pytest.mark.parametrize("finding", FINDINGS)
def test_a_negation_reaches_beyond_a_stop_that_ends_no_sentence(said: str, finding: str) -> None:
    note = note_of("Doctor: Anything else?", f"Patient: {said.format(finding)}")
    assert lost(note, finding) == [], note


@pytest.mark.parametrize("turns", INTERRUPTED, ids=lambda turns: turns[0])
@pytest.mark.parametrize("finding", FINDINGS)
def test_a_negation_reaches_beyond_an_interruption(turns: tuple[str, str, str], finding: str) -> None:
    begun, between, then = turns
    note = note_of(f"Patient: {begun}", f"Doctor: {between}", f"Patient: {then.format(finding)}")
    assert lost(note, finding) == [], note


def test_a_sentence_with_a_title_is_kept_with_its_negation() -> None:
    note = note_of("Doctor: What did they say?", "Patient: I don't think Dr. Lee found cancer.")
    assert "don't think dr lee found cancer" in note


def test_sentences_in_front_of_capitals_stay_apart() -> None:
    note = note_of(
        "Doctor: Anything else?", "Patient: I don't have asthma. I have chest pain. I never smoked."
    )
    assert "I don't have asthma. " in note
    assert "Chest pain. " in note


@given(
    st.sampled_from(SAID), st.lists(st.sampled_from(SHORT), min_size=1, max_size=3), st.sampled_from(FINDINGS),
    st.sampled_from(("", "Doctor: Go on.\nPatient: ")),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_no_negation_is_lost_at_generated_abbreviations(
    said: str, short: list[str], finding: str, interruption: str
) -> None:
    sentence = f"{said} {' '.join(short)} {finding}."
    if interruption:
        sentence = f"{said} {' '.join(short)}\n{interruption}{finding}."
    note = note_of("Doctor: Anything else?", f"Patient: {sentence}")
    if REVERSED.search(said.lower()):
        assert lost(note, finding) == [], note
    assert set(re.findall("[a-z]+", note.lower())) <= set(
        re.findall("[a-z]+", " ".join((*BEFORE, sentence, "no")).lower())
    )
