"""Classification of tables that hold more than numbers: whole numbers, true or false, categories, texts.

The feed `features` has a column a feature, each of its own type; the graph takes them as inputs by column. An input is
stored as the version byte 1 and a JSON object of all features in the manifest's order, `null` where one is absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from models.lazy import np
from models.manifest import MODEL
from models.pipelines.classification import ClassificationParameters, Classifier
from models.pipelines.contract import (
    ROW,
    Answer,
    Case,
    FieldFault,
    GraphSpec,
    InputRejected,
    Label,
    PartKind,
    RowFault,
    Run,
    TensorSpec,
    no_options_schema,
    refuse_options,
    score_in_one_pass,
)
from models.pipelines.features import AnyFeature, Feature, FieldNames

if TYPE_CHECKING:
    from models.pipelines.contract import Array
    from models.pipelines.features.table import Stored

_VERSION: Final = b"\x01"
_DAMAGED: Final = FieldFault("", "stored_input_damaged", "The stored input is damaged.")
_NUMPY: Final[Mapping[str, str]] = {"string": "O"}


class MixedClassification:
    """The pipeline. Immutable after construction, so every thread may use one instance."""

    binary: Final = False
    parts: Final[Mapping[str, PartKind]] = {}

    def __init__(self, features: Sequence[AnyFeature], parameters: ClassificationParameters) -> None:
        self._features = tuple(features)
        self._names = FieldNames(feature.name for feature in features)
        self._classifier = Classifier(parameters)
        columns = tuple(TensorSpec(feature.name, feature.dtype, (1,)) for feature in features)
        self._fields = [(column.name, _NUMPY.get(column.dtype, column.dtype)) for column in columns]
        self.feeds: Final = (TensorSpec("features", ROW, (len(columns),), columns=columns),)
        self.outputs: Final = self._classifier.outputs
        self.graphs: Final = {MODEL: GraphSpec(self.feeds, self.outputs)}

    def encode(self, value: object) -> bytes:
        """Check one input object and give the bytes to store. Raises InputRejected with every fault."""
        return _packed(self._checked(value))

    def decode(self, payload: bytes) -> dict[str, Stored]:
        """Stored bytes -> the input, an absent value as null. Raises InputRejected."""
        try:
            if payload[:1] == _VERSION:
                return self._checked(json.loads(payload[1:]))
        except (ValueError, InputRejected):
            pass
        raise InputRejected(_DAMAGED)

    def _checked(self, value: object) -> dict[str, Stored]:
        """What to store of an input, in the manifest's order. Raises InputRejected."""
        if not isinstance(value, dict):
            raise InputRejected(FieldFault("", "not_an_object", "Send a JSON object with one value a field."))
        found = {feature.name: feature.check(value.get(feature.name)) for feature in self._features}
        faults = [each for each in found.values() if isinstance(each, FieldFault)]
        faults += self._names.unknown(value)
        if faults:
            raise InputRejected(*faults)
        return {name: each for name, each in found.items() if not isinstance(each, FieldFault)}

    def preprocess(self, payloads: Sequence[bytes]) -> dict[str, Array]:
        """n stored rows -> {"features": structured array [n]}. Raises RowFault."""
        rows = []
        for index, payload in enumerate(payloads):
            try:
                stored = self.decode(payload)
            except InputRejected as error:
                raise RowFault(index, error.faults[0]) from None
            rows.append(tuple(feature.fed(stored[feature.name]) for feature in self._features))
        return {"features": np.array(rows, dtype=self._fields)}

    def open(self, folder: Path) -> Self:  # noqa: ARG002 - it needs no file but the graph
        """See Pipeline: this pipeline is both halves."""
        return self

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """One run of the graph; see Scoring."""
        return score_in_one_pass(self, run, cases)

    def postprocess(self, outputs: Mapping[str, Array], count: int) -> list[dict[str, object]]:
        """Probabilities -> results; see classification. Raises PredictionInvalid."""
        return self._classifier.results(outputs, count)

    def extremes(self) -> list[bytes]:
        """See probing: the example, and that with each feature at each of its ends, and absent."""
        return [_packed(row) for row in self._rows()]

    def _rows(self) -> Iterator[dict[str, Stored]]:
        sample: dict[str, Stored] = {feature.name: feature.sample for feature in self._features}
        yield sample
        for feature in self._features:
            for end in _ends(feature):
                yield {**sample, feature.name: end}

    def further_extremes(self, outputs: Mapping[str, Array]) -> list[bytes]:
        """See probing: for each output, every feature at the end that drove it up most, and at the one that drove it down."""
        rows = []
        for values in outputs.values():
            for column in np.asarray(values, np.float64).T:
                starts = np.cumsum([1, *(len(_ends(feature)) for feature in self._features)])
                driven = [
                    (feature.name, _ends(feature), column[start:])
                    for feature, start in zip(self._features, starts, strict=False)
                ]
                rows += [
                    {name: ends[int(extreme(found[: len(ends)]))] for name, ends, found in driven}
                    for extreme in (np.argmax, np.argmin)
                ]
        return [_packed(row) for row in rows]

    def options_schema(self) -> dict[str, object]:
        """See Pipeline: no options."""
        return no_options_schema()

    def check_options(self, value: object) -> dict[str, object]:
        """See Pipeline: any option is refused."""
        return refuse_options(value)

    def labels(self) -> list[Label]:
        """The classes, in the graph's order."""
        return self._classifier.labels()

    def result_schema(self) -> dict[str, object]:
        """JSON Schema 2020-12 of one result."""
        return self._classifier.result_schema()

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:  # noqa: ARG002  values are no files
        """JSON Schema 2020-12 of one input: an object of values, each with its title and what it may be."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {feature.name: feature.json_schema() for feature in self._features},
            "required": [feature.name for feature in self._features if feature.required],
            "additionalProperties": False,
            "examples": [{feature.name: feature.sample for feature in self._features}],
        }


def _ends(feature: AnyFeature) -> tuple[Stored, ...]:
    """The ends of what is accepted, and that it is absent where a value of the manifest's stands for it."""
    stands_for = not feature.required and not isinstance(feature, Feature)
    return (*feature.ends, None) if stands_for else feature.ends


def _packed(row: Mapping[str, Stored]) -> bytes:
    return _VERSION + json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
