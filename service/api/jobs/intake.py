"""From a submitted case on the wire to a checked NewJob: model, input, deadline, callback."""

import base64
import binascii
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from service.accounts import Principal
from service.api.jobs.schemas import SubmitRequest
from service.api.services import Services
from service.catalog import PublishedModel
from service.errors import BodyTooLarge, DeadlinePassed, FieldError, InputInvalid, RequestInvalid
from service.jobs.submission import NewJob
from service.lifecycle import Priority

FIRST_YEAR, LATEST_YEAR = 2000, 9000
BINARY_FORM = 'Send the file as {"data": base64} or as {"upload_id": id}.'


@dataclass(frozen=True)
class Submission:
    """The request that cases come in: its trace, and until when its callback URLs may be looked up."""

    traceparent: str | None = None
    look_up_until: float = math.inf


def checked(
    services: Services,
    principal: Principal,
    wanted: SubmitRequest,
    *,
    request: Submission = Submission(),
    position: int = 0,
) -> NewJob:
    """The job that `wanted` describes.

    Raises ModelNotFound, InputInvalid, UploadNotFound, DeadlinePassed, and what Callbacks raises.
    """
    model = services.catalog.resolve(wanted.model)
    if wanted.deadline is not None:
        check_deadline(wanted.deadline)
    if wanted.explain:
        raise InputInvalid(
            "This model offers no explanation.",
            errors=(FieldError("/explain", "explain_unsupported", "Leave it out or send false."),),
        )
    payload, upload_id = _stored_input(services, principal, model, wanted.input)
    return NewJob(
        principal=principal,
        position=position,
        model=model,
        payload=payload,
        upload_id=upload_id,
        priority=Priority[wanted.priority.upper()],
        deadline_at=wanted.deadline,
        subject=wanted.subject,
        metadata=wanted.metadata,
        callback=None
        if wanted.callback_url is None
        else services.callbacks.of(principal, wanted.callback_url, until=request.look_up_until),
        traceparent=request.traceparent,
    )


def check_deadline(deadline: datetime) -> None:
    """Raises DeadlinePassed or RequestInvalid. Years past LATEST_YEAR may be no time at all once turned into UTC."""
    if deadline.year > LATEST_YEAR:
        late = FieldError("/deadline", "too_late", f"Send a time up to the year {LATEST_YEAR}.")
        raise RequestInvalid(errors=(late,))
    if deadline.year < FIRST_YEAR or deadline <= datetime.now(UTC):
        passed = FieldError("/deadline", DeadlinePassed.code, "Send a time that is still to come.")
        raise DeadlinePassed(errors=(passed,))


def _stored_input(
    services: Services,
    principal: Principal,
    model: PublishedModel,
    value: object,
) -> tuple[bytes | None, UUID | None]:
    """Payload, or the id of the upload that holds it. Either way the input has been checked."""
    if not model.pipeline.binary:
        return model.encode(value), None
    if isinstance(value, dict) and value.keys() == {"data"} and isinstance(value["data"], str):
        return model.encode(_decoded(value["data"], services.settings.max_input_bytes)), None
    if isinstance(value, dict) and value.keys() == {"upload_id"} and isinstance(value["upload_id"], str):
        upload_id = _upload_id(value["upload_id"])
        model.encode(_uploaded(services, principal, upload_id))
        return None, upload_id
    raise InputInvalid(errors=(FieldError("/input", "wrong_type", BINARY_FORM),))


def _decoded(text: str, limit_bytes: int) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputInvalid(
            errors=(
                FieldError(
                    "/input/data", "not_base64", "Encode the file's bytes in base64 (RFC 4648, section 4)."
                ),
            )
        ) from None
    if len(content) > limit_bytes:
        raise BodyTooLarge(f"The file of an input may have up to {limit_bytes} bytes.")
    return content


def _upload_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InputInvalid(
            errors=(
                FieldError("/input/upload_id", "not_a_uuid", "Send the id that POST /v1/uploads answered."),
            )
        ) from None


def _uploaded(services: Services, principal: Principal, upload_id: UUID) -> bytes:
    limit = services.settings.max_input_bytes
    if services.uploads.size_bytes(principal.tenant_id, upload_id) > limit:
        raise BodyTooLarge(f"The file of an input may have up to {limit} bytes.")
    return b"".join(services.uploads.read(principal.tenant_id, upload_id))
