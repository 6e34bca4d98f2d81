"""Jobs as they are answered."""

from typing import Any
from uuid import UUID

from models.pipelines.artifacts import LISTING
from service.api.http.problems import problem_of
from service.api.jobs.schemas import SubmitRequest
from service.catalog import PublishedModel
from service.desk import Desk
from service.errors import ServiceError
from service.jobs.queries import JobView
from service.jobs.submission import Accepted
from service.lifecycle import JobState, Origin


def job_fields(job: JobView, model: PublishedModel) -> dict[str, Any]:
    """A job, with its result if it was read."""
    fields = _of_model(model) | {
        "id": job.id,
        "state": job.state.value,
        "priority": job.priority.name.lower(),
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "deadline": job.deadline_at,
        "not_before": job.not_before,
        "after": job.after,
        "origin": job.origin.value,
        "attempt": job.attempt,
        "subject": job.subject,
        "metadata": job.metadata,
    }
    if job.result is not None:
        computed_by = {
            "model_digest": model.digest,
            "runtime": job.result.runtime,
            "provider": job.result.provider,
        }
        fields["result"] = _with_urls(job.id, job.result.content) | computed_by
    if job.problem is not None:
        fields["problem"] = job.problem
    return fields


def _with_urls(job_id: UUID, result: dict[str, Any]) -> dict[str, Any]:
    """A result that lists artifacts says where they are downloaded."""
    if LISTING not in result:
        return result
    listed = [each | {"url": f"/v1/jobs/{job_id}/artifacts/{each['name']}"} for each in result[LISTING]]
    return result | {LISTING: listed}


def accepted_fields(accepted: Accepted, wanted: SubmitRequest, model: PublishedModel) -> dict[str, Any]:
    """A job as it was when it was accepted: the answer to a submit, the same each time it is repeated."""
    return _of_model(model) | {
        "id": accepted.id,
        "state": _state_at_first(accepted, wanted).value,
        "priority": wanted.priority,
        "created_at": accepted.created_at,
        "started_at": None,
        "finished_at": None,
        "deadline": wanted.deadline,
        "not_before": wanted.not_before,
        "after": accepted.after,
        "origin": Origin.CALLER.value,
        "attempt": 0,
        "subject": wanted.subject,
        "metadata": wanted.metadata,
    }


def _state_at_first(accepted: Accepted, wanted: SubmitRequest) -> JobState:
    """A job that names others begins as waiting, though it is queued at once where all of them have succeeded."""
    waits = bool(accepted.after) or (
        wanted.not_before is not None and wanted.not_before > accepted.created_at
    )
    return JobState.WAITING if waits else JobState.QUEUED


def fields_or_problem(desk: Desk, job: JobView | ServiceError) -> dict[str, Any]:
    """A job among others, or the problem in its place."""
    return problem_of(job) if isinstance(job, ServiceError) else job_fields(job, desk.model_of(job))


def _of_model(model: PublishedModel) -> dict[str, Any]:
    return {
        "model": model.name,
        "model_version": model.version,
        "model_digest": model.digest,
        "kind": model.manifest.kind,
    }
