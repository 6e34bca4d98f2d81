"""Texts that join others between two tokens and leave before them, and what is shown of a text while it is written."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from models.pipelines import Answer, Array, Case
from tests.unit.models.example_decoders import LAYOUTS
from tests.unit.models.example_texts import write_tokenizer
from tests.unit.models.test_text_generation import follows, pipeline, scored


class Later:
    """Cases of which each arrives once the graph has run so many times; answers in the order in which they are given."""

    def __init__(self, run: Any, cases: list[Case], after: list[int]) -> None:
        self.rows: list[int] = []
        self.given: dict[int, Answer] = {}
        self.shown: list[tuple[int, str]] = []
        self._waiting = list(zip(cases, after, strict=True))
        self._run = run

    def run(self, feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
        self.rows.append(len(feeds["input_ids"]))
        found: Mapping[str, Array] = self._run(feeds, graph)
        return found

    def take(self) -> list[Case]:
        here = [case for case, after in self._waiting if after <= len(self.rows)]
        self._waiting = self._waiting[len(here) :]
        return here

    def give(self, number: int, answer: Answer) -> None:
        assert number not in self.given
        self.given[number] = answer

    def given_up(self) -> list[int]:
        return []

    def show(self, so_far: Callable[[], Mapping[int, str]]) -> None:
        self.shown += so_far().items()


def test_a_text_joins_others_between_two_tokens_and_leaves_before_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made, scoring, run = scored("alone, left padding", tmp_path_factory)
    options = [{"max_new_tokens": 12}, {"max_new_tokens": 4}, {"max_new_tokens": 4}]
    texts = ["rest rest fever", "no", "pain cough rest no fever"]
    cases = [
        Case(made.encode({"text": text}), made.check_options(each))
        for text, each in zip(texts, options, strict=True)
    ]
    arrivals = Later(run, cases, [0, 2, 3])
    scoring.score_arrivals(arrivals.run, arrivals)
    wanted = [scoring.score(run, [case])[0].result["text"] for case in cases]
    assert [arrivals.given[number].result["text"] for number in range(3)] == wanted
    assert [*arrivals.given] == [1, 2, 0]
    assert max(arrivals.rows) == 3


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "options", [{}, {"beams": 4}, {"temperature": 1.0, "seed": 3}, {"stop": ["pain no", "rest"]}]
)
def test_what_is_shown_of_a_text_is_its_beginning(
    layout: str, options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made, scoring, run = scored(layout, tmp_path_factory)
    texts = ["no fever", "rest pain", "pain cough rest no fever"]
    cases = [Case(made.encode({"text": text}), made.check_options(options)) for text in texts]
    arrivals = Later(run, cases, [0, 0, 0])
    scoring.score_arrivals(arrivals.run, arrivals)
    assert {number for number, shown in arrivals.shown if shown} or "beams" in options
    for number, shown in arrivals.shown:
        assert str(arrivals.given[number].result["text"]).startswith(shown)


def test_a_text_that_may_be_cut_is_not_shown_to_its_end(tmp_path: Path) -> None:
    made = pipeline(left_padding=True)
    case = Case(made.encode({"text": "no"}), made.check_options({"stop": ["cough pain"]}))
    arrivals = Later(follows, [case], [0])
    made.open(write_tokenizer(tmp_path)).score_arrivals(arrivals.run, arrivals)  # type: ignore[attr-defined]
    assert [shown for _, shown in arrivals.shown] == ["no", "no fever", "no fever"]
    assert arrivals.given[0].result["text"] == "no fever"


def test_a_text_that_is_not_read_is_answered_at_once_and_the_next_is_taken(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made, scoring, run = scored("alone, left padding", tmp_path_factory)
    cases = [Case(made.encode({"text": text})) for text in ("fever " * 30, "no fever")]
    arrivals = Later(run, cases, [0, 0])
    arrivals.take = lambda: [cases[len(arrivals.given)]] if len(arrivals.given) < 2 else []  # type: ignore[method-assign]
    scoring.score_arrivals(arrivals.run, arrivals)
    assert [arrivals.given[number].result["abstained"] for number in range(2)] == [True, False]
