"""Plans deliveries in the statement that records their events, and sends the wake-up for them.

A statement that ends jobs has three expressions for it: `events`, which inserts the audit events; `changed`, the rows
whose state it changed; and the one made here. One that changes batches has no callbacks to look for, and needs the first
and the last. A tenant without endpoints pays one index lookup a statement.
"""

from collections.abc import Sequence

from service.db import UnitOfWork
from service.lifecycle import ENDED_STATES, JobState
from service.queue import deliver_wake_up
from service.rows import Row

# Returned by the expression that inserts audit events, for those that plan.
EVENT_COLUMNS = "id, tenant_id, job_id, batch_id, action"
# What the expression that changes jobs must return beside its own columns.
JOB_COLUMNS = "job.id, job.tenant_id, job.callback_endpoint_id"
# How many deliveries the statement planned: a column of its answer.
PLANNED = "(SELECT count(*) FROM deliveries) AS planned"

CALLBACK_ACTIONS = ", ".join(f"'job.{state}'" for state in JobState if state in ENDED_STATES)

# The endpoints are looked up by tenant and by id before they are joined: no plan may walk all of them.
REGISTERED = """
    SELECT events.tenant_id, endpoint.id, events.id, events.action, events.job_id, events.batch_id
    FROM events JOIN webhook_endpoint AS endpoint ON endpoint.tenant_id = events.tenant_id
        AND endpoint.tenant_id = ANY (ARRAY(SELECT tenant_id FROM events))
        AND endpoint.kind = 'registered' AND endpoint.state = 'enabled'
        AND events.action = ANY (endpoint.event_types)"""
CALLBACKS = f"""
    SELECT events.tenant_id, endpoint.id, events.id, events.action, events.job_id, events.batch_id
    FROM events JOIN {{changed}} AS changed ON changed.id = events.job_id
        JOIN webhook_endpoint AS endpoint ON endpoint.id = changed.callback_endpoint_id
            AND endpoint.id = ANY (ARRAY(SELECT callback_endpoint_id FROM {{changed}}))
            AND endpoint.state = 'enabled'
    WHERE events.action IN ({CALLBACK_ACTIONS})"""
DELIVERIES = """deliveries AS (
    INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, event_type, job_id, batch_id){planned}
    RETURNING id
)"""
# The expression `deliveries` of a statement whose events are of batches.
BATCH_DELIVERIES = DELIVERIES.format(planned=REGISTERED)


def deliveries_of(changed: str) -> str:
    """The expression `deliveries` of a statement whose expression `changed` returns JOB_COLUMNS."""
    return DELIVERIES.format(planned=f"{REGISTERED}\n    UNION ALL{CALLBACKS.format(changed=changed)}")


def wake_if_planned(work: UnitOfWork, answer: Sequence[Row]) -> None:
    """Send a wake-up for the deliveries that a statement planned, after the commit; its answer has PLANNED."""
    if answer and answer[0].planned:
        work.wake(deliver_wake_up())
