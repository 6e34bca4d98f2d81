"""What callers ask the desk for, as plain typed values. The front door has checked their shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

from service.lifecycle import JobState, Priority

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class JobRequest(NamedTuple):
    """A case to score.

    `model` is `name`, `name@alias` or `name@version`. `input` is the JSON value that the model's input schema describes;
    the input of a model that reads a file may also be the file's bytes. `after` names jobs that must have succeeded first.
    """

    model: str
    input: object
    priority: Priority = Priority.ROUTINE
    deadline: datetime | None = None
    explain: bool = False
    subject: str | None = None
    metadata: Mapping[str, str] = _NOTHING
    callback_url: str | None = None
    after: Sequence[UUID] = ()
    not_before: datetime | None = None
    options: Mapping[str, object] = _NOTHING


@dataclass(frozen=True)
class JobSearch:
    """Which jobs to list; None means all. `model` is as in a request; without a version it means all versions."""

    state: JobState | None = None
    model: str | None = None
    kind: str | None = None
    subject: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
