"""RFC 9457 problem details: the only place where an error meets an HTTP status."""

from http import HTTPStatus

import structlog
from flask import Flask, Response, request
from pydantic_core import to_json
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)

from service import errors
from service.api.http import request_ids
from service.errors import ServiceError

PROBLEM_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:medqueue:problem:"
MAX_FIELD_ERRORS = 100
RETRY_AFTER_S = 2
TRY_AGAIN = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}

STATUS: dict[type[ServiceError], HTTPStatus] = {
    errors.KeyMissing: HTTPStatus.UNAUTHORIZED,
    errors.KeyInvalid: HTTPStatus.UNAUTHORIZED,
    errors.ScopeMissing: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.JobNotFound: HTTPStatus.NOT_FOUND,
    errors.ArtifactNotFound: HTTPStatus.NOT_FOUND,
    errors.ModelNotFound: HTTPStatus.NOT_FOUND,
    errors.UploadNotFound: HTTPStatus.NOT_FOUND,
    errors.EndpointNotFound: HTTPStatus.NOT_FOUND,
    errors.DeliveryNotFound: HTTPStatus.NOT_FOUND,
    errors.EventNotFound: HTTPStatus.NOT_FOUND,
    errors.BatchNotFound: HTTPStatus.NOT_FOUND,
    errors.ScheduleNotFound: HTTPStatus.NOT_FOUND,
    errors.AfterUnsuitable: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.PredecessorBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.WindowInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ScheduleInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ScheduleNameTaken: HTTPStatus.CONFLICT,
    errors.CallbackSecretMissing: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InputInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RequestInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.DeadlinePassed: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UrlRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.HostUnresolvable: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.FileUnfit: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.OutputNotReady: HTTPStatus.CONFLICT,
    errors.OutputIncomplete: HTTPStatus.CONFLICT,
    errors.RangeUnsatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    errors.IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.BodyNotJson: HTTPStatus.BAD_REQUEST,
    errors.HeaderInvalid: HTTPStatus.BAD_REQUEST,
    errors.CursorInvalid: HTTPStatus.BAD_REQUEST,
    errors.BodyIncomplete: HTTPStatus.BAD_REQUEST,
    errors.LengthRequired: HTTPStatus.LENGTH_REQUIRED,
    errors.ServerBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.QueueFull: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TenantQueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TenantBusy: HTTPStatus.TOO_MANY_REQUESTS,
    errors.UploadQuotaExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.StorageQuotaExceeded: HTTPStatus.CONFLICT,
    errors.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.RequestTooCostly: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.ContentTypeUnsupported: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.TransitionRefused: HTTPStatus.CONFLICT,
    errors.TooManyBatches: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyEndpoints: HTTPStatus.CONFLICT,
    errors.TooManySchedules: HTTPStatus.CONFLICT,
    errors.DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.BlobUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.BlobMissing: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ModelUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
}

log = structlog.get_logger()


def status_of(error: ServiceError) -> HTTPStatus:
    """The HTTP status of an error; 500 for an error that no caller can cause."""
    return STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)


def problem_of(error: ServiceError) -> dict[str, object]:
    """The problem details of an error. A fault of the service says only that there was one."""
    status = status_of(error)
    own_fault = status is HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal_error" if own_fault else error.code
    problem: dict[str, object] = {
        "type": TYPE_PREFIX + code,
        "title": status.phrase,
        "status": status.value,
        "code": code,
        "detail": "Something failed on the server. It is logged; try again." if own_fault else error.detail,
    }
    if error.errors and not own_fault:
        problem["errors"] = [
            {"pointer": field.pointer, "code": field.code, "detail": field.detail}
            for field in error.errors[:MAX_FIELD_ERRORS]
        ]
    return problem


def _respond(problem: dict[str, object], status: int, *, retry_after_s: int = RETRY_AFTER_S) -> Response:
    request_id = request_ids.current()
    # For faults of the service only: two refusals for the same reason are equal, byte for byte.
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and request_id is not None:
        problem = problem | {request_ids.NAME: request_id}
    response = Response(to_json(problem), status, mimetype=PROBLEM_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status in TRY_AGAIN:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def respond_to(error: ServiceError) -> Response:
    """The answer to an error that is met before there is a request."""
    return _respond(problem_of(error), status_of(error))


def _service_error(error: ServiceError) -> Response:
    status = status_of(error)
    # Counted, not logged: thousands a second while it lasts.
    if isinstance(error, errors.QueueFull | errors.UploadQuotaExceeded):
        return _respond(problem_of(error), status, retry_after_s=error.retry_after_s)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request_failed", code=error.code, route=str(request.url_rule), exc_info=error)
    response = _respond(problem_of(error), status)
    if isinstance(error, errors.RangeUnsatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.size_bytes}"
    return response


def _advice(error: HTTPException, status: int) -> str:
    """What to do about a request that no view answers."""
    if isinstance(error, NotFound):
        return "Nothing is at this address. /openapi.json lists the addresses, and /docs explains them: compare the path."
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        methods = ", ".join(sorted(error.valid_methods))
        return f"This address does not take {request.method}. It takes {methods}."
    return error.description or HTTPStatus(status).phrase


def _http_error(error: HTTPException) -> Response:
    if isinstance(error, RequestEntityTooLarge):
        return _service_error(errors.BodyTooLarge())
    if isinstance(error, InternalServerError) and isinstance(error.original_exception, Exception):
        return _unforeseen(error.original_exception)  # raised outside of a view, where Flask wraps it
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    code = HTTPStatus(status).phrase.lower().replace(" ", "_")
    response = _respond(
        {
            "type": TYPE_PREFIX + code,
            "title": HTTPStatus(status).phrase,
            "status": status,
            "code": code,
            "detail": _advice(error, status),
        },
        status,
    )
    for name, value in error.get_headers():
        if name.lower() in {"allow", "retry-after"}:
            response.headers[name] = value
    return response


def _unforeseen(error: Exception) -> Response:
    log.error("request_failed", code="internal_error", route=str(request.url_rule), exc_info=error)
    return _respond(problem_of(ServiceError()), HTTPStatus.INTERNAL_SERVER_ERROR)


def install(app: Flask) -> None:
    """Answer every error of `app` with a problem."""
    app.register_error_handler(ServiceError, _service_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unforeseen)
