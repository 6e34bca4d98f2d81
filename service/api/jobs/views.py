"""Jobs as what goes over the wire."""

from typing import Any
from uuid import UUID

from models.pipelines.artifacts import LISTING
from service.api.jobs.schemas import SubmitRequest
from service.catalog import PublishedModel
from service.jobs.queries import JobView
from service.jobs.submission import Accepted
from service.lifecycle import JobState


def job_fields(job: JobView, model: PublishedModel, *, with_context: bool = True) -> dict[str, Any]:
    """A job, with its result if it was read. Context is what the submitter said of the case: subject and metadata."""
    fields = _of_model(model) | {
        "id": job.id,
        "state": job.state.value,
        "priority": job.priority.name.lower(),
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "deadline": job.deadline_at,
        "attempt": job.attempt,
        "subject": job.subject if with_context else None,
        "metadata": job.metadata if with_context else {},
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
        "state": JobState.QUEUED.value,
        "priority": wanted.priority,
        "created_at": accepted.created_at,
        "started_at": None,
        "finished_at": None,
        "deadline": wanted.deadline,
        "attempt": 0,
        "subject": wanted.subject,
        "metadata": wanted.metadata,
    }


def _of_model(model: PublishedModel) -> dict[str, Any]:
    return {
        "model": model.name,
        "model_version": model.version,
        "model_digest": model.digest,
        "kind": model.manifest.kind,
    }
