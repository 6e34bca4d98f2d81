"""What can keep a command from being carried out. None holds a secret, and none quotes an input."""

from service.errors import FieldError, ServiceError

TEMPORARY = frozenset({429, 502, 503, 504})


class StackNotFound(ServiceError):
    """No stack has run here. Start one with `medqueue up`, or name one with --data-dir or --url and --key."""

    code = "stack_not_found"


class Unreachable(ServiceError):
    """The service does not answer."""

    code = "unreachable"


class AnswerLost(Unreachable):
    """The connection broke after the request was sent, so it may have been carried out."""

    code = "answer_lost"


class ContentDamaged(ServiceError):
    """What was received is not what the service has: their SHA-256 differ."""

    code = "content_damaged"


class SchemaMissing(ServiceError):
    """The database lacks the schema that this release needs. Run `medqueue db upgrade`."""

    code = "schema_missing"


class ApiProblem(Exception):
    """The service answered with a problem: its HTTP status, its stable code, and the fields that are wrong."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: tuple[FieldError, ...] = (),
        *,
        request_id: str = "",
    ) -> None:
        self.request_id = request_id
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        super().__init__(f"{code}: {detail}")

    @property
    def temporary(self) -> bool:
        """Whether the same request may be answered in a moment."""
        return self.status in TEMPORARY
