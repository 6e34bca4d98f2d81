"""Reads batches for their owners, and finished chunks for the step that joins them. A tenant never sees another tenant's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service import audit, listing, rows
from service.accounts import Principal
from service.audit import AuditEvent
from service.batches import windows
from service.batches.files.columns import Columns, read_columns
from service.batches.keys import open_layout
from service.batches.opening import open_request
from service.batches.windows import Opening, Window
from service.db import UnitOfWork
from service.errors import BatchNotFound
from service.lifecycle import BatchState, ChunkState
from service.rows import Row

PACE_CHUNKS = 32

# Rows per second over the newest finished chunks of this opening, up to now: it falls while jobs go first. None before
# the first chunk. A scalar subquery, so that each batch is one walk of the index and no plan can join all chunks.
SINCE = "greatest({t}.open_from, {t}.resumed_at)"
PACE = f"""(SELECT sum(rows) FILTER (WHERE place <= {PACE_CHUNKS}) / nullif(extract(epoch FROM now() - CASE
            WHEN count(*) > {PACE_CHUNKS} THEN min(finished_at) ELSE {SINCE} END), 0)
    FROM (SELECT rows, finished_at, row_number() OVER () AS place FROM (
        SELECT rows, finished_at FROM batch_chunk WHERE batch_id = {{t}}.id AND finished_at >= {SINCE}
        ORDER BY finished_at DESC LIMIT {PACE_CHUNKS + 1}) AS newest) AS placed)::float8"""

# The work of a batch that was last put off and is not done yet. A scalar subquery like the pace.
RETRYING = """(SELECT jsonb_build_object('code', problem->>'code', 'detail', problem->>'detail', 'attempt', attempt,
                           'next_try_at', available_at) FROM (
    (SELECT problem, attempt, available_at FROM batch_step
     WHERE batch_id = batch.id AND problem IS NOT NULL AND finished_at IS NULL)
    UNION ALL
    (SELECT problem, attempt, available_at FROM batch_chunk
     WHERE batch_id = batch.id AND problem IS NOT NULL AND finished_at IS NULL ORDER BY available_at DESC LIMIT 1)
    ) AS put_off ORDER BY available_at DESC LIMIT 1)"""

# Columns of a batch as its owner sees it: those of BatchView by name, and those that _view decrypts.
COLUMNS = f"""id, model_version_id, state::text AS state, created_at, scheduled_at, started_at, pausing_at, paused_at,
    finalizing_at, finished_at, window_hours, window_zone, not_before, deadline_at AS deadline, open_from, open_until,
    error_limit, rows_total, rows_succeeded, rows_failed, chunks_total, chunks_done, chunks_running, schedule_id,
    scheduled_for, rerun_of, problem, source_bytes, source_sha256, results, errors, request, layout,
    CASE WHEN finished_at IS NULL THEN {RETRYING} END AS retrying,
    CASE state WHEN 'running' THEN {PACE.format(t="batch")} END AS pace, now() AS now"""
OF_TENANT = "FROM batch WHERE id = %(id)s AND tenant_id = %(tenant_id)s"
GET = f"SELECT {COLUMNS} {OF_TENANT}"
EXISTS = f"SELECT id {OF_TENANT}"
FINISHED = """
SELECT id, number, first_row, rows, state::text AS state, rows_succeeded, rows_failed, results, errors, problem, seek, fence
FROM batch_chunk WHERE batch_id = %(batch_id)s AND number > %(after)s AND finished_at IS NOT NULL
ORDER BY number LIMIT %(limit)s
"""

OUTPUT = f"""
SELECT state::text AS state, model_version_id, request, data_key, layout, results, errors {OF_TENANT}
"""
ORIGINAL = """
SELECT id, request, data_key, layout, rows_failed, chunk_rows, run_rows, source_bytes, source_sha256, rows_total, rerun_of
FROM batch WHERE id = %(id)s
"""


@dataclass(frozen=True)
class Retrying:
    """Why work of a batch was put off, how often it has been tried, and when it is tried next."""

    code: str
    detail: str
    attempt: int
    next_try_at: datetime


@dataclass(frozen=True)
class BatchView:
    """A batch as its owner sees it. Future times are None; counts are None until the source is validated.

    `pace` is in rows per second, over the newest chunks; it and `expected_end` are set while the batch runs. `retrying`
    describes the work that was last put off, until it is done. `columns` is None until the source is validated, and for an
    archive without an index.
    """

    id: UUID
    model_version_id: UUID
    state: BatchState
    created_at: datetime
    scheduled_at: datetime | None
    started_at: datetime | None
    pausing_at: datetime | None
    paused_at: datetime | None
    finalizing_at: datetime | None
    finished_at: datetime | None
    window_hours: str | None
    window_zone: str | None
    not_before: datetime | None
    deadline: datetime | None
    opening: Opening
    error_limit: int | None
    rows_total: int | None
    rows_succeeded: int
    rows_failed: int
    chunks_total: int | None
    chunks_done: int
    chunks_running: int
    schedule_id: UUID | None
    scheduled_for: datetime | None
    rerun_of: UUID | None
    problem: dict[str, str] | None
    source_bytes: int | None
    source_sha256: str | None
    results: dict[str, Any] | None
    errors: dict[str, Any] | None
    request: Any
    retrying: Retrying | None
    pace: float | None
    expected_end: datetime | None
    columns: Columns | None = None

    @property
    def remaining(self) -> int | None:
        """Rows that are neither scored nor failed."""
        return None if self.rows_total is None else self.rows_total - self.rows_succeeded - self.rows_failed


@dataclass(frozen=True)
class BatchFilter:
    """Which batches to list; None means all."""

    state: BatchState | None = None
    schedule_id: UUID | None = None
    rerun_of: UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True)
class FinishedChunk:
    """A chunk with its parts. A quarantined chunk has a problem, and has errors once finalizing has written them.

    `seek` is sealed. `fence` is the fence of the claim that finished the chunk.
    """

    id: UUID
    number: int
    first_row: int
    rows: int
    state: ChunkState
    rows_succeeded: int
    rows_failed: int
    results: dict[str, Any] | None
    errors: dict[str, Any] | None
    problem: dict[str, str] | None
    seek: bytes
    fence: int


@dataclass(frozen=True)
class StoredOutput:
    """What is needed to read the results and errors of a batch. `request`, `data_key` and `layout` are still sealed.

    `results` and `errors` describe the joined files; only a completed batch has them.
    """

    state: BatchState
    model_version_id: UUID
    request: bytes
    data_key: bytes
    layout: bytes | None
    results: dict[str, Any] | None
    errors: dict[str, Any] | None


@dataclass(frozen=True)
class Original:
    """What a re-run takes over from its first batch. `request`, `data_key` and `layout` are still sealed."""

    id: UUID
    request: bytes
    data_key: bytes
    layout: bytes
    rows_failed: int
    chunk_rows: int
    run_rows: int
    source_bytes: int
    source_sha256: str | None
    rows_total: int
    rerun_of: UUID | None


def get(work: UnitOfWork, principal: Principal, batch_id: UUID) -> BatchView:
    """A batch. Raises BatchNotFound."""
    found = work.execute(GET, {"id": batch_id, "tenant_id": principal.tenant_id})
    if not found:
        raise BatchNotFound
    return _view(principal, found[0])


def newest(
    work: UnitOfWork, principal: Principal, wanted: BatchFilter, *, before: UUID | None, limit: int
) -> list[BatchView]:
    """The tenant's batches, newest first, older than `before`."""
    query, params = list_query(principal, wanted, before=before, limit=limit)
    return [_view(principal, row) for row in work.execute(query, params)]


def list_query(
    principal: Principal, wanted: BatchFilter, *, before: UUID | None, limit: int
) -> tuple[str, dict[str, object]]:
    """The statement of a page and its parameters. Batches of a schedule, and re-runs of a batch, are few."""
    times, params = listing.within(
        "batch", before=before, created_after=wanted.created_after, created_before=wanted.created_before
    )
    keys, key_params = listing.equal({"rerun_of": wanted.rerun_of, "schedule_id": wanted.schedule_id})
    params |= key_params | {"tenant_id": principal.tenant_id, "limit": limit}
    conditions = ["tenant_id = %(tenant_id)s", *times]
    if wanted.state is not None:
        conditions.append(f"state = '{wanted.state}'")
    part = listing.simple("batch", conditions)
    if keys:
        part = listing.few("batch", keys[0], [*keys[1:], *conditions])
    return listing.page("batch", COLUMNS, [part]), params


def events(
    work: UnitOfWork, principal: Principal, batch_id: UUID, *, after: UUID | None, limit: int
) -> list[AuditEvent]:
    """A batch's audit trail, oldest first, after `after`. Raises BatchNotFound."""
    if not work.execute(EXISTS, {"id": batch_id, "tenant_id": principal.tenant_id}):
        raise BatchNotFound
    return audit.events_of_batch(
        work, tenant_id=principal.tenant_id, batch_id=batch_id, after=after, limit=limit
    )


def stored_output(work: UnitOfWork, principal: Principal, batch_id: UUID) -> StoredOutput:
    """Where the output of a batch is stored. Raises BatchNotFound."""
    found = work.execute(OUTPUT, {"id": batch_id, "tenant_id": principal.tenant_id})
    if not found:
        raise BatchNotFound
    return rows.build(StoredOutput, found[0], state=BatchState(found[0].state))


def finished_chunks(
    work: UnitOfWork, batch_id: UUID, *, after: int = -1, limit: int = 1000
) -> list[FinishedChunk]:
    """Finished chunks in input order, after number `after`; for the holder of the batch's step."""
    found = work.execute(FINISHED, {"batch_id": batch_id, "after": after, "limit": limit})
    return [rows.build(FinishedChunk, row, state=ChunkState(row.state)) for row in found]


def original(work: UnitOfWork, batch_id: UUID) -> Original:
    """The batch whose failed rows are scored again; for the holder of the re-run's step."""
    return rows.build(Original, work.execute(ORIGINAL, {"id": batch_id})[0])


def _view(principal: Principal, row: Row) -> BatchView:
    cipher, tenant_id = principal.cipher, principal.tenant_id
    opening = Opening(row.open_from, row.open_until)
    layout = None if row.layout is None else open_layout(cipher, tenant_id, row.id, row.layout)
    return rows.build(
        BatchView,
        row,
        state=BatchState(row.state),
        opening=opening,
        request=open_request(cipher, tenant_id, row.id, row.request),
        retrying=None if row.retrying is None else _retrying(row.retrying),
        expected_end=_expected_end(row, opening) if row.pace else None,
        columns=None if layout is None else read_columns(layout),
    )


def _expected_end(row: Row, opening: Opening) -> datetime:
    hours = Window.parsed(row.window_hours, row.window_zone) if row.window_hours else None
    left_s = (row.rows_total - row.rows_succeeded - row.rows_failed) / row.pace
    return windows.end_of_work(hours, opening, row.now, left_s)


def _retrying(put_off: dict[str, Any]) -> Retrying:
    return Retrying(**put_off | {"next_try_at": datetime.fromisoformat(put_off["next_try_at"])})
