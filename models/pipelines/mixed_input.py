"""The input of a table that contains more than numbers: integers, booleans, categories and texts.

The feed `features` has one column per feature, each of its own type; the graph takes them as separate inputs, or several as
the columns of one. An input is stored as the version byte 1 and a JSON object of all features in the manifest's order, with
`null` for absent ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from models.lazy import np
from models.pipelines.contract import (
    ROW,
    InputRejected,
    RowFault,
    TensorSpec,
)
from models.pipelines.features import AnyFeature, Feature
from models.pipelines.features.words import CategoryFeature
from models.pipelines.table_input import DAMAGED, TableInput

if TYPE_CHECKING:
    from models.pipelines.contract import Array
    from models.pipelines.features.table import Stored

_VERSION: Final = b"\x01"
_NUMPY: Final[Mapping[str, str]] = {"string": "O"}


class MixedInput(TableInput):
    """Encodes and decodes inputs, and feeds them. Immutable after construction, so every thread may use one instance."""

    def __init__(self, features: Sequence[AnyFeature], missing: Iterable[str] = ()) -> None:
        super().__init__(features, missing)
        columns = tuple(
            TensorSpec(
                feature.name,
                feature.dtype,
                (1,),
                values=feature.fed_values if isinstance(feature, CategoryFeature) else (),
            )
            for feature in features
        )
        self.feed: Final = TensorSpec("features", ROW, (len(columns),), columns=columns)
        self._fields = [(column.name, _NUMPY.get(column.dtype, column.dtype)) for column in columns]

    def encode(self, value: object) -> bytes:
        """Check one input object and give the bytes to store. Raises InputRejected with every fault."""
        return _packed(self.checked(value))

    def decode(self, payload: bytes) -> dict[str, Stored]:
        """Stored bytes -> the input, an absent value as null. Raises InputRejected."""
        try:
            if payload[:1] == _VERSION:
                return self.checked(json.loads(payload[1:]))
        except (ValueError, InputRejected):
            pass
        raise InputRejected(DAMAGED)

    def missing_of(self, payload: bytes) -> list[str]:
        """See TableInput."""
        return [name for name, stored in json.loads(payload[len(_VERSION) :]).items() if stored is None]

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


def _ends(feature: AnyFeature) -> tuple[Stored, ...]:
    """The ends of what is accepted, and that it is absent where a value of the manifest's stands for it."""
    stands_for = not feature.required and not isinstance(feature, Feature)
    return (*feature.ends, None) if stands_for else feature.ends


def _packed(row: Mapping[str, Stored]) -> bytes:
    return _VERSION + json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
