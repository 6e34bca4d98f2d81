"""What a claimant may do with chunks: claim one, and finish, fail, put off or release the one that it still holds.

A chunk is claimed while its batch is open, and only if no job is queued that this worker could score. Every write-back
carries the fence of its claim; a chunk that is no longer held is left unchanged.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from service import leases, rows
from service.audit import Action
from service.batches import settling
from service.crypto import Cipher, binding
from service.db import Param, UnitOfWork
from service.jobs.execution import Problem
from service.leases import Lease
from service.webhooks import planning

TABLE = "batch_chunk"

# First the tenant with the fewest running chunks, among equals the one that has waited longest; of its batches the
# oldest. Scalar subqueries with a limit, because joins or EXISTS could be planned to read all chunks and jobs. Jobs past
# their deadline count as queued until the sweep has ended them.
LIVE = f"""{{t}}.state IN ('scheduled', 'running') AND {settling.OPEN}
    AND {{t}}.chunks_running + {{t}}.chunks_done < {{t}}.chunks_total"""
DUE = "state = 'queued' AND available_at <= now()"
# Of a batch, the chunk after the claimant's last one, since its reader is at that place of the file; otherwise one far
# from the chunks that others work on.
CLAIM = f"""
WITH live AS MATERIALIZED (
    SELECT id, tenant_id, chunks_running, claimed_at FROM batch
    WHERE {LIVE.format(t="batch")} AND (%(scorable)b::uuid[] IS NULL OR model_version_id = ANY (%(scorable)b::uuid[]))
        AND (SELECT available_at FROM batch_chunk WHERE batch_id = batch.id AND state = 'queued'
             ORDER BY available_at, number LIMIT 1) <= now()
), ranked AS MATERIALIZED (
    SELECT id, sum(chunks_running) OVER tenants AS held, max(claimed_at) OVER tenants AS served
    FROM live WINDOW tenants AS (PARTITION BY tenant_id)
), chosen AS MATERIALIZED (
    SELECT batch.id, batch.started_at IS NULL AS first,
           batch.chunks_total * batch.chunks_running / (batch.chunks_running + 1) AS apart
    FROM ranked JOIN batch ON batch.id = ranked.id AND batch.id = ANY (ARRAY(SELECT id FROM live))
    WHERE {LIVE.format(t="batch")} AND EXISTS (SELECT FROM live) AND NOT EXISTS (
        SELECT FROM model_version AS version WHERE (%(scorable)b::uuid[] IS NULL OR id = ANY (%(scorable)b::uuid[]))
            AND coalesce(
            (SELECT true FROM job WHERE model_version_id = version.id AND state = 'queued' AND attempt = 0
             ORDER BY tenant_id, rank_at, id LIMIT 1),
            (SELECT true FROM job WHERE model_version_id = version.id AND state = 'queued' AND attempt > 0
                AND available_at <= now() ORDER BY available_at LIMIT 1), false)
    )
    ORDER BY ranked.held, ranked.served NULLS FIRST, batch.id LIMIT 1 FOR NO KEY UPDATE OF batch
), picked AS MATERIALIZED (
    SELECT batch_chunk.id FROM batch_chunk, chosen
    WHERE batch_chunk.id = coalesce(
        (SELECT id FROM batch_chunk WHERE batch_id = (SELECT id FROM chosen) AND number = (
            SELECT place.number FROM unnest(%(batch_ids)b::uuid[], %(numbers)s::int[]) AS place (batch_id, number)
            WHERE place.batch_id = (SELECT id FROM chosen)) AND {DUE}),
        (SELECT id FROM batch_chunk WHERE batch_id = (SELECT id FROM chosen) AND {DUE} AND number >= (
            SELECT apart FROM chosen)
         ORDER BY available_at, number LIMIT 1),
        (SELECT id FROM batch_chunk WHERE batch_id = (SELECT id FROM chosen) AND {DUE}
         ORDER BY available_at, number LIMIT 1))
        AND batch_chunk.{DUE}
    LIMIT 1 FOR UPDATE OF batch_chunk SKIP LOCKED
), claimed AS (
    UPDATE batch_chunk SET {leases.claim_clause(TABLE)} WHERE id = ANY (ARRAY(SELECT id FROM picked))
    RETURNING id, fence, attempt, batch_id, number, first_row, rows, seek
), begun AS (
    UPDATE batch SET state = 'running', chunks_running = chunks_running + 1, claimed_at = now()
    WHERE id = ANY (ARRAY(SELECT batch_id FROM claimed))
    RETURNING id, tenant_id, model_version_id, request, data_key, layout, run_rows,
        (SELECT first FROM chosen) AS first, rows_total, rows_succeeded, rows_failed
), events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, '{Action.BATCH_STARTED}',
           jsonb_build_object('state', 'running', 'counts', {settling.COUNTS})
    FROM begun WHERE first RETURNING {planning.EVENT_COLUMNS}
), {planning.BATCH_DELIVERIES}
SELECT claimed.id, claimed.fence, claimed.attempt, claimed.batch_id, begun.tenant_id, begun.model_version_id, begun.request,
       begun.data_key, begun.layout, begun.run_rows, claimed.number, claimed.first_row, claimed.rows, claimed.seek,
       {planning.PLANNED}
FROM claimed JOIN begun ON begun.id = claimed.batch_id
"""

HELD = f"""{leases.held_clause(TABLE)} AND {TABLE}.batch_id = ANY (ARRAY(SELECT id FROM locked))"""
CHANGED = "batch_chunk.id, batch_chunk.batch_id, batch_chunk.state, batch_chunk.rows_succeeded, batch_chunk.rows_failed"

FINISH = f"""
WITH {settling.HELD}, {settling.LOCKED}, finished AS (
    UPDATE batch_chunk SET state = 'done', finished_at = now(), rows_succeeded = %(rows_succeeded)s,
        rows_failed = %(rows_failed)s, results = %(results)s, errors = %(errors)s,
        seconds = %(seconds)s, problem = NULL, {leases.RELEASE}
    FROM held WHERE {HELD} RETURNING {CHANGED}
), {settling.settled("finished")}
SELECT (SELECT state::text FROM settled WHERE id = batch_id) AS batch_state, {planning.PLANNED} FROM finished
"""

RELEASE = f"""
WITH {settling.HELD}, {settling.LOCKED}, released AS (
    UPDATE batch_chunk SET state = 'queued', attempt = batch_chunk.attempt - 1, {leases.RELEASE}
    FROM held WHERE {HELD} RETURNING {CHANGED}
), {settling.settled("released")}
SELECT id, {planning.PLANNED} FROM released
"""

# The audit trail records the reason once, however often the work is retried.
PUT_OFF = f"""
WITH {settling.HELD}, {settling.LOCKED}, delayed AS (
    UPDATE batch_chunk SET state = 'queued', available_at = now() + make_interval(secs => %(delay_s)s), problem = %(problem)s,
        attempt = batch_chunk.attempt - %(given_back)s, {leases.RELEASE}
    FROM held WHERE {HELD}
    RETURNING {
    CHANGED
}, batch_chunk.number, batch_chunk.attempt + %(given_back)s AS attempt, batch_chunk.problem
), {
    settling.settled(
        "delayed",
        more=f'''UNION ALL
    SELECT batch.tenant_id, delayed.batch_id, %(actor)s::text, '{Action.CHUNK_PUT_OFF}',
           jsonb_build_object('chunk', number, 'attempt', attempt, 'code', delayed.problem->>'code')
    FROM delayed JOIN batch ON batch.id = delayed.batch_id AND batch.id = ANY (ARRAY(SELECT id FROM locked))
    WHERE %(given_back)s = 0 OR {settling.CODE_BEFORE.format(t=TABLE)} IS DISTINCT FROM (delayed.problem->>'code')''',
    )
}
SELECT id, {planning.PLANNED} FROM delayed
"""

FAIL = f"""
WITH {settling.HELD}, {settling.LOCKED}, broken AS MATERIALIZED (
    SELECT batch_chunk.batch_id FROM batch_chunk, held WHERE {HELD} FOR UPDATE OF batch_chunk
), ended AS (
    UPDATE batch SET state = 'failed', problem = %(problem)s, chunks_running = 0
    WHERE id = ANY (ARRAY(SELECT batch_id FROM broken)) RETURNING {settling.ENDED_COLUMNS}
), {settling.LEFT_OVER}, {settling.CLOSED}
SELECT id, {planning.PLANNED} FROM ended
"""


@dataclass(frozen=True)
class ClaimedChunk:
    """A chunk held by this claimant: rows [`first_row`, `first_row` + `rows`) of the source.

    `request`, `data_key`, `layout` and `seek` are still sealed. `run_rows` is the size of a micro-batch.
    """

    lease: Lease
    attempt: int
    batch_id: UUID
    tenant_id: UUID
    model_version_id: UUID
    request: bytes
    data_key: bytes
    layout: bytes
    run_rows: int
    number: int
    first_row: int
    rows: int
    seek: bytes


@dataclass(frozen=True)
class Scored:
    """The outcome of a chunk: rows by outcome, and the parts that hold results and errors (see
    service.batches.files.parts).

    `seconds` is how long scoring took.
    """

    rows_succeeded: int
    rows_failed: int
    results: dict[str, Any] | None
    errors: dict[str, Any] | None
    seconds: float


def claim(
    work: UnitOfWork,
    *,
    owner: str,
    lease_s: float,
    scorable: list[UUID] | None = None,
    places: Mapping[UUID, int] | None = None,
) -> ClaimedChunk | None:
    """Claim the next chunk for `lease_s` seconds; None if none is open, or if a job is queued.

    `scorable` are the model versions that this worker can score; None means all. Only their chunks, and their jobs, which
    go first, are considered. `places` are the numbers of the chunks, by batch, that the worker prefers.
    """
    places = places or {}
    claimed = work.execute(
        CLAIM,
        {
            "scorable": scorable,
            "batch_ids": list(places),
            "numbers": list(places.values()),
            "owner": owner,
            "lease_s": lease_s,
            "actor": f"worker:{owner}",
        },
    )
    planning.wake_if_planned(work, claimed)
    return next((rows.build(ClaimedChunk, row, lease=Lease(row.id, row.fence)) for row in claimed), None)


def finish(work: UnitOfWork, chunk: ClaimedChunk, scored: Scored, *, owner: str) -> str | None:
    """Store the outcome of a held chunk; returns the new state of its batch, None if the chunk was no longer held.

    Raises ValueError if the rows do not add up to the chunk's.
    """
    if scored.rows_succeeded < 0 or scored.rows_failed < 0:
        raise ValueError("rows are counted from zero")
    if scored.rows_succeeded + scored.rows_failed != chunk.rows:
        raise ValueError(f"{scored.rows_succeeded} + {scored.rows_failed} rows out of {chunk.rows}")
    found = vars(scored) | {"results": _table(scored.results), "errors": _table(scored.errors)}
    finished = work.execute(FINISH, _held(chunk, owner) | found)
    planning.wake_if_planned(work, finished)
    return str(finished[0].batch_state) if finished else None


def release(work: UnitOfWork, chunk: ClaimedChunk, *, owner: str) -> bool:
    """Return a chunk to its old place, as it was before its claim; returns whether it was still held."""
    released = work.execute(RELEASE, _held(chunk, owner))
    planning.wake_if_planned(work, released)
    return bool(released)


def put_off(
    work: UnitOfWork,
    chunk: ClaimedChunk,
    problem: Problem,
    *,
    delay_s: float,
    owner: str,
    counts: bool = True,
) -> bool:
    """Queue a chunk again after a transient fault; returns whether it was still held. `counts`: this uses up an attempt."""
    said = {"delay_s": delay_s, "problem": Jsonb(asdict(problem)), "given_back": int(not counts)}
    delayed = work.execute(PUT_OFF, _held(chunk, owner) | said)
    planning.wake_if_planned(work, delayed)
    return bool(delayed)


def fail(work: UnitOfWork, chunk: ClaimedChunk, problem: Problem, *, owner: str) -> bool:
    """End the batch of a held chunk whose source or model is at fault, not a row; returns whether it was still held."""
    ended = work.execute(FAIL, _held(chunk, owner) | {"problem": Jsonb(asdict(problem))})
    planning.wake_if_planned(work, ended)
    return bool(ended)


def seal_seek(cipher: Cipher, tenant_id: UUID, chunk_id: UUID, seek: bytes) -> bytes:
    """The start of a chunk, sealed: names inside an archive may be patients'."""
    return cipher.seal(seek, binding("batch_chunk.seek", tenant_id, chunk_id))


def open_seek(cipher: Cipher, tenant_id: UUID, chunk_id: UUID, sealed: bytes) -> bytes:
    """Where a chunk begins in the source, as validation stored it. Raises PayloadUnreadable."""
    return cipher.open(sealed, binding("batch_chunk.seek", tenant_id, chunk_id))


def _held(chunk: ClaimedChunk, owner: str) -> dict[str, Param]:
    """The parameters of settling.HELD and settling.LOCKED, and the chunk's holder."""
    return {**chunk.lease._asdict(), "batch_id": chunk.batch_id, "actor": f"worker:{owner}"}


def _table(part: dict[str, Any] | None) -> Jsonb | None:
    return None if part is None else Jsonb(part)
