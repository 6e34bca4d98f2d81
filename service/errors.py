"""Faults a caller can cause, each with a stable code. Knows no HTTP: api/problems.py gives the status.

An exception's docstring is its message; what varies is an attribute. No attribute ever holds
patient data, an input's value or a secret.
"""

from dataclasses import dataclass
from typing import Self

from models.field_codes import Code, OtherCode


@dataclass(frozen=True)
class FieldError:
    """One field of a request that is wrong: where (JSON pointer), which rule, what to change."""

    pointer: str
    code: Code
    detail: str


class ServiceError(Exception):
    """The request could not be carried out."""

    code: str = "service_error"

    def __init__(self, detail: str = "", errors: tuple[FieldError, ...] = ()) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip().splitlines()[0]
        self.errors = errors
        super().__init__(self.detail)

    def without_frames(self) -> Self:
        """This error, to be kept or returned: it lets go of the frames it was raised in, which hold the input.

        They hold their callers' too, and with them the error itself: a circle that waits for a garbage collection.
        """
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class SettingInvalid(ServiceError):
    """A setting is missing or wrong."""

    code = "setting_invalid"

    def __init__(self, variable: str, reason: str) -> None:
        self.variable = variable
        super().__init__(f"{variable}: {reason}.")


class NotReady(ServiceError):
    """This process cannot do its work; GET /readyz says why. Nothing was accepted; try again later."""

    code = "not_ready"


class KeyMissing(ServiceError):
    """Send an API key as `Authorization: Bearer mq_<id>_<secret>`."""

    code = "key_missing"


class KeyInvalid(ServiceError):
    """The API key is unknown, revoked or expired. Check it, or ask for a new one."""

    code = "key_invalid"


class ScopeMissing(ServiceError):
    """The API key lacks the scope this call needs."""

    code = "scope_missing"

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__(f"The API key lacks the scope {scope}. Ask for a key that has it.")


class NotFound(ServiceError):
    """There is no such thing here. Check the id."""

    code = "not_found"


class JobNotFound(NotFound):
    """There is no such job. Check the id, and that the key belongs to its tenant."""

    code = "job_not_found"


class ArtifactNotFound(NotFound):
    """There is no such artifact. The job's result lists those it has; check that the key belongs to its tenant."""

    code = "artifact_not_found"


class ModelNotFound(NotFound):
    """There is no such model, version or alias. GET /v1/models or `medqueue models list` lists what is published."""

    code = "model_not_found"


class UploadNotFound(NotFound):
    """There is no such upload. Send the file to POST /v1/uploads first."""

    code = "upload_not_found"


class EndpointNotFound(NotFound):
    """There is no such webhook endpoint. GET /v1/webhook-endpoints lists them."""

    code = "endpoint_not_found"


class BatchNotFound(NotFound):
    """There is no such batch. Check the id, and that the key belongs to its tenant."""

    code = "batch_not_found"


class ScheduleNotFound(NotFound):
    """There is no such schedule. Check the id, and that the key belongs to its tenant."""

    code = "schedule_not_found"


class DeliveryNotFound(NotFound):
    """There is no such webhook delivery. GET /v1/webhook-deliveries lists them."""

    code = "delivery_not_found"


class EventNotFound(NotFound):
    """There is no such event to resume after. Connect without Last-Event-ID, and read what you missed from the lists."""

    code = "event_not_found"


class TooManyEndpoints(ServiceError):
    """The tenant has as many webhook endpoints as it may have. Delete one that is not needed."""

    code = "too_many_endpoints"


class TooManySchedules(ServiceError):
    """The tenant has as many schedules as it may have. Delete one that is not needed."""

    code = "too_many_schedules"


class TooManyBatches(ServiceError):
    """The tenant has as many batches that have not ended as it may have. Wait until one has ended, or cancel one."""

    code = "too_many_batches"


class CallbackSecretMissing(ServiceError):
    """Callbacks are signed: create their secret first, with POST /v1/webhook-endpoints/callback-secret."""

    code = "callback_secret_missing"


class InputInvalid(ServiceError):
    """The input does not fit the model. `errors` names each field, its unit and its range."""

    code = "input_invalid"


class RequestInvalid(ServiceError):
    """The request does not fit the schema. `errors` names each field."""

    code = "request_invalid"


class BodyNotJson(ServiceError):
    """The body is not valid JSON. NaN and Infinity are not JSON numbers."""

    code = "body_not_json"


class BodyTooLarge(ServiceError):
    """The body is larger than this server accepts."""

    code = "body_too_large"


class TenantBusy(ServiceError):
    """The tenant sends, reads or asks for too much at once. Nothing was accepted; try again once other requests have ended."""

    code = "tenant_busy"


class RequestTooCostly(ServiceError):
    """Checking the items before this one took the time that one request may take. Send those that are left in another one."""

    code = "request_too_costly"


class BodyIncomplete(ServiceError):
    """The body is empty or ended before its announced length. Send all of it again."""

    code = "body_incomplete"


class LengthRequired(ServiceError):
    """Announce the body's length with Content-Length."""

    code = "length_required"


class ServerBusy(ServiceError):
    """Too many requests are being received at once. Nothing was accepted; try again shortly."""

    code = "server_busy"


class QueueFull(ServiceError):
    """The queue is full. Nothing was accepted; try again after the time in Retry-After."""

    code = "queue_full"

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__()


class TenantQueueFull(QueueFull):
    """The tenant has as many queued jobs as it may have. Nothing was accepted; try again after the time in Retry-After."""

    code = "tenant_queue_full"


class UploadQuotaExceeded(ServiceError):
    """The tenant has uploaded as many bytes as it may in 24 hours. Try again after the time in Retry-After."""

    code = "upload_quota_exceeded"
    retry_after_s = 3600


class StorageQuotaExceeded(ServiceError):
    """The tenant has as many bytes of uploads stored as it may have. An operator can raise the limit."""

    code = "storage_quota_exceeded"


class ContentTypeUnsupported(ServiceError):
    """Send the body with the content type that this call documents."""

    code = "content_type_unsupported"


class HeaderInvalid(ServiceError):
    """A request header is malformed."""

    code = "header_invalid"


class CursorInvalid(ServiceError):
    """The cursor was not made by this list. Start again without one."""

    code = "cursor_invalid"


class DeadlinePassed(ServiceError):
    """The deadline lies in the past. Send a later one, or none."""

    code = "deadline_passed"


class AfterUnsuitable(ServiceError):
    """The job cannot wait for these jobs. `errors` names each, and says why."""

    code = "after_unsuitable"


class PredecessorBusy(ServiceError):
    """A job in `after` is being changed at this moment. Nothing was accepted; try again shortly."""

    code = "predecessor_busy"


class WindowInvalid(ServiceError):
    """A window is HH:MM-HH:MM, such as 22:00-06:00, and an IANA time zone, such as Europe/Berlin."""

    code = "window_invalid"


class ScheduleInvalid(ServiceError):
    """A schedule is an IANA time zone and a cron expression of five fields that matches a future time, such as `0 22 * * *`."""

    code = "schedule_invalid"


class ScheduleNameTaken(ServiceError):
    """The tenant has a schedule of this name. Change or delete it, or choose another name."""

    code = "schedule_name_taken"


class FileUnfit(ServiceError):
    """The file of a batch, or how it is to be read, cannot be used.

    `code` is that of the fault, as in the problem of a batch.
    """

    code = "source_not_allowed"

    def __init__(self, detail: str = "", *, code: str = code, pointer: str = "") -> None:
        self.code = code
        super().__init__(detail, errors=(FieldError(pointer, OtherCode(code), detail),) if pointer else ())


class OutputNotReady(ServiceError):
    """The batch is in progress: its results and errors are available once it is completed. Come back later."""

    code = "output_not_ready"


class OutputIncomplete(ServiceError):
    """The batch ended without completing. `?partial=true` gives what its finished chunks hold."""

    code = "output_incomplete"


class RangeUnsatisfiable(ServiceError):
    """The range lies beyond the end of the file. Content-Range gives its length."""

    code = "range_unsatisfiable"

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        super().__init__()


class IdempotencyKeyReused(ServiceError):
    """This Idempotency-Key was used with another body. Use a new key for a new request."""

    code = "idempotency_key_reused"


class UrlRefused(ServiceError):
    """Nothing is sent to this URL. Use the public https address of a receiver."""

    code = "url_refused"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Nothing is sent to this URL: {reason}.")


class HostUnresolvable(UrlRefused):
    """The URL's host name does not resolve. Check its spelling and its DNS records."""

    code = "host_unresolvable"

    def __init__(self) -> None:
        super().__init__("its host name does not resolve; check its spelling and its DNS records")


class TransitionRefused(ServiceError):
    """The job is in a state that does not allow this."""

    code = "transition_refused"


class DatabaseUnavailable(ServiceError):
    """Postgres cannot be used at the moment. Nothing was accepted; try again shortly."""

    code = "database_unavailable"

    def __init__(self, detail: str = "", *, fault: str = "unreachable") -> None:
        self.fault = fault  # the value of a DatabaseFault: for operators, not for callers
        super().__init__(detail)


class BlobUnavailable(ServiceError):
    """The blob store does not answer. Nothing was accepted; try again shortly."""

    code = "blob_unavailable"


class BlobMissing(BlobUnavailable):
    """A stored file is missing from the blob store. Tell the operator; then try again."""

    code = "blob_missing"


class PayloadUnreadable(ServiceError):
    """A stored payload does not decrypt under its tenant, table and id."""

    code = "payload_unreadable"


class ModelUnavailable(ServiceError):
    """This model cannot be used at the moment, others can. Nothing was accepted; tell the operator."""

    code = "model_unavailable"

    def __init__(self, model: str, reason: str) -> None:
        self.reason = reason  # for operators, not for callers
        super().__init__(
            f"{model} cannot be used at the moment, other models can. Nothing was accepted; tell the operator."
        )


class BundleUnusable(ServiceError):
    """The bundle cannot be published."""

    code = "bundle_unusable"
