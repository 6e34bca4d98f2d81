"""Sequences of letters: what is taken, what is refused with which words, and what the graph is fed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.manifest import ManifestInvalid
from models.pipelines import Array, Case, InputRejected, load_pipeline
from models.pipelines.sequence_classification import ALPHABETS, SequenceClassification
from models.pipelines.typed_classification import groups_of_length
from tests.unit.models.example_bundles import manifest

PLAIN = {"dna": "ACGT", "rna": "ACGU", "protein": "ACDEFGHIKLMNPQRSTVWY"}


def pipeline(alphabet: str = "dna", **parameters: Any) -> SequenceClassification:
    made = load_pipeline(manifest("sequence-classification", **({"alphabet": alphabet} | parameters)))
    assert isinstance(made, SequenceClassification)
    return made


def gc_share(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    """A graph: the share of G and C among the letters."""
    assert graph == "model"
    length = feeds["mask"].sum(axis=1) if "mask" in feeds else feeds["sequence"].shape[1]
    return {"probability": (feeds["sequence"][:, :, 1:3].sum(axis=(1, 2)) / length)[:, None]}


def answers(made: SequenceClassification, *sequences: str) -> list[float]:
    cases = [Case(made.encode({"sequence": each})) for each in sequences]
    found: list[Any] = [each.result for each in made.open(None).score(gc_share, cases)]  # type: ignore[arg-type]  # it opens no file
    return [each["probabilities"]["ill"] for each in found]


def refusal(made: SequenceClassification, value: object) -> list[tuple[str, str]]:
    with pytest.raises(InputRejected) as refused:
        made.encode(value)
    assert all(fault.detail for fault in refused.value.faults)
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


def test_a_sequence_is_scored_by_its_letters() -> None:
    assert answers(pipeline(), "GGCC", "ATATGCGC", "aattt") == pytest.approx([1, 0.5, 0])


@given(st.lists(st.text("ACGT", min_size=4, max_size=40), min_size=1, max_size=12))
def test_the_answer_of_a_sequence_does_not_depend_on_its_company(sequences: list[str]) -> None:
    made = pipeline()
    together, alone = answers(made, *sequences), [answers(made, each)[0] for each in sequences]
    assert together == alone
    assert answers(made, *reversed(sequences)) == alone[::-1]


@pytest.mark.parametrize("alphabet", PLAIN)
def test_an_ambiguity_code_is_fed_as_equal_shares(alphabet: str) -> None:
    made = pipeline(alphabet, ambiguous=1.0)
    plain = PLAIN[alphabet]
    for letter, several in ALPHABETS[alphabet].items():
        value = made.read_input(made.encode({"sequence": letter * 4}))
        expected = [1 / len(several) if each in several else 0 for each in plain]
        assert made.feeds_of([value], 4)["sequence"].tolist() == [[pytest.approx(expected)] * 4]


def test_nothing_is_answered_if_a_letter_of_the_core_is_ambiguous() -> None:
    made = pipeline(shortest=8, longest=8, core=[3, 5], ambiguous=0.5)
    sequences = ["GGGGGGGG", "GGGNGGGG", "GGGGrGGG", "GGNGGDGG"]
    cases = [Case(made.encode({"sequence": each})) for each in sequences]
    found: list[Any] = [each.result for each in made.open(None).score(gc_share, cases)]  # type: ignore[arg-type]  # it opens no file
    reason = "a letter in places 4 to 5, on which the answer rests, is not certain"
    assert [each["abstain_reason"] for each in found] == [None, reason, reason, None]
    assert [(each["label"], each["display"], each["abstained"]) for each in found[1:3]] == [
        (None, None, True)
    ] * 2
    assert [each["label"] for each in (found[0], found[3])] == ["ill", "ill"]


def test_too_many_ambiguity_codes_are_refused() -> None:
    made = pipeline(ambiguous=0.25)
    made.encode({"sequence": "ACGN"})
    made.encode({"sequence": "ACGTACGn"})
    assert refusal(made, {"sequence": "ACNn"}) == [("/sequence", "too_ambiguous")]


def test_the_letters_come_in_the_order_of_the_graph() -> None:
    made = pipeline(letters="TGCA")
    value = made.read_input(made.encode({"sequence": "TGCA"}))
    assert made.feeds_of([value], 4)["sequence"].tolist() == [np.eye(4).tolist()]


def test_sequences_of_one_length_are_fed_without_a_mask() -> None:
    made = pipeline(shortest=8, longest=8)
    assert [(feed.name, feed.shape) for feed in made.feeds] == [("sequence", (8, 4))]
    assert answers(made, "GGGGAAAA", "CCCCCCCC") == pytest.approx([0.5, 1])
    assert refusal(made, {"sequence": "GGGGAAA"}) == [("/sequence", "too_short")]
    assert refusal(made, {"sequence": "GGGGAAAAA"}) == [("/sequence", "too_long")]


def test_the_padding_of_a_sequence_depends_on_its_own_length_alone() -> None:
    assert list(groups_of_length([3, 16, 17, 5])) == [([0, 1, 3], 16), ([2], 32)]
    assert list(groups_of_length([17])) == [([0], 32)]
    assert list(groups_of_length([])) == []


def test_padding_is_masked_and_empty() -> None:
    made = pipeline()
    short, long = (made.read_input(made.encode({"sequence": each})) for each in ("ACGT", "ACGTACGT"))
    feeds = made.feeds_of([short, long], 16)
    assert feeds["sequence"].shape == (2, 16, 4)
    assert feeds["mask"].tolist() == [[1.0] * 4 + [0.0] * 12, [1.0] * 8 + [0.0] * 8]
    assert not feeds["sequence"][0, 4:].any()


@pytest.mark.parametrize(
    ("alphabet", "sequence"),
    [
        ("dna", "ACGU"),  # RNA's letter
        ("rna", "ACGT"),
        ("dna", "ACG T"),
        ("dna", "ACGT\n"),
        ("dna", ">seq1\nACGT"),
        ("dna", "ACG-T"),
        ("dna", "ACG4"),
        ("dna", "\uff21\uff23\uff27\uff34"),  # full-width letters
        ("dna", "\u0410\u0421GT"),  # two letters of Cyrillic
        ("dna", "腺嘌呤腺嘌呤"),
        ("protein", "MKV*"),
        ("protein", "MKVO"),
    ],
)
def test_other_letters_are_refused(alphabet: str, sequence: str) -> None:
    assert refusal(pipeline(alphabet), {"sequence": sequence}) == [("/sequence", "wrong_format")]


@pytest.mark.parametrize(
    ("alphabet", "value", "words"),
    [
        ("rna", "ACGT", "ACGU and, where one is not certain, RYSWKMBDHVN, with U where DNA has T"),
        ("dna", "ACG", "ACGT and, where one is not certain, RYSWKMBDHVN, with T where RNA has U"),
        ("protein", "MKV*", "ACDEFGHIKLMNPQRSTVWY and, where one is not certain, BZJX"),
    ],
)
def test_a_refusal_names_the_letters_and_the_length(alphabet: str, value: str, words: str) -> None:
    with pytest.raises(InputRejected) as refused:
        pipeline(alphabet).encode({"sequence": value})
    [fault] = refused.value.faults
    assert fault.detail == f"sequence must be a text of 4 to 40 characters, the letters {words}."


@pytest.mark.parametrize(
    ("value", "code", "pointer"),
    [
        ({}, "missing_field", "/sequence"),
        ({"sequence": ""}, "too_short", "/sequence"),
        ({"sequence": "A" * 41}, "too_long", "/sequence"),
        ({"sequence": "A" * 1_000_000}, "too_long", "/sequence"),
        ({"sequence": None}, "wrong_type", "/sequence"),
        ({"sequence": 7}, "wrong_type", "/sequence"),
        ({"sequence": ["A", "C", "G", "T"]}, "wrong_type", "/sequence"),
        ({"sequence": "ACGT", "gene": "BRCA1"}, "unknown_field", "/gene"),
        ("ACGT", "not_an_object", ""),
    ],
)
def test_what_is_no_sequence_is_refused(value: object, code: str, pointer: str) -> None:
    assert refusal(pipeline(), value) == [(pointer, code)]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"shortest": 9, "longest": 8}, "shortest"),
        ({"letters": "ACG"}, "letters"),
        ({"letters": "ACGU"}, "letters"),
        ({"letters": "AACGT"}, "letters"),
        ({"alphabet": "xna"}, "alphabet"),
        ({"shortest": 0}, "shortest"),
        ({"ambiguous": 1.1}, "ambiguous"),
        ({"core": [1, 2]}, "core"),  # of sequences of any length
        ({"shortest": 8, "longest": 8, "core": [3, 3]}, "core"),
        ({"shortest": 8, "longest": 8, "core": [3, 9]}, "core"),
        ({"shortest": 8, "longest": 8, "core": [-1, 3]}, "core"),
        ({"shortest": 8, "longest": 8, "core": [3]}, "core"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_by_name(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ManifestInvalid, match=words):
        pipeline(**parameters)


def test_the_schema_tells_limits_and_an_example_that_is_taken() -> None:
    made = pipeline()
    schema: Any = made.input_schema()
    rule = schema["properties"]["sequence"]
    assert (rule["minLength"], rule["maxLength"], schema["required"]) == (4, 40, ["sequence"])
    made.encode(schema["examples"][0])
