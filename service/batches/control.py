"""What callers may do with a batch in progress: pause, resume and cancel it. Each may be repeated."""

from uuid import UUID

from service.accounts import Principal
from service.audit import Action
from service.batches import settling
from service.db import Param, UnitOfWork
from service.errors import BatchNotFound, TransitionRefused
from service.lifecycle import ENDED_BATCH_STATES, BatchState
from service.webhooks import planning

STATE = "SELECT state::text AS state FROM batch WHERE id = %(id)s AND tenant_id = %(tenant_id)s"

PAUSE = f"""
WITH paused AS (
    UPDATE batch SET state = CASE WHEN chunks_running > 0 THEN 'pausing'::batch_state ELSE 'paused' END
    WHERE id = %(id)s AND tenant_id = %(tenant_id)s AND state IN ('scheduled', 'running')
    RETURNING id, tenant_id, state, rows_total, rows_succeeded, rows_failed
), events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, 'batch.' || state, jsonb_build_object('counts', {settling.COUNTS}) FROM paused
)
SELECT state::text AS state FROM paused
"""
# A resumed batch is scheduled until a claim sets it to running. Its opening may be a past one, which the sweep replaces.
RESUME = f"""
WITH resumed AS (
    UPDATE batch SET state = CASE state WHEN 'pausing' THEN 'running'::batch_state ELSE 'scheduled' END
    WHERE id = %(id)s AND tenant_id = %(tenant_id)s AND state IN ('pausing', 'paused')
    RETURNING id, tenant_id, state
), events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, '{Action.BATCH_RESUMED}', jsonb_build_object('state', state) FROM resumed
)
SELECT state::text AS state FROM resumed
"""
CANCEL = f"""
WITH ended AS (
    UPDATE batch SET state = 'canceled', chunks_running = 0
    WHERE id = %(id)s AND tenant_id = %(tenant_id)s
        AND state IN ('validating', 'scheduled', 'running', 'pausing', 'paused', 'finalizing')
    RETURNING {settling.ENDED_COLUMNS}
), {settling.LEFT_OVER}, {settling.CLOSED}
SELECT state::text AS state, {planning.PLANNED} FROM ended
"""


def pause(work: UnitOfWork, principal: Principal, batch_id: UUID) -> BatchState:
    """Start no more chunks; `paused`, or `pausing` while some are running. Raises BatchNotFound or TransitionRefused."""
    paused = work.execute(PAUSE, _asked(principal, batch_id))
    if paused:
        return BatchState(paused[0].state)
    return _as_it_is(work, principal, batch_id, fine={BatchState.PAUSING, BatchState.PAUSED})


def resume(work: UnitOfWork, principal: Principal, batch_id: UUID) -> BatchState:
    """Continue, within the window. Raises BatchNotFound or TransitionRefused."""
    resumed = work.execute(RESUME, _asked(principal, batch_id))
    if resumed:
        return BatchState(resumed[0].state)
    return _as_it_is(work, principal, batch_id, fine={BatchState.SCHEDULED, BatchState.RUNNING})


def cancel(work: UnitOfWork, principal: Principal, batch_id: UUID) -> BatchState:
    """Cancel a batch; its finished chunks are kept. Returns its state: a batch that had already ended is unchanged.

    Its workers lose their leases. Raises BatchNotFound.
    """
    ended = work.execute(CANCEL, _asked(principal, batch_id))
    planning.wake_if_planned(work, ended)
    if ended:
        return BatchState(ended[0].state)
    return _as_it_is(work, principal, batch_id, fine=set(ENDED_BATCH_STATES))


def _asked(principal: Principal, batch_id: UUID) -> dict[str, Param]:
    return {"id": batch_id, "tenant_id": principal.tenant_id, "actor": principal.actor}


def _as_it_is(work: UnitOfWork, principal: Principal, batch_id: UUID, *, fine: set[BatchState]) -> BatchState:
    found = work.execute(STATE, _asked(principal, batch_id))
    if not found:
        raise BatchNotFound
    state = BatchState(found[0].state)
    if state not in fine:
        raise TransitionRefused(f"The batch is {state}: that does not allow this.")
    return state
