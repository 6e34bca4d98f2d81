"""Writes the values of a TOML table as text, as far as manifests hold them: texts, numbers, booleans, lists, tables."""

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(table: Mapping[str, Any]) -> str:
    """The table as text. A key whose value is None is left out."""
    return "\n".join(_lines(table)).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], name: str = "") -> list[str]:
    """The lines of a table: first its values, then the tables in it."""
    nested = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = [
        f"{quoted(key)} = {_value(value)}"
        for key, value in table.items()
        if key not in nested and value is not None
    ]
    for key, value in nested.items():
        path = f"{name}.{quoted(key)}" if name else quoted(key)
        lines += ["", f"[{path}]", *_lines(value, path)]
    return lines


def quoted(key: str) -> str:
    """A key as TOML takes it: in quotes unless it has only letters, digits, `_` and `-`."""
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _value(value: Any) -> str:
    """One value on one line. Strings and numbers of JSON are those of TOML."""
    match value:
        case Mapping():
            inside = ", ".join(
                f"{quoted(key)} = {_value(each)}" for key, each in value.items() if each is not None
            )
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)
