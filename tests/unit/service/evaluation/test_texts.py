"""Texts that were written, compared with those of people."""

from typing import Any

import click
import pytest
from hypothesis import given as with_any
from hypothesis import strategies as st

from models.training.rouge import rouge_1, rouge_2, rouge_l
from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.figures import Evaluation
from service.cli.evaluation.scoring import Scored

WORDS = st.lists(st.sampled_from("abcd"), max_size=8)


def case(place: str, truth: Any, text: str | None) -> Scored:
    return Scored(place, truth, {}, {"type": "text", "text": text, "abstained": text is None})


def value(told: Evaluation, name: str) -> float:
    return next(each.value for each in told.figures if each.name == name)


def test_rouge_is_the_f1_of_what_both_texts_have() -> None:
    found, wanted = "The patient has no fever.", "the patient denies fever, the patient said"
    assert rouge_1(found, wanted) == pytest.approx(2 * 3 / (5 + 7))
    assert rouge_2(found, wanted) == pytest.approx(2 * 1 / (4 + 6))
    assert rouge_l(found, wanted) == pytest.approx(2 * 3 / (5 + 7))
    assert rouge_1("", wanted) == rouge_2("fever", "fever") == rouge_l("...", wanted) == 0


def test_each_chinese_character_is_a_word() -> None:
    assert rouge_1("\u53d1\u70e7 2 \u5929", "\u53d1\u70ed2\u5929") == pytest.approx(2 * 3 / (4 + 4))


@with_any(WORDS, WORDS)
def test_the_longest_common_subsequence_is_that_of_all_subsequences(
    ours: list[str], theirs: list[str]
) -> None:
    def all_of(words: list[str]) -> set[tuple[str, ...]]:
        return {
            tuple(word for place, word in enumerate(words) if mask >> place & 1)
            for mask in range(2 ** len(words))
        }

    longest = max(map(len, all_of(ours) & all_of(theirs)))
    wanted = 2 * longest / (len(ours) + len(theirs)) if longest else 0.0
    assert rouge_l(" ".join(ours), " ".join(theirs)) == pytest.approx(wanted)


def test_texts_are_compared_where_the_model_answered() -> None:
    cases = [
        case("row 0", "no fever", "no fever"),
        case("row 1", "a cough for two days", "a rash"),
        case("row 2", "pain", None),
        Scored("row 3", "pain", {}, None, "too_long"),
    ]
    told = evaluated(cases, [], {})
    assert value(told, "ROUGE-1") == pytest.approx((1 + 2 / 7) / 2)
    assert value(told, "words for each word of the truth") == pytest.approx(4 / 7)
    assert (told.counts["answered"], told.counts["abstained"], told.counts["not scored"]) == (2, 1, 1)
    assert [each["case"] for each in told.mistakes] == ["row 1", "row 0"]


def test_texts_of_a_batch_are_compared_by_their_pipeline() -> None:
    told = evaluated([Scored("row 0", "no fever", {}, {"text": "fever"})], [], {}, "text-generation")
    assert told.task == "text"
    assert value(told, "ROUGE-1") == pytest.approx(2 / 3)


@pytest.mark.parametrize("truth", ["", "...", 3, ["no fever"]])
def test_a_truth_that_is_no_text_is_refused(truth: Any) -> None:
    with pytest.raises(click.UsageError, match="row 0 is not a text"):
        evaluated([case("row 0", truth, "fever")], [], {})


def test_a_model_that_abstained_from_every_case_has_no_figures() -> None:
    with pytest.raises(click.UsageError, match="abstained from every case"):
        evaluated([case("row 0", "fever", None)], [], {})
