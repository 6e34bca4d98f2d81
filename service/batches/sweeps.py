"""Periodic work on batches: lapsed leases, closed windows, passed deadlines, alarms for late batches. Run every few seconds.

Each sweep is safe to run twice, takes a bounded number of rows and skips locked rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from service import leases
from service.audit import Action
from service.batches import settling, windows
from service.batches.queries import PACE
from service.batches.windows import Opening, Window
from service.db import UnitOfWork
from service.lifecycle import ChunkState
from service.problem_codes import BatchProblem
from service.rows import Row
from service.webhooks import planning

SWEEP_ROWS = 1000
ACTOR = "scheduler"
SURE_AFTER_S = 60  # no alarm before a batch has run for so long, or for two thirds of its time: the first chunks say little

CRASHED = (
    f'{{"code": "{BatchProblem.WORKER_CRASHED}", "detail": "The worker died each time it scored these rows. '
    "Check them, or tell the model''s publisher.\"}"
)
STEP_CRASHED = (
    f'{{"code": "{BatchProblem.WORKER_CRASHED}", "detail": "The worker died each time it read or joined this batch. '
    'An operator may look into it."}'
)
LATE = (
    f'{{"code": "{BatchProblem.DEADLINE_PASSED}", '
    '"detail": "The deadline passed before the batch was done. What was scored is kept."}'
)

# A chunk is claimed alone, so each crash counts. A chunk that crashes too often is set aside, and all its rows count as
# failed: the whole batch must not be lost for one row, and on_error decides whether so many failures end it.
RESCUE = f"""
WITH lapsed AS MATERIALIZED (
    SELECT id, batch_id FROM batch_chunk WHERE {leases.EXPIRED} ORDER BY lease_expires_at LIMIT {SWEEP_ROWS}
), locked AS MATERIALIZED (
    SELECT {settling.LOCKED_COLUMNS} FROM batch
    WHERE id = ANY (ARRAY(SELECT batch_id FROM lapsed)) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), rescued AS (
    UPDATE batch_chunk SET crash_count = crash_count + 1,
        state = CASE WHEN crash_count + 1 >= %(max_crashes)s THEN 'quarantined'::chunk_state ELSE 'queued' END,
        finished_at = CASE WHEN crash_count + 1 >= %(max_crashes)s THEN now() END,
        rows_failed = CASE WHEN crash_count + 1 >= %(max_crashes)s THEN rows ELSE 0 END,
        problem = CASE WHEN crash_count + 1 >= %(max_crashes)s THEN '{CRASHED}'::jsonb END, {leases.RELEASE}
    WHERE id = ANY (ARRAY(SELECT id FROM lapsed)) AND batch_id = ANY (ARRAY(SELECT id FROM locked)) AND {
    leases.EXPIRED
}
    RETURNING id, batch_id, state, rows_succeeded, rows_failed, number, crash_count
), {
    settling.settled(
        "rescued",
        more=f'''UNION ALL
    SELECT batch.tenant_id, rescued.batch_id, %(actor)s,
           CASE rescued.state WHEN 'queued' THEN '{Action.CHUNK_RESCUED}' ELSE '{Action.CHUNK_QUARANTINED}' END,
           jsonb_build_object('chunk', number, 'crash_count', crash_count)
    FROM rescued JOIN batch ON batch.id = rescued.batch_id AND batch.id = ANY (ARRAY(SELECT id FROM locked))''',
    )
}
SELECT id, state::text AS state, {planning.PLANNED} FROM rescued
"""

RESCUE_STEPS = f"""
WITH lapsed AS MATERIALIZED (
    SELECT id, batch_id FROM batch_step WHERE {leases.EXPIRED} ORDER BY lease_expires_at LIMIT {SWEEP_ROWS}
), locked AS MATERIALIZED (
    SELECT id FROM batch WHERE id = ANY (ARRAY(SELECT batch_id FROM lapsed)) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), rescued AS (
    UPDATE batch_step SET crash_count = crash_count + 1,
        state = CASE WHEN crash_count + 1 >= %(max_crashes)s THEN 'quarantined'::chunk_state ELSE 'queued' END, {leases.RELEASE}
    WHERE id = ANY (ARRAY(SELECT id FROM lapsed)) AND batch_id = ANY (ARRAY(SELECT id FROM locked)) AND {leases.EXPIRED}
    RETURNING id, batch_id, state
), ended AS (
    UPDATE batch SET state = 'failed', problem = '{STEP_CRASHED}'
    WHERE id = ANY (ARRAY(SELECT batch_id FROM rescued WHERE state = 'quarantined')) RETURNING {settling.ENDED_COLUMNS}
), {settling.CLOSED}
SELECT id, state::text AS state, {planning.PLANNED} FROM rescued
"""

EXPIRE = f"""
WITH late AS MATERIALIZED (
    SELECT id FROM batch
    WHERE deadline_at IS NOT NULL AND state IN ('validating', 'scheduled', 'running', 'pausing', 'paused')
        AND deadline_at <= now()
    ORDER BY deadline_at LIMIT {SWEEP_ROWS} FOR NO KEY UPDATE SKIP LOCKED
), ended AS (
    UPDATE batch SET state = 'expired', chunks_running = 0, problem = '{LATE}'
    WHERE id = ANY (ARRAY(SELECT id FROM late)) RETURNING {settling.ENDED_COLUMNS}
), {settling.LEFT_OVER}, {settling.CLOSED}
SELECT id, {planning.PLANNED} FROM ended
"""

CLOSED = f"""
SELECT id, window_hours, window_zone, not_before, deadline_at, now() AS now FROM batch
WHERE state IN ('scheduled', 'running') AND open_until <= now() AND window_hours IS NOT NULL
ORDER BY open_from LIMIT {SWEEP_ROWS} FOR NO KEY UPDATE SKIP LOCKED
"""
MOVE = """
UPDATE batch SET open_from = moved.open_from, open_until = moved.open_until,
    state = CASE WHEN batch.chunks_running = 0 AND moved.open_from > now() THEN 'scheduled' ELSE batch.state END
FROM unnest(%(ids)b::uuid[], %(opens_at)s::timestamptz[], %(closes_at)s::timestamptz[])
    AS moved (id, open_from, open_until)
WHERE batch.id = moved.id AND batch.id = ANY (%(ids)b::uuid[])
"""

# Announced once for each end. A running batch is at risk if it will not be done by the end of its opening at its present
# pace, or if half of the opening is over and nothing is done. A batch that waits (for its source, for a caller to resume
# it, or for a window) is at risk once half of the time until its deadline is over, or at once if its next window opens
# after the deadline.
AT_RISK = f"""
WITH live AS MATERIALIZED (
    SELECT id, open_until AS ends_at, greatest(open_from, resumed_at, scheduled_at) AS began_at,
           rows_total - rows_succeeded - rows_failed AS remaining, {PACE.format(t="batch")} AS pace
    FROM batch
    WHERE state IN ('scheduled', 'running') AND open_from <= now() AND open_until > now()
        AND at_risk_until IS DISTINCT FROM open_until
    UNION ALL
    SELECT id, deadline_at, CASE state WHEN 'scheduled' THEN '-infinity' ELSE greatest(created_at, not_before, paused_at) END,
           rows_total - rows_succeeded - rows_failed, NULL
    FROM batch
    WHERE deadline_at IS NOT NULL AND deadline_at > now() AND at_risk_until IS DISTINCT FROM deadline_at
        AND (state IN ('validating', 'pausing', 'paused') OR state = 'scheduled' AND open_from >= deadline_at)
    LIMIT {SWEEP_ROWS}
), timed AS (
    SELECT *, extract(epoch FROM ends_at - now()) AS left_s,
           CASE WHEN isfinite(began_at) THEN extract(epoch FROM now() - began_at) ELSE 'infinity' END AS gone_s
    FROM live
), late AS MATERIALIZED (
    SELECT id, ends_at, CASE WHEN pace > 0 THEN now() + make_interval(secs => least(remaining / pace, 1e9)) END AS expected_end
    FROM timed WHERE gone_s >= least({SURE_AFTER_S}, 2 * left_s)
        AND CASE WHEN pace > 0 THEN remaining / pace > left_s ELSE gone_s > left_s END
), risky AS (
    UPDATE batch SET at_risk_until = late.ends_at FROM late
    WHERE batch.id = late.id AND batch.id = ANY (ARRAY(SELECT id FROM late))
        AND batch.state IN ('validating', 'scheduled', 'running', 'pausing', 'paused')
        AND batch.at_risk_until IS DISTINCT FROM late.ends_at
    RETURNING batch.id, batch.tenant_id, batch.state, batch.rows_total, batch.rows_succeeded, batch.rows_failed, late.ends_at,
        late.expected_end
), events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, detail)
    SELECT tenant_id, id, '{ACTOR}', '{Action.BATCH_AT_RISK}', jsonb_strip_nulls(jsonb_build_object(
        'state', state, 'open_until', ends_at, 'counts', {settling.COUNTS}, 'expected_end', expected_end))
    FROM risky RETURNING {planning.EVENT_COLUMNS}
), {planning.BATCH_DELIVERIES}
SELECT id, {planning.PLANNED} FROM risky
"""


@dataclass(frozen=True)
class Rescued:
    """The outcome of a rescue: chunks or steps queued again, and those set aside."""

    queued: tuple[UUID, ...]
    quarantined: tuple[UUID, ...]


def rescue_chunks(work: UnitOfWork, *, max_crashes: int) -> Rescued:
    """Take back chunks whose lease has lapsed; the rows of a chunk that crashed `max_crashes` times count as failed."""
    return _rescued(work, work.execute(RESCUE, {"max_crashes": max_crashes, "actor": ACTOR}))


def rescue_steps(work: UnitOfWork, *, max_crashes: int) -> Rescued:
    """Take back steps whose lease has lapsed; a step that crashed `max_crashes` times fails its batch."""
    return _rescued(work, work.execute(RESCUE_STEPS, {"max_crashes": max_crashes, "actor": ACTOR}))


def _rescued(work: UnitOfWork, lapsed: Sequence[Row]) -> Rescued:
    planning.wake_if_planned(work, lapsed)
    return Rescued(
        tuple(row.id for row in lapsed if row.state == ChunkState.QUEUED),
        tuple(row.id for row in lapsed if row.state == ChunkState.QUARANTINED),
    )


def expire(work: UnitOfWork) -> list[UUID]:
    """End batches whose deadline has passed; returns their ids. Their finished chunks are kept."""
    expired = work.execute(EXPIRE, {"actor": ACTOR})
    planning.wake_if_planned(work, expired)
    return [row.id for row in expired]


def move_openings(work: UnitOfWork) -> list[UUID]:
    """Give batches whose window has closed their next opening; returns their ids. `work` is a transaction of several
    statements.

    Nothing is claimed from them in between, so a late sweep opens a window late but never closes one late.
    """
    moved = {row.id: _next_opening(row) for row in work.execute(CLOSED)}
    if moved:
        work.execute(
            MOVE,
            {
                "ids": list(moved),
                "opens_at": [opening.opens_at for opening in moved.values()],
                "closes_at": [opening.closes_at for opening in moved.values()],
            },
        )
    return list(moved)


def _next_opening(row: Row) -> Opening:
    window = Window.parsed(row.window_hours, row.window_zone)
    return windows.opening_of(window, row.now, not_before=row.not_before, deadline=row.deadline_at)


def tell_risks(work: UnitOfWork) -> list[UUID]:
    """Announce batches that will not be done by the end of their opening (window or deadline), once for each end."""
    risky = work.execute(AT_RISK)
    planning.wake_if_planned(work, risky)
    return [row.id for row in risky]
