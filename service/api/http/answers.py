"""Answers in JSON: one value, or a page of a list."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from flask import Response
from pydantic_core import to_json

from service.api.http.requests import cursor_after

FEW = 20  # items of an answer


class HasId(Protocol):
    """What a list is paged by."""

    @property
    def id(self) -> UUID: ...


Identified = TypeVar("Identified", bound=HasId)


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as a JSON response."""
    return Response(_written(content), status, headers, mimetype="application/json")


def _written(content: object) -> bytes:
    """`content` in JSON. The items of an answer that has many are written one by one: no other thread runs meanwhile."""
    if not isinstance(content, dict) or len(items := content.get("items") or ()) <= FEW:
        return to_json(content)
    written = {name: to_json(value) for name, value in content.items() if name != "items"}
    written["items"] = b"[" + b",".join(map(to_json, items)) + b"]"
    return b"{" + b",".join(to_json(name) + b":" + written[name] for name in content) + b"}"


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
