"""Parts of a job's input that are stored apart, for pipelines that have such: files, and results of other jobs.

They are stored in the transaction of their job, and read once it is claimed. Jobs of other pipelines have none and cost no
statement.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from service import rows
from service.accounts import Principal
from service.crypto import Cipher, binding
from service.db import UnitOfWork

STORE = """
INSERT INTO job_input (job_id, name, tenant_id, payload, upload_id, source_job_id)
SELECT * FROM unnest(%(job_ids)b::uuid[], %(names)s::text[], %(tenant_ids)b::uuid[], %(payloads)b::bytea[],
                     %(upload_ids)s::uuid[], %(source_job_ids)s::uuid[])
"""
# Result and model by scalar subqueries: they are found by their keys, whatever the plan.
READ = """
SELECT job_id, name, payload, upload_id, source_job_id, (
    SELECT payload FROM job_result
    WHERE job_result.job_id = job_input.source_job_id AND job_result.tenant_id = job_input.tenant_id
) AS result, (
    SELECT jsonb_build_object('model', name, 'version', version, 'digest', digest) FROM model_version WHERE id = (
        SELECT model_version_id FROM job WHERE job.id = job_input.source_job_id AND job.tenant_id = job_input.tenant_id
    )
) AS source
FROM job_input WHERE job_id = ANY (%(job_ids)s)
"""


@dataclass(frozen=True)
class NewPart:
    """A part of an input to store: a file's bytes, the upload that holds it, or the job whose result it is; one of them."""

    name: str
    content: bytes | None = None
    upload_id: UUID | None = None
    source_job_id: UUID | None = None


@dataclass(frozen=True)
class StoredPart:
    """A part of a job, still sealed. `result` is that of the source job, and `source` its model; None where they are gone."""

    job_id: UUID
    name: str
    payload: bytes | None
    upload_id: UUID | None
    source_job_id: UUID | None
    result: bytes | None
    source: Mapping[str, str] | None  # model, version and digest


def store(work: UnitOfWork, new: Iterable[tuple[UUID, Principal, Sequence[NewPart]]]) -> None:
    """Store the parts of jobs that this transaction has stored."""
    given = [(job_id, principal, part) for job_id, principal, parts in new for part in parts]
    if not given:
        return
    work.execute(
        STORE,
        {
            "job_ids": [job_id for job_id, _, _ in given],
            "names": [part.name for _, _, part in given],
            "tenant_ids": [principal.tenant_id for _, principal, _ in given],
            "payloads": [_sealed(*each) for each in given],
            "upload_ids": [part.upload_id for _, _, part in given],
            "source_job_ids": [part.source_job_id for _, _, part in given],
        },
    )


def read(work: UnitOfWork, job_ids: Sequence[UUID]) -> Mapping[UUID, list[StoredPart]]:
    """The parts of these jobs, by job."""
    found: defaultdict[UUID, list[StoredPart]] = defaultdict(list)
    for row in work.execute(READ, {"job_ids": list(job_ids)}):
        found[row.job_id].append(rows.build(StoredPart, row))
    return found


def opened(work: UnitOfWork, cipher: Cipher, tenant_id: UUID, job_id: UUID) -> list[NewPart]:
    """The parts of a job as they were submitted, to submit them again. Raises PayloadUnreadable."""
    return [
        NewPart(
            part.name,
            None if part.payload is None else open_file(cipher, tenant_id, part),
            part.upload_id,
            part.source_job_id,
        )
        for part in read(work, [job_id]).get(job_id, ())
    ]


def open_file(cipher: Cipher, tenant_id: UUID, part: StoredPart) -> bytes:
    """The bytes of a file that is stored with its job. Raises PayloadUnreadable."""
    return cipher.open(part.payload or b"", _bound(tenant_id, part.job_id, part.name))


def open_result(cipher: Cipher, tenant_id: UUID, part: StoredPart) -> bytes:
    """The JSON of the source job's result, as it is stored. Raises PayloadUnreadable."""
    return cipher.open(part.result or b"", binding("job_result.payload", tenant_id, part.source_job_id or ""))


def _sealed(job_id: UUID, principal: Principal, part: NewPart) -> bytes | None:
    if part.content is None:
        return None
    return principal.cipher.seal(part.content, _bound(principal.tenant_id, job_id, part.name))


def _bound(tenant_id: UUID, job_id: UUID, name: str) -> bytes:
    return binding("job_input.payload", tenant_id, f"{job_id}/{name}")
