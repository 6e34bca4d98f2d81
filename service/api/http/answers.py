"""Answers in JSON: one value, or a page of a list."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from flask import Response
from pydantic_core import to_json

from service.api.http.requests import cursor_after


class HasId(Protocol):
    """What a list is paged by."""

    @property
    def id(self) -> UUID: ...


Identified = TypeVar("Identified", bound=HasId)


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as a JSON response."""
    return Response(to_json(content), status, headers, mimetype="application/json")


def page_of(
    kind: str, found: Sequence[Identified], limit: int, fields: Callable[[Identified], object]
) -> Response:
    """A page of the list `kind`: up to `limit` of what was found, which is one more where there is a next page."""
    page = found[:limit]
    return answer(
        {
            "items": [fields(item) for item in page],
            "next_cursor": cursor_after(kind, page[-1].id) if len(found) > limit else None,
        }
    )
