"""The inputs of claimed jobs, opened for the pipeline, and what becomes of a job whose input does not open."""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic_core import from_json

from models.pipelines import Case
from service.accounts import TenantCiphers
from service.crypto import binding
from service.db import Database
from service.errors import (
    BlobMissing,
    BlobUnavailable,
    PayloadUnreadable,
    ServerBusy,
    ServiceError,
    UploadNotFound,
)
from service.faults import Requirement
from service.gate import Gate
from service.images.owned import OwnedFile
from service.jobs.execution import ClaimedJob, Ending, Problem
from service.problem_codes import JobProblem
from service.uploads import Uploads
from workers.heartbeat import Heartbeat
from workers.jobs.parts import READ_STEP_S, PartReader, PartUnfit, sources
from workers.jobs.write_back import BLOBS_AWAY, Requeue
from workers.pace import Budget
from workers.pool import LoadedModel

UPLOAD_GONE = Problem(
    JobProblem.UPLOAD_GONE,
    "The upload of this job is missing. Upload the file and submit again, or ask the operator.",
)
NOT_OPENED = Problem(
    JobProblem.INPUT_UNREADABLE,
    "The stored input cannot be decrypted. An operator may look into it and requeue the job.",
)

NO_READER = Problem(JobProblem.INPUT_UNREADABLE, "The worker cannot start a process that reads the file.")


class OpenedJob(NamedTuple):
    """A claimed job with its input opened. `id_text` is its id, which each sealed value of the job is bound to."""

    job: ClaimedJob
    id_text: str
    case: Case


class Opened(NamedTuple):
    """What became of claimed jobs: cases, endings of those whose input is lost, and such as cannot be read now.

    `late` are the last ones, which are not scored now: the inputs are larger than those of a micro-batch may be together.
    """

    cases: list[OpenedJob]
    endings: list[Ending]
    requeues: list[Requeue]
    late: Sequence[ClaimedJob] = ()


class InputReader:
    """Reads and opens inputs, options and parts."""

    def __init__(
        self,
        database: Database,
        uploads: Uploads,
        ciphers: TenantCiphers,
        gate: Gate,
        heartbeat: Heartbeat,
    ) -> None:
        self._uploads = uploads
        self._ciphers = ciphers
        self._gate = gate
        self._heartbeat = heartbeat
        self._parts = PartReader(database, uploads, ciphers, heartbeat)

    def open(self, loaded: LoadedModel, jobs: Sequence[ClaimedJob]) -> Opened:
        """Decrypt the inputs. Raises DatabaseUnavailable."""
        defaults = loaded.pipeline.check_options({})
        has_parts, stored = bool(loaded.pipeline.parts), self._parts.stored(loaded, jobs)
        cases: list[OpenedJob] = []
        endings: list[Ending] = []
        requeues: list[Requeue] = []
        budget = Budget(loaded.pipeline, slow=loaded.is_slow)
        for number, job in enumerate(jobs):
            id_text = str(job.lease.id)
            try:
                payload = self._payload(job, id_text, is_file=loaded.pipeline.binary)
                case = Case(payload, self._options(job, id_text) or defaults)
                if has_parts:
                    parts = self._parts.opened(job, loaded, stored)
                    case = case._replace(parts=parts, sources=sources(job, stored))
                if not budget.takes(case):
                    loaded.pace.is_costly()
                    return Opened(cases, endings, requeues, jobs[number:])
                cases.append(OpenedJob(job, id_text, case))
            except PartUnfit as unfit:
                endings.append(Ending(job.lease, problem=unfit.problem, quarantined=unfit.quarantined))
            except PayloadUnreadable:
                if self._has_the_key():
                    endings.append(Ending(job.lease, problem=NOT_OPENED, quarantined=True))
                else:
                    requeues.append(Requeue(job, NOT_OPENED, counts=False))
            except UploadNotFound:
                endings.append(Ending(job.lease, problem=UPLOAD_GONE, quarantined=True))
            except BlobMissing:
                requeues.append(Requeue(job, UPLOAD_GONE, counts=True))
            except (BlobUnavailable, ServerBusy) as fault:
                requeues.append(self._put_off(job, fault))
        return Opened(cases, endings, requeues)

    def _put_off(self, job: ClaimedJob, fault: ServiceError) -> Requeue:
        """What becomes of a job for which a store, or a process that reads files, cannot be had."""
        if isinstance(fault, ServerBusy):
            return Requeue(job, NO_READER, counts=False)
        return Requeue(job, BLOBS_AWAY, counts=self._blobs_answer())

    def _has_the_key(self) -> bool:
        """Check again whether this process has the right master key: if so, a payload that does not open is damaged."""
        self._gate.look()
        return self._gate.open

    def _blobs_answer(self) -> bool:
        """Check again whether the blob store answers: if so, only this blob cannot be read."""
        self._gate.look()
        return self._gate.meets(Requirement.BLOB_STORE)

    def _payload(self, job: ClaimedJob, id_text: str, *, is_file: bool) -> bytes:
        content = self._content(job, id_text)
        if not is_file:
            return content
        self._heartbeat.step(READ_STEP_S)  # its header is read by a child, which may hang
        return OwnedFile(content, job.tenant_id)

    def _content(self, job: ClaimedJob, id_text: str) -> bytes:
        if job.payload is None:
            assert job.upload_id is not None
            self._heartbeat.step(READ_STEP_S)
            return b"".join(self._uploads.read(job.tenant_id, job.upload_id))
        return self._ciphers.of(job.tenant_id).open(
            job.payload, binding("job.payload", job.tenant_id, id_text)
        )

    def _options(self, job: ClaimedJob, id_text: str) -> dict[str, object] | None:
        """The job's options, as the pipeline's `check_options` returned them; None without options."""
        if job.options is None:
            return None
        bound_to = binding("job.options", job.tenant_id, id_text)
        options: dict[str, object] = from_json(self._ciphers.of(job.tenant_id).open(job.options, bound_to))
        return options
