"""The texts that running jobs have written so far, for whoever follows them; at most one of a job, replaced as it grows.

They are no results: a text is valid only while its job runs under the fence that it was written with, so one whose worker died
is never read. A sweep removes what is not valid any more. The table is not logged: what a crash of Postgres takes from it is
written again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from service import leases
from service.accounts import Principal
from service.audit import Action
from service.crypto import Cipher, binding
from service.db import UnitOfWork
from service.errors import JobNotFound
from service.leases import Lease
from service.lifecycle import JobState

SWEEP_ROWS = 1000

WRITE = f"""
WITH held AS (
    SELECT * FROM unnest(%(ids)b::uuid[], %(fences)b::bigint[], %(payloads)b::bytea[]) AS held (id, fence, payload)
)
INSERT INTO job_partial_text (job_id, fence, payload)
SELECT job.id, job.fence, held.payload FROM job JOIN held ON {leases.held_clause("job")} ORDER BY job.id
ON CONFLICT (job_id) DO UPDATE SET fence = excluded.fence, payload = excluded.payload
"""

# The text by a scalar subquery: it is found by its key, whatever the plan.
READ = f"""
WITH found AS MATERIALIZED (
    SELECT id, tenant_id, state::text AS state, fence, abstained, model_version_id, CASE WHEN state = 'running' THEN (
        SELECT payload FROM job_partial_text AS written WHERE written.job_id = job.id AND written.fence = job.fence
    ) END AS payload
    FROM job WHERE id = %(job_id)s AND tenant_id = %(tenant_id)s
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action)
    SELECT tenant_id, id, %(actor)s, '{Action.TEXT_READ}' FROM found WHERE payload IS NOT NULL AND NOT %(recorded)s
)
SELECT state, fence, abstained, model_version_id, payload FROM found
"""

SWEEP = f"""
WITH left_over AS MATERIALIZED (
    SELECT job_id FROM job_partial_text AS written WHERE (
        SELECT state = 'running' AND fence = written.fence FROM job WHERE id = written.job_id
    ) IS NOT TRUE LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
)
DELETE FROM job_partial_text WHERE job_id = ANY (ARRAY(SELECT job_id FROM left_over))
"""


@dataclass(frozen=True)
class Progress:
    """How far a job has come. `text`: what it has written so far while it runs, or nothing."""

    state: JobState
    fence: int
    abstained: bool
    model_version_id: UUID
    text: str


def sealed(cipher: Cipher, tenant_id: UUID, lease: Lease, text: str) -> bytes:
    """A text that is written under a lease, for `write`."""
    return cipher.seal(text.encode(), _bound(tenant_id, lease))


def write(work: UnitOfWork, texts: Sequence[tuple[Lease, bytes]]) -> None:
    """Replace the texts of jobs that are still held under these leases."""
    params = leases.columns([lease for lease, _ in texts])
    work.execute(WRITE, {**params, "payloads": [payload for _, payload in texts]})


def read(work: UnitOfWork, principal: Principal, job_id: UUID, *, recorded: bool) -> Progress:
    """The progress of a job. Reading a text is recorded unless it was `recorded` before.

    Raises JobNotFound or PayloadUnreadable.
    """
    asked = {"job_id": job_id, "tenant_id": principal.tenant_id, "actor": principal.actor}
    found = work.execute(READ, {**asked, "recorded": recorded})
    if not found:
        raise JobNotFound
    (row,), text = found, b""
    if row.payload is not None:
        bound_to = _bound(principal.tenant_id, Lease(job_id, row.fence))
        text = principal.cipher.open(row.payload, bound_to)
    return Progress(
        JobState(row.state), row.fence, row.abstained is True, row.model_version_id, text.decode()
    )


def sweep(work: UnitOfWork) -> None:
    """Remove the texts of jobs that do not run any more, or run again. Safe to run twice."""
    work.execute(SWEEP)


def _bound(tenant_id: UUID, lease: Lease) -> bytes:
    return binding("job_partial_text.payload", tenant_id, f"{lease.id}/{lease.fence}")
