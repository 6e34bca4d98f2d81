"""A pipeline of no kind that batches know: a note and a few facts in, a nested answer out. Its graph is a plain function."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.field_codes import FieldCode
from models.manifest import MODEL
from models.pipelines import (
    Answer,
    Array,
    Artifact,
    Case,
    FieldFault,
    GraphSpec,
    InputRejected,
    Label,
    Part,
    PredictionInvalid,
    Run,
    TensorSpec,
    no_options_schema,
    pointer_to,
    refuse_options,
)


class OwnEnd(BaseException):
    """What a package may call its own way out, past every `except Exception`."""


ENDS: Final = {
    "exit": SystemExit(1),
    "interrupt": KeyboardInterrupt(),
    "generator": GeneratorExit(),
    "cancelled": asyncio.CancelledError(),
    "own": OwnEnd(),
}
AT_CHECK: Final = "at the check: "
KINDS: Final[dict[str, tuple[type, ...]]] = {
    "note": (str,),
    "age": (int,),
    "weight": (int, float),
    "urgent": (bool,),
}
REQUIRED: Final = ("note", "age")
INPUT: Final[dict[str, object]] = {
    "type": "object",
    "properties": {
        "note": {"type": "string", "maxLength": 20},
        "age": {"type": "integer"},
        "weight": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "urgent": {"type": "boolean"},
    },
    "required": list(REQUIRED),
    "additionalProperties": False,
}
RESULT: Final[dict[str, object]] = {
    "$defs": {
        "Score": {"type": "object", "properties": {"value": {"type": "number"}, "high": {"type": "boolean"}}}
    },
    "type": "object",
    "properties": {
        "type": {"const": "triage"},
        "words": {"type": "array", "items": {"type": "string"}},
        "length": {"type": "integer"},
        "score": {"$ref": "#/$defs/Score"},
        "advice": {"anyOf": [{"enum": ["wait", "come"]}, {"type": "null"}]},
    },
    "required": ["type", "words", "length", "score", "advice"],
}


class Triage:
    """Both halves. A note "bug" makes the run fail, "nan" the prediction; "picture" has an artifact.

    A note in ENDS raises that in the worker; behind AT_CHECK, already at the check.
    """

    binary: Final = False
    parts: Final[Mapping[str, Part]] = {}
    graphs: Final = {
        MODEL: GraphSpec((TensorSpec("x", "float32", (2,)),), (TensorSpec("y", "float32", (1,)),))
    }

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:
        """See Pipeline."""
        return INPUT

    def result_schema(self) -> dict[str, object]:
        """See Pipeline."""
        return RESULT

    def options_schema(self) -> dict[str, object]:
        """See Pipeline."""
        return no_options_schema()

    def labels(self) -> list[Label]:
        """See Pipeline."""
        return []

    def encode(self, value: object) -> bytes:
        """See Pipeline."""
        if not isinstance(value, dict):
            raise InputRejected(FieldFault("", FieldCode.NOT_AN_OBJECT, "Send a JSON object."))
        faults = [
            FieldFault(pointer_to(name), FieldCode.MISSING_FIELD, f"{name} is missing.")
            for name in REQUIRED
            if value.get(name) is None
        ]
        for name, cell in value.items():
            if name not in KINDS:
                faults.append(FieldFault(pointer_to(name), FieldCode.UNKNOWN_FIELD, "Remove it."))
            elif cell is not None and type(cell) not in KINDS[name]:
                faults.append(FieldFault(pointer_to(name), FieldCode.WRONG_TYPE, f"{name} has another type."))
        if faults:
            raise InputRejected(*faults)
        begin, _, end = str(value["note"]).partition(AT_CHECK)
        if not begin and end in ENDS:
            raise ENDS[end]
        return json.dumps(value).encode()

    def decode(self, payload: bytes) -> object:
        """See Pipeline."""
        return json.loads(payload)

    def check_options(self, value: object) -> dict[str, object]:
        """See Pipeline."""
        return refuse_options(value)

    def open(self, folder: Path) -> "Triage":
        """See Pipeline."""
        return self

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """See Scoring."""
        inputs: list[dict[str, Any]] = [json.loads(case.payload) for case in cases]
        if any(each["note"] == "bug" for each in inputs):
            raise KeyError("a fault of the pipeline's own")
        for note, ends in ENDS.items():
            if any(each["note"] == note for each in inputs):
                raise ends
        feeds = np.array([[len(each["note"]), each["age"]] for each in inputs], np.float32)
        sums = run({"x": feeds})["y"][:, 0].tolist()
        if wrong := tuple(row for row, each in enumerate(inputs) if each["note"] == "nan"):
            raise PredictionInvalid(wrong, "not a number")
        added = [float(str(case.options.get("add", 0))) for case in cases]
        return [_answer(each, value + more) for each, value, more in zip(inputs, sums, added, strict=True)]


def _answer(given: Mapping[str, Any], value: float) -> Answer:
    picture = (Artifact("overlay.png", "image/png", b"x"),) if given["note"] == "picture" else ()
    return Answer(
        {
            "type": "triage",
            "words": given["note"].split(),
            "length": 2**70 if given["note"] == "endless" else len(given["note"]),
            "score": {"value": value, "high": value > 50},
            "advice": None if given.get("urgent") is None else "come" if given["urgent"] else "wait",
        },
        picture,
    )


class SumGraph:
    """Answers the sum of a row. Refuses more than `most` rows, and a row of age 99."""

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.sizes: list[int] = []

    def run(self, feeds: Mapping[str, Array], graph: str = MODEL) -> dict[str, Array]:
        """See Graph."""
        from workers.runtime import OutOfMemory, RunFailed

        rows = feeds["x"]
        self.sizes.append(len(rows))
        if len(rows) > self.most:
            raise OutOfMemory
        if (rows[:, 1] == 99).any():
            raise RunFailed("on this row")
        return {"y": rows.sum(axis=1, keepdims=True)}

    def stop(self) -> None:
        """See Graph."""
