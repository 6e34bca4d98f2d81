"""The parts of claimed jobs that are stored apart, opened for the pipeline: files, and results of other jobs."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pydantic_core import from_json

from models.pipelines import Part, Source
from models.pipelines.parts import ResultFault, result_fault
from service.accounts import TenantCiphers
from service.db import Database
from service.images.owned import OwnedFile
from service.jobs import inputs
from service.jobs.execution import ClaimedJob, Problem
from service.jobs.inputs import StoredPart
from service.problem_codes import JobProblem
from service.uploads import Uploads
from workers.heartbeat import Heartbeat
from workers.pool import LoadedModel

READ_STEP_S = 60.0
Stored = Mapping[UUID, Sequence[StoredPart]]

NOT_THE_PARTS = Problem(
    JobProblem.INPUT_UNREADABLE,
    "The parts that are stored with this input are not those that the model takes. An operator may look into it, and requeue "
    "the job.",
)
SOURCE_GONE = Problem(
    JobProblem.SOURCE_RESULT_GONE,
    "A result that this job reads is gone. Submit that job's case again, then this one with the new job's id.",
)
SOURCE_UNFIT = Problem(
    JobProblem.SOURCE_RESULT_UNFIT,
    "A result that this job reads is of a type that the model does not take. Name a job of another model.",
)


SOURCE_ABSTAINED = Problem(
    JobProblem.SOURCE_RESULT_UNFIT,
    "The model of a result that this job reads abstained, so there is no answer to go on with. Read that job for the reason, "
    "and name one that has an answer.",
)
_UNFIT = {ResultFault.TYPE: SOURCE_UNFIT, ResultFault.ABSTAINED: SOURCE_ABSTAINED}


class PartUnfit(Exception):
    """The parts of a job cannot be scored with."""

    def __init__(self, problem: Problem, *, quarantined: bool = True) -> None:
        self.problem = problem
        self.quarantined = quarantined
        super().__init__(problem.code)


class PartReader:
    """Reads and opens parts."""

    def __init__(
        self, database: Database, uploads: Uploads, ciphers: TenantCiphers, heartbeat: Heartbeat
    ) -> None:
        self._database = database
        self._uploads = uploads
        self._ciphers = ciphers
        self._heartbeat = heartbeat

    def stored(self, loaded: LoadedModel, jobs: Sequence[ClaimedJob]) -> Stored:
        """The parts of these jobs, still sealed: no statement for a model without parts. Raises DatabaseUnavailable."""
        if not loaded.pipeline.parts:
            return {}
        with self._database.statement() as work:
            return inputs.read(work, [job.lease.id for job in jobs])

    def opened(self, job: ClaimedJob, loaded: LoadedModel, stored: Stored) -> dict[str, bytes]:
        """The parts of a job by name. Each is progress by itself: several large files take their time.

        Raises PartUnfit, PayloadUnreadable, UploadNotFound, BlobMissing or BlobUnavailable.
        """
        wanted = loaded.pipeline.parts
        found = stored.get(job.lease.id, ())
        if {each.name for each in found} - wanted.keys() or _lacking(wanted, found):
            raise PartUnfit(NOT_THE_PARTS)
        return {each.name: self._opened(job, wanted[each.name], each) for each in found}

    def _opened(self, job: ClaimedJob, wanted: Part, part: StoredPart) -> bytes:
        self._heartbeat.step(READ_STEP_S)
        if part.upload_id is not None:
            return OwnedFile(b"".join(self._uploads.read(job.tenant_id, part.upload_id)), job.tenant_id)
        cipher = self._ciphers.of(job.tenant_id)
        if part.source_job_id is None:
            return OwnedFile(inputs.open_file(cipher, job.tenant_id, part), job.tenant_id)
        if part.result is None:
            raise PartUnfit(SOURCE_GONE)
        content = inputs.open_result(cipher, job.tenant_id, part)
        if (fault := result_fault(wanted, from_json(content))) is not None:
            raise PartUnfit(_UNFIT[fault], quarantined=False)
        return content


def sources(job: ClaimedJob, stored: Stored) -> dict[str, Source]:
    """The jobs whose results are parts of a job, by name of the part."""
    return {
        each.name: Source(job=str(each.source_job_id), **each.source)
        for each in stored.get(job.lease.id, ())
        if each.source is not None
    }


def _lacking(wanted: Mapping[str, Part], found: Sequence[StoredPart]) -> set[str]:
    """The parts that have to be there and are not."""
    return {name for name, part in wanted.items() if part.required} - {each.name for each in found}
