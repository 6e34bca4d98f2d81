"""The columns of a file: which are scored, which are ignored, and which are missing.

A column that is neither a field nor carried is ignored. But where a field has no column, one with nearly the field's
name would silently go unscored: such a file is refused, until the column is renamed, carried or listed to be ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from models.pipelines.names import near_names
from service.batches.files.layouts import ARCHIVES
from service.batches.files.problems import FileProblem, FileRefused

if TYPE_CHECKING:  # the API reads columns, and loads no Arrow for it
    from service.batches.files.layouts import Wanted

MOST_NAMES: Final = 1000
SHOWN: Final = 64


@dataclass(frozen=True)
class Columns:
    """The columns of a file: fields that were `used`, columns that were `ignored`, fields that were `absent`.

    Each lists MOST_NAMES at most. What is carried is in the request. `unlisted`: how many files of an archive its index
    does not list.
    """

    used: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    unlisted: int = 0

    @classmethod
    def of(cls, names: tuple[str, ...], wanted: Wanted) -> Self:
        """Those of a file whose columns are called `names`, in the order of the model and of the file."""
        held, taken = set(names), {*wanted.field_names, *wanted.carried}
        return cls(
            tuple(name for name in wanted.field_names if name in held)[:MOST_NAMES],
            tuple(name for name in dict.fromkeys(names) if name not in taken)[:MOST_NAMES],
            tuple(name for name in wanted.field_names if name not in held)[:MOST_NAMES],
        )

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Self:
        """What `as_json` gave, after a round trip through JSON."""
        return cls(tuple(table["used"]), tuple(table["ignored"]), tuple(table["absent"]))

    def as_json(self) -> dict[str, Any]:
        """The names as JSON values. How many files are unlisted is known by the layout."""
        return {"used": self.used, "ignored": self.ignored, "absent": self.absent}


def read_columns(head: bytes) -> Columns | None:
    """The columns in the output of plans.head_of; None where there are none, or the previous release wrote it."""
    table = json.loads(head)
    if (found := table.get("columns")) is None:
        return None
    layout = table["layout"]
    unlisted = layout.get("unused", 0) if layout["format"] in ARCHIVES else 0
    return replace(Columns.from_json(found), unlisted=unlisted)


def check_columns(names: tuple[str, ...], wanted: Wanted) -> None:
    """Raises FileRefused when the columns of a file are not those wanted."""
    held, taken = set(names), {*wanted.field_names, *wanted.carried}
    if doubled := sorted(name for name in taken if names.count(name) > 1):
        raise FileRefused(FileProblem.COLUMN_DUPLICATE, f"Several columns are named {_listed(doubled)}.")
    absent = [name for name in (*wanted.field_names, *wanted.carried) if name not in held]
    near = near_names(absent, (name for name in names if name not in taken and name not in wanted.ignore))
    required = {*(name for name, required in wanted.fields if required), *wanted.carried}
    meant = _meant(near, {*wanted.carried} - {*wanted.field_names})
    if lacking := [name for name in absent if name in required and name not in near]:
        more = f" {meant}" if near else ""
        raise FileRefused(FileProblem.COLUMN_MISSING, f"There is no column {_listed(lacking)}.{more}")
    if near:
        raise FileRefused(FileProblem.COLUMN_UNKNOWN, meant)
    if wanted.field_names and held.isdisjoint(
        wanted.field_names
    ):  # each may be left out, but not all: nothing is read
        fields = _listed([*wanted.field_names])
        raise FileRefused(FileProblem.COLUMN_MISSING, f"There is no column of the model, which has {fields}.")


def _meant(near: dict[str, str], carried: set[str]) -> str:
    """What to do about columns with nearly the wanted names: correct the file, or what the request carries."""
    fields = [
        f"`{_printable(found)}` is nearly `{name}`" for name, found in near.items() if name not in carried
    ]
    options = [
        f"`{_printable(name)}` is `{_printable(found)}` in the file"
        for name, found in near.items()
        if name in carried
    ]
    told = []
    if fields:
        told.append(
            f"{_listed(fields)}: name it so in the file. If it is something else, carry it or list it in `ignore`."
        )
    if options:
        told.append(f"{_listed(options)}: name it so in `id_column` or `carry`.")
    return " ".join(told)


def _printable(name: str) -> str:
    """A name from outside, for a message: its beginning, without unprintable characters."""
    cut = name if len(name) <= SHOWN else name[: SHOWN - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return "".join(char if char.isprintable() and char != "`" else "\N{MIDDLE DOT}" for char in cut)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
