"""From a case that a caller wants scored to a checked job: model, input, deadline, callback."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from models.field_codes import FieldCode, OtherCode
from models.pipelines import InputRejected
from service.accounts import Principal
from service.catalog import Catalog, PublishedModel
from service.desk import parts
from service.desk.callbacks import Callbacks
from service.desk.files import Files
from service.desk.requests import JobRequest
from service.errors import (
    AfterUnsuitable,
    DeadlinePassed,
    FieldError,
    InputInvalid,
    RequestInvalid,
)
from service.jobs.inputs import NewPart
from service.jobs.submission import NewJob
from service.uploads import Uploads

FIRST_YEAR, LATEST_YEAR = 2000, 9000
REMEMBERED = 4096  # uploads that a process found to fit a model


class Intake:
    """Checks cases. A file that comes with a case may have up to `most_bytes`."""

    def __init__(self, catalog: Catalog, uploads: Uploads, callbacks: Callbacks, *, most_bytes: int) -> None:
        self._catalog = catalog
        self._files = Files(uploads, most_bytes=most_bytes)
        self._callbacks = callbacks
        self._fit = OrderedDict[
            tuple[UUID, UUID], None
        ]()  # uploads never change: each is decoded once for a model

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
        refused: list[InputInvalid] = [] if not wanted.explain else [_no_explanation()]
        options: dict[str, object] = {}
        try:
            payload, upload_id, stored_apart = self._stored_input(principal, model, wanted.input)
        except InputInvalid as fault:
            refused.append(fault)
        try:
            options = _checked_options(model, wanted.options) if wanted.options else {}
        except InputInvalid as fault:
            refused.append(fault)
        if refused:
            try:
                raise _together(refused)
            finally:
                refused.clear()  # each holds this frame, and so the input, which would wait for a garbage collection
        job = NewJob(
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
            options=options,
            parts=stored_apart,
        )
        if stored_apart:
            parts.check_count(job)
        return job

    def _stored_input(
        self, principal: Principal, model: PublishedModel, value: object
    ) -> tuple[bytes | None, UUID | None, Sequence[NewPart]]:
        """The payload, or the id of the upload that holds it, and the parts. The input is checked in any case."""
        if model.pipeline.parts:
            payload, new = parts.taken(self._files, principal, model, value)
            return payload, None, new
        if not model.pipeline.binary:
            return model.encode(value), None, ()
        file = self._files.sent(principal, value, "/input")
        if isinstance(file, UUID):
            self._check_upload(principal, model, file)
            return None, file, ()
        return model.encode(file), None, ()

    def _check_upload(self, principal: Principal, model: PublishedModel, upload_id: UUID) -> None:
        """Raises InputInvalid."""
        if (model.id, upload_id) not in self._fit:
            model.encode(self._files.content(principal, upload_id))
            self._fit[model.id, upload_id] = None
            while len(self._fit) > REMEMBERED:
                self._fit.popitem(last=False)


def check_deadline(deadline: datetime) -> None:
    """Raises DeadlinePassed or RequestInvalid. Times after LATEST_YEAR may not exist in UTC."""
    if deadline.year > LATEST_YEAR:
        late = FieldError("/deadline", FieldCode.TOO_LATE, f"Send a time up to the year {LATEST_YEAR}.")
        raise RequestInvalid(errors=(late,))
    if deadline.year < FIRST_YEAR or deadline <= datetime.now(UTC):
        passed = FieldError("/deadline", OtherCode(DeadlinePassed.code), "Send a time in the future.")
        raise DeadlinePassed(errors=(passed,))


def _check_not_before(not_before: datetime, deadline: datetime | None) -> None:
    """Raises RequestInvalid. A time in the past counts as none."""
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


def _no_explanation() -> InputInvalid:
    fault = FieldError("/explain", FieldCode.EXPLAIN_UNSUPPORTED, "Leave it out or send false.")
    return InputInvalid("This model offers no explanation.", errors=(fault,))


def _together(refused: Sequence[InputInvalid]) -> InputInvalid:
    """One problem with the faults of all; a single one keeps its words."""
    if len(refused) == 1:
        return refused[0]
    return InputInvalid(errors=tuple(fault for each in refused for fault in each.errors))


def _checked_options(model: PublishedModel, options: Mapping[str, object]) -> dict[str, object]:
    """The options as the pipeline takes them. Raises InputInvalid, ModelUnavailable or BlobUnavailable."""
    try:
        return model.check_options(options)
    except InputRejected as rejected:
        faults = [
            FieldError(f"/options{fault.pointer}", fault.code, fault.detail) for fault in rejected.faults
        ]
        raise InputInvalid("The model does not take these options.", errors=tuple(faults)) from None
