"""Numbers as people say them: the bundled writer of notes has all of one or nothing of it."""

import re
from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.made_up import ONES, TENS
from models.training.spoken_numbers import MONTHS, NUMERALS
from tests.unit.models.test_note_writer import writer

# A number: how it is said, and how it may be written.
Number = tuple[str, frozenset[str]]
JOINED = ("over", "to", "or", "and", "out of", "by", "plus", "past")
LEFT = re.compile(rf"\b(?:{'|'.join((*NUMERALS, 'oh', 'point', 'percent', 'may'))})\b|[0-9%/]")


def said(words: str, *others: str) -> Number:
    return words, frozenset((words.replace("-", " "), words, *others))


def small(number: int, dash: str = " ") -> str:
    return (
        ONES[number]
        if number < 20
        else dash.join((TENS[number // 10 - 2], *([ONES[number % 10]] if number % 10 else [])))
    )


def joined(word: str, *numbers: Number) -> Number:
    """Numbers with a word between them."""
    said_as = f" {word} ".replace("  ", " ").join(number[0] for number in numbers)
    written = (
        f" {word} ".replace("  ", " ").join(each) for each in product(*(number[1] for number in numbers))
    )
    return said_as, frozenset(written)


BELOW_100 = st.builds(lambda n, dash: said(small(n, dash), str(n)), st.integers(2, 99), st.sampled_from(" -"))
HUNDREDS = st.builds(
    lambda first, link, rest: said(f"{first} hundred{link}{small(rest)}"),
    st.sampled_from(("a", "one", "two", "five")), st.sampled_from((" ", " and ")), st.integers(1, 99),
)  # fmt: skip
SHORT = st.builds(
    lambda first, rest: said(f"{first} {small(rest)}"), st.sampled_from(ONES[1:10]), st.integers(10, 99)
)
OH = st.builds(
    lambda first, last: said(f"{first} oh {last}"), st.sampled_from(ONES[1:13]), st.sampled_from(ONES[1:10])
)
DECIMAL = st.builds(
    lambda whole, part: said(f"{small(whole)} point {part}"), st.integers(0, 99), st.sampled_from(ONES[:10])
)
HALF = st.builds(
    lambda whole, part: said(f"{whole} and {part}"),
    st.sampled_from(ONES[1:10]),
    st.sampled_from(("a half", "a quarter", "three quarters")),
)
YEAR = st.builds(lambda n: said(f"two thousand {small(n)}", str(2000 + n)), st.integers(1, 22)) | st.builds(
    lambda n: said(f"nineteen {small(n)}", str(1900 + n)), st.integers(20, 99)
)
DIGITS = st.sampled_from(("120/80", "98.6", "1/2", "5-10", "7:30", "50%", "10/12/2009", "1 1/2")).map(said)
SINGLE = st.one_of(BELOW_100, HUNDREDS, SHORT, OH, DECIMAL, HALF, YEAR, DIGITS)
RANGE = st.builds(joined, st.sampled_from(JOINED), SINGLE, SINGLE)
DATE = st.builds(
    lambda month, day, year: joined("", said(f"{month} {day}"), year),
    st.sampled_from(MONTHS),
    st.sampled_from(("first", "tenth", "twentieth")),
    YEAR,
)
SHARE = st.builds(lambda number: joined("", number, said("percent")), st.one_of(BELOW_100, HUNDREDS, DECIMAL))
NUMBERS = st.one_of(SINGLE, RANGE, DATE, SHARE)
PLACES = (
    "Doctor: What was it?\nPatient: My blood pressure was {} at the last visit.",
    "Doctor: Your weight is {} today. How do you feel?\nPatient: I have back pain.",
    "Doctor: Any pain?\nPatient: I don't have any pain, but my sugar was {} and it went up.",
)


def left_of(note: str, number: Number) -> str | None:
    """What a note has of a number, if that is neither nothing nor all of it."""
    plain = re.sub(r"[., ]+", " ", note.lower().replace("-", " ")).replace(" %", "%")
    for written in sorted(number[1], key=len, reverse=True):
        form = re.sub(r"[., ]+", " ", written.lower().replace("-", " "))
        if (found := re.sub(rf"(?<![a-z0-9]){re.escape(form)}(?![a-z0-9])", " ", plain, count=1)) != plain:
            plain = found
            break
    return plain if LEFT.search(plain) else None


@given(
    st.lists(st.tuples(NUMBERS, st.sampled_from(PLACES)), min_size=8, max_size=8),
    st.sampled_from(({}, {"temperature": 1.0, "seed": 3})),
)
@settings(max_examples=40, deadline=None)
def test_a_note_has_all_of_a_number_or_nothing(
    asked: Sequence[tuple[Number, str]], options: dict[str, object]
) -> None:
    notes = [
        each["text"] or ""
        for each in writer().results(*(place.format(number[0]) for number, place in asked), **options)
    ]
    for (number, _), note in zip(asked, notes, strict=True):
        assert left_of(note, number) is None, (number[0], note)


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("one forty five over ninety", "one forty five over 90"), ("two hundred fifty", "two hundred fifty"),
        ("one twenty two", "one twenty two"), ("ninety eight point six", "ninety eight point six"), ("thirty two", "32"),
        ("nineteen ninety five", "1995"), ("two thousand and nine", "2009"), ("four to six", "4 to 6"),
        ("two and a half", "two and a half"), ("a hundred and ten", "a hundred and ten"), ("7:30", "7:30"),
    ],
)  # fmt: skip
def test_numbers_are_written_whole(spoken: str, written: str) -> None:
    note = writer().note(
        "Doctor: How high is it?", f"Patient: My blood pressure is {spoken}, with headaches."
    )
    assert re.search(rf"(?<![\w-]){re.escape(written)}(?![\w-])", note), note
