"""Rows by name: rows of the database as values whose fields are named like the columns."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

Row = Any  # a named tuple of the columns that a statement answers with: mypy does not know them

T = TypeVar("T")


def build(kind: type[T], row: Row, /, **derived: Any) -> T:
    """The dataclass `kind` of a row: `derived` fields as given, each of the others from the column of its name.

    So a column that is added to a statement and to the dataclass is in the value. One that only the dataclass has raises
    AttributeError; one that only the row has is left out.
    """
    order, read = _columns(kind, *derived)  # type: ignore[arg-type]  # a class is hashable
    if order is None:
        return kind(*derived.values(), *read(row))
    return kind(**dict(zip(order, read(row), strict=True)), **derived)


@cache
def _columns(kind: Any, *derived: str) -> tuple[tuple[str, ...] | None, Callable[[Row], tuple[Any, ...]]]:
    """The fields of a dataclass that come from columns, None if they just follow the derived ones, and what reads them."""
    declared = [field.name for field in fields(kind) if field.init and not field.kw_only]
    names = tuple(field.name for field in fields(kind) if field.init and field.name not in derived)
    read = attrgetter(*names) if len(names) > 1 else lambda row: tuple(getattr(row, name) for name in names)
    return None if declared == [*derived, *names] else names, read
