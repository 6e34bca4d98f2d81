"""Answers of several tasks: each is compared with what is known of it."""

from typing import Any

import click
import numpy as np
import pytest
from sklearn import metrics

from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.figures import TaskCounts
from service.cli.evaluation.report import page
from service.cli.evaluation.scoring import Scored, flat
from tests.unit.service.evaluation.reading import value


def molecule(row: int, truth: Any, number: float | None, probability: float | None) -> Scored:
    """An answer of two tasks; from a probability between 0.4 and 0.6 it abstains."""
    sure = probability is not None and not 0.4 <= probability <= 0.6
    interval = None if number is None else {"lower": number - 1, "upper": number + 1}
    found = {
        "logs": {"value": number, "interval": interval, "similarity": 1.0},
        "er": {
            "positive": probability > 0.5 if sure and probability is not None else None,
            "probability": probability, "similarity": 1.0,
        },
    }  # fmt: skip
    return Scored(
        f"row {row}", truth, {}, dict(flat({"type": "molecule-property", "tasks": found, "abstained": False}))
    )


def test_each_task_has_the_figures_of_the_cases_whose_truth_is_known() -> None:
    chance = np.random.default_rng(10)
    numbers, truth = chance.normal(0, 2, 60), chance.integers(0, 2, 60)
    told, scores = numbers + chance.normal(0, 1, 60), np.clip(0.3 * truth + 0.7 * chance.random(60), 0, 1)
    cases = [
        molecule(row, {
            "logs": "" if row % 3 == 0 else str(numbers[row]),
            "er": None if row % 4 == 0 else "active" if truth[row] else 0,
        }, None if row == 1 else float(told[row]), float(scores[row]))
        for row in range(60)
    ]  # fmt: skip
    found = evaluated(cases, [], {"active": "1"})
    known = np.array([row % 3 != 0 and row != 1 for row in range(60)])
    assert value(found, "logs: root mean squared error") == pytest.approx(
        metrics.root_mean_squared_error(numbers[known], told[known])
    )
    assert value(found, "logs: coverage of the interval") == pytest.approx(
        (np.abs(numbers - told) <= 1)[known].mean()
    )
    known = np.arange(60) % 4 != 0
    auc = metrics.roc_auc_score(truth[known], scores[known])
    assert value(found, "er: AUC") == pytest.approx(auc)
    sure = known & ((scores < 0.4) | (scores > 0.6))
    assert value(found, "er: sensitivity") == pytest.approx(
        metrics.recall_score(truth[sure], scores[sure] > 0.5)
    )
    rows = {figure.name: figure.rows for figure in found.figures}
    assert (rows["logs: R2"], rows["er: AUC"], rows["er: Brier score"]) == (39, 45, 45)
    of_answers = {rows[f"er: {name}"] for name in ("accuracy", "sensitivity", "specificity", "F1")}
    assert of_answers == {int(sure.sum())}
    assert not any(name.startswith("mean AUC") for name in rows)
    assert {each["task"] for each in found.mistakes[:2]} == {"logs", "er"}
    assert found.tasks == {
        "logs": TaskCounts(known=40, answered=39, abstained=1),
        "er": TaskCounts(known=45, answered=int(sure.sum()), abstained=45 - int(sure.sum())),
    }
    wrong = next(each for each in found.mistakes if each["task"] == "er")
    assert wrong["answer"] == 1 - wrong["truth"] == int(wrong["probability_positive"] > 0.5)
    shown = page({"name": "m", "version": "1.0.0"}, "molecules.csv", found)
    for name in ("logs: answer against truth", "er: ROC"):
        assert f"<figcaption>{name}</figcaption><svg" in shown
    assert "<th>probability of the positive class</th>" in shown
    assert ">sensitivity for the positive class</text>" in shown
    assert (
        '<td>logs</td><td class="number">40</td><td class="number">39</td><td class="number">1</td>' in shown
    )


def test_the_areas_of_several_tasks_have_a_mean() -> None:
    chance = np.random.default_rng(11)
    truth, scores = chance.integers(0, 2, (2, 80)), chance.random((2, 80))
    cases = []
    for row in range(80):
        found = {
            name: {"positive": bool(scores[place, row] > 0.5), "probability": scores[place, row], "similarity": 1.0}
            for place, name in enumerate("ab")
        }  # fmt: skip
        known = {"a": int(truth[0, row])} if row % 2 else {"a": int(truth[0, row]), "b": int(truth[1, row])}
        cases.append(Scored(f"row {row}", known, {}, dict(flat({"tasks": found, "abstained": False}))))
    unknown = {"tasks": found, "abstained": False}
    cases.append(Scored("row 80", {"a": None}, {}, dict(flat(unknown))))
    areas = (
        metrics.roc_auc_score(truth[0], scores[0]),
        metrics.roc_auc_score(truth[1, ::2], scores[1, ::2]),
    )
    told = evaluated(cases, [], {}, "molecule-property")
    assert value(told, "mean AUC of tasks") == pytest.approx(np.mean(areas))
    [mean] = [figure for figure in told.figures if figure.name == "mean AUC of tasks"]
    assert (mean.low or 0) < mean.value < (mean.high or 0)
    assert mean.rows == 80


@pytest.mark.parametrize(
    ("truth", "told"),
    [
        (1.5, "row 0 names no task.*Tasks are logs, er"),
        ({"logp": 1}, "no task logp: tasks are logs, er"),
        ({"logs": "high"}, "truth of logs of row 0 is not a number"),
        ({"er": "high"}, "truth of er of row 0 is neither 1 nor 0.*--value"),
        ({"er": None}, "No case has a truth"),
    ],
)
def test_truths_of_tasks_that_say_nothing_are_refused_without_quoting_them(truth: Any, told: str) -> None:
    with pytest.raises(click.UsageError, match=told) as refused:
        evaluated([molecule(0, truth, 1.0, 0.9)], [], {})
    assert "high" not in str(refused.value)
