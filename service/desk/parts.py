"""Parts of an input that are stored apart: taken out of what was sent and checked, with the jobs whose results they are."""

from collections.abc import Sequence
from uuid import UUID

from models.field_codes import FieldCode
from models.pipelines import PartKind, pointer_to
from models.pipelines.parts import FORMS, RESULT_FORM, result_type, take_apart
from service.accounts import Principal
from service.catalog import Catalog, PublishedModel
from service.db import Database
from service.desk.files import Files
from service.errors import AfterUnsuitable, BlobUnavailable, FieldError, InputInvalid, ModelUnavailable
from service.jobs import queries
from service.jobs.inputs import NewPart
from service.jobs.predecessors import MOST_PREDECESSORS
from service.jobs.submission import NewJob


def taken(
    files: Files, principal: Principal, model: PublishedModel, value: object
) -> tuple[bytes, list[NewPart]]:
    """The stored bytes of an input without its parts, and these.

    Raises InputInvalid with every field that is wrong, UploadNotFound, BodyTooLarge, ModelUnavailable or BlobUnavailable.
    """
    rest, sent = take_apart(value, model.pipeline.parts)
    payload, new, errors = b"", list[NewPart](), list[FieldError]()
    for name, each in sent.items():
        try:
            new.append(_part(files, principal, model, name, each))
        except InputInvalid as refused:
            errors += refused.errors
    try:
        payload = model.encode(rest)
    except InputInvalid as refused:
        errors += refused.errors
    if errors:
        raise InputInvalid(errors=tuple(errors))
    return payload, new


def check_count(job: NewJob) -> None:
    """Raises AfterUnsuitable where a job would wait for too many, those whose results it reads included."""
    if len(job.predecessors) > MOST_PREDECESSORS:
        words = f"A job may wait for up to {MOST_PREDECESSORS} jobs, those whose results its input names included."
        raise AfterUnsuitable(errors=(FieldError("/after", FieldCode.TOO_LONG, words),))


class Sources:
    """Checks that results which inputs name are of a type that their models take."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog

    def refusals(self, principal: Principal, jobs: Sequence[NewJob]) -> dict[int, AfterUnsuitable]:
        """By position, those of a request's jobs that would read a result of another type. Unknown sources are let through."""
        wanted = {
            part.source_job_id
            for job in jobs
            for part in job.parts
            if part.source_job_id is not None and job.model.pipeline.parts[part.name].types
        }
        if not wanted:
            return {}
        with self._database.statement() as work:
            versions = queries.versions_of(work, principal, list(wanted))
        told = {version_id: self._type_of(version_id) for version_id in set(versions.values())}
        types = {job_id: told[version_id] for job_id, version_id in versions.items()}
        faults = {job.position: _unfit(job, types) for job in jobs}
        return {position: AfterUnsuitable(errors=found) for position, found in faults.items() if found}

    def _type_of(self, version_id: UUID) -> str | None:
        """What the results of a model say in `type`; None where nobody can tell: then the worker looks."""
        try:
            return result_type(self._catalog.version(version_id).pipeline.result_schema())
        except (ModelUnavailable, BlobUnavailable):
            return None


def _part(files: Files, principal: Principal, model: PublishedModel, name: str, sent: object) -> NewPart:
    part, pointer = model.pipeline.parts[name], pointer_to("input", name)
    if sent is None:
        missing = FieldError(pointer, FieldCode.MISSING_FIELD, f"{name} is missing. {FORMS[part.kind]}")
        raise InputInvalid(errors=(missing,))
    if part.kind is PartKind.RESULT:
        return NewPart(name, source_job_id=_job_id(sent, pointer))
    file = files.sent(principal, sent, pointer)
    content = files.content(principal, file) if isinstance(file, UUID) else file
    if not content:
        raise InputInvalid(
            errors=(FieldError(pointer, FieldCode.TOO_SHORT, "The file is empty: send another."),)
        )
    model.check_file(name, content)
    return NewPart(name, upload_id=file) if isinstance(file, UUID) else NewPart(name, content=file)


def _job_id(sent: object, pointer: str) -> UUID:
    if not isinstance(sent, dict) or sent.keys() != {"job"} or not isinstance(sent["job"], str):
        raise InputInvalid(errors=(FieldError(pointer, FieldCode.WRONG_TYPE, RESULT_FORM),))
    try:
        return UUID(sent["job"])
    except ValueError:
        raise InputInvalid(
            errors=(FieldError(f"{pointer}/job", FieldCode.NOT_A_UUID, RESULT_FORM),)
        ) from None


def _unfit(job: NewJob, types: dict[UUID, str | None]) -> tuple[FieldError, ...]:
    """The parts of a job whose results are of another type than it takes."""
    faults = []
    for part in job.parts:
        told = None if part.source_job_id is None else types.get(part.source_job_id)
        taken_types = job.model.pipeline.parts[part.name].types
        if told is not None and taken_types and told not in taken_types:
            words = f"The result of this job is of type {told}; the model takes {' or '.join(taken_types)}."
            faults.append(FieldError(pointer_to("input", part.name, "job"), FieldCode.RESULT_UNFIT, words))
    return tuple(faults)
