"""What a re-run takes over from its first batch: the failed rows, as listed in the errors of that batch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.json as pjson
import pyarrow.parquet as pq
from numpy.typing import NDArray

from service.batches import chunks, output, queries
from service.batches.files.accounting import Unaccounted
from service.batches.files.csv_lines import csv_rows
from service.batches.files.outputs import ROW, OutputFormat
from service.batches.files.parts import PartStore
from service.batches.files.plans import Chunk, narrowed, read_head
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.sources import check_same
from service.batches.keys import open_layout
from service.batches.queries import FinishedChunk, Original
from service.batches.requests import BatchRequest, RerunRows
from service.batches.steps import ClaimedStep
from workers.batches.lease_keeper import LeaseKeeper
from workers.batches.services import BatchServices

CHUNKS_AT_ONCE = 1000
OTHER_ROWS = "The corrected file and the first one have different numbers of rows. Send all rows, or run all of them again."


class Reruns:
    """Finds the failed rows of first batches."""

    def __init__(self, services: BatchServices, keeper: LeaseKeeper) -> None:
        self._services = services
        self._keeper = keeper

    def original(self, batch_id: UUID) -> Original:
        """A batch of which rows are scored again."""
        with self._services.database.statement() as work:
            return queries.original(work, batch_id)

    def in_the_same_file(self, step: ClaimedStep, first: Original) -> tuple[bytes, list[Chunk]]:
        """The first plan, its chunks reduced to the failed rows. Raises FileRefused if the source has changed."""
        services = self._services
        head = open_layout(services.ciphers.of(step.tenant_id), step.tenant_id, first.id, first.layout)
        request = services.request(step.tenant_id, first.id, first.request)
        check_same(services.source(step.tenant_id, request), read_head(head)[1])
        return head, self._failed(step, first, request)

    def in_corrected_file(
        self, step: ClaimedStep, first: Original, found: Sequence[Chunk], rows: int
    ) -> tuple[Chunk, ...]:
        """The plan of a corrected file of `rows` rows, reduced to the rows that failed in the first batch.

        Rows are identified by number. Raises FileRefused if the first file has a different number of rows.
        """
        if rows != self._rows_of_file(step, first):
            raise FileRefused(FileProblem.CHANGED, OTHER_ROWS)
        request = self._services.request(step.tenant_id, first.id, first.request)
        failed = self._failed(step, first, request)
        return narrowed(found, np.concatenate([_numbers(chunk) for chunk in failed]))

    def finished(self, batch_id: UUID) -> Iterator[FinishedChunk]:
        """All finished chunks of a batch, in input order."""
        after = -1
        while True:
            self._keeper.progress()
            with self._services.database.statement() as work:
                page = queries.finished_chunks(work, batch_id, after=after, limit=CHUNKS_AT_ONCE)
            yield from page
            if len(page) < CHUNKS_AT_ONCE:
                return
            after = page[-1].number

    def _rows_of_file(self, step: ClaimedStep, first: Original) -> int:
        """The number of rows in the file of a batch, which may itself be a re-run of only some of them."""
        while first.rerun_of is not None:
            request = self._services.request(step.tenant_id, first.id, first.request)
            if request.rows is RerunRows.ALL:
                break
            first = self.original(first.rerun_of)
        return first.rows_total

    def _failed(self, step: ClaimedStep, first: Original, request: BatchRequest) -> list[Chunk]:
        """The chunks of a batch that have failed rows, reduced to these rows."""
        services = self._services
        cipher = services.ciphers.of(step.tenant_id)
        store = services.parts(step.tenant_id, first.id, first.data_key)
        again = []
        for chunk in self.finished(first.id):
            if chunk.rows_failed:
                self._keeper.give_way()
                seek = chunks.open_seek(cipher, step.tenant_id, chunk.id, chunk.seek)
                again.append(_failed_rows(Chunk.from_bytes(seek), chunk, store, request.output))
        rows = sum(chunk.wanted for chunk in again)
        if rows != first.rows_failed:
            raise Unaccounted(f"{first.rows_failed} rows failed and the errors name {rows}")
        return again


def _failed_rows(planned: Chunk, chunk: FinishedChunk, store: PartStore, form: OutputFormat) -> Chunk:
    """A chunk reduced to the rows that its errors list."""
    part = output.part_of(chunk.errors)
    if part is None:  # the chunk was set aside, and the batch ended before its errors were written
        return planned
    with store.open(part) as file:
        content = pa.BufferReader(file.readall())
    if form is OutputFormat.PARQUET:
        rows = pq.read_table(content, columns=[ROW])
    elif form is OutputFormat.CSV:
        rows = csv_rows(content)
    else:
        options = pjson.ParseOptions(
            explicit_schema=pa.schema([(ROW, pa.int64())]), unexpected_field_behavior="ignore"
        )
        rows = pjson.read_json(content, pjson.ReadOptions(use_threads=False), options)
    return replace(planned, only=np.unique(rows.column(ROW).to_numpy()))


def _numbers(chunk: Chunk) -> NDArray[np.int64]:
    """The numbers of the rows of a chunk that are to be scored."""
    return np.arange(chunk.first_row, chunk.first_row + chunk.rows) if chunk.only is None else chunk.only
