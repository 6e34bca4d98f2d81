"""Describes routes where they are written, so that the OpenAPI document is made from the code itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from service.accounts import Scope

# A schema class, the media type of raw bytes, several of these, or nothing.
Content = type[BaseModel] | str | tuple[str, ...]
View = TypeVar("View", bound=Callable[..., Any])
OPERATION = "_operation"


@dataclass(frozen=True)
class Parameter:
    """A query parameter or header of an operation; `schema` is JSON Schema."""

    name: str
    place: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """What one route does, takes and answers."""

    summary: str
    scope: Scope | None
    answers: Mapping[int, Content]
    body: type[BaseModel] | str | None = None
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[int, ...] = ()
    examples: dict[str, Any] = field(default_factory=dict)
    example: Any = None
    body_required: bool = True


def operation(
    summary: str,
    *,
    scope: Scope | None,
    answers: Mapping[int, Content],
    body: type[BaseModel] | str | None = None,
    parameters: tuple[Parameter, ...] = (),
    problems: tuple[int, ...] = (),
    examples: dict[str, Any] | None = None,
    example: Any = None,
    body_required: bool = True,
) -> Callable[[View], View]:
    """Attach a description to a view. An answer or body is a schema class, or the media type of raw bytes; an answer
    may be of several media types.

    `examples` are of the body, `example` is of the first answer.
    """
    described = Operation(
        summary, scope, answers, body, parameters, problems, examples or {}, example, body_required
    )

    def attach(view: View) -> View:
        setattr(view, OPERATION, described)
        return view

    return attach


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """The description of a view, if it has one."""
    found = getattr(view, OPERATION, None)
    return found if isinstance(found, Operation) else None
