"""From a batch or a schedule on the wire to a checked NewBatch or NewSchedule: model, source, names, times."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models.field_codes import FieldCode, OtherCode
from models.pipelines import InputRejected
from service.accounts import Principal
from service.api.batches.schemas import (
    BatchOptions,
    BatchSubmit,
    OnError,
    ScheduleRequest,
    SourceRequest,
    WindowRequest,
)
from service.api.services import Services
from service.batches import recurrence
from service.batches.files.columns import Columns
from service.batches.files.formats import check_format
from service.batches.files.layouts import ARCHIVES, BatchFormat
from service.batches.files.output_names import OutputFormat, check_names
from service.batches.files.places import Place
from service.batches.files.preview import previewed
from service.batches.files.problems import FileRefused, SourceUnavailable
from service.batches.files.sources import UploadSource, UriSource
from service.batches.opening import NewBatch
from service.batches.requests import BatchRequest, wanted_by
from service.batches.schedules import NewSchedule
from service.batches.windows import Window, iana_zone
from service.catalog import PublishedModel
from service.desk.intake import FIRST_YEAR, LATEST_YEAR, check_deadline
from service.errors import FieldError, FileUnfit, RequestInvalid, UploadNotFound, WindowInvalid


def checked_batch(services: Services, principal: Principal, wanted: BatchSubmit) -> NewBatch:
    """The batch that `wanted` describes.

    Raises ModelNotFound, UploadNotFound, FileUnfit, WindowInvalid, DeadlinePassed or RequestInvalid.
    """
    model = services.catalog.resolve(wanted.model)
    request = _request(wanted, upload_id=wanted.source.upload_id, uri=wanted.source.uri)
    _check_request(request, model)
    if request.upload_id is not None:
        _check_upload(services, principal, request.upload_id)
    _check_places(services, principal, request.uri, request.place)
    if wanted.not_before is not None and not FIRST_YEAR <= wanted.not_before.year <= LATEST_YEAR:
        far = f"Send a time of the years {FIRST_YEAR} to {LATEST_YEAR}."
        raise RequestInvalid(errors=(FieldError("/not_before", FieldCode.OUT_OF_RANGE, far),))
    if wanted.deadline is not None:
        check_deadline(wanted.deadline)
    return NewBatch(
        tenant_id=principal.tenant_id,
        cipher=principal.cipher,
        submitted_by=principal.key_id,
        model_version_id=model.id,
        model=f"model:{model.name}@{model.version}",
        request=request.as_json(),
        window=_window(wanted.window),
        not_before=wanted.not_before,
        deadline=wanted.deadline,
        error_limit=error_limit_of(wanted.on_error),
    )


def previewed_columns(
    services: Services, principal: Principal, stored: dict[str, Any], model: PublishedModel
) -> Columns | None:
    """The columns of an uploaded table by its beginning or its footer; None for other files, and where these do not tell.

    `stored` is the request of a batch as it is stored.
    """
    request = BatchRequest.from_json(stored)
    if request.upload_id is None or request.format in ARCHIVES:
        return None
    try:
        wanted = wanted_by(request, model.pipeline)
        with UploadSource(services.uploads, principal.tenant_id, request.upload_id).open() as file:
            return previewed(file, wanted, request.format)
    except (FileRefused, SourceUnavailable):
        return None


def checked_schedule(services: Services, principal: Principal, wanted: ScheduleRequest) -> NewSchedule:
    """The schedule that `wanted` describes; its cron expression is checked where it is stored.

    Raises ModelNotFound, FileUnfit, WindowInvalid, ScheduleInvalid or RequestInvalid.
    """
    model = services.catalog.resolve(wanted.model)
    request = _request(wanted, upload_id=None, uri=wanted.source.uri)
    _check_request(request, model)
    with _pointing("/zone"):
        zone = iana_zone(wanted.zone)
    today = datetime.now(UTC)
    place = None if request.place is None else recurrence.filled(request.place, today, zone)
    _check_places(services, principal, recurrence.filled(wanted.source.uri, today, zone), place)
    return NewSchedule(
        name=wanted.name,
        cron=wanted.cron,
        zone=wanted.zone,
        model=wanted.model,
        request=request.as_json(),
        window=_window(wanted.window),
        deadline_after_s=wanted.deadline_after_s,
        wait_for_source_s=wanted.wait_for_source_s,
        error_limit=error_limit_of(wanted.on_error),
    )


def checked_source(
    services: Services, principal: Principal, source: SourceRequest | None
) -> dict[str, str] | None:
    """The source of a re-run as it is stored. Raises UploadNotFound or FileUnfit."""
    if source is None:
        return None
    if source.upload_id is not None:
        _check_upload(services, principal, source.upload_id)
        return {"upload_id": str(source.upload_id)}
    _check_places(services, principal, source.uri, None)
    return {"uri": source.uri or ""}


def error_limit_of(on_error: OnError) -> int | None:
    """How many rows may fail; None for all of them."""
    if on_error == "continue":
        return None
    return 0 if on_error == "stop" else int(on_error.stop_after)


def _request(wanted: BatchOptions, *, upload_id: UUID | None, uri: str | None) -> BatchRequest:
    """What the workers get. Raises RequestInvalid where an option belongs to another format."""
    form = BatchFormat(wanted.format)
    if wanted.delimiter is not None and form is not BatchFormat.CSV:
        raise RequestInvalid(
            errors=(FieldError("/delimiter", FieldCode.ONLY_OF_CSV, "Leave it out, or send CSV."),)
        )
    for name in ("missing", "decimal"):
        if getattr(wanted, name) and form is not BatchFormat.CSV:
            fault = FieldError(f"/{name}", FieldCode.ONLY_OF_CSV, "Leave it out, or send CSV.")
            raise RequestInvalid(errors=(fault,))
    if wanted.index is not None and form not in ARCHIVES:
        fault = FieldError("/index", FieldCode.ONLY_OF_ARCHIVES, "Leave it out, or send a ZIP or TAR.")
        raise RequestInvalid(errors=(fault,))
    return BatchRequest(
        format=form,
        upload_id=upload_id,
        uri=uri,
        carry=tuple(wanted.carry),
        ignore=tuple(wanted.ignore),
        missing=tuple(wanted.missing),
        decimal=wanted.decimal,
        id_column=wanted.id_column,
        delimiter=wanted.delimiter,
        index=wanted.index,
        output=OutputFormat(wanted.output.format),
        place=wanted.output.place,
        dry_run_rows=wanted.dry_run,
        options=wanted.options,
    )


def _check_request(request: BatchRequest, model: PublishedModel) -> None:
    """Raises FileUnfit where the model takes no such files, or a carried name is also one of the output's."""
    with _pointing("/model"):
        wanted = wanted_by(request, model.pipeline)
    with _pointing("/format"):
        check_format(request.format, wanted)
    try:
        model.check_options(request.options)
    except InputRejected as rejected:
        faults = (
            FieldError(f"/options{fault.pointer}", fault.code, fault.detail) for fault in rejected.faults
        )
        raise RequestInvalid(errors=tuple(faults)) from None
    with _pointing("/id_column"):
        check_names(replace(wanted, carry=()))
    with _pointing("/carry"):
        check_names(wanted)
    if {*wanted.ignore} & {*wanted.field_names, *wanted.carried}:
        reason = "A field of the model, or a carried column, cannot be ignored: leave it out of this list."
        raise RequestInvalid(errors=(FieldError("/ignore", FieldCode.NAME_TAKEN, reason),))


def _check_upload(services: Services, principal: Principal, upload_id: UUID) -> None:
    try:
        services.uploads.size_bytes(principal.tenant_id, upload_id)
    except UploadNotFound as error:
        fault = FieldError("/source/upload_id", OtherCode(error.code), error.detail)
        raise UploadNotFound(errors=(fault,)) from None


def _check_places(services: Services, principal: Principal, uri: str | None, place: str | None) -> None:
    """Raises FileUnfit where source or place is not below one of the tenant's roots."""
    if uri is None and place is None:
        return
    roots = services.roots.of(principal.tenant_id)
    if uri is not None:
        with _pointing("/source/uri"):
            UriSource(uri, roots.read)
    if place is not None:
        with _pointing("/output/place"):
            Place(place, roots.write)


def _window(wanted: WindowRequest | None) -> Window | None:
    if wanted is None:
        return None
    with _pointing("/window"):
        iana_zone(wanted.zone)
        return Window.parsed(wanted.hours, wanted.zone)


@contextmanager
def _pointing(pointer: str) -> Iterator[None]:
    """Turns what is wrong with a part of the request into a problem that points there."""
    try:
        yield
    except FileRefused as error:
        raise FileUnfit(error.detail, code=error.problem.value, pointer=pointer) from None
    except WindowInvalid as error:
        raise WindowInvalid(
            error.detail, (FieldError(pointer, OtherCode(error.code), error.detail),)
        ) from None
