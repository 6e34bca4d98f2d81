"""Accepts jobs: a job and its audit event in one transaction. A repeated request gets the first answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic_core import to_json
from uuid_utils.compat import uuid7

from models.pipelines import pointer_to
from service import rows
from service.accounts import Principal
from service.audit import Action
from service.catalog import PublishedModel
from service.crypto import binding, new_nonces
from service.db import Param, UnitOfWork
from service.errors import AfterUnsuitable, IdempotencyKeyReused
from service.jobs import inputs, predecessors
from service.jobs.inputs import NewPart
from service.jobs.predecessors import Predecessors
from service.lifecycle import PRIORITY_HEADSTART_S, Origin, Priority
from service.queue import score_wake_up
from service.webhooks import endpoints

# A single job is passed as a row of plain parameters, several as arrays: building one-element arrays would cost more CPU
# than everything else.
COLUMN_TYPES = {
    "id": "uuid",
    "tenant_id": "uuid",
    "submitted_by": "text",
    "model_version_id": "uuid",
    "model": "text",
    "priority": "smallint",
    "deadline_at": "timestamptz",
    "promised_s": "float8",
    "upload_id": "uuid",
    "payload": "bytea",
    "context": "bytea",
    "subject_digest": "bytea",
    "idempotency_digest": "bytea",
    "request_digest": "bytea",
    "callback_endpoint_id": "uuid",
    "callback": "bytea",
    "traceparent": "text",
    "not_before": "timestamptz",
    "depth": "smallint",
    "options": "bytea",
    "origin": "job_origin",
}
HEADSTARTS = ", ".join(str(PRIORITY_HEADSTART_S[priority]) for priority in Priority)
# Columns of a job and their expressions: given ones by name, and those computed from them.
VALUES = {name: name for name in COLUMN_TYPES if name not in {"model", "promised_s"}} | {
    "available_at": "greatest(now(), not_before)",
    "rank_at": f"greatest(now(), not_before) + make_interval(secs => (ARRAY[{HEADSTARTS}])[priority + 1])",
    "promise_at": "greatest(now(), not_before) + make_interval(secs => promised_s)",
    "state": "CASE WHEN depth > 0 OR not_before > now() THEN 'waiting' ELSE 'queued' END::job_state",
    "blocked": "depth > 0",
}
ONE = "SELECT {}".format(", ".join(f"%({name})s::{kind} AS {name}" for name, kind in COLUMN_TYPES.items()))
# Arrays in binary: psycopg takes a third of the time that their text takes.
MANY = "SELECT * FROM unnest({}) AS given ({})".format(
    ", ".join(f"%({name})b::{kind}[]" for name, kind in COLUMN_TYPES.items()),
    ", ".join(COLUMN_TYPES),
)

SUBMIT = f"""
WITH given AS (
    {{given}}
), fresh AS (
    INSERT INTO job ({", ".join(VALUES)})
    SELECT {", ".join(VALUES.values())}
    FROM given
    ON CONFLICT (tenant_id, idempotency_digest) WHERE idempotency_digest IS NOT NULL DO NOTHING
    RETURNING id, tenant_id, submitted_by, created_at
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, object)
    SELECT fresh.tenant_id, fresh.id, 'key:' || fresh.submitted_by, '{Action.JOB_SUBMITTED}', given.model
    FROM fresh JOIN given USING (id)
)
SELECT id, created_at FROM fresh
"""

SUBMIT_ONE = SUBMIT.format(given=ONE)
SUBMIT_MANY = SUBMIT.format(given=MANY)

FIRST_ANSWERS = """
SELECT idempotency_digest, request_digest, id, created_at, model_version_id, CASE WHEN depth > 0 THEN
    ARRAY(SELECT predecessor_id FROM job_after WHERE job_id = job.id ORDER BY position) END AS after FROM job
WHERE tenant_id = %(tenant_id)s AND idempotency_digest = ANY(%(digests)s::bytea[])
"""


@dataclass(frozen=True)
class Callback:
    """Where the caller of a job is notified of its end: a checked URL, and the endpoint of the URL's origin."""

    endpoint_id: UUID
    url: str


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class NewJob(NamedTuple):
    """A checked job to be stored. `payload` is the pipeline's canonical input, or `upload_id` names the file."""

    principal: Principal
    model: PublishedModel
    position: int = 0  # in the request that brought it
    payload: bytes | None = None
    upload_id: UUID | None = None
    priority: Priority = Priority.ROUTINE
    deadline_at: datetime | None = None
    subject: str | None = None
    metadata: Mapping[str, str] = _NOTHING
    callback: Callback | None = None
    traceparent: str | None = None
    after: Sequence[UUID] = ()
    not_before: datetime | None = None
    options: Mapping[str, object] = _NOTHING  # as the pipeline's `check_options` gave them
    origin: Origin = Origin.CALLER
    parts: Sequence[NewPart] = ()

    @property
    def predecessors(self) -> dict[UUID, str]:
        """The jobs that must have succeeded first, in order, each with the JSON pointer by which the request names it."""
        if not (self.after or self.parts):
            return {}
        named = {job_id: f"/after/{number}" for number, job_id in enumerate(self.after)}
        return named | self.sources | named

    @property
    def sources(self) -> dict[UUID, str]:
        """The jobs whose results are parts of the input, in order, each with the JSON pointer by which the input names it."""
        named = dict[UUID, str]()
        for part in self.parts:
            if part.source_job_id is not None:
                named.setdefault(part.source_job_id, pointer_to("input", part.name, "job"))
        return named

    @property
    def subject_digest(self) -> bytes | None:
        """The keyed digest of the subject, by which jobs of one subject are found."""
        return None if self.subject is None else self.principal.cipher.blind_index(self.subject)


@dataclass(frozen=True)
class IdempotencyKey:
    """The caller's key for a request, and the digest of that request's body."""

    key: str
    request_digest: bytes

    def of_item(self, index: int) -> bytes:
        """32 bytes that identify this key and one item of the request."""
        return hashlib.sha256(f"{index}|{self.key}".encode()).digest()


@dataclass(frozen=True)
class Accepted:
    """A stored job. The answer is the same however often the request is repeated."""

    id: UUID
    created_at: datetime
    model_version_id: UUID
    after: Sequence[UUID] = ()
    replayed: bool = False


def submit(
    work: UnitOfWork,
    new_jobs: Sequence[NewJob],
    idempotency: IdempotencyKey | None = None,
    held: Predecessors = predecessors.NONE,
) -> list[Accepted]:
    """Store jobs, queued or waiting, and wake their workers; the answers are in the order given.

    The jobs may be different callers'; with an idempotency key all are one caller's. `work` must be a transaction of
    several statements if there is an idempotency key, so that a refused repetition stores nothing, and if jobs have parts or
    wait for others. Those others are `held`, and each has been checked to be suitable. Raises IdempotencyKeyReused if the
    key was used with another body before.
    """
    ids, waiting_for = [uuid7() for _ in new_jobs], [job.predecessors for job in new_jobs]
    given = [
        _row(job_id, job, idempotency, nonce, depth=held.depth(after))
        for job_id, job, after, nonce in zip(ids, new_jobs, waiting_for, new_nonces(len(ids)), strict=True)
    ]
    if len(given) == 1:
        stored = work.execute(SUBMIT_ONE, given[0])
    else:
        stored = work.execute(SUBMIT_MANY, {name: _column(name, given) for name in COLUMN_TYPES})
    created = {row.id: row.created_at for row in stored}
    linked = [
        (job_id, job, after)
        for job_id, job, after in zip(ids, new_jobs, waiting_for, strict=True)
        if (after or job.parts) and job_id in created
    ]
    inputs.store(work, ((job_id, job.principal, job.parts) for job_id, job, _ in linked))
    predecessors.record(work, {job_id: after for job_id, _, after in linked}, held)
    for version_id in {job.model.id for job in new_jobs}:
        work.wake(score_wake_up(version_id))
    if len(created) < len(ids):
        return _first_answers(work, new_jobs, idempotency)
    return [
        Accepted(job_id, created[job_id], job.model.id, tuple(after))
        for job_id, job, after in zip(ids, new_jobs, waiting_for, strict=True)
    ]


def submit_after(
    work: UnitOfWork, new_jobs: Sequence[NewJob], idempotency: IdempotencyKey | None = None
) -> list[Accepted | AfterUnsuitable]:
    """Store one caller's jobs, some of which wait for others; for a job that cannot wait, the answer is the reason.

    `work` is a transaction of several statements. Raises IdempotencyKeyReused and PredecessorBusy.
    """
    named = {job_id for job in new_jobs for job_id in job.predecessors}
    held = predecessors.hold(work, new_jobs[0].principal.tenant_id, named)
    refusals = [held.refusal(job.predecessors, job.sources, job.subject_digest) for job in new_jobs]
    fit = [job for job, refusal in zip(new_jobs, refusals, strict=True) if refusal is None]
    stored = iter(submit(work, fit, idempotency, held) if fit else ())
    return [refusal or next(stored) for refusal in refusals]


def _row(
    job_id: UUID, job: NewJob, idempotency: IdempotencyKey | None, nonce: bytes, *, depth: int
) -> dict[str, Param]:
    """The values for COLUMN_TYPES; payload (with `nonce`), options, context and callback are sealed."""
    cipher, tenant_id = job.principal.cipher, job.principal.tenant_id
    payload, callback = job.payload, job.callback
    return {
        "id": job_id,
        "tenant_id": tenant_id,
        "submitted_by": job.principal.key_id,
        "model_version_id": job.model.id,
        "model": f"model:{job.model.name}@{job.model.version}",
        "priority": int(job.priority),
        "deadline_at": job.deadline_at,
        "promised_s": job.model.manifest.runtime.promised_s,
        "upload_id": job.upload_id,
        "payload": None
        if payload is None
        else cipher.seal(payload, binding("job.payload", tenant_id, job_id), nonce),
        "context": _sealed_context(job_id, job),
        "subject_digest": job.subject_digest,
        "idempotency_digest": idempotency and idempotency.of_item(job.position),
        "request_digest": idempotency and idempotency.request_digest,
        "callback_endpoint_id": callback and callback.endpoint_id,
        "callback": callback and endpoints.seal_callback(job.principal, job_id, callback.url),
        "traceparent": job.traceparent,
        "not_before": job.not_before,
        "depth": depth,
        "options": cipher.seal(to_json(job.options), binding("job.options", tenant_id, job_id))
        if job.options
        else None,
        "origin": job.origin.value,
    }


def _column(name: str, given: Sequence[dict[str, Param]]) -> Param:
    """One column of several jobs. One that is null throughout is passed as null, which `unnest` fills up with nulls."""
    values = [row[name] for row in given]
    return None if values[0] is None and values.count(None) == len(values) else values


def _sealed_context(job_id: UUID, job: NewJob) -> bytes | None:
    if job.subject is None and not job.metadata:
        return None
    content = to_json({"subject": job.subject, "metadata": dict(job.metadata)})
    return job.principal.cipher.seal(content, binding("job.context", job.principal.tenant_id, job_id))


def earlier(
    work: UnitOfWork, principal: Principal, idempotency: IdempotencyKey, *, count: int
) -> dict[int, Accepted]:
    """The earlier answers to this key, by position in a request of `count` items.

    Raises IdempotencyKeyReused if it was used with another body.
    """
    positions = {idempotency.of_item(position): position for position in range(count)}
    found = {}
    asked = {"tenant_id": principal.tenant_id, "digests": list(positions)}
    for row in work.execute(FIRST_ANSWERS, asked):
        if row.request_digest != idempotency.request_digest:
            raise IdempotencyKeyReused
        found[positions[row.idempotency_digest]] = rows.build(
            Accepted, row, after=row.after or (), replayed=True
        )
    return found


def _first_answers(
    work: UnitOfWork, new_jobs: Sequence[NewJob], idempotency: IdempotencyKey | None
) -> list[Accepted]:
    """The answers to a request of which a duplicate was stored first."""
    assert idempotency is not None  # only its index keeps a job out
    found = earlier(work, new_jobs[0].principal, idempotency, count=1 + max(job.position for job in new_jobs))
    if any(job.position not in found for job in new_jobs):
        raise IdempotencyKeyReused
    return [found[job.position] for job in new_jobs]
