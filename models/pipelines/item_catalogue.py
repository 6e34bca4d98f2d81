"""The catalogue of a recommender: the items that a graph ranks, in its order, with their codes and other ways to name them.

A side file in CSV with a line for each item: `id`, `display`, and if wanted `system` and `code`, `also` (further names or
codes, separated by semicolons) and `withdrawn`, which says why callers must not send the item any more. Withdrawn items are
not ranked, and are no columns of the graph.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from models.field_codes import FieldCode
from models.pipelines.contract import FieldFault, SideFileUnusable, pointer_to
from models.pipelines.typed_classification import Coding

LIST: Final = ";"
_SPACES: Final = re.compile(r"\s+")
_NEEDED: Final = ("id", "display")
_COLUMNS: Final = (*_NEEDED, "system", "code", "also", "withdrawn")


# What a name is made of, as the ingredients of a drug; empty if it is not known.
Parts = Callable[[str], frozenset[str]]


def no_parts(_: str) -> frozenset[str]:
    """Nothing is made of anything."""
    return frozenset()


def folded(name: str) -> str:
    """A name as it is looked up: without case, and with single spaces."""
    return _SPACES.sub(" ", name).strip().casefold()


@dataclass(frozen=True, slots=True)
class Item:
    """One item. `withdrawn` is the reason, None if it is still in use."""

    id: str
    display: str
    code: Coding | None
    also: tuple[str, ...]
    withdrawn: str | None

    @property
    def names(self) -> Iterator[str]:
        """All that callers may write for it: its id, its display, `also`, and its code behind its system and a bar."""
        yield from (self.id, self.display, *self.also)
        if self.code is not None:
            yield f"{self.code.system}|{self.code.code}"


class Catalogue:
    """The items by place and by name. Immutable."""

    def __init__(self, items: Sequence[Item], path: str, parts: Parts = no_parts) -> None:
        """Raises SideFileUnusable if a name means two items. Names that no item has mean those of the same `parts`."""
        self.items: Final = tuple(item for item in items if item.withdrawn is None)
        self.place: Final[Mapping[str, int]] = {item.id: place for place, item in enumerate(self.items)}
        self._by_name: dict[str, Item] = {}
        for item in items:
            for name in map(folded, item.names):
                if self._by_name.setdefault(name, item) is not item:
                    raise unusable(path, f"the name {name!r} means two items: remove it from one")
        self._parts = parts
        self._has_parts = parts is not no_parts
        self._all = tuple(items)
        if not self.items:
            raise unusable(path, "it has no item that is in use: add some")

    @cached_property
    def _by_parts(self) -> Mapping[frozenset[str], Item | None]:
        """The items by what they are made of; None where several are. Found out when a name first asks for it."""
        found: dict[frozenset[str], Item | None] = {}
        for item in self._all:
            made_of = self._parts(item.id)
            found[made_of] = None if made_of in found else item
        return found

    @classmethod
    def read(cls, content: bytes, path: str, parts: Parts = no_parts) -> Catalogue:
        """The catalogue written in a CSV file. Raises SideFileUnusable."""
        lines = read_lines(content, path, _NEEDED, _COLUMNS)
        return cls([_item(line, number, path) for number, line in lines], path, parts)

    def __len__(self) -> int:
        return len(self.items)

    def find(self, name: str) -> Item | None:
        """The item of this name, withdrawn ones too."""
        return self._by_name.get(folded(name))

    def meant(self, name: str) -> tuple[Item, ...]:
        """The items that a name means, withdrawn ones too: that of the name, that of all its parts, or those of each part."""
        if (item := self.find(name)) is not None:
            return (item,)
        if not (made_of := self._parts(name)):
            return ()
        if (item := self._by_parts.get(made_of)) is not None:
            return (item,)
        found = (self._by_parts.get(frozenset([each])) for each in sorted(made_of))
        return tuple(item for item in found if item is not None)

    def faults(self, field: str, names: Sequence[str]) -> Iterator[FieldFault]:
        """Of a list of names that was sent as `field`: items that are withdrawn, or stand in it twice.

        Where names have `parts`, as those of drugs have, an item that stands in it twice counts once and is no fault: the rule
        that reviews drugs tells it.
        """
        seen: dict[Hashable, int] = {}
        for place, name in enumerate(names):
            pointer = pointer_to(field, str(place))
            for item in self.meant(name):
                if item.withdrawn is not None:
                    detail = f"{item.display} is withdrawn: {item.withdrawn}"
                    yield FieldFault(pointer, FieldCode.NOT_ALLOWED, detail)
            if self._has_parts:
                continue
            if (first := seen.setdefault(self.same(name), place)) != place:
                twin = pointer_to(field, str(first))
                detail = f"This item stands in {field} twice, at {twin} too, perhaps by another name: send it once."
                yield FieldFault(pointer, FieldCode.DOUBLED, detail)

    def same(self, name: str) -> Hashable:
        """Equal for names that mean the same items. A code stands for itself: other systems have several for one item."""
        items = () if ":" in name else self.meant(name)
        return frozenset(item.id for item in items) or folded(name)


def read_lines(
    content: bytes, path: str, needed: Iterable[str], columns: Iterable[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a CSV file with a header, by number, each with all `columns`, "" where it has none.

    Raises SideFileUnusable: not UTF-8, not CSV, a column missing or unknown, a needed cell empty.
    """
    columns, needed = list(columns), list(needed)
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise unusable(path, "it is not CSV in UTF-8: save it again") from None
    header = rows[0] if rows else []
    if not {*needed} <= {*header} or not {*header} <= {*columns} or len({*header}) < len(header):
        raise unusable(
            path, f"its first line must name columns: {', '.join(needed)}, and others of {', '.join(columns)}"
        )
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise unusable(path, f"line {number} has {len(row)} cells and the header {len(header)}")
        line = dict.fromkeys(columns, "") | {
            name: cell.strip() for name, cell in zip(header, row, strict=True)
        }
        if empty := [name for name in needed if not line[name]]:
            raise unusable(path, f"line {number} lacks {', '.join(empty)}")
        yield number, line


def listed(cell: str) -> tuple[str, ...]:
    """The entries of a cell that holds several."""
    return tuple(each.strip() for each in cell.split(LIST) if each.strip())


def unusable(path: str, detail: str) -> SideFileUnusable:
    """The fault of a side file that cannot be used."""
    return SideFileUnusable(path, "side_file_unusable", detail)


def _item(line: Mapping[str, str], number: int, path: str) -> Item:
    if bool(line["system"]) is not bool(line["code"]):
        raise unusable(path, f"line {number} must have both system and code, or neither")
    return Item(
        id=line["id"],
        display=line["display"],
        code=Coding(system=line["system"], code=line["code"]) if line["code"] else None,
        also=listed(line["also"]),
        withdrawn=line["withdrawn"] or None,
    )
