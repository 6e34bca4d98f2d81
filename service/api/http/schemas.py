"""Schemas that the requests and answers of all resources share. Their own schemas are subclasses of Wire."""

import re
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

PAGE_LIMIT = 200

ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def _written_out(value: object) -> object:
    """A number would be read as seconds since 1970."""
    if not isinstance(value, str) or not ISO_TIME.match(value):
        raise ValueError("write the time as in 2026-11-22T08:30:00Z (ISO 8601, with its zone)")
    return value


Time = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written_out)]
Reference = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}(@[A-Za-z0-9.+-]{1,64})?$")]


class Wire(BaseModel):
    """Base of all: unknown fields are refused, and no value is converted from one type to another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class FieldProblem(Wire):
    """One field that is wrong."""

    pointer: str = Field(description="JSON pointer into the request body.")
    code: str
    detail: str


class Problem(Wire):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    code: str = Field(description="Stable: what a program should test.")
    detail: str = Field(description="What to change.")
    errors: list[FieldProblem] | None = None
    request_id: str | None = Field(
        None, description="Present when the fault is the service's: quote it to the operator."
    )
