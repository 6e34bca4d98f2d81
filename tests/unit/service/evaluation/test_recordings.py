"""Evaluations of recordings: beats beside annotated ones, and bodies that hold few of them."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import click
import pytest
from sklearn import metrics

from service.cli.evaluation import scoring
from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.labelled import Labelled
from service.cli.evaluation.report import page
from service.cli.evaluation.scoring import Scored
from service.cli.evaluation.traces import trace
from tests.unit.service.evaluation.reading import value

BEATS = [{"id": each, "display": each.upper()} for each in "nsv"]


def rhythm(*told: tuple[int, str | None]) -> list[dict[str, Any]]:
    return [{"sample": sample, "label": label} for sample, label in told]


def heard(place: str, truth: Any, *told: tuple[int, str | None], rate: float = 100) -> Scored:
    """A recording whose answer is sure of each beat."""
    shares = {None: (0.4, 0.3, 0.3), "n": (1.0, 0.0, 0.0), "s": (0.0, 1.0, 0.0), "v": (0.0, 0.0, 1.0)}
    answers = [
        {
            **each,
            "time_s": each["sample"] / rate,
            "probabilities": dict(zip("nsv", shares[each["label"]], strict=True)),
        }
        for each in rhythm(*told)
    ]
    return Scored(place, truth, {}, {"beats": answers or None, "abstained": not answers})


def test_beats_are_compared_with_the_annotated_ones_near_them() -> None:
    cases = [
        heard(
            "line 1",
            {"beats": rhythm((100, "N"), (200, "v"), (300, "n"), (400, None), (500, "s"))},
            (99, "n"), (214, "v"), (316, "n"), (400, "v"), (500, "v"),
        ),
        heard("line 2", rhythm((100, "n"), (200, "n")), (100, None), (200, "n"), rate=360),
        heard("line 3", rhythm((100, "n"))),
    ]  # fmt: skip
    told = evaluated(cases, BEATS, {}, "beat-classification")
    assert told.counts == {"cases": 3, "answered": 2, "abstained": 1, "not scored": 0}
    assert value(told, "accuracy") == pytest.approx(3 / 4)
    assert value(told, "sensitivity of n") == 1
    assert value(told, "sensitivity of s") == 0
    assert value(told, "positive predictive value of v") == 1 / 2
    kappa = metrics.cohen_kappa_score(["n", "v", "s", "n"], ["n", "v", "v", "n"])
    assert value(told, "kappa") == pytest.approx(kappa)
    assert value(told, "jk") == pytest.approx(kappa / 2 + (0 + 0 + 1 + 1 / 2) / 8)
    assert value(told, "beats found") == pytest.approx(6 / 7)
    assert value(told, "found that are beats") == pytest.approx(6 / 7)
    assert list(told.mistakes) == [
        {"case": "line 1", "sample": 500, "truth": "s", "answer": "v", "probability": 1.0}
    ]
    assert "Confusion" in page({"name": "m", "version": "1.0.0"}, "beats.ndjson", told)


def test_the_page_draws_the_signal_around_a_beat_with_a_wrong_class() -> None:
    sent = {"lead": "MLII", "sampling_rate": 100, "gain": 200, "samples": list(range(1000))}
    wrong = heard("line 1", rhythm((100, "n"), (500, "s")), (100, "n"), (500, "v"))
    told = evaluated([replace(wrong, input=sent)], BEATS, {}, "beat-classification")
    [drawn] = told.traces
    assert drawn.caption == "line 1, sample 500: truth s, answer v (1.000)"
    assert (drawn.beat_s, drawn.times_s[0], drawn.times_s[-1]) == (5.0, 3.5, 6.5)
    assert (drawn.values_mv[0], drawn.values_mv[-1]) == (350 / 200, 650 / 200)
    shown = page({"name": "m", "version": "1.0.0"}, "beats.ndjson", told)
    assert "<figcaption>line 1, sample 500: truth s, answer v (1.000)</figcaption><svg" in shown
    assert evaluated([wrong], BEATS, {}, "beat-classification").traces == []


def test_a_signal_is_drawn_from_its_start_where_a_beat_is_near_it() -> None:
    sent = {"sampling_rate": 100, "gain": 1, "samples": list(range(120))}
    near = trace(sent, 20, "")
    assert near is not None
    assert near.values_mv.tolist() == list(range(120))
    assert near.times_s[0] == 0


@pytest.mark.parametrize("truth", ["n", [], [{"sample": 1}], [{"sample": "1", "label": "n"}], [1], None])
def test_a_truth_that_is_no_list_of_beats_is_refused(truth: Any) -> None:
    with pytest.raises(click.UsageError, match="What is expected of line 9 is no list"):
        evaluated([heard("line 9", truth, (100, "n"), (200, "n"))], BEATS, {}, "beat-classification")


def test_recordings_that_are_all_abstained_from_have_no_figures() -> None:
    with pytest.raises(click.UsageError, match="abstained from every recording"):
        evaluated([heard("line 1", rhythm((100, "n")))], BEATS, {}, "beat-classification")


class Bulks:
    """A service that refuses everything, and remembers how many jobs came together."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def submit_bulk(self, jobs: list[Any], _key: str) -> list[Any]:
        self.sizes.append(len(jobs))
        return [{"code": job["input"]} for job in jobs]

    def waiting(self, _text: str) -> Any:
        return nullcontext(lambda _text: None)


def test_jobs_are_submitted_in_bodies_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "AT_ONCE", 3)
    monkeypatch.setattr(scoring, "BYTES_AT_ONCE", 60)
    inputs = ["a", "b", "c", "d", "e" * 200, "f", "g" * 30, "h" * 30]
    service: Any = Bulks()
    cases = [Labelled(f"line {number}", value, "n") for number, value in enumerate(inputs)]
    told = scoring.by_jobs(service, service, {"model": "x"}, cases, 1)
    assert service.sizes == [3, 1, 1, 2, 1]
    assert [(each.place, each.problem) for each in told] == [(case.place, case.input) for case in cases]


class Sure(Bulks):
    """A service that answers every job the same."""

    def submit_bulk(self, jobs: list[Any], _key: str) -> list[Any]:
        return [{"state": "queued", "id": str(number)} for number in range(len(jobs))]

    def job(self, job_id: str, *, wait_s: float = 0) -> Any:
        return {"id": job_id, "state": "succeeded", "result": {"beats": None}}


def test_the_input_of_a_line_stays_with_its_answer() -> None:
    service: Any = Sure()
    case = Labelled("line 1", {"samples": [1.0]}, "n")
    [told] = scoring.by_jobs(service, service, {"model": "x"}, [case], 1)
    assert told.input is case.input
