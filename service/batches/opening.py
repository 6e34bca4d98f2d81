"""Takes batches in: one transaction of batch, validation to do and audit event, answered once, however often it is sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import from_json, to_json
from uuid_utils.compat import uuid7

from service.accounts import Principal
from service.batches import windows
from service.batches.files.problems import FileRefused
from service.batches.files.uris import address_of
from service.batches.keys import new_data_key
from service.batches.requests import RerunRows
from service.batches.windows import Window
from service.crypto import Cipher, binding
from service.db import UnitOfWork
from service.errors import BatchNotFound, DeadlinePassed, IdempotencyKeyReused, TransitionRefused
from service.jobs.submission import IdempotencyKey
from service.lifecycle import ENDED_BATCH_STATES

OPEN = """
WITH opened AS (
    INSERT INTO batch (id, tenant_id, model_version_id, schedule_id, scheduled_for, rerun_of, window_hours, window_zone,
                       not_before, deadline_at, open_from, open_until, error_limit, submitted_by, request,
                       data_key, source_by, idempotency_digest, request_digest)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING RETURNING id, tenant_id, created_at
), steps AS (
    INSERT INTO batch_step (batch_id, kind) SELECT id, 'validate' FROM opened
), events AS (
    INSERT INTO audit_event (tenant_id, batch_id, actor, action, object, detail)
    SELECT tenant_id, id, %s, 'batch.opened', %s, jsonb_strip_nulls(jsonb_build_object(
        'schedule_id', %s::uuid, 'scheduled_for', %s::timestamptz, 'rerun_of', %s::uuid,
        'source_digest', %s::text, 'place_digest', %s::text)) FROM opened
)
SELECT created_at FROM opened
"""
FIRST_ANSWER = """
SELECT id, created_at, request_digest FROM batch WHERE tenant_id = %s AND idempotency_digest = %s
"""
ORIGINAL = """
SELECT state::text, rows_failed, model_version_id, window_hours, window_zone, error_limit, request FROM batch
WHERE id = %s AND tenant_id = %s
"""


@dataclass(frozen=True)
class NewBatch:
    """A checked batch on its way in. `request` is JSON (source, format, output, columns to carry) for the workers alone.

    Without `error_limit` it goes on whatever fails; with it, it stops once more rows than that have failed. A source that is
    missing is waited for until `source_by`.
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
    """A batch that is stored: this answer is the same however often the request is repeated."""

    id: UUID
    created_at: datetime
    replayed: bool = False


def open_batch(
    work: UnitOfWork, new: NewBatch, *, actor: str, idempotency: IdempotencyKey | None = None
) -> Opened:
    """Store a batch, to be validated; `work` is a transaction of several statements.

    Raises DeadlinePassed when it could never begin, and IdempotencyKeyReused when the key came with another body before.
    """
    if idempotency and (found := earlier(work, new.tenant_id, idempotency)):
        return found
    batch_id, now = uuid7(), now_of(work)
    rows = work.execute(OPEN, (*_row(batch_id, new, now), *_keys(idempotency), *_event(new, actor)))
    if rows:
        return Opened(batch_id, rows[0][0])
    # Its twin was faster, by the same key or for the same run of a schedule.
    found = earlier(work, new.tenant_id, idempotency) if idempotency else None
    if found is None:
        raise TransitionRefused("This run of the schedule has been opened.")
    return found


def earlier(work: UnitOfWork, tenant_id: UUID, idempotency: IdempotencyKey) -> Opened | None:
    """What this key had opened before, if anything. Raises IdempotencyKeyReused when it came with another body."""
    rows = work.execute(FIRST_ANSWER, (tenant_id, idempotency.of_item(0)))
    if not rows:
        return None
    batch_id, created_at, request_digest = rows[0]
    if request_digest != idempotency.request_digest:
        raise IdempotencyKeyReused
    return Opened(batch_id, created_at, replayed=True)


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
    """Open a batch over rows of one that has ended, with its model, window and request; open at once.

    `source` is a checked `upload_id` or `uri` of a mended file, in place of the first one. The first batch stays as it is, with
    its hashes; `rerun_of` links the second. Raises BatchNotFound, or TransitionRefused when it has not ended or when its
    failed rows are asked for and it has none.
    """
    if idempotency and (opened := earlier(work, principal.tenant_id, idempotency)):
        return opened
    found = work.execute(ORIGINAL, (batch_id, principal.tenant_id))
    if not found:
        raise BatchNotFound
    state, rows_failed, model_version_id, hours, zone, error_limit, request = found[0]
    if state not in ENDED_BATCH_STATES:
        raise TransitionRefused("Only a batch that has ended can be run again.")
    if rows is RerunRows.FAILED and not rows_failed:
        raise TransitionRefused("The batch has no failed rows to run again. Ask for all rows.")
    new = NewBatch(
        tenant_id=principal.tenant_id,
        cipher=principal.cipher,
        submitted_by=principal.key_id,
        model_version_id=model_version_id,
        model=f"batch:{batch_id}",
        request=_of_rerun(
            open_request(principal.cipher, principal.tenant_id, batch_id, request), source, rows
        ),
        window=Window.parsed(hours, zone) if hours else None,
        error_limit=error_limit,
        rerun_of=batch_id,
    )
    return open_batch(work, new, actor=actor, idempotency=idempotency)


def _of_rerun(request: dict[str, Any], source: Mapping[str, str] | None, rows: RerunRows) -> dict[str, Any]:
    """The request of a re-run. One without a source of its own over failed rows takes the plan of the first batch."""
    kept = {name: value for name, value in request.items() if name != "rows"}
    if source is not None:
        kept = {name: value for name, value in kept.items() if name not in {"upload_id", "uri"}} | dict(
            source
        )
    return kept if source is None and rows is RerunRows.FAILED else kept | {"rows": rows}


def open_request(cipher: Cipher, tenant_id: UUID, batch_id: UUID, sealed: bytes) -> Any:
    """What a batch was asked to do. Raises PayloadUnreadable."""
    return from_json(cipher.open(sealed, binding("batch.request", tenant_id, batch_id)))


def address_digest(cipher: Cipher, uri: str | None) -> str | None:
    """What the trail tells of a URI: equal addresses have equal digests within a tenant, and no digest tells the address."""
    if uri is None:
        return None
    try:
        place = str(address_of(uri))
    except FileRefused:  # the batch fails for it once it is validated
        place = uri
    return cipher.blind_index(f"address|{place}").hex()


def now_of(work: UnitOfWork) -> datetime:
    """The database's time."""
    found: datetime = work.execute("SELECT now()")[0][0]
    return found


def _row(batch_id: UUID, new: NewBatch, now: datetime) -> tuple[object, ...]:
    opening = windows.opening_of(new.window, now, not_before=new.not_before, deadline=new.deadline)
    if opening.closes_at is not None and opening.closes_at <= max(opening.opens_at, now):
        raise DeadlinePassed("The deadline passes before the batch may begin. Send a later one, or none.")
    request = new.cipher.seal(to_json(new.request), binding("batch.request", new.tenant_id, batch_id))
    return (
        *(batch_id, new.tenant_id, new.model_version_id, new.schedule_id, new.scheduled_for, new.rerun_of),
        *((new.window.hours, new.window.zone.key) if new.window else (None, None)),
        *(new.not_before, new.deadline, opening.opens_at, opening.closes_at),
        *(new.error_limit, new.submitted_by, request, new_data_key(new.cipher, new.tenant_id, batch_id)),
        new.source_by,
    )


def _keys(idempotency: IdempotencyKey | None) -> tuple[bytes | None, bytes | None]:
    return (idempotency.of_item(0), idempotency.request_digest) if idempotency else (None, None)


def _event(new: NewBatch, actor: str) -> tuple[object, ...]:
    digests = (address_digest(new.cipher, new.request.get(name)) for name in ("uri", "place"))
    return actor, new.model, new.schedule_id, new.scheduled_for, new.rerun_of, *digests
