"""The artifacts of results: sealed files, such as a mask or an overlay, that belong to a job's JSON result.

If all artifacts of a job are small together, they are stored in the database; otherwise in the blob store, each with its
own data key. A blob is noted in `blob_removal` before it is written, and the statement that ends its job deletes the note.
So the blobs of a worker that died or lost its lease are known, and a sweep removes them. A blob's location contains the
fence of its claim.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from models.pipelines import Artifact
from models.pipelines.artifacts import NAME
from service import rows
from service.accounts import Principal
from service.crypto import FRAME_BYTES, Cipher, Keyring, binding
from service.db import Database, UnitOfWork
from service.errors import ArtifactNotFound, BlobUnavailable, PayloadUnreadable
from service.leases import Lease
from service.sealed import FEW_FRAMES, SealedFile
from service.storage import BlobStore

INLINE_BYTES = 64 * 1024
# Far longer than a worker may take to write its blobs before its heartbeat ends it, so no blob is written after its removal.
KEPT_S = 600.0
PUT_OFF_S = 60.0
REMOVED_AT_ONCE = 50

NOTE = """
INSERT INTO blob_removal (location, job_id, fence, due_at)
SELECT location, job_id, fence, now() + make_interval(secs => %(kept_s)s)
FROM unnest(%(locations)s::text[], %(job_ids)s::uuid[], %(fences)s::bigint[]) AS given (location, job_id, fence)
ON CONFLICT (location) DO UPDATE SET due_at = excluded.due_at
RETURNING job_id
"""

# For the statement that ends jobs: `ended` holds the rows of those that were still held.
PUBLISHED = """artifacts AS (
    INSERT INTO artifact (job_id, name, tenant_id, media_type, size_bytes, sha256, content, location, data_key, fence)
    SELECT ended.id, made.name, ended.tenant_id, made.media_type, made.size_bytes, made.sha256, made.content, made.location,
           made.data_key, ended.fence
    FROM ended JOIN unnest(%(artifact_jobs)b::uuid[], %(artifact_names)s::text[], %(artifact_types)s::text[],
            %(artifact_sizes)b::bigint[], %(artifact_digests)s::text[], %(artifact_contents)b::bytea[],
            %(artifact_locations)s::text[], %(artifact_keys)b::bytea[])
        AS made (job_id, name, media_type, size_bytes, sha256, content, location, data_key) ON made.job_id = ended.id
), kept AS (
    DELETE FROM blob_removal
    WHERE location = ANY (%(artifact_locations)s::text[]) AND job_id = ANY (ARRAY(SELECT id FROM ended))
)"""

FIND = """
SELECT job_id, name, media_type, size_bytes, sha256, content, location, data_key
FROM artifact WHERE job_id = %(job_id)s AND name = %(name)s AND tenant_id = %(tenant_id)s
"""

REMOVE = """
WITH removed AS (
    DELETE FROM artifact WHERE job_id = ANY (%(job_ids)s::uuid[]) RETURNING location, job_id, fence
), noted AS (
    INSERT INTO blob_removal (location, job_id, fence, due_at)
    SELECT location, job_id, fence, now() FROM removed WHERE location IS NOT NULL
)
SELECT count(*) AS count FROM removed
"""

# A job's blobs are kept while a worker holds it and may publish them. Once its lease is lost, no statement can.
DUE = """
WITH due AS MATERIALIZED (
    SELECT location, job_id, fence FROM blob_removal WHERE due_at <= now() ORDER BY due_at LIMIT %(limit)s
), held AS (
    SELECT id, fence FROM job WHERE id = ANY (ARRAY(SELECT job_id FROM due)) AND state = 'running'
)
SELECT location FROM due WHERE (job_id, fence) NOT IN (SELECT id, fence FROM held)
"""
REMOVED = "DELETE FROM blob_removal WHERE location = ANY (%(locations)s::text[])"
PUT_OFF = """
UPDATE blob_removal SET due_at = now() + make_interval(secs => %(delay_s)s) WHERE location = %(location)s
"""

log = structlog.get_logger()


@dataclass(frozen=True)
class NewArtifact:
    """An artifact of a job that is still held: sealed `inline` content, or the location and data key of its blob."""

    lease: Lease
    tenant_id: UUID
    artifact: Artifact
    sha256: str
    inline: bytes | None = None
    location: str | None = None
    data_key: bytes | None = None

    @property
    def listing(self) -> dict[str, object]:
        """The artifact's entry in the result."""
        return {
            "name": self.artifact.name,
            "media_type": self.artifact.media_type,
            "size_bytes": len(self.artifact.content),
            "sha256": self.sha256,
        }


@dataclass(frozen=True)
class StoredArtifact:
    """An artifact of a job that succeeded."""

    job_id: UUID
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    content: bytes | None
    location: str | None
    data_key: bytes | None


class ArtifactStore:
    """Seals, writes and opens artifacts."""

    def __init__(self, blobs: BlobStore, keyring: Keyring) -> None:
        self._blobs = blobs
        self._keyring = keyring

    def prepare(
        self, cipher: Cipher, tenant_id: UUID, lease: Lease, artifacts: Sequence[Artifact]
    ) -> tuple[NewArtifact, ...]:
        """Digest the artifacts of a held job, and seal them if they are small. Writes nothing."""
        small = sum(len(each.content) for each in artifacts) <= INLINE_BYTES
        prepared = []
        for each in artifacts:
            sha256 = hashlib.sha256(each.content).hexdigest()
            if small:
                inline = cipher.seal(each.content, _bound("content", tenant_id, lease.id, each.name))
                prepared.append(NewArtifact(lease, tenant_id, each, sha256, inline=inline))
            else:
                location = f"artifacts/{tenant_id}/{lease.id}/{lease.fence}.{each.name}"
                data_key = self._keyring.new_data_key(_bound("data_key", tenant_id, lease.id, each.name))
                prepared.append(
                    NewArtifact(lease, tenant_id, each, sha256, location=location, data_key=data_key)
                )
        return tuple(prepared)

    def write(self, new: NewArtifact) -> None:
        """Write the blob of an artifact that is not inline. It must have been noted before. Raises BlobUnavailable."""
        if new.location is None or new.data_key is None:
            return
        row = (new.tenant_id, new.lease.id, new.artifact.name)
        cipher = self._keyring.unwrapped(new.data_key, _bound("data_key", *row))
        self._blobs.write(
            new.location, cipher.seal_stream(_frames(new.artifact.content), _bound("blob", *row))
        )

    def open(self, principal: Principal, stored: StoredArtifact) -> io.RawIOBase | io.BytesIO:
        """The plain bytes as a seekable file. Raises PayloadUnreadable; reading also raises what SealedFile does."""
        row = (principal.tenant_id, stored.job_id, stored.name)
        if stored.location is None or stored.data_key is None:
            content = principal.cipher.open(stored.content or b"", _bound("content", *row))
            if len(content) != stored.size_bytes:
                raise PayloadUnreadable
            return io.BytesIO(content)
        cipher = self._keyring.unwrapped(stored.data_key, _bound("data_key", *row))
        return SealedFile(
            *(self._blobs, stored.location, cipher, _bound("blob", *row)),
            size_bytes=stored.size_bytes,
            kept_frames=FEW_FRAMES,
        )


def note(work: UnitOfWork, made: Sequence[NewArtifact], *, kept_s: float = KEPT_S) -> set[UUID]:
    """Note blobs that are about to be written; returns their jobs. Unless the job ends with them, a sweep removes them."""
    blobs = [new for new in made if new.location is not None]
    params = {
        "locations": [new.location for new in blobs],
        "job_ids": [new.lease.id for new in blobs],
        "fences": [new.lease.fence for new in blobs],
        "kept_s": kept_s,
    }
    return {row.job_id for row in work.execute(NOTE, params)}


def published_params(made: Sequence[NewArtifact]) -> dict[str, object]:
    """The parameters of PUBLISHED."""
    return {
        "artifact_jobs": [new.lease.id for new in made],
        "artifact_names": [new.artifact.name for new in made],
        "artifact_types": [new.artifact.media_type for new in made],
        "artifact_sizes": [len(new.artifact.content) for new in made],
        "artifact_digests": [new.sha256 for new in made],
        "artifact_contents": [new.inline for new in made],
        "artifact_locations": [new.location for new in made],
        "artifact_keys": [new.data_key for new in made],
    }


def find(work: UnitOfWork, principal: Principal, job_id: UUID, name: str) -> StoredArtifact:
    """Find an artifact by its name. Raises ArtifactNotFound, also for another tenant's."""
    params = {"job_id": job_id, "name": name, "tenant_id": principal.tenant_id}
    found = work.execute(FIND, params) if NAME.fullmatch(name) else []
    if not found:
        raise ArtifactNotFound
    return rows.build(StoredArtifact, found[0])


def remove(work: UnitOfWork, job_ids: Sequence[UUID]) -> int:
    """Remove the artifacts of jobs that are removed in this transaction; returns how many. A sweep removes the blobs."""
    return int(work.execute(REMOVE, {"job_ids": list(job_ids)})[0].count)


def remove_due(database: Database, blobs: BlobStore) -> int:
    """Remove a bounded number of blobs that are due from the store; returns how many.

    A blob that cannot be removed is put off, so that it does not hold up others; the rest are tried at the next sweep.
    """
    with database.statement() as work:
        due = [row.location for row in work.execute(DUE, {"limit": REMOVED_AT_ONCE})]
    gone: list[str] = []
    for location in due:
        try:
            blobs.delete(location)
            blobs.delete_unfinished(location)
        except BlobUnavailable as error:
            log.warning("artifact_not_removed", location=location, exc_info=error)
            with database.statement() as work:
                work.execute(PUT_OFF, {"location": location, "delay_s": PUT_OFF_S})
            break
        gone.append(location)
    if gone:
        with database.statement() as work:
            work.execute(REMOVED, {"locations": gone})
    return len(gone)


def _bound(column: str, tenant_id: UUID, job_id: UUID, name: str) -> bytes:
    return binding(f"artifact.{column}", tenant_id, f"{job_id}/{name}")


def _frames(content: bytes) -> Iterator[bytes]:
    """Frame by frame: sealing cuts them out of what it is given, which would copy a long one again and again."""
    for start in range(0, len(content), FRAME_BYTES):
        yield content[start : start + FRAME_BYTES]
