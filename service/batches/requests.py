"""The request of a batch. It is stored sealed, because the names and locations of files may identify patients."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from models.pipelines import Pipeline
from service.batches.files.formats import wanted_of
from service.batches.files.layouts import BatchFormat, Wanted
from service.batches.files.output_names import OutputFormat
from service.batches.files.sources import Source, UploadSource, UriSource
from service.uploads import Uploads


class RerunRows(StrEnum):
    """Which rows a re-run with its own source scores: those that failed, by number, or all."""

    FAILED = "failed"
    ALL = "all"


@dataclass(frozen=True)
class BatchRequest:
    """A source, one of `upload_id` and `uri`, and what to do with it.

    `delimiter` is for CSV and `index` for archives; detected if None. `place` is the URI of a folder that receives an
    unencrypted copy of the output. With `dry_run_rows`, that many rows are checked and none is scored. `rows` is for a
    re-run that validates its own source; without it a re-run uses the source and plan of its first batch. `options` are
    the model's options as received. For the other fields see Wanted.
    """

    format: BatchFormat
    upload_id: UUID | None = None
    uri: str | None = None
    carry: tuple[str, ...] = ()
    id_column: str | None = None
    delimiter: str | None = None
    index: str | None = None
    output: OutputFormat = OutputFormat.NDJSON
    place: str | None = None
    dry_run_rows: int | None = None
    ignore: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    decimal: str | None = None
    rows: RerunRows | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As JSON values; options that are not set are left out."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), {})}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Self:
        """The request of which `as_json` returned this table."""
        upload_id = table.get("upload_id")
        return cls(
            **{
                **table,
                "format": BatchFormat(table["format"]),
                "upload_id": None if upload_id is None else UUID(upload_id),
                "carry": tuple(table.get("carry", ())),
                **{name: tuple(table.get(name, ())) for name in ("ignore", "missing")},
                "output": OutputFormat(table.get("output", OutputFormat.NDJSON)),
                "rows": None if table.get("rows") is None else RerunRows(table["rows"]),
            }
        )


def source_of(request: BatchRequest, tenant_id: UUID, uploads: Uploads, roots: Sequence[str]) -> Source:
    """The source that a request names. Raises FileRefused if its URI is below none of the allowed `roots`."""
    if request.upload_id is not None:
        return UploadSource(uploads, tenant_id, request.upload_id)
    return UriSource(request.uri or "", roots)


def wanted_by(request: BatchRequest, pipeline: Pipeline) -> Wanted:
    """The columns that a request and its model need from the source. Raises FileRefused if the model takes no batches."""
    return wanted_of(
        pipeline,
        carry=request.carry,
        id_column=request.id_column,
        delimiter=request.delimiter,
        index=request.index,
        ignore=request.ignore,
        missing=request.missing,
        decimal=request.decimal,
    )
