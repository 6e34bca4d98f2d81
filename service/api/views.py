"""Values of the use cases as what goes over the wire."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Response
from pydantic_core import to_json

from service.catalog import PublishedModel
from service.jobs.queries import JobView
from service.jobs.submission import Accepted, NewJob
from service.lifecycle import JobState, Priority


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as a JSON response."""
    return Response(to_json(content), status, headers, mimetype="application/json")


def job_fields(job: JobView, model: PublishedModel) -> dict[str, Any]:
    """A job, with its result if it was read."""
    fields = _fields(job.id, model, job.state, job.priority, job.created_at, job.deadline_at, job.subject, job.metadata)
    fields |= {"started_at": job.started_at, "finished_at": job.finished_at, "attempt": job.attempt}
    if job.result is not None:
        fields["result"] = job.result.content | {
            "model_digest": model.digest, "runtime": job.result.runtime, "provider": job.result.provider}
    if job.problem is not None:
        fields["problem"] = job.problem
    return fields


def accepted_fields(accepted: Accepted, job: NewJob, model: PublishedModel) -> dict[str, Any]:
    """A job as it was when it was accepted: the answer to a submit, the same each time it is repeated."""
    return _fields(accepted.id, model, JobState.QUEUED, job.priority, accepted.created_at, job.deadline_at, job.subject,
                   job.metadata)


def _fields(
    job_id: UUID, model: PublishedModel, state: JobState, priority: Priority, created_at: datetime,
    deadline_at: datetime | None, subject: str | None, metadata: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "id": job_id, "model": model.name, "model_version": model.version, "model_digest": model.digest,
        "kind": model.manifest.kind, "state": state.value, "priority": priority.name.lower(), "created_at": created_at,
        "started_at": None, "finished_at": None, "deadline": deadline_at, "attempt": 0, "subject": subject,
        "metadata": metadata,
    }
