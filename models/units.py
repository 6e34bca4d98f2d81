"""How a unit is written for people: UCUM's code behind the number, and nothing for "1", the unit of plain numbers."""

from __future__ import annotations

NONE = "1"


def has_unit(unit: str | None) -> bool:
    """Whether there is a unit to write."""
    return unit not in {None, "", NONE}


def after(unit: str | None) -> str:
    """The unit as it follows a number, such as " mm"; empty for "1" or none."""
    return f" {unit}" if has_unit(unit) else ""
