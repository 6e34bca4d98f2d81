"""A case for each pipeline: inputs of unlike lengths and shapes, as jobs take them, and the same as the file of a batch.

A new pipeline needs a line in CASES: a bundled model, whose golden inputs are taken, or a model made up in made_models.
"""

import base64
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.acceptance import made_models, nights
from tests.acceptance.cases import ZOO
from tests.unit.models.example_recommender import INPUTS

Inputs = list[dict[str, Any]]
Leaf = tuple[str, Any]
SCALARS = (str, int, float, bool, type(None))
TOLERANCE = 1e-3  # float32, in which a result depends in its last digits on what runs beside it
APART = frozenset({"model_digest", "runtime", "provider", "type"})  # of a job's result alone
OWN = frozenset({"row", "case", "file"})  # of a batch's line alone


class CsvCell(str):
    """What a cell of CSV holds: a text, or a number or a flag as JSON has it."""

    __slots__ = ()


@dataclass(frozen=True)
class KindCase:
    """The model that is asked, and inputs for it."""

    model: str
    inputs: Callable[[], Inputs]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def forms(self) -> list[str]:
        """How a file of the inputs may be written."""
        inputs = self.inputs()
        if all(isinstance(each.get("data"), str) for each in inputs):
            return ["zip"]
        flat = all(isinstance(value, SCALARS) for each in inputs for value in each.values())
        return ["ndjson", "csv"] if flat else ["ndjson"]

    def file(self, form: str) -> bytes:
        """The inputs as the file of a batch, named c-0, c-1, ..."""
        return _WRITERS[form](self.inputs())


def golden(model: str, **options: Any) -> KindCase:
    """The golden inputs of a bundled model, asked with these options whatever theirs are."""

    def inputs() -> Inputs:
        return [case["input"] for case in json.loads((ZOO / model / "golden.json").read_text())["cases"]]

    return KindCase(model, inputs, options)


def _files(files: Callable[[], list[bytes]]) -> Callable[[], Inputs]:
    return lambda: [{"data": base64.b64encode(file).decode()} for file in files()]


def _texts() -> Inputs:
    return [{"text": text} for text in made_models.TEXTS]


def _prompts() -> Inputs:
    return [{"text": " ".join(["no", "fever", "cough", "pain"][:count])} for count in (1, 2, 3, 4, 2, 1)]


CASES: dict[str, tuple[KindCase, ...]] = {
    "advice": (golden("health-advice-recommender", language="zh"),),
    "beat-classification": (golden("ecg-beats"),),
    "image-classification": (
        golden("blood-cell-type"),
        KindCase(made_models.FILMS, _files(made_models.films)),  # 16 bits and DICOM
    ),
    "image-generation": (golden("xray-generator", inline=True),),
    "image-segmentation": (golden("nuclei-segmentation"),),
    "molecule-property": (golden("molecule-properties"),),
    "object-detection": (golden("blood-cell-detection"),),
    "recommendation": (
        golden("medication-recommender"),
        golden("care-service-recommender", places=3),
        KindCase(made_models.ITEMS, lambda: INPUTS),
    ),
    "semantic-search": (golden("health-question-search", limit=3),),
    "sequence-classification": (golden("splice-junction"),),
    "tabular-classification": (golden("breast-cancer-wisconsin"), golden("heart-disease-cleveland")),
    "tabular-regression": (golden("diabetes-progression"),),
    "tensor": (KindCase(made_models.SUMS, made_models.tensors),),
    "text-classification": (golden("note-section"), golden("trial-criterion")),
    "text-embedding": (KindCase(made_models.VECTORS, _texts),),
    "text-generation": (
        golden("note-writer"),
        KindCase(made_models.WORDS, _prompts, {"beams": 2, "max_new_tokens": 8}),
    ),
    "text-pair-classification": (golden("question-match"),),
    "timeseries-classification": (golden("icu-mortality"),),
    "treatment-plan": (),  # its inputs name other jobs, so no file can hold them: see test_plans
    "token-classification": (golden("chemical-disease-entities"),),
}


def assert_same(line: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """That a line of a batch says what a job's result says: every value, in a column whose name ends as its key does."""
    told = list(_leaves({key: value for key, value in line.items() if key not in OWN}))
    for name, value in _leaves({key: each for key, each in result.items() if key not in APART}):
        column = next((leaf for leaf in told if _is_same(leaf, name, value)), None)
        assert column is not None, f"the job has {name} = {value!r}, and of the batch is left {told}"
        told.remove(column)
    assert not told, f"the batch alone has {told}"


def _is_same(leaf: Leaf, name: str, value: Any) -> bool:
    column, found = leaf
    if isinstance(found, CsvCell) and not isinstance(value, str):
        found = json.loads(found)
    if isinstance(value, float):
        return column.endswith(name) and found == pytest.approx(value, abs=TOLERANCE)
    return column.endswith(name) and isinstance(found, type(value)) and found == value


def _leaves(value: Any, name: str = "") -> Iterator[Leaf]:
    """Every value but null in nested objects and lists, with the last key that leads to it."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, key)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _leaves(each, f"{name}[{place}]" if not isinstance(each, Mapping) else name)
    elif value is not None:
        yield name, float(value) if type(value) is int else value


def _as_rows(inputs: Inputs) -> list[nights.Row]:
    """A row for each input, with an id. What is missing is empty."""
    names = dict.fromkeys(name for each in inputs for name in each)
    return [{"case": f"c-{row}", **dict.fromkeys(names), **each} for row, each in enumerate(inputs)]


def _as_ndjson(inputs: Inputs) -> bytes:
    rows = [{"case": f"c-{row}", **each} for row, each in enumerate(inputs)]
    return nights.as_ndjson(rows)


def _as_zip(inputs: Inputs) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for row, each in enumerate(inputs):
            archive.writestr(f"c-{row}", base64.b64decode(each["data"]))
    return file.getvalue()


_WRITERS: dict[str, Callable[[Inputs], bytes]] = {
    "ndjson": _as_ndjson,
    "csv": lambda inputs: nights.as_csv(_as_rows(inputs)),
    "zip": _as_zip,
}
