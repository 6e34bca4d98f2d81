"""What the comparisons of all tasks share: figures with 95 % intervals by the bootstrap, subgroups, counts of cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.figures import interval
from service.cli.evaluation.gallery import Mistake
from service.cli.evaluation.scoring import Scored
from service.cli.evaluation.traces import Trace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

SEED = 20261128
LEAST_ROWS = 20  # of a subgroup: intervals of fewer mean nothing
MOST_UNSCORED = 10  # of the cases that were not scored, those that are named
EVERYBODY = "all"


@dataclass(frozen=True)
class Figure:
    """One figure of one group, with its 95 % interval where it has one."""

    group: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    rows: int = 0


@dataclass(frozen=True)
class TaskCounts:
    """Of how many cases the truth of a task is known, and how many of those it answered and abstained from."""

    known: int
    answered: int
    abstained: int


@dataclass(frozen=True)
class Evaluation:
    """What came out: how many cases ended how, the figures, and what plots are drawn from.

    `curves` has `pairs`, truths and answers that are numbers, `table`, a Classified, or `boxes`, recall and precision by the
    name of a class; of several tasks, by task. `measures` are the figures of any rows of `answered`, by the name of the figure.
    `estimate` makes the figures, whose intervals take most of the time: whoever compares models by `measures` reads none.
    """

    task: str
    counts: Mapping[str, int]
    problems: Mapping[str, int]
    estimate: Callable[[], Sequence[Figure]]
    curves: Mapping[str, Any] = field(default_factory=dict)
    mistakes: Sequence[Mapping[str, Any]] = ()
    pictures: Sequence[Mistake] = ()
    traces: Sequence[Trace] = ()
    tasks: Mapping[str, TaskCounts] = field(default_factory=dict)  # of a model with several
    unscored: Sequence[Unscored] = ()
    measures: Mapping[str, Callable[[Ints], float]] = field(default_factory=dict)  # of rows of `answered`
    answered: Sequence[Scored] = ()
    notes: Sequence[str] = ()  # what of the data was not read or is missing

    @cached_property
    def figures(self) -> Sequence[Figure]:
        """The figures with their intervals."""
        return self.estimate()

    def defined(self) -> set[str]:
        """The names of measures that are defined for all rows."""
        rows = np.arange(len(self.answered))
        return {name for name, measure in self.measures.items() if value_of(measure, rows) is not None}


@dataclass(frozen=True)
class Unscored:
    """A case that was not scored: where it stands, the code of its problem, and what to change."""

    case: str
    code: str
    detail: str


def unscored(scored: Sequence[Scored]) -> list[Unscored]:
    """The first cases that were not scored."""
    found = [Unscored(case.place, case.problem, case.detail) for case in scored if case.answer is None]
    return found[:MOST_UNSCORED]


def problems(scored: Sequence[Scored]) -> Counter[str]:
    """How many cases were not scored, by the code of their problem."""
    return Counter(case.problem for case in scored if case.answer is None)


def counts(scored: Sequence[Scored]) -> dict[str, int]:
    """How many cases ended how."""
    answered = [case for case in scored if case.answer is not None]
    abstained = sum(bool(given(case).get("abstained")) for case in answered)
    return {
        "cases": len(scored),
        "answered": len(answered) - abstained,
        "abstained": abstained,
        "not scored": len(scored) - len(answered),
    }


def groups(answered: Sequence[Scored]) -> Iterator[tuple[str, Ints]]:
    """All rows, then those of each value of each group that has enough of them."""
    yield EVERYBODY, np.arange(len(answered))
    for name in answered[0].groups:
        values = np.array([case.groups[name] for case in answered])
        for value in sorted(set(values.tolist())):
            rows = np.flatnonzero(values == value)
            if len(rows) >= LEAST_ROWS:
                yield f"{name} {value}", rows


def value_of(measure: Callable[[Ints], float], rows: Ints) -> float | None:
    """A figure of some rows, None if it is undefined, such as the AUC of one class."""
    try:
        value = measure(rows)
    except ValueError:
        return None
    return None if np.isnan(value) else value


def figure(
    group: str, name: str, measure: Callable[[Ints], float], rows: Ints, counted: Flags | None = None
) -> Figure | None:
    """A figure of some rows with its interval. `measure` takes the rows drawn. None if it is undefined.

    `counted` says which rows it is of, where `measure` leaves out others.
    """
    value = value_of(measure, rows)
    if value is None:
        return None
    low, high = interval(lambda drawn: measure(rows[drawn]), len(rows), seed=SEED)
    return Figure(group, name, value, low, high, len(rows) if counted is None else int(counted[rows].sum()))


def figures_of(
    answered: Sequence[Scored],
    measures: Mapping[str, Callable[[Ints], float]],
    counted: Mapping[str, Flags] | None = None,
) -> list[Figure]:
    """The figures of all cases, and of each subgroup those of LEAST_ROWS cases or more. `counted` by figure: see figure."""
    found = (
        figure(group, name, measure, rows, (counted or {}).get(name))
        for group, rows in groups(answered)
        for name, measure in measures.items()
    )
    return [
        each for each in found if each is not None and (each.group == EVERYBODY or each.rows >= LEAST_ROWS)
    ]


def given(case: Scored) -> Mapping[str, Any]:
    """The answer of a case that was scored."""
    assert case.answer is not None
    return case.answer


def evaluation(
    task: str,
    scored: Sequence[Scored],
    measures: Mapping[str, Callable[[Ints], float]],
    answered: Sequence[Scored],
    counted: Mapping[str, Flags] | None = None,
    **more: Any,
) -> Evaluation:
    """The evaluation of `answered`, a part of the cases, by `measures`. `counted` by figure: see figure."""
    estimate = partial(figures_of, answered, measures, counted)
    return Evaluation(
        task, counts(scored), problems(scored), estimate, measures=measures, answered=answered, **more
    )
