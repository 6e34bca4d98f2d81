"""`tabular-classification`: named values in, one of a few classes out.

Tables of numbers only have a path of their own, on which a good row, or a good column, is accepted without checking each
cell; tables with other values go the way of mixed_input. Of the former the graph takes `features` float32 [N,F] in the
manifest's order, and an input is stored as F little-endian float64, so a batch is one `np.frombuffer` over the joined rows. A
feature with `required = false` may be absent or null: it is stored as NaN, and the graph imputes it. See classification for
the outputs of the graph.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from operator import itemgetter, le
from typing import TYPE_CHECKING, Any, Final

from models.lazy import np
from models.manifest import ModelManifest, parse_parameters
from models.pipelines import (
    Answer,
    Case,
    InputRejected,
    Pipeline,
    ReadFile,
    RowFault,
    Run,
    TensorSpec,
)
from models.pipelines.classification_parameters import ClassificationParameters
from models.pipelines.classification_pipeline import ClassificationPipeline
from models.pipelines.features import Feature
from models.pipelines.missing_fields import missing_column
from models.pipelines.mixed_input import MixedInput
from models.pipelines.table_input import DAMAGED, TableInput, TableParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.pipelines import Array
    from models.pipelines.columns import CellFaults, FaultFinder, NumberColumn, ResultColumn

_NUMBERS: Final = frozenset((float, int))  # bool is an int to Python and no number to a clinician


class TabularParameters(TableParameters, ClassificationParameters):
    """The `[parameters]` table of a tabular classification manifest."""

    @property
    def numbers(self) -> tuple[Feature, ...]:
        """The features that are numbers."""
        return tuple(feature for feature in self.features if isinstance(feature, Feature))


class TableClassification(TableInput, ClassificationPipeline):
    """What the classification of both kinds of tables has in common."""

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """One run of the graph; see Scoring."""
        return self.with_missing(super().score(run, cases), cases)

    def result_schema(self) -> dict[str, object]:
        """JSON Schema 2020-12 of one result."""
        return self.schema_with_missing(super().result_schema())


class MixedClassification(MixedInput, TableClassification):
    """The pipeline of tables with other values than numbers. Immutable, so every thread may use one instance."""

    def __init__(self, parameters: TabularParameters) -> None:
        MixedInput.__init__(self, parameters.features, parameters.missing)
        ClassificationPipeline.__init__(self, parameters, self.feed)


class TabularClassification(TableClassification):
    """The pipeline of tables of numbers. Immutable after construction, so every thread may use one instance."""

    def __init__(self, parameters: TabularParameters) -> None:
        self._numbers = parameters.numbers
        names = [feature.name for feature in self._numbers]
        columns = tuple(TensorSpec(name, "float32", (1,)) for name in names)
        TableInput.__init__(self, self._numbers, parameters.missing)
        feed = TensorSpec("features", "float32", (len(columns),), columns=columns)
        ClassificationPipeline.__init__(self, parameters, feed)
        # One name alone would be given as its value, not as a tuple.
        self._pick = itemgetter(*names) if len(names) > 1 else lambda value: (value[names[0]],)
        self._minima = tuple(feature.minimum for feature in self._numbers)
        self._maxima = tuple(feature.maximum for feature in self._numbers)
        self._row = struct.Struct(f"<{len(names)}d")
        self._optional_places = [place for place, each in enumerate(self._numbers) if not each.required]

    def encode(self, value: object) -> bytes:
        """Check one input object and pack it as F little-endian float64. Raises InputRejected.

        The first lines are the API's hot path: they accept a plain good input without looking at a field in
        Python, and decide nothing else. What they do not accept, `_check_fields` decides field by field.
        """
        if type(value) is dict and len(value) == len(self._numbers):
            try:
                numbers = self._pick(value)
            except KeyError:
                return self._check_fields(value)
            if self._are_good(numbers):
                return self._row.pack(*numbers)
        return self._check_fields(value)

    def _are_good(self, numbers: tuple[Any, ...]) -> bool:
        """Whether all are plain numbers in range. NaN and infinities fail a comparison."""
        return (
            _NUMBERS.issuperset(map(type, numbers))
            and all(map(le, self._minima, numbers))
            and all(map(le, numbers, self._maxima))
        )

    def _check_fields(self, value: object) -> bytes:
        """The rules of an input, checked field by field: complete but slow."""
        stored = self.checked(value)
        return self._row.pack(*(feature.fed(stored[feature.name]) for feature in self._numbers))

    def extremes(self) -> list[bytes]:
        """See probing: the middle of all ranges, each field at either end with the others there, and all at an end."""
        lowest, highest = np.array(self._minima), np.array(self._maxima)
        middle = lowest / 2 + highest / 2
        alone = np.eye(len(middle), dtype=np.bool_)
        ends = [np.where(field, end, middle) for field in alone for end in (lowest, highest)]
        rows = [middle, lowest, highest, *ends]
        return [row.astype("<f8").tobytes() for row in rows]

    def further_extremes(self, outputs: Mapping[str, Array]) -> list[bytes]:
        """See probing: for each output, every field at the end that drove it up, and at the other."""
        lowest, highest = np.array(self._minima), np.array(self._maxima)
        rows = []
        for values in outputs.values():
            for column in np.asarray(values, np.float64).T:
                rises = column[4::2] >= column[3::2]
                rows += [np.where(rises, highest, lowest), np.where(rises, lowest, highest)]
        return [row.astype("<f8").tobytes() for row in rows]

    def decode(self, payload: bytes) -> dict[str, float | None]:
        """F little-endian float64 -> the input; a missing field as null. Raises InputRejected."""
        if len(payload) != self._row.size:
            raise InputRejected(DAMAGED)
        numbers = self._row.unpack(payload)
        return {
            feature.name: None if math.isnan(number) else number
            for feature, number in zip(self._numbers, numbers, strict=True)
        }

    def missing_of(self, payload: bytes) -> list[str]:
        """See TableInput."""
        numbers = self._row.unpack(payload)
        return [self._numbers[place].name for place in self._optional_places if math.isnan(numbers[place])]

    def preprocess(self, payloads: Sequence[bytes]) -> dict[str, Array]:
        """n stored rows -> {"features": float32 [n,F]}. Raises RowFault for a row of the wrong length."""
        for index, payload in enumerate(payloads):
            if len(payload) != self._row.size:
                raise RowFault(index, DAMAGED)
        rows = np.frombuffer(b"".join(payloads), dtype="<f8").reshape(len(payloads), len(self._numbers))
        return {"features": rows.astype(np.float32)}

    @property
    def fields(self) -> tuple[tuple[str, bool], ...]:
        """Name of each feature, and whether it is required, in the manifest's order."""
        return tuple((feature.name, feature.required) for feature in self._numbers)

    def check_columns(
        self, columns: Sequence[NumberColumn], count: int
    ) -> tuple[dict[str, Array], CellFaults]:
        """F columns of `count` rows -> {"features": float32 [count,F]}, and what `encode` would refuse of them.

        The features of a row with a fault mean nothing. A column that has its least and its greatest number in
        range has no fault, and NaN is never in range: only other columns are checked cell by cell.
        """
        from models.pipelines.columns import FaultFinder

        features = np.empty((count, len(columns)), dtype=np.float32)
        finder = FaultFinder()
        with np.errstate(over="ignore", invalid="ignore"):  # of faulty cells; no other leaves float32's range
            for index, column in enumerate(columns):
                feature = self._numbers[index]
                plain = column.missing is None and column.wrong_type is None
                if plain and feature.holds(column.values):
                    features[:, index] = column.values
                else:
                    features[:, index] = _judged(feature, column, finder)
        return {"features": features}, finder.found()

    def input_columns(self, feeds: Mapping[str, Array]) -> tuple[ResultColumn, ...]:
        """See FieldPipeline: the fields that each row lacks, if any is optional."""
        if not self.optional:
            return ()
        absent = np.isnan(np.asarray(feeds["features"])[:, self._optional_places])
        return (missing_column(self.optional, absent),)


def load(manifest: ModelManifest, read: ReadFile) -> Pipeline:  # noqa: ARG001 - it has no side files
    """The pipeline of a manifest. Raises ManifestInvalid."""
    parameters = parse_parameters(TabularParameters, manifest)
    if len(parameters.numbers) == len(parameters.features):
        return TabularClassification(parameters)
    return MixedClassification(parameters)


def _judged(feature: Feature, column: NumberColumn, finder: FaultFinder) -> NDArray[np.float64]:
    """`Feature.check` for n cells: returns the float64 [n] to store, and adds faults to `finder`."""
    nowhere = np.zeros(len(column.values), dtype=np.bool_)
    missing = nowhere if column.missing is None else column.missing
    wrong = nowhere if column.wrong_type is None else column.wrong_type
    told = ~(missing | wrong)
    finite = np.isfinite(column.values)
    inside = (feature.minimum <= column.values) & (column.values <= feature.maximum)
    if feature.required:
        finder.add(np.flatnonzero(missing), feature.missing_fault())
    infinite = told & ~finite
    for mask, hint in column.hints:
        finder.add(np.flatnonzero(mask & wrong), feature.wrong_type(hint))
        finder.add(np.flatnonzero(mask & infinite), feature.not_finite(hint))
        wrong, infinite = wrong & ~mask, infinite & ~mask
    finder.add(np.flatnonzero(wrong), feature.wrong_type())
    finder.add(np.flatnonzero(infinite), feature.not_finite())
    finder.add(np.flatnonzero(told & finite & ~inside), feature.out_of_range())
    return np.where(missing, np.nan, column.values)
