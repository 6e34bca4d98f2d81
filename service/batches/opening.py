"""Accepts batches: batch, validation step and audit event in one transaction. A repeated request gets the first answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import from_json, to_json
from uuid_utils.compat import uuid7

from service.accounts import Principal
from service.audit import Action
from service.batches import windows
from service.batches.files.problems import FileRefused
from service.batches.files.uris import address_of
from service.batches.keys import new_data_key
from service.batches.requests import RerunRows
from service.batches.windows import Window
from service.crypto import Cipher, binding
from service.db import Param, UnitOfWork
from service.errors import (
    BatchNotFound,
    DeadlinePassed,
    IdempotencyKeyReused,
    TooManyBatches,
    TransitionRefused,
)
from service.jobs.submission import IdempotencyKey
from service.lifecycle import ENDED_BATCH_STATES, BatchState
from service.rows import build

MOST_UNENDED = 1000
COLUMNS = """id, tenant_id, model_version_id, schedule_id, scheduled_for, rerun_of, window_hours, window_zone, not_before,
    deadline_at, open_from, open_until, error_limit, submitted_by, request, data_key, source_by, idempotency_digest,
    request_digest"""
OPEN = f"""
WITH opened AS (
    INSERT INTO batch ({COLUMNS})
    VALUES ({", ".join(f"%({name.strip()})s" for name in COLUMNS.split(","))})
    ON CONFLICT DO NOTHING RETURNING id, tenant_id, created_at
), steps AS (
    INSERT INTO batch_step (batch_id, kind) SELECT id, 'validate' FROM opened
), events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, object, detail)
    SELECT tenant_id, id, %(actor)s, '{Action.BATCH_OPENED}', %(model)s, jsonb_strip_nulls(jsonb_build_object(
        'schedule_id', %(schedule_id)s::uuid, 'scheduled_for', %(scheduled_for)s::timestamptz, 'rerun_of', %(rerun_of)s::uuid,
        'source_digest', %(source_digest)s::text, 'place_digest', %(place_digest)s::text)) FROM opened
)
SELECT created_at FROM opened
"""
# By the index on the state, however many have ended.
UNENDED = f"""
SELECT count(*) AS count FROM (
    SELECT FROM batch WHERE tenant_id = %(tenant_id)s AND state = ANY (%(states)s::batch_state[]) LIMIT {MOST_UNENDED}
) AS unended
"""
FIRST_ANSWER = """
SELECT id, created_at, request_digest FROM batch
WHERE tenant_id = %(tenant_id)s AND idempotency_digest = %(idempotency_digest)s
"""
ORIGINAL = """
SELECT state::text AS state, rows_failed, model_version_id, window_hours, window_zone, error_limit, request FROM batch
WHERE id = %(id)s AND tenant_id = %(tenant_id)s
"""


@dataclass(frozen=True)
class NewBatch:
    """A checked batch to be stored. `request` is JSON (source, format, output, columns to carry) that only workers read.

    Once more than `error_limit` rows have failed, the batch stops; without a limit failed rows never stop it. Until
    `source_by`, the batch waits for a missing source.
    """

    tenant_id: UUID
    cipher: Cipher
    submitted_by: str  # the id of a key
    model_version_id: UUID
    model: str  # as an audit event names it
    request: Any
    window: Window | None = None
    not_before: datetime | None = None
    deadline: datetime | None = None
    error_limit: int | None = None
    schedule_id: UUID | None = None
    scheduled_for: datetime | None = None
    rerun_of: UUID | None = None
    source_by: datetime | None = None


@dataclass(frozen=True)
class Opened:
    """A stored batch. The answer is the same however often the request is repeated."""

    id: UUID
    created_at: datetime
    replayed: bool = False


def open_batch(
    work: UnitOfWork, new: NewBatch, *, actor: str, idempotency: IdempotencyKey | None = None
) -> Opened:
    """Store a batch, to be validated; `work` is a transaction of several statements.

    Raises DeadlinePassed if it could never start, IdempotencyKeyReused if the key was used with another body before, and
    TooManyBatches.
    """
    if idempotency and (found := earlier(work, new.tenant_id, idempotency)):
        return found
    states = [state.value for state in BatchState if state not in ENDED_BATCH_STATES]
    if work.execute(UNENDED, {"tenant_id": new.tenant_id, "states": states})[0].count >= MOST_UNENDED:
        raise TooManyBatches(
            f"The tenant has {MOST_UNENDED} batches that have not ended, as many as it may have. Wait until one has ended, "
            "or cancel one."
        )
    batch_id, now = uuid7(), now_of(work)
    opened = work.execute(OPEN, {**_row(batch_id, new, now, idempotency), **_event(new, actor)})
    if opened:
        return Opened(batch_id, opened[0].created_at)
    # A duplicate was stored first, with the same key or for the same run of a schedule.
    found = earlier(work, new.tenant_id, idempotency) if idempotency else None
    if found is None:
        raise TransitionRefused("This run of the schedule has been opened.")
    return found


def earlier(work: UnitOfWork, tenant_id: UUID, idempotency: IdempotencyKey) -> Opened | None:
    """The batch that this key opened before, if any. Raises IdempotencyKeyReused if the key was used with another body."""
    asked = {"tenant_id": tenant_id, "idempotency_digest": idempotency.of_item(0)}
    found = work.execute(FIRST_ANSWER, asked)
    if not found:
        return None
    if found[0].request_digest != idempotency.request_digest:
        raise IdempotencyKeyReused
    return build(Opened, found[0], replayed=True)


def rerun(
    work: UnitOfWork,
    principal: Principal,
    batch_id: UUID,
    *,
    actor: str,
    idempotency: IdempotencyKey | None = None,
    source: Mapping[str, str] | None = None,
    rows: RerunRows = RerunRows.FAILED,
) -> Opened:
    """Open a batch over rows of one that has ended, with its model, window and request. It may start at once.

    `source` is the checked `upload_id` or `uri` of a corrected file that replaces the first. The first batch and its hashes
    are unchanged; `rerun_of` of the second links to it. Raises BatchNotFound, or TransitionRefused if the first batch has
    not ended, or has no failed rows although they are requested.
    """
    if idempotency and (opened := earlier(work, principal.tenant_id, idempotency)):
        return opened
    found = work.execute(ORIGINAL, {"id": batch_id, "tenant_id": principal.tenant_id})
    if not found:
        raise BatchNotFound
    (first,) = found
    if first.state not in ENDED_BATCH_STATES:
        raise TransitionRefused("Only a batch that has ended can be run again.")
    if rows is RerunRows.FAILED and not first.rows_failed:
        raise TransitionRefused("The batch has no failed rows to run again. Ask for all rows.")
    new = NewBatch(
        tenant_id=principal.tenant_id,
        cipher=principal.cipher,
        submitted_by=principal.key_id,
        model_version_id=first.model_version_id,
        model=f"batch:{batch_id}",
        request=_of_rerun(
            open_request(principal.cipher, principal.tenant_id, batch_id, first.request), source, rows
        ),
        window=Window.parsed(first.window_hours, first.window_zone) if first.window_hours else None,
        error_limit=first.error_limit,
        rerun_of=batch_id,
    )
    return open_batch(work, new, actor=actor, idempotency=idempotency)


def _of_rerun(request: dict[str, Any], source: Mapping[str, str] | None, rows: RerunRows) -> dict[str, Any]:
    """The request of a re-run. A re-run of failed rows without its own source uses the plan of the first batch."""
    kept = {name: value for name, value in request.items() if name != "rows"}
    if source is not None:
        kept = {name: value for name, value in kept.items() if name not in {"upload_id", "uri"}} | dict(
            source
        )
    return kept if source is None and rows is RerunRows.FAILED else kept | {"rows": rows}


def open_request(cipher: Cipher, tenant_id: UUID, batch_id: UUID, sealed: bytes) -> Any:
    """Open the sealed request of a batch. Raises PayloadUnreadable."""
    return from_json(cipher.open(sealed, binding("batch.request", tenant_id, batch_id)))


def address_digest(cipher: Cipher, uri: str | None) -> str | None:
    """The digest of a URI for the audit trail: the same for equal addresses of a tenant, without revealing the address."""
    if uri is None:
        return None
    try:
        place = str(address_of(uri))
    except FileRefused:  # the batch fails in validation
        place = uri
    return cipher.blind_index(f"address|{place}").hex()


def now_of(work: UnitOfWork) -> datetime:
    """The database's time."""
    now: datetime = work.execute("SELECT now() AS now")[0].now
    return now


def _row(
    batch_id: UUID, new: NewBatch, now: datetime, idempotency: IdempotencyKey | None
) -> dict[str, Param]:
    """The values for COLUMNS; the request is sealed."""
    opening = windows.opening_of(new.window, now, not_before=new.not_before, deadline=new.deadline)
    if opening.closes_at is not None and opening.closes_at <= max(opening.opens_at, now):
        raise DeadlinePassed("The deadline passes before the batch may start. Send a later one, or none.")
    return {
        "id": batch_id,
        "tenant_id": new.tenant_id,
        "model_version_id": new.model_version_id,
        "schedule_id": new.schedule_id,
        "scheduled_for": new.scheduled_for,
        "rerun_of": new.rerun_of,
        "window_hours": new.window and new.window.hours,
        "window_zone": new.window and new.window.zone.key,
        "not_before": new.not_before,
        "deadline_at": new.deadline,
        "open_from": opening.opens_at,
        "open_until": opening.closes_at,
        "error_limit": new.error_limit,
        "submitted_by": new.submitted_by,
        "request": new.cipher.seal(to_json(new.request), binding("batch.request", new.tenant_id, batch_id)),
        "data_key": new_data_key(new.cipher, new.tenant_id, batch_id),
        "source_by": new.source_by,
        "idempotency_digest": idempotency and idempotency.of_item(0),
        "request_digest": idempotency and idempotency.request_digest,
    }


def _event(new: NewBatch, actor: str) -> dict[str, Param]:
    """What the audit trail records of an opening in addition to the batch's columns."""
    return {
        "actor": actor,
        "model": new.model,
        "source_digest": address_digest(new.cipher, new.request.get("uri")),
        "place_digest": address_digest(new.cipher, new.request.get("place")),
    }
