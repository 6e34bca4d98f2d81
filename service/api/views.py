"""Values of the use cases as what goes over the wire."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol, TypeVar
from uuid import UUID

from flask import Response
from pydantic_core import to_json

from service.api.http.requests import cursor_after
from service.api.schemas import SubmitRequest
from service.catalog import PublishedModel
from service.jobs.queries import JobView
from service.jobs.submission import Accepted
from service.lifecycle import JobState
from service.webhooks.endpoints import Endpoint
from service.webhooks.history import DeliveryView, TryView


class HasId(Protocol):
    """What a list is paged by."""

    @property
    def id(self) -> UUID: ...


Identified = TypeVar("Identified", bound=HasId)


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as a JSON response."""
    return Response(to_json(content), status, headers, mimetype="application/json")


def page_of(
    kind: str, found: Sequence[Identified], limit: int, fields: Callable[[Identified], object]
) -> Response:
    """A page of the list `kind`: up to `limit` of what was found, which is one more where there is a next page."""
    page = found[:limit]
    return answer(
        {
            "items": [fields(item) for item in page],
            "next_cursor": cursor_after(kind, page[-1].id) if len(found) > limit else None,
        }
    )


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
        fields["result"] = job.result.content | computed_by
    if job.problem is not None:
        fields["problem"] = job.problem
    return fields


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


def endpoint_fields(endpoint: Endpoint) -> dict[str, Any]:
    """A webhook endpoint, without its secrets."""
    return asdict(endpoint)


def delivery_fields(delivery: DeliveryView) -> dict[str, Any]:
    """A webhook delivery."""
    return asdict(delivery)


def try_fields(tried: TryView) -> dict[str, Any]:
    """One try of a webhook delivery."""
    return asdict(tried)


def _of_model(model: PublishedModel) -> dict[str, Any]:
    return {
        "model": model.name,
        "model_version": model.version,
        "model_digest": model.digest,
        "kind": model.manifest.kind,
    }
