"""The parts of a batch in the blob store: results and errors of each chunk, sealed under the batch's data key.

A part's location holds the fence of the claim that wrote it, so a worker that lost its claim overwrites nothing, and
the chunk's row names what was committed. Rewritten under the same fence, a part is identical.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from service.crypto import FRAME_BYTES, Cipher, binding
from service.sealed import KEPT_FRAMES, SealedFile
from service.storage import BlobStore

MAGIC = b"PAR1"


class PartKind(StrEnum):
    """What a part holds."""

    RESULTS = "results"
    ERRORS = "errors"
    FOOTER = "footer"
    HEADER = "header"


@dataclass(frozen=True)
class Part:
    """A stored part: where, how many rows, length and SHA-256 of its plain bytes.

    `body_bytes`: the length of what it adds to the joined file; for Parquet without the footer.
    """

    location: str
    rows: int
    size_bytes: int
    body_bytes: int
    sha256: str


class PartStore:
    """Writes and opens the parts of one batch."""

    def __init__(self, blobs: BlobStore, cipher: Cipher, tenant_id: UUID, batch_id: UUID) -> None:
        self._blobs = blobs
        self._cipher = cipher
        self._tenant_id = tenant_id
        self._batch_id = batch_id

    def location(self, kind: PartKind, number: int, fence: int) -> str:
        """Where a part stands."""
        return f"batches/{self._tenant_id}/{self._batch_id}/{kind}-{number:06d}-{fence}"

    def write(
        self, kind: PartKind, number: int, fence: int, content: memoryview, *, rows: int
    ) -> Part | None:
        """Store a part atomically; None where there is nothing to store. Raises BlobUnavailable."""
        if not len(content):
            return None
        location = self.location(kind, number, fence)
        self._blobs.write(location, self._cipher.seal_stream(_frames(content), self._bound_to(location)))
        return Part(location, rows, len(content), _body_bytes(content), hashlib.sha256(content).hexdigest())

    def open(self, part: Part, *, kept_frames: int = KEPT_FRAMES) -> SealedFile:
        """A part's plain bytes, to be read from any place. See SealedFile."""
        return SealedFile(
            self._blobs,
            part.location,
            self._cipher,
            self._bound_to(part.location),
            size_bytes=part.size_bytes,
            kept_frames=kept_frames,
        )

    def delete(self, location: str) -> None:
        """Remove a part; a missing one is no error. Raises BlobUnavailable."""
        self._blobs.delete(location)

    def _bound_to(self, location: str) -> bytes:
        return binding("batch_part", self._tenant_id, location)


def _frames(content: memoryview) -> Iterator[bytes]:
    for start in range(0, len(content), FRAME_BYTES):
        yield bytes(content[start : start + FRAME_BYTES])


def _body_bytes(content: memoryview) -> int:
    if content[:4] != MAGIC or content[-4:] != MAGIC:
        return len(content)
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")
