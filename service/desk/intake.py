"""From a case that a caller wants scored to a checked job: model, input, deadline, callback."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from models.field_codes import FieldCode, OtherCode
from models.pipelines import InputRejected
from service.accounts import Principal
from service.catalog import Catalog, PublishedModel
from service.desk.callbacks import Callbacks
from service.desk.requests import JobRequest
from service.errors import (
    AfterUnsuitable,
    BodyTooLarge,
    DeadlinePassed,
    FieldError,
    InputInvalid,
    RequestInvalid,
)
from service.jobs.submission import NewJob
from service.uploads import Uploads

FIRST_YEAR, LATEST_YEAR = 2000, 9000
BINARY_FORM = 'Send the file as {"data": base64} or as {"upload_id": id}.'


class Intake:
    """Checks cases. A file that comes with a case may have up to `most_bytes`."""

    def __init__(self, catalog: Catalog, uploads: Uploads, callbacks: Callbacks, *, most_bytes: int) -> None:
        self._catalog = catalog
        self._uploads = uploads
        self._callbacks = callbacks
        self._most_bytes = most_bytes

    def lookup_deadline(self) -> float:
        """Until when the callback URLs of one request may be looked up."""
        return self._callbacks.lookup_deadline()

    def checked(
        self,
        principal: Principal,
        wanted: JobRequest,
        *,
        look_up_until: float,
        traceparent: str | None = None,
        position: int = 0,
    ) -> NewJob:
        """The job that `wanted` describes, at `position` of the request that brought it.

        Raises ModelNotFound, AfterUnsuitable, InputInvalid, UploadNotFound, BodyTooLarge, RequestInvalid, DeadlinePassed,
        and what Callbacks raises.
        """
        model = self._catalog.resolve(wanted.model)
        if wanted.deadline is not None:
            check_deadline(wanted.deadline)
        if wanted.not_before is not None:
            _check_not_before(wanted.not_before, wanted.deadline)
        _check_named_once(wanted.after)
        if wanted.explain:
            raise InputInvalid(
                "This model offers no explanation.",
                errors=(
                    FieldError("/explain", FieldCode.EXPLAIN_UNSUPPORTED, "Leave it out or send false."),
                ),
            )
        payload, upload_id = self._stored_input(principal, model, wanted.input)
        return NewJob(
            principal=principal,
            position=position,
            model=model,
            payload=payload,
            upload_id=upload_id,
            priority=wanted.priority,
            deadline_at=wanted.deadline,
            subject=wanted.subject,
            metadata=wanted.metadata,
            callback=None
            if wanted.callback_url is None
            else self._callbacks.of(principal, wanted.callback_url, until=look_up_until),
            traceparent=traceparent,
            after=wanted.after,
            not_before=wanted.not_before,
            options=_checked_options(model, wanted.options) if wanted.options else {},
        )

    def _stored_input(
        self, principal: Principal, model: PublishedModel, value: object
    ) -> tuple[bytes | None, UUID | None]:
        """The payload, or the id of the upload that holds it. The input is checked in both cases."""
        if not model.pipeline.binary:
            return model.encode(value), None
        if isinstance(value, bytes):
            return model.encode(self._bounded(value)), None
        if isinstance(value, dict) and value.keys() == {"data"} and isinstance(value["data"], str):
            return model.encode(self._bounded(_decoded(value["data"]))), None
        if isinstance(value, dict) and value.keys() == {"upload_id"} and isinstance(value["upload_id"], str):
            upload_id = _upload_id(value["upload_id"])
            model.encode(self._uploaded(principal, upload_id))
            return None, upload_id
        raise InputInvalid(errors=(FieldError("/input", FieldCode.WRONG_TYPE, BINARY_FORM),))

    def _uploaded(self, principal: Principal, upload_id: UUID) -> bytes:
        if self._uploads.size_bytes(principal.tenant_id, upload_id) > self._most_bytes:
            raise self._too_large()
        return b"".join(self._uploads.read(principal.tenant_id, upload_id))

    def _bounded(self, content: bytes) -> bytes:
        if len(content) > self._most_bytes:
            raise self._too_large()
        return content

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The file of an input may have up to {self._most_bytes} bytes.")


def check_deadline(deadline: datetime) -> None:
    """Raises DeadlinePassed or RequestInvalid. Times after LATEST_YEAR may not exist in UTC."""
    if deadline.year > LATEST_YEAR:
        late = FieldError("/deadline", FieldCode.TOO_LATE, f"Send a time up to the year {LATEST_YEAR}.")
        raise RequestInvalid(errors=(late,))
    if deadline.year < FIRST_YEAR or deadline <= datetime.now(UTC):
        passed = FieldError("/deadline", OtherCode(DeadlinePassed.code), "Send a time in the future.")
        raise DeadlinePassed(errors=(passed,))


def _check_not_before(not_before: datetime, deadline: datetime | None) -> None:
    """Raises RequestInvalid. A time that has passed is as good as none."""
    if not FIRST_YEAR <= not_before.year <= LATEST_YEAR:
        hint = f"Send a time from the year {FIRST_YEAR} to {LATEST_YEAR}."
        raise RequestInvalid(errors=(FieldError("/not_before", FieldCode.OUT_OF_RANGE, hint),))
    if deadline is not None and not_before >= deadline:
        hint = "Send a time before the deadline: the job would expire unscored."
        raise RequestInvalid(errors=(FieldError("/not_before", FieldCode.PAST_DEADLINE, hint),))


def _check_named_once(after: Sequence[UUID]) -> None:
    """Raises AfterUnsuitable."""
    again = [number for number, job_id in enumerate(after) if job_id in after[:number]]
    if again:
        hint = "Name each job once."
        raise AfterUnsuitable(
            errors=tuple(FieldError(f"/after/{number}", FieldCode.NAMED_TWICE, hint) for number in again)
        )


def _checked_options(model: PublishedModel, options: Mapping[str, object]) -> dict[str, object]:
    """The options as the pipeline takes them. Raises InputInvalid, ModelUnavailable or BlobUnavailable."""
    try:
        return model.pipeline.check_options(dict(options))
    except InputRejected as rejected:
        faults = [
            FieldError(f"/options{fault.pointer}", fault.code, fault.detail) for fault in rejected.faults
        ]
        raise InputInvalid("The model does not take these options.", errors=tuple(faults)) from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        hint = "Encode the file's bytes in base64 (RFC 4648, section 4)."
        raise InputInvalid(errors=(FieldError("/input/data", FieldCode.NOT_BASE64, hint),)) from None


def _upload_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        hint = "Send the id that the upload was answered with."
        raise InputInvalid(errors=(FieldError("/input/upload_id", FieldCode.NOT_A_UUID, hint),)) from None
