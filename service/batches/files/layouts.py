"""What is taken from a batch's file: the fields of the model, the carried columns, and how the file is written."""

import base64
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self

import pyarrow as pa

from service.batches.files.problems import FileProblem, FileRefused

FILE_COLUMN = "file"


class BatchFormat(StrEnum):
    """How a batch's file is written."""

    PARQUET = "parquet"
    CSV = "csv"
    NDJSON = "ndjson"
    ZIP = "zip"
    TAR = "tar"


@dataclass(frozen=True)
class Wanted:
    """What a caller asks for. `fields` is empty for a model that takes files.

    `delimiter` is of CSV, None to find it out. `index` is the member of an archive that names its files; None:
    `index.csv`, `index.ndjson` or `index.jsonl` where there is one, else every file is a row.
    """

    fields: tuple[tuple[str, bool], ...] = ()
    carry: tuple[str, ...] = ()
    id_column: str | None = None
    delimiter: str | None = None
    index: str | None = None

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
    """How a file is read: what was wanted, and what its inspection found out.

    `carried` is the schema of the carried columns, the same in every chunk. `columns` is the header of CSV, or the
    fields that a Parquet file has. `nested`: NDJSON lines `{custom_id, input}`. `mixed`: carried NDJSON columns with
    values of several kinds, which are carried as their JSON text unless they are texts. `unused`: how many columns
    or members of the file are neither scored nor carried.
    """

    format: BatchFormat
    wanted: Wanted
    carried: pa.Schema
    columns: tuple[str, ...] = ()
    delimiter: str = ","
    nested: bool = False
    mixed: tuple[str, ...] = ()
    unused: int = 0

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        schema = base64.b64encode(self.carried.serialize()).decode()
        return {**asdict(replace(self, carried=None)), "carried": schema}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Self:
        """What `as_json` gave, after a round trip through JSON."""
        wanted = Wanted(
            **{
                **table["wanted"],
                "fields": tuple((name, required) for name, required in table["wanted"]["fields"]),
                "carry": tuple(table["wanted"]["carry"]),
            }
        )
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(table["carried"])))
        lists = {name: tuple(table[name]) for name in ("columns", "mixed")}
        return cls(
            **{**table, **lists, "format": BatchFormat(table["format"]), "wanted": wanted, "carried": schema}
        )


def check_columns(names: tuple[str, ...], wanted: Wanted) -> None:
    """Raises FileRefused when the columns of a file are not what is wanted of it.

    A column that is neither a field nor carried is left alone. But where an optional field is absent, a column
    whose name is nearly its own would go unscored unnoticed: that is refused.
    """
    taken = set(wanted.field_names) | set(wanted.carried)
    if doubled := sorted(name for name in taken if names.count(name) > 1):
        raise FileRefused(FileProblem.COLUMN_DUPLICATE, f"Several columns are named {_listed(doubled)}.")
    required = [name for name, required in wanted.fields if required]
    if lacking := [name for name in (*required, *wanted.carried) if name not in names]:
        raise FileRefused(FileProblem.COLUMN_MISSING, f"There is no column {_listed(lacking)}.")
    for field in wanted.field_names:
        if field not in names and any(_folded(name) == _folded(field) for name in names):
            raise FileRefused(
                FileProblem.COLUMN_UNKNOWN, f"A column is nearly named {field}: name it so, or remove it."
            )


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
