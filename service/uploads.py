"""Uploads: files streamed into the encrypted blob store, and back. Each has its own data key."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from uuid_utils.compat import uuid7

from service import audit
from service.accounts import Principal
from service.crypto import Keyring, binding
from service.db import Database, UnitOfWork
from service.errors import BlobMissing, BodyTooLarge, UploadNotFound
from service.orm import Upload
from service.rows import Row
from service.sealed import SealedFile
from service.storage import BlobStore

FIND = "SELECT location, data_key, size_bytes, sha256 FROM upload WHERE id = %(id)s AND tenant_id = %(tenant_id)s"


@dataclass(frozen=True)
class StoredUpload:
    """A stored file: its id, its length and the SHA-256 of its plain bytes."""

    id: UUID
    size_bytes: int
    sha256: str


class _Measured:
    """Passes parts on while counting and hashing them. Raises BodyTooLarge past `limit` bytes."""

    def __init__(self, parts: Iterable[bytes], limit: int) -> None:
        self._parts = parts
        self._limit = limit
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self.size_bytes += len(part)
            if self.size_bytes > self._limit:
                raise BodyTooLarge(f"An upload may have up to {self._limit} bytes.")
            self._hash.update(part)
            yield part


class Uploads:
    """Stores and reads uploads; memory stays at about one frame of the stream."""

    def __init__(self, database: Database, blobs: BlobStore, keyring: Keyring, *, limit_bytes: int) -> None:
        self._database = database
        self._blobs = blobs
        self._keyring = keyring
        self._limit_bytes = limit_bytes

    def store(self, principal: Principal, parts: Iterable[bytes]) -> StoredUpload:
        """Encrypt and store a stream. Raises BodyTooLarge or BlobUnavailable; then nothing is kept."""
        upload_id = uuid7()
        bound_to = binding("upload.data_key", principal.tenant_id, upload_id)
        data_key = self._keyring.new_data_key(bound_to)
        location = f"uploads/{principal.tenant_id}/{upload_id}"
        measured = _Measured(parts, self._limit_bytes)
        cipher = self._keyring.unwrapped(data_key, bound_to)
        self._blobs.write(
            location, cipher.seal_stream(measured, binding("upload", principal.tenant_id, upload_id))
        )
        stored = StoredUpload(upload_id, measured.size_bytes, measured.sha256)
        try:
            self._record(principal, stored, location, data_key)
        except BaseException:
            self._blobs.delete(location)
            raise
        return stored

    def size_bytes(self, tenant_id: UUID, upload_id: UUID) -> int:
        """Length of the plain file. Raises UploadNotFound, also for another tenant's upload."""
        return int(self._find(tenant_id, upload_id).size_bytes)

    def read(self, tenant_id: UUID, upload_id: UUID) -> Iterator[bytes]:
        """Stream a file's plain bytes. Raises UploadNotFound, PayloadUnreadable, BlobMissing or BlobUnavailable."""
        found = self._find(tenant_id, upload_id)
        cipher = self._keyring.unwrapped(found.data_key, binding("upload.data_key", tenant_id, upload_id))
        bound_to = binding("upload", tenant_id, upload_id)
        try:
            yield from cipher.open_stream(self._blobs.read(found.location), bound_to)
        except FileNotFoundError:
            raise BlobMissing from None

    def open(self, tenant_id: UUID, upload_id: UUID) -> SealedFile:
        """A file's plain bytes, seekable. Raises UploadNotFound or PayloadUnreadable."""
        found = self._find(tenant_id, upload_id)
        cipher = self._keyring.unwrapped(found.data_key, binding("upload.data_key", tenant_id, upload_id))
        bound_to = binding("upload", tenant_id, upload_id)
        return SealedFile(self._blobs, found.location, cipher, bound_to, size_bytes=found.size_bytes)

    def stored(self, tenant_id: UUID, upload_id: UUID) -> StoredUpload:
        """What was stored. Raises UploadNotFound, also for another tenant's upload."""
        found = self._find(tenant_id, upload_id)
        return StoredUpload(upload_id, found.size_bytes, found.sha256)

    def _find(self, tenant_id: UUID, upload_id: UUID) -> Row:
        with self._database.statement() as work:
            found = work.execute(FIND, {"id": upload_id, "tenant_id": tenant_id})
        if not found:
            raise UploadNotFound
        return found[0]

    def _record(self, principal: Principal, stored: StoredUpload, location: str, data_key: bytes) -> None:
        with self._database.transaction() as work:
            _insert(work, principal, stored, location, data_key)


def _insert(
    work: UnitOfWork, principal: Principal, stored: StoredUpload, location: str, data_key: bytes
) -> None:
    work.session.add(
        Upload(
            id=stored.id,
            tenant_id=principal.tenant_id,
            location=location,
            data_key=data_key,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
        )
    )
    work.session.flush()
    audit.append(
        work,
        audit.Action.UPLOAD_STORED,
        actor=principal.actor,
        tenant_id=principal.tenant_id,
        subject=f"upload:{stored.id}",
        detail={"size_bytes": stored.size_bytes},
    )
