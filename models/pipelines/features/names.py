"""The names of a table's features, and messages on unknown keys."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

from models.field_codes import FieldCode
from models.pipelines.contract import FieldFault, pointer_to
from models.pipelines.names import folded

MOST_LETTERS: Final = 64  # of a key that is compared
_ALIKE: Final = 0.65  # ratio of difflib, from which on a name is near: `best_of` is not for `stop`, at 0.6
_NAMED: Final = 20  # a client may send any number of fields we do not know


class FieldNames:
    """The names of a table's features, and faults of other keys."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._folded = {folded(name): name for name in sorted(self._names)}

    def unknown(self, value: Mapping[object, object]) -> list[FieldFault]:
        """Faults of the keys of an input that are no features."""
        unknown = [str(key) for key in value if key not in self._names]
        faults = [
            FieldFault(pointer_to(key), FieldCode.UNKNOWN_FIELD, self._advice(key))
            for key in unknown[:_NAMED]
        ]
        if (more := len(unknown) - len(faults)) > 0:
            faults.append(
                FieldFault("", FieldCode.UNKNOWN_FIELD, f"Remove {more} more fields the model does not take.")
            )
        return faults

    def _advice(self, key: str) -> str:
        """What to do with an unknown field. Names the model's own fields only: a key may hold anything."""
        near = self.nearest(key)
        meant = "" if near is None else f" Did you mean {near}?"
        return f"The model does not take this field: remove it.{meant}"

    def nearest(self, key: str) -> str | None:
        """The name that a key resembles most, if any."""
        if len(key) > MOST_LETTERS:
            return None
        near = difflib.get_close_matches(folded(key), self._folded, 1, _ALIKE)
        return self._folded[near[0]] if near else None
