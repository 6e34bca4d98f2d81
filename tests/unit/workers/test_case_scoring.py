"""Rows of a batch that a pipeline scores as jobs: whatever the pipeline does, each row has a result or a fault."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import structlog
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from models.pipelines import Answer, Array, Artifact, Case, FieldFault, PredictionInvalid, RowFault, Run
from models.pipelines.contract import UNFIT
from workers.batches.case_scoring import CaseScorer
from workers.runtime import OnnxGraph

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


class Misanswering:
    """A scoring half that fails in the ways of which nothing but a problem would be said."""

    def __init__(self, way: str) -> None:
        self._way = way

    def score(self, run: Run, cases: Sequence[Case]) -> list[Any]:
        match self._way:
            case "too few":
                return []
            case "artifact":
                return [Answer(GOOD, (Artifact("john-doe", "image", b""),)) for _ in cases]
            case "graph":
                run({})
        raise PredictionInvalid((0,), "the report of John Doe")


def run_that_fails(feeds: Mapping[str, Array], graph: str = "model") -> Mapping[str, Array]:
    return OnnxGraph(Refusing(), 1.0).run(feeds)


class Refusing:
    """A session of ONNX Runtime that takes no input."""

    def get_inputs(self) -> list[Any]:
        return []

    def get_outputs(self) -> list[Any]:
        return []

    def run(self, *_: object) -> list[Array]:
        raise InvalidArgument("John Doe")


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("too few", "0 answers for 1 cases"),
        ("artifact", "the media type of artifact 1 is no type/subtype in lower case"),
        ("graph", "InvalidArgument"),
        ("prediction", None),  # the words of a package's code may quote an input
    ],
)
def test_why_a_row_fails_alone_is_in_the_log(way: str, reason: str | None) -> None:
    with structlog.testing.capture_logs() as lines:
        CaseScorer(Misanswering(way), run_that_fails, 64, lambda: None).score([b"a", b"b"])
    found = [line for line in lines if line["event"] == "pipeline_failed"]
    assert [line["cases"] for line in found] == [1, 1]
    assert [line.get("reason") for line in found] == [reason, reason]
    assert all("John" not in str({**line, "exc_info": None}) for line in found)
    assert all(isinstance(line["exc_info"], Exception) for line in found)


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
