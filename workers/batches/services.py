"""What the workers on chunks and on steps of batches share: parts of the process, and the handling of faults."""

import io
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import structlog

from service.accounts import TenantCiphers
from service.batches.files.parts import PartStore
from service.batches.files.places import Place
from service.batches.files.problems import FileRefused, SourceUnavailable
from service.batches.files.sources import Identity, Source
from service.batches.keys import part_cipher
from service.batches.opening import open_request
from service.batches.requests import BatchRequest, source_of
from service.batches.roots import Roots
from service.catalog import Catalog
from service.db import Database, UnitOfWork
from service.errors import (
    BlobUnavailable,
    BundleUnusable,
    DatabaseUnavailable,
    ModelUnavailable,
    ServiceError,
)
from service.faults import Requirement
from service.gate import Gate
from service.jobs.execution import Problem, backoff_s
from service.problem_codes import BatchProblem
from service.seekable import SeekableFile
from service.storage import BlobStore
from service.uploads import Uploads
from workers.batches.lease_keeper import LeaseKeeper
from workers.jobs.write_back import Limits
from workers.pool import ModelPool
from workers.refusals import REFUSED_S

TRIES = 8
TRIED_TOO_OFTEN = "All attempts are used up; the last fault was {}. {}"
INTERNAL = Problem(
    BatchProblem.INTERNAL_ERROR, "An unexpected error occurred. The worker's log has the details."
)
MODEL_AWAITED = Problem(
    ModelUnavailable.code,
    "The model of this batch cannot be used at the moment. The batch waits for it: tell the operator, or cancel the batch.",
)

Answer = TypeVar("Answer")

log = structlog.get_logger()


@dataclass(frozen=True)
class BatchServices:
    """The parts of the process that work on batches uses."""

    owner: str
    lease_s: float
    chunk_s: float
    database: Database
    ciphers: TenantCiphers
    uploads: Uploads
    blobs: BlobStore
    catalog: Catalog
    pool: ModelPool
    limits: Limits
    roots: Roots
    gate: Gate = field(default_factory=lambda: Gate("worker", tuple))

    @property
    def may_work(self) -> bool:
        """Whether this process has what work on batches needs, including the blob store."""
        return self.gate.open and self.gate.meets(Requirement.BLOB_STORE)

    def is_to_blame(self) -> bool:
        """Check again whether this process lacks something: if so, a fault is not due to the work, which is released."""
        self.gate.look()
        return not self.may_work

    def request(self, tenant_id: UUID, batch_id: UUID, sealed: bytes) -> BatchRequest:
        """The request of a batch. Raises PayloadUnreadable."""
        return BatchRequest.from_json(open_request(self.ciphers.of(tenant_id), tenant_id, batch_id, sealed))

    def source(self, tenant_id: UUID, request: BatchRequest) -> Source:
        """The source of its rows. Raises FileRefused."""
        roots = self.roots.of(tenant_id).read if request.uri is not None else ()
        return source_of(request, tenant_id, self.uploads, roots)

    def place(self, tenant_id: UUID, place: str) -> Place:
        """The place that a copy of its output is written to. Raises FileRefused."""
        return Place(place, self.roots.of(tenant_id).write)

    def parts(self, tenant_id: UUID, batch_id: UUID, data_key: bytes) -> PartStore:
        """The store of a batch's parts. Raises PayloadUnreadable."""
        cipher = part_cipher(self.ciphers.of(tenant_id), tenant_id, batch_id, data_key)
        return PartStore(self.blobs, cipher, tenant_id, batch_id)

    def write(self, write: Callable[[UnitOfWork], Answer]) -> Answer | None:
        """Write back in one transaction; while Postgres is unavailable, retry as long as the lease may hold.

        Retrying is harmless: if only the reply was lost, the work is no longer held and nothing changes. None if Postgres
        stayed unavailable: the lease then lapses, and others take over.
        """
        for tried in range(TRIES):
            try:
                with self.database.statement() as work:
                    return write(work)
            except DatabaseUnavailable:
                log.warning("not_written_back", tried=tried + 1)
                time.sleep(min(0.25 * 2**tried, 4.0))
        return None

    def delay_s(self, fault: "Fault", attempt: int) -> float:
        """How long to wait before the next attempt."""
        if not fault.counts:
            return REFUSED_S
        limits, chance = self.limits, random.random()  # noqa: S311 - jitter
        return backoff_s(attempt, base_s=limits.retry_base_s, cap_s=limits.retry_cap_s, chance=chance)


@dataclass(frozen=True)
class Fault:
    """Why work could not be done. `passing`: it may be retried; `counts`: each time uses up one of its attempts."""

    problem: Problem
    passing: bool
    counts: bool = True

    def final_problem(self, attempt: int, most: int) -> Problem | None:
        """The problem that ends the batch, or None if the work is to be retried."""
        if not self.passing:
            return self.problem
        if attempt < most or not self.counts:
            return None
        code, detail = self.problem.code, self.problem.detail
        return Problem(code, TRIED_TOO_OFTEN.format(code, detail))


def fault_of(error: Exception) -> Fault:
    """An exception as a fault. An unexpected exception is logged, and the work is retried."""
    match error:
        case FileRefused():
            return Fault(Problem(error.problem.value, error.detail), passing=False)
        case SourceUnavailable():
            return Fault(Problem(error.code, str(error)), passing=True)
        case BlobUnavailable() | DatabaseUnavailable():
            return Fault(Problem(error.code, error.detail), passing=True)
        case ModelUnavailable() | BundleUnusable():  # for an operator to fix: the batch waits, as jobs do
            log.warning("batch_model_awaited", reason=error.detail)
            return Fault(MODEL_AWAITED, passing=True, counts=False)
        case ServiceError():
            return Fault(Problem(error.code, error.detail), passing=False)
    log.error("batch_work_failed", exc_info=error)
    return Fault(INTERNAL, passing=True)


class WatchedSource:
    """A source whose reading counts as progress and gives way to jobs."""

    def __init__(self, source: Source, keeper: LeaseKeeper) -> None:
        self._source = source
        self._keeper = keeper

    def identity(self) -> Identity:
        """See Source."""
        self._keeper.give_way()
        return self._source.identity()

    def open(self) -> io.RawIOBase:
        """See Source."""
        return WatchedFile(self._source.open(), self._keeper)


class WatchedFile(SeekableFile):
    """The file of a watched source."""

    def __init__(self, file: io.RawIOBase, keeper: LeaseKeeper) -> None:
        super().__init__()
        self._file = file
        self._keeper = keeper

    def fileno(self) -> int:
        """See sources.Guarded."""
        return self._file.fileno()

    def tell(self) -> int:
        """See RawIOBase."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See RawIOBase."""
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes, fewer at the end. Raises LeaseLost or Stopping, too."""
        self._keeper.give_way()
        return self._file.read(-1 if size is None else size) or b""

    def readinto(self, buffer: object) -> int:
        """See RawIOBase. Raises LeaseLost or Stopping, too."""
        self._keeper.give_way()
        return self._file.readinto(buffer) or 0  # type: ignore[arg-type]  # typeshed has no writable buffer

    def close(self) -> None:
        """Close this file and the one it wraps."""
        if not self.closed:
            self._file.close()
        super().close()
