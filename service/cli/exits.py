"""The exit codes of `medqueue` and the errors that they stand for. docs/cli.md lists them; a test compares."""

from enum import IntEnum

from service.cli.errors import ApiProblem, ContentDamaged, StackNotFound, Unreachable
from service.errors import (
    BlobUnavailable,
    DatabaseUnavailable,
    PayloadUnreadable,
    ServiceError,
    SettingInvalid,
)


class ExitCode(IntEnum):
    """How a command ended."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        """The number that the shell sees, and its meaning in words."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "done"
    FAILED = 1, "a check failed, a job or batch did not succeed, or the stack did not start"
    USAGE = 2, "wrong command line, a file or output that cannot be used, or a wrong setting"
    UNREACHABLE = 3, "the service or its database cannot be reached"
    REFUSED = 4, "the service refused the request (HTTP 4xx)"
    SERVER_FAULT = 5, "the service failed (HTTP 5xx)"
    PENDING = 6, "the job has not ended within --wait; it continues"
    INTERNAL = 70, "a fault of medqueue itself; the traceback is on stderr"
    INTERRUPTED = 130, "interrupted with Ctrl-C"


BY_ERROR: dict[type[ServiceError], ExitCode] = {
    SettingInvalid: ExitCode.USAGE,
    StackNotFound: ExitCode.UNREACHABLE,
    Unreachable: ExitCode.UNREACHABLE,
    ContentDamaged: ExitCode.FAILED,
    DatabaseUnavailable: ExitCode.UNREACHABLE,
    BlobUnavailable: ExitCode.UNREACHABLE,
    PayloadUnreadable: ExitCode.SERVER_FAULT,
}


def exit_code_of(error: ServiceError | ApiProblem) -> ExitCode:
    """How a command ends that raised `error`."""
    if isinstance(error, ApiProblem):
        return ExitCode.SERVER_FAULT if error.status >= 500 else ExitCode.REFUSED
    known = next((code for kind, code in BY_ERROR.items() if isinstance(error, kind)), None)
    if known is not None:
        return known
    from service.embedded import ExtraMissing, FolderUnusable, PortTaken, StackFailed, StackRunning

    stack_errors = (StackRunning, PortTaken, StackFailed, FolderUnusable, ExtraMissing)
    return ExitCode.FAILED if isinstance(error, stack_errors) else ExitCode.REFUSED
