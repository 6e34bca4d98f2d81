"""Rows of one run that affect each other are found though no two golden cases have the same shape."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.golden import check_golden, renewed_golden
from models.golden_cases import parse_golden
from models.manifest import Fault
from models.pipelines import Answer, Array, Case, Pipeline, PredictionInvalid, Run, load_pipeline
from models.row_mixing import answers_in_company
from tests.unit.models.example_bundles import manifest

Outputs = dict[str, Array]

TENSORS = load_pipeline(
    manifest(
        "tensor", inputs=[{"name": "x", "shape": [-1]}], outputs=[{"name": "y", "shape": [-1]}]
    )
)  # fmt: skip
WORDS = load_pipeline(
    manifest(
        "tensor",
        inputs=[{"name": "x", "dtype": "string", "shape": [-1]}],
        outputs=[{"name": "y", "shape": [1]}],
    )
)
SEQUENCES = load_pipeline(manifest("sequence-classification", longest=100))
# One length each, and for sequences one multiple of 16: no two of them run together.
ROWS: list[Any] = [{"x": [float(number)] * (number + 1)} for number in range(5)]
TEXTS: list[Any] = [{"x": ["word"] * (number + 1)} for number in range(5)]
LETTERS: list[Any] = [{"sequence": "ACGTA"[: number + 1] * 13} for number in range(5)]


def doubled(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    return {"y": feeds["x"] * 2}


def centred(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    return {"y": feeds["x"] - feeds["x"].max(axis=0)}


def ranked(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    """A row is the same beside one that is larger or turned, and not beside zeros."""
    return {"y": feeds["x"] - feeds["x"].mean(axis=1).min()}


def letters(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    share = (feeds["sequence"][:, :, 0].sum(axis=1) / np.maximum(feeds["mask"].sum(axis=1), 1))[:, None]
    return {"probability": share.astype(np.float32)}


def letters_of_all(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    found = letters(feeds)["probability"]
    return {"probability": np.full_like(found, found.mean())}


def letters_in_one_row(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    return {"probability": letters(feeds)["probability"].mean(axis=0, keepdims=True)}


def empty_words_alone(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    """Counts the empty texts of all rows."""
    return {"y": np.full((len(feeds["x"]), 1), (feeds["x"] == "").sum(), np.float32)}


def lengths(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
    return {"y": np.array([[sum(map(len, row))] for row in feeds["x"].tolist()], np.float32)}


def faults(pipeline: Pipeline, inputs: list[Any], run: Any) -> list[Fault]:
    scoring = pipeline.open(Path())
    text = json.dumps({"cases": [{"input": each} for each in inputs]})
    golden = parse_golden(renewed_golden(text, pipeline, scoring, run))
    return check_golden(golden, pipeline, scoring, 1e-5, run)


@pytest.mark.parametrize(
    ("pipeline", "inputs", "run"),
    [
        (TENSORS, ROWS, centred),
        (TENSORS, ROWS, ranked),
        (WORDS, TEXTS, empty_words_alone),
        (SEQUENCES, LETTERS, letters_of_all),
    ],
)
def test_a_graph_whose_rows_affect_each_other_is_refused(
    pipeline: Pipeline, inputs: list[Any], run: Any
) -> None:
    found = faults(pipeline, inputs, run)
    assert {fault.code for fault in found} == {"golden_batched"}
    assert "row_by_row" in found[0].detail
    assert len({fault.place for fault in found}) == len(found)


@pytest.mark.parametrize(
    ("pipeline", "inputs", "run"),
    [(TENSORS, ROWS, doubled), (WORDS, TEXTS, lengths), (SEQUENCES, LETTERS, letters)],
)
def test_a_graph_whose_rows_stand_alone_is_not_refused(
    pipeline: Pipeline, inputs: list[Any], run: Any
) -> None:
    assert faults(pipeline, inputs, run) == []


def test_a_graph_that_takes_one_row_alone_is_refused() -> None:
    [fault] = faults(SEQUENCES, LETTERS, letters_in_one_row)
    assert fault.code == "golden_failed"
    assert "a batch of 2" in fault.detail


def test_a_row_that_the_graph_does_not_take_tells_nothing() -> None:
    def no_zeros(feeds: Mapping[str, Array], graph: str = "model") -> Outputs:
        if not feeds["x"].any(axis=1).all():
            raise ValueError("a row of zeros")
        return doubled(feeds)

    assert faults(TENSORS, [{"x": [1.0] * length} for length in range(1, 6)], no_zeros) == []


class OneByOne:
    """A scoring half that runs each case by itself."""

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        rows = [np.array([TENSORS.decode(case.payload)["x"]], np.float32) for case in cases]  # type: ignore[index]  # JSON
        return [Answer({"y": run({"x": row})["y"][0].tolist()}) for row in rows]


def test_rows_that_never_run_together_are_not_tried_together() -> None:
    cases = [Case(TENSORS.encode(each)) for each in ROWS]

    def score(some: Sequence[Case], run: Run) -> list[dict[str, object]]:
        return [answer.result for answer in OneByOne().score(run, some)]

    assert list(answers_in_company(cases, score, centred)) == []


def test_one_row_of_scores_is_never_given_to_several_cases() -> None:
    cases = [Case(SEQUENCES.encode({"sequence": each})) for each in ("AAAA", "CCCC")]
    with pytest.raises(PredictionInvalid, match=r"shape \(1, 1\) for 2 rows"):
        SEQUENCES.open(Path()).score(letters_in_one_row, cases)
