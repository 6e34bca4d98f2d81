"""What is read from a batch's file: the fields of the model, the carried columns, and how the file is written."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, Self

from models.lazy import pa
from models.pipelines.schema_columns import ColumnKind

FILE_COLUMN = "file"
LATER_OPTIONS = ("ignore", "missing", "decimal", "kinds", "taken")


class BatchFormat(StrEnum):
    """How a batch's file is written."""

    PARQUET = "parquet"
    CSV = "csv"
    NDJSON = "ndjson"
    ZIP = "zip"
    TAR = "tar"


ARCHIVES: Final = frozenset((BatchFormat.ZIP, BatchFormat.TAR))


@dataclass(frozen=True)
class Wanted:
    """What a caller asks for. `fields` is empty for a model that takes files.

    `delimiter` is of CSV; None: detected. `index` is the member of an archive that names its files; None: `index.csv`,
    `index.ndjson` or `index.jsonl` where there is one, else every file is a row. `ignore` lists columns and keys that
    are ignored, whatever their names. Of CSV: `missing` are the texts that mark a missing number, beside the empty
    cell, and `decimal` is the decimal mark, None for a point. `kinds` say what the cells of each field hold
    (ColumnKind's values) where rows become inputs one by one; None: numbers, read by column. `taken` are the names of
    the columns of results, where they are derived or tell what an input lacks.
    """

    fields: tuple[tuple[str, bool], ...] = ()
    carry: tuple[str, ...] = ()
    id_column: str | None = None
    delimiter: str | None = None
    index: str | None = None
    ignore: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    decimal: str | None = None
    kinds: tuple[str, ...] | None = None
    taken: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values, without options that are not set."""
        return {
            name: value
            for name, value in asdict(self).items()
            if value not in (None, ()) or name not in LATER_OPTIONS or (name == "kinds" and value is not None)
        }

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Self:
        """What `as_json` gave, after a round trip through JSON."""
        return cls(
            **{
                **table,
                "fields": tuple((name, required) for name, required in table["fields"]),
                "carry": tuple(table["carry"]),
                **{name: tuple(table.get(name, ())) for name in ("ignore", "missing", "taken")},
                "kinds": None if (kinds := table.get("kinds")) is None else tuple(kinds),
            }
        )

    @property
    def by_value(self) -> bool:
        """Whether each row becomes an input of its own."""
        return self.kinds is not None

    @property
    def holds_lists(self) -> bool:
        """Whether an input may hold a list or an object, such as a recording: its line may be longer than others."""
        return ColumnKind.JSON in (self.kinds or ())

    @property
    def takes_rows(self) -> bool:
        """Whether the model takes rows, and no files."""
        return bool(self.fields) or self.by_value

    @property
    def carried(self) -> tuple[str, ...]:
        """The carried columns, the id first, each once."""
        first = () if self.id_column is None else (self.id_column,)
        return tuple(dict.fromkeys((*first, *self.carry)))

    @property
    def field_names(self) -> tuple[str, ...]:
        """The model's fields in its order."""
        return tuple(name for name, _ in self.fields)


@dataclass(frozen=True)
class Layout:
    """How a file is read: what was wanted, and what its inspection found.

    `carried` is the schema of the carried columns, the same in every chunk. `columns` is the header of CSV, or the
    fields that a Parquet file has; of an archive with an index, the column of files. `nested`: NDJSON lines
    `{custom_id, input}`. `mixed`: carried NDJSON columns with values of several kinds, which are carried as their JSON
    text unless they are texts. `unused`: how many columns or members of the file are neither scored nor carried.
    """

    format: BatchFormat
    wanted: Wanted
    carried: pa.Schema
    columns: tuple[str, ...] = ()
    delimiter: str = ","
    nested: bool = False
    mixed: tuple[str, ...] = ()
    unused: int = 0

    @property
    def identifying(self) -> tuple[str, ...]:
        """The carried columns in errors: the id, and the file of an index, unless an earlier release planned it."""
        first = () if self.wanted.id_column is None else (self.wanted.id_column,)
        return tuple(dict.fromkeys((*first, *(self.columns if self.format in ARCHIVES else ()))))

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values. Options that are not set are left out: a worker of the previous release reads the rest."""
        schema = base64.b64encode(self.carried.serialize()).decode()
        table = asdict(replace(self, carried=None))
        return {**table, "wanted": self.wanted.as_json(), "carried": schema}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Self:
        """What `as_json` gave, after a round trip through JSON."""
        wanted = Wanted.from_json(table["wanted"])
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(table["carried"])))
        lists = {name: tuple(table[name]) for name in ("columns", "mixed")}
        return cls(
            **{**table, **lists, "format": BatchFormat(table["format"]), "wanted": wanted, "carried": schema}
        )
