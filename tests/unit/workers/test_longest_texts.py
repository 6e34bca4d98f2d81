"""What is told of a text on which a model fails that allows more tokens than its graph has places for."""

from collections.abc import Mapping

import pytest

from models.bundle import ZOO, read_bundle, side_files
from models.pipelines import Array, Pipeline, load_pipeline
from service.jobs.execution import Problem
from workers.jobs.problems import MODEL_FAILED, NO_MEMORY, TOO_LONG, alone_at_fault
from workers.runtime import OutOfMemory, RunFailed


class Places:
    """Runs a graph that reads so many tokens; more are a fault, as of ONNX Runtime's Gather."""

    def __init__(self, most: int, fault: Exception) -> None:
        self.most = most
        self.fault = fault
        self.lengths: list[int] = []

    def __call__(self, feeds: Mapping[str, Array], graph: str = "model") -> dict[str, Array]:
        del graph
        self.lengths.append(feeds["input_ids"].shape[1])
        if self.lengths[-1] > self.most:
            raise self.fault
        return {}


def pipeline_of(name: str) -> Pipeline:
    return load_pipeline(read_bundle(ZOO / name).manifest, side_files(ZOO / name))


TEXTS = "chemical-disease-entities"


@pytest.mark.parametrize(
    ("most", "told", "fault", "expected"),
    [
        (255, RunFailed("x"), RunFailed("x"), TOO_LONG),
        (10_000, RunFailed("x"), RunFailed("x"), MODEL_FAILED),
        (255, RunFailed("x"), OutOfMemory(), MODEL_FAILED),
        (255, OutOfMemory(), RunFailed("x"), NO_MEMORY),
    ],
)
def test_a_model_that_fails_on_its_longest_text_is_told_from_one_that_fails_on_this_one(
    most: int, told: Exception, fault: Exception, expected: Problem
) -> None:
    assert alone_at_fault(told, pipeline_of(TEXTS), Places(most, fault)) == expected


def test_the_longest_text_is_tried_once_a_case_fails_and_of_models_of_texts_alone() -> None:
    run = Places(0, RunFailed("x"))
    assert alone_at_fault(RunFailed("x"), pipeline_of("breast-cancer-wisconsin"), run) == MODEL_FAILED
    assert run.lengths == []


def test_the_problem_says_what_to_change() -> None:
    assert TOO_LONG.code == MODEL_FAILED.code
    assert "Send a shorter text" in TOO_LONG.detail
    assert "max_tokens" in TOO_LONG.detail
