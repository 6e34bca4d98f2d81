"""The output of a batch: its results and its errors, each a file joined from the parts of the chunks.

What is stored of a joined file is a small table: rows, length, SHA-256 and the part with Parquet's footer or CSV's
header.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from models.lazy import pa, pq
from service.batches.files import joins
from service.batches.files.accounting import ChunkAccount
from service.batches.files.joins import JoinedFile, nothing
from service.batches.files.output_names import OutputFormat
from service.batches.files.parts import MAGIC, Part, PartKind, PartStore
from service.batches.queries import FinishedChunk

FOOTER_NUMBERS = {PartKind.RESULTS: 0, PartKind.ERRORS: 1}


class OutputKind(StrEnum):
    """Which of the two files of a batch."""

    RESULTS = "results"
    ERRORS = "errors"

    @property
    def part_kind(self) -> PartKind:
        """The kind of its parts."""
        return PartKind(self.value)


def account_of(chunk: FinishedChunk) -> ChunkAccount:
    """The outcome of the rows of a finished chunk."""
    return ChunkAccount(
        chunk.number,
        chunk.rows,
        chunk.rows_succeeded,
        chunk.rows_failed,
        part_of(chunk.results),
        part_of(chunk.errors),
    )


def part_of(table: dict[str, Any] | None) -> Part | None:
    """A part as read from its table in the database."""
    return None if table is None else Part(**table)


def parts_of(chunks: Sequence[FinishedChunk], kind: OutputKind) -> list[Part]:
    """The parts of one kind, in input order."""
    found = [part_of(chunk.results if kind is OutputKind.RESULTS else chunk.errors) for chunk in chunks]
    return [part for part in found if part is not None]


def joined(
    store: PartStore,
    parts: Sequence[Part],
    kind: OutputKind,
    form: OutputFormat,
    schema: pa.Schema,
    *,
    fence: int,
    between: Callable[[], object] = nothing,
) -> dict[str, Any]:
    """Join parts and read the joined file once; returns the table to store. `schema` is for a file without rows.

    `rows` is counted in the file as read, not taken from the parts. `between` is called before each piece and may raise.
    Raises Unaccounted if a part has other columns, and PayloadUnreadable or BlobUnavailable.
    """
    for part in parts:
        between()
        joins.check_columns(store, part, form, schema)
    footer = header = None
    number = FOOTER_NUMBERS[kind.part_kind]
    if form is OutputFormat.CSV:
        header = store.write(PartKind.HEADER, number, fence, _header(schema), rows=0)
    if form is OutputFormat.PARQUET:
        content = joins.joined_footer(store, parts, schema)
        footer = store.write(PartKind.FOOTER, number, fence, content, rows=sum(part.rows for part in parts))
        rows = _rows_of_groups(content)
    file = JoinedFile(store, parts, footer, header)
    digest, lines = file.digest(between)
    found = {
        "rows": lines if footer is None else rows,
        "size_bytes": file.size_bytes,
        "sha256": digest,
        "footer": None if footer is None else asdict(footer),
    }
    return found if header is None else found | {"header": asdict(header)}


def file_of(
    store: PartStore, chunks: Sequence[FinishedChunk], kind: OutputKind, table: dict[str, Any]
) -> JoinedFile:
    """The joined file of a completed batch, given its stored table."""
    footer, header = part_of(table["footer"]), part_of(table.get("header"))
    return JoinedFile(store, parts_of(chunks, kind), footer, header)


def partial_file_of(
    store: PartStore,
    chunks: Sequence[FinishedChunk],
    kind: OutputKind,
    form: OutputFormat,
    schema: pa.Schema,
) -> JoinedFile:
    """The finished chunks of an incomplete batch, as one file."""
    parts = parts_of(chunks, kind)
    footer = joins.joined_footer(store, parts, schema) if form is OutputFormat.PARQUET else None
    return JoinedFile(store, parts, footer, _header(schema) if form is OutputFormat.CSV else None)


def _header(schema: pa.Schema) -> memoryview:
    from service.batches.files.csv_lines import (
        csv_header,
    )  # imported late: it needs Arrow, which the API seldom uses

    return memoryview(csv_header(schema))


def _rows_of_groups(footer: memoryview) -> int:
    """The rows of all row groups that a footer lists."""
    found = pq.read_metadata(io.BytesIO(MAGIC + footer))
    return sum(found.row_group(index).num_rows for index in range(found.num_row_groups))
