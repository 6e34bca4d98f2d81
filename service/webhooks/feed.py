"""The feed of a tenant's published events, in the order in which they became visible: nothing is missed, nothing repeated.

Ids alone give no safe order: a transaction that began earlier may commit later, after a reader has seen a younger id.
So events are read by transaction, up to the oldest one that is still in progress. A page is the first of the pages of each
type: the index leads with the type, so that a reader of rare types reads no others.
"""

from dataclasses import dataclass
from uuid import UUID

from service import rows
from service.accounts import Principal
from service.db import UnitOfWork
from service.errors import EventNotFound
from service.lifecycle import PUBLISHED_BEFORE_FLAG
from service.webhooks import messages
from service.webhooks.messages import Event

# The condition of the index `ix_audit_event_feed`, which is used by whoever states it of a row `event`.
PUBLISHED = "(event.published OR event.action IN ({}))".format(
    ", ".join(f"'{action}'" for action in PUBLISHED_BEFORE_FLAG)
)
VISIBLE = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

READ = f"""
WITH events AS MATERIALIZED (
    SELECT found.* FROM (SELECT DISTINCT unnest(%(types)s::text[])) AS wanted (action) CROSS JOIN LATERAL (
        SELECT event.* FROM audit_event AS event
        WHERE event.tenant_id = %(tenant_id)s AND event.action = wanted.action AND {PUBLISHED}
            AND (event.xact_id, event.id) > (%(xact_id)s, %(event_id)s) AND event.xact_id < (SELECT {VISIBLE})
        ORDER BY event.xact_id, event.id LIMIT %(limit)s) AS found
    ORDER BY found.xact_id, found.id LIMIT %(limit)s
)
SELECT event.xact_id, {messages.EVENT_COLUMNS}
FROM events AS event {messages.FROM_EVENT.format(events="events")}
UNION ALL SELECT {VISIBLE}, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
ORDER BY 1, 2
"""
PLACE = """
SELECT xact_id, id AS event_id FROM audit_event WHERE id = %(id)s AND tenant_id = %(tenant_id)s AND xact_id IS NOT NULL
"""
END = f"SELECT {VISIBLE} AS visible"
NOWHERE = UUID(int=0)


@dataclass(frozen=True, order=True)
class Place:
    """How far a reader has come: after this event of this transaction."""

    xact_id: int
    event_id: UUID


def end(work: UnitOfWork) -> Place:
    """The place after all that is certainly visible; what commits beside older transactions comes after it."""
    return Place(int(work.execute(END)[0].visible), NOWHERE)


def place_of(work: UnitOfWork, principal: Principal, event_id: UUID) -> Place:
    """The place after an event that the reader has seen. Raises EventNotFound."""
    found = work.execute(PLACE, {"id": event_id, "tenant_id": principal.tenant_id})
    if not found:
        raise EventNotFound
    return rows.build(Place, found[0])


def read(
    work: UnitOfWork, principal: Principal, after: Place, *, types: tuple[str, ...], limit: int
) -> tuple[list[Event], Place]:
    """Up to `limit` events of these types behind `after`, oldest first, and the place behind them.

    When there were no more, that is the end: events skipped for their type are not read again.
    """
    asked = {"tenant_id": principal.tenant_id, "types": list(types), "limit": limit}
    *found, end_of_feed = work.execute(READ, {**asked, **vars(after)})
    events = [rows.build(Event, row) for row in found]
    if len(found) == limit:
        return events, Place(found[-1].xact_id, found[-1].id)
    return events, max(after, Place(end_of_feed.xact_id, NOWHERE))
