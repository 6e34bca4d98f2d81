"""docs/models.md, "Files and results of other jobs as inputs": its pipeline takes and scores its golden case."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from models.golden_cases import encode_cases, parse_golden
from models.pipelines import Array, InputRejected, Pipeline, no_files

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text()


@pytest.fixture(name="pipeline")
def _pipeline(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = ModuleType("second_reading")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where pydantic looks for the types
    exec(_block("python"), module.__dict__)
    return module.SecondReading(module.Parameters(), no_files)


def _block(language: str) -> str:
    section = PAGE.partition("**Files and results of other jobs as inputs.**")[2]
    found = re.search(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def _sum(feeds: Mapping[str, Array], graph: str = "model") -> dict[str, Array]:
    """A graph that adds the three features of each row."""
    return {"score": feeds["features"].sum(axis=1, keepdims=True)}


def test_the_pages_pipeline_scores_its_golden_case_with_and_without_an_optional_part(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    case = json.loads(_block("json"))
    more = {"input": case["input"] | {"earlier": {"data": "AAABAA=="}}}
    golden = parse_golden(json.dumps({"cases": [case, more]}), renewing=True)
    alone, both = pipeline.open(tmp_path).score(_sum, encode_cases(golden, pipeline))
    assert alone.result == {"type": "second_reading", "score": pytest.approx(61 + np.mean([0, 1, 2]) + 0.8)}
    assert (alone.artifacts, both.result) == ((), alone.result)
    assert [(each.name, each.media_type) for each in both.artifacts] == [("earlier.json", "application/json")]


def test_the_pages_pipeline_refuses_a_file_by_the_pointer_of_all_of_it(pipeline: Any) -> None:
    with pytest.raises(InputRejected) as refused:
        pipeline.check_file("ecg", b"odd")
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [("", "not_an_ecg")]
