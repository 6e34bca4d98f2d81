"""The formats of a batch's file: each can be inspected, which makes a plan, and read, chunk by chunk."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from models.pipelines import Pipeline
from models.pipelines.missing_fields import MISSING
from models.pipelines.rows import FieldPipeline, FilePipeline
from models.pipelines.schema_columns import ColumnKind, input_fields, missing_markers, result_fields
from service.batches.files.layouts import ARCHIVES, BatchFormat, Layout, Wanted
from service.batches.files.output_names import check_names
from service.batches.files.plans import Inspected, Limits, Plan
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.sources import Seen, Source, not_looked_at, sha256_of

if TYPE_CHECKING:
    from service.batches.files.blocks import Reader
    from service.batches.files.formats.json_objects import UnknownFields

Inspect = Callable[[io.RawIOBase, BatchFormat, Wanted, Limits, Seen], Inspected]


def wanted_of(pipeline: Pipeline, **options: Any) -> Wanted:
    """What a pipeline wants of a file, and the caller's options (see Wanted). Raises FileRefused where no file can give it."""
    if pipeline.parts:
        words = (
            f"No batch can hold cases of this model: no file gives {', '.join(pipeline.parts)} of its input. Submit each "
            "case as a job: POST /v1/jobs or /v1/jobs/bulk, or `medqueue submit`."
        )
        raise FileRefused(FileProblem.MODEL_HAS_PARTS, words)
    if isinstance(pipeline, FilePipeline):
        return Wanted(**options)
    schema = pipeline.input_schema()
    options["missing"] = tuple(dict.fromkeys((*options.get("missing", ()), *missing_markers(schema))))
    taken = tuple(field.name for field in result_fields(pipeline.result_schema()))
    if isinstance(pipeline, FieldPipeline):
        told = taken if MISSING in taken else ()
        return Wanted(fields=pipeline.fields, taken=told, **options)
    if pipeline.binary:
        return Wanted(taken=taken, **options)
    fields = input_fields(schema)
    return Wanted(
        fields=tuple((field.name, field.required) for field in fields),
        kinds=tuple(field.kind.value for field in fields),
        taken=taken,
        **options,
    )


def check_format(form: BatchFormat, wanted: Wanted) -> None:
    """Raises FileRefused where a model for rows gets files, one for files gets rows, or cells cannot hold an input."""
    if wanted.takes_rows == (form in ARCHIVES):
        kind = (
            "files, in a ZIP or TAR"
            if not wanted.takes_rows
            else "rows"
            if wanted.by_value
            else "rows of numbers"
        )
        raise FileRefused(FileProblem.WRONG_FORMAT, f"The model takes {kind}: send those.")
    if (
        wanted.by_value
        and form is not BatchFormat.NDJSON
        and (not wanted.fields or ColumnKind.JSON in (wanted.kinds or ()))
    ):
        raise FileRefused(
            FileProblem.WRONG_FORMAT,
            "An input of this model does not fit into cells: send NDJSON, one line {custom_id, input} for each whole case.",
        )


def inspect(
    source: Source,
    form: BatchFormat,
    wanted: Wanted,
    limits: Limits | None = None,
    *,
    by: Inspect | None = None,
) -> Plan:
    """Validate a file and plan its chunks. Raises FileRefused for what is wrong with all of it; SourceUnavailable.

    `by`: what inspects the open file, `inspected` by default.
    Memory stays bounded by `limits`, and for archives by the number of members. The same file gives the same plan.
    """
    limits = limits or Limits()
    check_format(form, wanted)
    check_names(wanted)
    identity = source.identity()
    digest = hashlib.sha256()
    whole = form in (BatchFormat.CSV, BatchFormat.NDJSON)  # these are read from end to end
    seen = digest.update if whole and identity.sha256 is None else not_looked_at
    with source.open() as file:
        found = (by or inspected)(file, form, wanted, limits, seen)
    if not found.rows:
        raise FileRefused(FileProblem.NO_ROWS, "The file holds no rows.")
    if identity.sha256 is None:
        identity = replace(identity, sha256=digest.hexdigest() if whole else sha256_of(source))
    if not source.identity().is_same(identity):
        raise FileRefused(FileProblem.CHANGED, "The file changed while it was validated: submit it again.")
    return Plan(found.layout, identity, found.rows, found.chunks, found.columns)


def reader_of(file: io.RawIOBase, layout: Layout, pipeline: Pipeline, limits: Limits | None = None) -> Reader:
    """Reads the chunks of a planned file. Raises FileRefused."""
    unknown_fields = pipeline.unknown_fields if isinstance(pipeline, FieldPipeline) else None
    return opened_reader(file, layout, unknown_fields, limits)


def opened_reader(
    file: io.RawIOBase, layout: Layout, unknown_fields: UnknownFields | None, limits: Limits | None = None
) -> Reader:
    """The same without the pipeline, given what names the fields that it does not take."""
    from service.batches.files.formats import archives, delimited, ndjson, parquet

    match layout.format:
        case BatchFormat.PARQUET:
            return parquet.ParquetReader(file, layout)
        case BatchFormat.CSV:
            return delimited.DelimitedReader(file, layout)
        case BatchFormat.NDJSON:
            return ndjson.NdjsonReader(file, layout, unknown_fields)
        case BatchFormat.ZIP | BatchFormat.TAR:
            return archives.ArchiveReader(file, layout, limits or Limits())


def inspected(
    file: io.RawIOBase,
    form: BatchFormat,
    wanted: Wanted,
    limits: Limits,
    seen: Seen = not_looked_at,
) -> Inspected:
    """Validate an open file and plan its chunks; `seen` gets every byte of a text once, in order. Raises FileRefused."""
    from service.batches.files.formats import archives, delimited, ndjson, parquet

    match form:
        case BatchFormat.PARQUET:
            return parquet.inspect(file, wanted, limits)
        case BatchFormat.CSV:
            return delimited.inspect(file, wanted, limits, seen)
        case BatchFormat.NDJSON:
            return ndjson.inspect(file, wanted, limits, seen)
        case BatchFormat.ZIP | BatchFormat.TAR:
            return archives.inspect(file, wanted, limits, form)
