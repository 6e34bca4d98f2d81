"""A detector whose graph is scripted: it answers the same boxes for every image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from models.manifest import MODEL
from models.pipelines import Answer, Array, Case, load_pipeline
from tests.unit.models.example_bundles import manifest
from tests.unit.models.example_images import gradient, png

GRAPH = (40, 80)  # height and width that the graph takes
LABELS = [
    {"id": "rbc", "display": "Red cell", "threshold": 0.5},
    {
        "id": "wbc",
        "display": "White cell",
        "threshold": 0.3,
        "system": "http://example.org/cells",
        "code": "W",
    },
]
NOVELTY = {
    "limit": 5.0, "false_alarm_rate": 0.01, "catch_rate": 0.9, "foreign_set": "made up", "source": "made up for tests",
    "reason": "unlike any smear",
}  # fmt: skip
WIDE = png(np.dstack([gradient(160, 80)] * 3))  # twice the graph's size


def pipeline(**parameters: Any) -> Any:
    own = {"labels": LABELS, "size": list(GRAPH), "channels": 3, **parameters}
    return load_pipeline(manifest("object-detection", **own))


class Scripted:
    """A graph that answers the same for every image: `boxes` as [left, top, right, bottom, score, label]."""

    def __init__(self, *boxes: Sequence[float], form: str = "boxes", novelty: float = 0.0) -> None:
        self.rows = np.array(boxes, np.float32).reshape(-1, 6)
        self.form = form
        self.novelty = novelty
        self.fed: list[Array] = []

    def __call__(self, feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
        assert graph == MODEL
        self.fed.append(feeds["image"])
        count = len(feeds["image"])
        novelty = {"novelty": np.full((count, 1), self.novelty, np.float32)}
        if self.form == "rows":
            return {"detections": np.stack([self.rows] * count)} | novelty
        given: dict[str, Array] = {
            "boxes": self.rows[:, :4],
            "scores": self.rows[:, 4],
            "labels": self.rows[:, 5].astype(np.int64),
        }
        if self.form == "lists":
            return given | novelty
        return {name: np.stack([each] * count) for name, each in given.items()} | novelty


def scored(
    run: Any, *files: bytes, options: Mapping[str, object] | None = None, **parameters: Any
) -> list[Answer]:
    told = pipeline(**parameters)
    chosen = told.check_options(dict(options or {}))
    cases = [Case(told.encode(file), chosen) for file in files]
    found: list[Answer] = told.open(Path()).score(run, cases)
    for each in found:
        jsonschema.validate(each.result, told.result_schema())
    return found


def one(run: Any, file: bytes = WIDE, **more: Any) -> dict[str, Any]:
    [found] = scored(run, file, **more)
    return found.result


def edges(result: Mapping[str, Any]) -> list[list[float]]:
    return [
        [each["box"][name] for name in ("left", "top", "right", "bottom")] for each in result["detections"]
    ]
