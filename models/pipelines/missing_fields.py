"""`missing` of a result: the names of what its input may lack and does lack, in the manifest's order.

The model answers such an input by what it takes for an unknown value, such as the median of its training data: who reads the
answer has to know. Models that require every field have no `missing`, and results of earlier releases lack it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from models.lazy import np
from models.pipelines.schema_columns import ColumnKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.pipelines.columns import CategoryColumn, Mask

MISSING: Final = "missing"


def with_missing(schema: dict[str, Any], names: Sequence[str], description: str) -> dict[str, object]:
    """The schema of a result with `missing`, whose items are of `names`; the schema itself where there are none."""
    if not names:
        return schema
    told = {
        "type": "array",
        "items": {"enum": [*names]},
        "uniqueItems": True,
        "description": f"{description}; results of earlier releases lack it",
    }
    return {**schema, "properties": {**schema["properties"], MISSING: told}}


def missing_column(names: Sequence[str], absent: Mask) -> CategoryColumn:
    """The column `missing` of n rows: lists as JSON, each different one once. `absent` bool [n, names]."""
    from models.pipelines.columns import CategoryColumn

    lacking = np.flatnonzero(absent.any(axis=1))
    some = absent[lacking]
    keys = _as_integers(some)
    axis = None if keys.ndim == 1 else 0
    _, first, places = np.unique(keys, return_index=True, return_inverse=True, axis=axis)
    codes = np.zeros(len(absent), np.int32)
    codes[lacking] = places.reshape(-1) + 1
    lists = [[], *([names[place] for place in np.flatnonzero(row).tolist()] for row in some[first])]
    words = tuple(to_json(each).decode() for each in lists)
    return CategoryColumn(MISSING, codes, words, ColumnKind.JSON)


def _as_integers(mask: Mask) -> NDArray[np.uint64]:
    """The rows of a mask [n, k] as integers, whose comparison is many times faster: [n], or [n, w] of more than 64 bits."""
    packed = np.packbits(mask, axis=1)
    padded = np.zeros((len(packed), max(1, -(-mask.shape[1] // 64)) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    integers = padded.view(np.uint64)
    return integers[:, 0] if integers.shape[1] == 1 else integers
