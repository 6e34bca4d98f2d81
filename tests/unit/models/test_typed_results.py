"""Results of typed pipelines that may hold anything."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from models.manifest import ManifestTable
from models.pipelines import Array, Case, PredictionInvalid, Run
from models.pipelines.side_files import no_files
from models.pipelines.typed import NoOptions, TypedCase, TypedInput, TypedPipeline, TypedResult


def no_run(feeds: Mapping[str, Array], graph: str = "model") -> dict[str, Array]:
    raise AssertionError


class Text(TypedInput):
    text: str


class Anything(TypedResult):
    type: Literal["anything"] = "anything"
    found: Any


class AnythingScoring:
    """Answers with the key 1 beside the key that the text of a case is."""

    def score(self, run: Run, cases: Sequence[TypedCase[Text, NoOptions]]) -> list[Anything]:
        return [Anything(found=[{1: "one", case.input.text: "other"}]) for case in cases]


class AnythingPipeline(TypedPipeline[ManifestTable, Text, Anything, NoOptions]):
    def open_bundle(self, folder: Path) -> AnythingScoring:
        return AnythingScoring()


def test_a_result_with_keys_that_meet_in_json_is_no_prediction() -> None:
    pipeline = AnythingPipeline(ManifestTable(), no_files)
    cases = [Case(pipeline.encode({"text": text})) for text in ("2", "1")]
    [answer] = pipeline.open(Path()).score(no_run, cases[:1])
    assert answer.result["found"] == [{"1": "one", "2": "other"}]
    with pytest.raises(PredictionInvalid, match="keys of the result are written alike") as caught:
        pipeline.open(Path()).score(no_run, cases)
    assert caught.value.rows == (1,)
