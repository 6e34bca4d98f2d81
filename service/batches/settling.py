"""SQL that the statements on batches share: what a change of chunks does to the state and events of their batch.

Each of these statements locks the rows of its batches first (`locked`), then those of chunks and steps. So the counters of
a batch are exact under concurrency, and no two statements deadlock. After waiting for a lock, Postgres checks conditions
again against the newest version of the row, whatever the statement's snapshot.
"""

from service import leases
from service.audit import Action
from service.problem_codes import BatchProblem
from service.webhooks import planning

PROGRESS_S = 60
TOO_MANY_ERRORS = f"""jsonb_build_object('code', '{BatchProblem.TOO_MANY_ERRORS}',
    'detail', 'More rows failed than on_error allows. See the errors; what was scored is kept.')"""

# Whether chunks of a batch may be started, by the database's clock. Openings are computed by service.batches.windows.
OPEN = "{t}.open_from <= now() AND ({t}.open_until IS NULL OR {t}.open_until > now())"
COUNTS = """jsonb_build_object('total', rows_total, 'succeeded', rows_succeeded, 'failed', rows_failed,
    'remaining', rows_total - rows_succeeded - rows_failed)"""

# Rows of batches as they were before the statement changed them (RETURNING old came with Postgres 18).
LOCKED_COLUMNS = "id, state, told_at"
LOCKED = (
    f"locked AS MATERIALIZED (SELECT {LOCKED_COLUMNS} FROM batch WHERE id = %(batch_id)s FOR NO KEY UPDATE)"
)
# Why a step or a chunk was put off before the statement changed it.
CODE_BEFORE = "(SELECT before.problem->>'code' FROM {t} AS before WHERE before.id = %(id)s)"
HELD = "held AS (SELECT %(id)s::uuid AS id, %(fence)s::bigint AS fence)"

# Progress is announced at each tenth of the rows, and at least once a minute.
TENTHS = "10 * (batch.rows_succeeded + batch.rows_failed + moved.succeeded + moved.failed) / batch.rows_total"
TELLS = f"""(moved.done > 0 AND batch.chunks_done + moved.done < batch.chunks_total AND ({TENTHS} > batch.told_tenths
            OR now() >= coalesce(batch.told_at, batch.started_at) + interval '{PROGRESS_S} s'))"""

# Settles released chunks: `changed` returns id, batch_id, state, rows_succeeded and rows_failed of chunks no longer held.
# More failed rows than the limit end the batch; the last chunk, or the last held one, moves the batch to its next state.
SETTLED = f"""moved AS (
    SELECT batch_id, count(*) AS released, count(*) FILTER (WHERE state IN ('done', 'quarantined')) AS done,
           sum(rows_succeeded) AS succeeded, sum(rows_failed) AS failed
    FROM {{changed}} GROUP BY batch_id
), settled AS (
    UPDATE batch SET
        rows_succeeded = batch.rows_succeeded + moved.succeeded, rows_failed = batch.rows_failed + moved.failed,
        chunks_done = batch.chunks_done + moved.done,
        chunks_running = CASE WHEN batch.rows_failed + moved.failed > batch.error_limit THEN 0
            ELSE batch.chunks_running - moved.released END,
        problem = CASE WHEN batch.rows_failed + moved.failed > batch.error_limit THEN {TOO_MANY_ERRORS} END,
        state = CASE
            WHEN batch.rows_failed + moved.failed > batch.error_limit THEN 'failed'
            WHEN batch.chunks_done + moved.done = batch.chunks_total THEN 'finalizing'
            WHEN batch.chunks_running > moved.released THEN batch.state
            WHEN batch.state = 'pausing' THEN 'paused'
            WHEN {OPEN.format(t="batch")} THEN batch.state
            ELSE 'scheduled' END,
        told_at = CASE WHEN {TELLS} THEN now() ELSE batch.told_at END,
        told_tenths = CASE WHEN {TELLS} THEN {TENTHS} ELSE batch.told_tenths END
    FROM moved
    WHERE batch.id = moved.batch_id AND batch.id = ANY (ARRAY(SELECT batch_id FROM moved))
    RETURNING batch.id, batch.tenant_id, (SELECT state FROM locked WHERE id = batch.id) AS before, batch.state,
        batch.problem, batch.rows_total, batch.rows_succeeded, batch.rows_failed,
        batch.told_at IS DISTINCT FROM (SELECT told_at FROM locked WHERE id = batch.id) AS tells
), finalize AS (
    INSERT INTO batch_step (batch_id, kind) SELECT id, 'finalize' FROM settled WHERE state = 'finalizing'
), skipped AS (
    UPDATE batch_chunk SET state = 'skipped', {leases.RELEASE}
    WHERE batch_id = ANY (ARRAY(SELECT id FROM settled WHERE state = 'failed')) AND state IN ('queued', 'running')
        AND id <> ALL (ARRAY(SELECT id FROM {{changed}}))
), events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s::text, 'batch.' || state, jsonb_build_object('counts', {COUNTS})
           || CASE WHEN problem IS NULL THEN '{{{{}}}}' ELSE jsonb_build_object('code', problem->>'code') END
    FROM settled WHERE before <> state AND state IN ('failed', 'finalizing', 'paused')
    UNION ALL
    SELECT tenant_id, id, %(actor)s::text, '{Action.BATCH_PROGRESSED}', jsonb_build_object('state', state, 'counts', {COUNTS})
    FROM settled WHERE tells AND state <> 'failed'
    {{more}}
    RETURNING {planning.EVENT_COLUMNS}
), {planning.BATCH_DELIVERIES}"""

# Ends the unfinished work of batches; finished work is kept. `ended` returns their ids.
LEFT_OVER = f"""chunks AS (
    UPDATE batch_chunk SET state = 'skipped', {leases.RELEASE}
    WHERE batch_id = ANY (ARRAY(SELECT id FROM ended)) AND state IN ('queued', 'running')
), steps AS (
    UPDATE batch_step SET state = 'skipped', {leases.RELEASE}
    WHERE batch_id = ANY (ARRAY(SELECT id FROM ended)) AND state IN ('queued', 'running')
)"""
# What `ended` returns, for the event that closes a batch.
ENDED_COLUMNS = "id, tenant_id, state, problem, rows_total, rows_succeeded, rows_failed"
CLOSED = f"""events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, 'batch.' || state, jsonb_build_object('counts', {COUNTS})
           || CASE WHEN problem IS NULL THEN '{{}}' ELSE jsonb_build_object('code', problem->>'code') END
    FROM ended RETURNING {planning.EVENT_COLUMNS}
), {planning.BATCH_DELIVERIES}"""


def settled(changed: str, *, more: str = "") -> str:
    """The expressions that follow `changed`; `more` are additional events."""
    return SETTLED.format(changed=changed, more=more)
