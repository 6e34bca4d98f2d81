"""The file of places: CSV with a line for each, with `id`, `name`, `latitude` and `longitude` (degrees, WGS 84).

If known it has `kind`, `services`, `emergency`, `opening_hours`, `address`, `phone` and `only`, which is `children` or
`maternity` where it is for these alone. An empty cell means that it is not known, never that there is none.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_NEEDED: Final = ("id", "name", "latitude", "longitude")
COLUMNS: Final = (*_NEEDED, "kind", "services", "emergency", "opening_hours", "address", "phone", "only")
_ONLY: Final = frozenset(("", "children", "maternity"))
_EMERGENCY: Final[Mapping[str, bool | None]] = {"": None, "yes": True, "no": False}


class FileUnusable(Exception):
    """The file of places cannot be used. Says which line, and what to change."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place. `services` are empty, and what else is None unknown; `kind` is such as hospital, doctor or pharmacy."""

    id: str
    name: str
    latitude: float
    longitude: float
    kind: str | None = None
    services: frozenset[str] = frozenset()
    emergency: bool | None = None  # whether it has an emergency department
    opening_hours: str | None = None
    address: str | None = None
    phone: str | None = None
    only: str | None = None  # for whom alone it is: "children" or "maternity"


def read_places(content: bytes) -> list[Place]:
    """The places of a file, in its order. Raises FileUnusable."""
    found: dict[str, Place] = {}
    for number, line in _lines(content):
        place = _place(line, number)
        if place.id in found:
            raise FileUnusable(f"line {number}: another line has the id {place.id!r}")
        found[place.id] = place
    if not found:
        raise FileUnusable("it has no place: add some")
    return list(found.values())


def _lines(content: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise FileUnusable("it is not CSV in UTF-8: save it again") from None
    header = rows[0] if rows else []
    if not {*_NEEDED} <= {*header} <= {*COLUMNS} or len({*header}) < len(header):
        raise FileUnusable(
            f"its first line must name columns: {', '.join(_NEEDED)}, and others of {', '.join(COLUMNS)}"
        )
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise FileUnusable(f"line {number} has {len(row)} cells and the header {len(header)}")
        cells = (cell.strip() for cell in row)
        yield number, dict.fromkeys(COLUMNS, "") | dict(zip(header, cells, strict=True))


def _place(line: Mapping[str, str], number: int) -> Place:
    if empty := [name for name in _NEEDED if not line[name]]:
        raise FileUnusable(f"line {number} lacks {', '.join(empty)}")
    if line["emergency"] not in _EMERGENCY:
        raise FileUnusable(f"line {number}: emergency must be yes, no or empty")
    if line["only"] not in _ONLY:
        raise FileUnusable(f"line {number}: only must be children, maternity or empty")
    return Place(
        id=line["id"],
        name=line["name"],
        latitude=_degrees(line, "latitude", 90, number),
        longitude=_degrees(line, "longitude", 180, number),
        kind=line["kind"] or None,
        services=frozenset(filter(None, (each.strip() for each in line["services"].split(";")))),
        emergency=_EMERGENCY[line["emergency"]],
        opening_hours=line["opening_hours"] or None,
        address=line["address"] or None,
        phone=line["phone"] or None,
        only=line["only"] or None,
    )


def _degrees(line: Mapping[str, str], name: str, most: float, number: int) -> float:
    try:
        value = float(line[name])
    except ValueError:
        value = math.nan
    if not -most <= value <= most:
        raise FileUnusable(f"line {number}: {name} must be a number between {-most:g} and {most:g} degrees")
    return value
