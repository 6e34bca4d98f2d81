"""Rows of a batch that a pipeline scores as jobs: whatever the pipeline does, each row has a result or a fault."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from models.pipelines import Answer, Array, Case, FieldFault, RowFault, Run
from models.pipelines.contract import UNFIT
from workers.batches.case_scoring import CaseScorer

GOOD: dict[str, object] = {"score": 1.0}
POISON = b"poison"


class Scripted:
    """Somebody's scoring half: good answers, but for what `answer` does to the poisoned case."""

    def __init__(self, poisoned: Callable[[], Any]) -> None:
        self._poisoned = poisoned

    def score(self, run: Run, cases: Sequence[Case]) -> list[Any]:
        return [self._poisoned() if case.payload == POISON else Answer(GOOD) for case in cases]


def no_run(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    raise NotImplementedError


def codes(scoring: Any) -> list[str]:
    """What becomes of four rows, of which the third is poisoned."""
    scorer = CaseScorer(scoring, no_run, 64, lambda: None)
    found = scorer.score([b"a", b"b", POISON, b"d"])
    return [each.code if isinstance(each, FieldFault) else "good" for each in found]


def raising(fault: BaseException) -> Callable[[], Any]:
    def poisoned() -> Any:
        raise fault

    return poisoned


@pytest.mark.parametrize(
    "poisoned",
    [
        lambda: Answer([1.0]),  # type: ignore[arg-type]  # what somebody's code may do
        lambda: Answer(None),  # type: ignore[arg-type]
        lambda: GOOD,
        lambda: Answer({"artifacts": []}),
        raising(RowFault(-1, UNFIT)),
        raising(RowFault(9, UNFIT)),
        raising(RowFault("2", UNFIT)),  # type: ignore[arg-type]
    ],
)
def test_a_row_on_which_the_pipeline_breaks_its_contract_fails_alone(poisoned: Callable[[], Any]) -> None:
    assert codes(Scripted(poisoned)) == ["good", "good", "model_failed", "good"]


def test_answers_that_cannot_be_counted_fail_their_rows() -> None:
    class Counted:
        def score(self, run: Run, cases: Sequence[Case]) -> Any:
            return (Answer(GOOD) for _ in cases)

    assert codes(Counted()) == ["model_failed"] * 4


def test_a_row_that_is_named_as_unreadable_fails_alone() -> None:
    class Naming:
        def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
            for index, case in enumerate(cases):
                if case.payload == POISON:
                    raise RowFault(index, UNFIT)
            return [Answer(GOOD) for _ in cases]

    assert codes(Naming()) == ["good", "good", "input_unreadable", "good"]
