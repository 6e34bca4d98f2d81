"""Other ways to write a value, as a manifest declares them: `0` for female, `yes` for true."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, TypeVar

Value = TypeVar("Value", str, bool)

_WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})")
_MOST: Final = 10**15
MOST_WRITTEN: Final = 1000
VALUES: Final = "x-values"  # in the schema of a closed set: see `explained`


def meant(value: object, written: Mapping[str, Value]) -> Value | None:
    """The value that a text or a whole number stands for; None where neither is declared."""
    if isinstance(value, str):
        return written.get(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST < value < _MOST:
        return None
    return written.get(str(int(value))) if value == int(value) else None


def wanted_too(written: Collection[str]) -> str:
    """What may be sent beside the values themselves, for messages."""
    return f", also written {', '.join(written)}" if written else ""


def check_written(written: Collection[str], values: Collection[str]) -> None:
    """Raises ValueError where a declared text is a value itself, or cannot be found as people write it."""
    for text in written:
        if not text or text != text.strip():
            raise ValueError(f"written: {text!r} must be a text without spaces around it")
        if text in values:
            raise ValueError(f"written: {text!r} is a value itself: remove it")


def explained(
    values: Collection[Value], written: Mapping[str, Value], display: Mapping[str, str]
) -> dict[str, object]:
    """`x-values` of a JSON Schema, an annotation of ours: what each value means and how else it is written, if any is told.

    A list of {"value", "display", "written"}; the latter two only where there is something to say.
    """
    if not written and not display:
        return {}
    told: list[dict[str, object]] = []
    for value in values:
        meaning = display.get(value) if isinstance(value, str) else None
        codes = [text for text, meant_by_it in written.items() if meant_by_it == value]
        told.append(
            {"value": value}
            | ({} if meaning is None else {"display": meaning})
            | ({"written": codes} if codes else {})
        )
    return {VALUES: told}


def choices(values: Collection[Value], written: Collection[str], *, required: bool) -> dict[str, object]:
    """`type` and `enum` of a JSON Schema: the values, and what is declared for them, as text and as whole number."""
    whole: list[int] = [int(text) for text in written if _WHOLE.fullmatch(text)]
    absent: list[None] = [] if required else [None]
    allowed: list[object] = [*values, *written, *whole, *absent]
    names = {str: "string", bool: "boolean", int: "integer", type(None): "null"}
    types = list(dict.fromkeys(names[type(each)] for each in allowed))
    return {"type": types if len(types) > 1 else types[0], "enum": allowed}
