"""What a fault of a manifest or of golden.json says: what to write instead, in TOML's terms and without pydantic's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

# https://semver.org/#is-there-a-suggested-regular-expression-regex-to-check-a-semver-string
SEMVER: Final = (
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$"
)
KEBAB_CASE: Final = r"^[a-z0-9]+(-[a-z0-9]+)*$"
SNAKE_CASE: Final = r"^[a-z][a-z0-9_]*$"
LABEL_ID: Final = r"^[a-z][a-z0-9_-]*$"
SYSTEM_URI: Final = r"^(https?://|urn:)\S+$"
UCUM_CODE: Final = r"^\S+$"
LETTERS: Final = r"^[a-z]+$"
FOLDER: Final = r"^[a-z0-9][a-z0-9_-]*$"
PARAMETER: Final = r"^[A-Za-z][A-Za-z0-9_]*$"
LEAD: Final = r"^[A-Za-z0-9]{1,8}$"
PATH: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$"
WEB_ADDRESS: Final = r"^https?://\S+$"
DATE: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
ICD10_CODE: Final = r"^[A-Z][0-9][0-9A-Z]\.?[0-9A-Z]{0,4}$"
ICD10_BEGINNING: Final = r"^[A-Z][0-9][0-9A-Z]\.?[0-9A-Z_]{0,4}$"
SNOMED_CODE: Final = r"^[0-9]{6,18}$"
DIGEST: Final = r"^sha256:[0-9a-f]{64}$"

NAME_RULE: Final = (
    "write lower-case letters and digits, in words joined by single hyphens, at most 64, such as sepsis-risk"
)
FORMS: Final[Mapping[str, str]] = {
    SEMVER: "write three numbers joined by dots, such as 1.0.0, as semver.org has them",
    KEBAB_CASE: NAME_RULE,
    SNAKE_CASE: "write lower-case letters, digits and _, beginning with a letter, such as heart_rate",
    LABEL_ID: "write lower-case letters, digits, _ and -, beginning with a letter, such as no-finding; "
    "words for people go into `display`",
    SYSTEM_URI: "write the code system's URI, such as http://snomed.info/sct or urn:oid:2.16.840.1.113883.6.90",
    UCUM_CODE: 'write the UCUM code of the unit without spaces, such as mg/dL, or "1" for none',
    LETTERS: "write lower-case letters only",
    FOLDER: "write lower-case letters, digits, _ and -, beginning with a letter or digit, such as index",
    PARAMETER: "write letters, digits and _, beginning with a letter, such as HR",
    LEAD: "write 1 to 8 letters and digits, such as II or V1",
    PATH: "write a path inside the bundle: plain names with / between",
    WEB_ADDRESS: "write an address that begins with https:// or http://, without spaces",
    DATE: "write the date as year-month-day, such as 2026-11-30",
    ICD10_CODE: "write an ICD-10 code or the beginning of one, such as E11 or E11.9",
    ICD10_BEGINNING: "write an ICD-10 code or the beginning of one, such as E11 or E11.9; _ stands for any one character",
    SNOMED_CODE: "write a SNOMED CT identifier of 6 to 18 digits, such as 38341003",
    DIGEST: "write sha256: and the 64 hex digits of the bundle's digest, as `medqueue models check` says them",
}  # what to write for a pattern that a table's field has
Context = Mapping[str, Any]


def _bound(name: str, words: str) -> Callable[[Context], str]:
    return lambda context: f"{words} {context[name]:.15g}"


def _length(context: Context) -> str:
    if context.get("min_length") == 1:
        return "it is empty: write what it says"
    return _count(context, "characters")


def _elements(context: Context) -> str:
    return f"{_count(context, 'elements')}; it has {context['actual_length']}"


def _count(context: Context, what: str) -> str:
    least = context.get("min_length")
    count, bound = (context["max_length"], "at most") if least is None else (least, "at least")
    return f"write {bound} {count} {what if count != 1 else what.removesuffix('s')}"


def _form(context: Context) -> str:
    return FORMS.get(context["pattern"], f"write it so that it matches {context['pattern']}")


_WORDS: Final[Mapping[str, str | Callable[[Context], str]]] = {
    "missing": "add this key",
    "extra_forbidden": "remove this key: there is no such key here",
    "string_type": "write a string, in quotes",
    "int_type": "write a whole number, without quotes or a decimal point",
    "int_from_float": "write a whole number",
    "float_type": "write a number, without quotes",
    "bool_type": "write true or false, without quotes",
    "finite_number": "write a finite number",
    **dict.fromkeys(("tuple_type", "list_type"), "write a list, in [ ]"),
    **dict.fromkeys(
        ("dict_type", "model_type"), "write keys with values: a table in TOML, an object in JSON"
    ),
    "greater_than_equal": _bound("ge", "write a number of at least"),
    "greater_than": _bound("gt", "write a number greater than"),
    "less_than_equal": _bound("le", "write a number of at most"),
    "less_than": _bound("lt", "write a number less than"),
    "literal_error": lambda context: f"it must be {context['expected']}",
    "string_pattern_mismatch": _form,
    **dict.fromkeys(("string_too_short", "string_too_long"), _length),
    **dict.fromkeys(("too_short", "too_long"), _elements),
}  # by the type of a fault


def told(faults: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of pydantic's faults those that say something of their own: a list is not too short because its elements are wrong."""
    places = [fault["loc"] for fault in faults]
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(
            len(place) > len(fault["loc"]) and place[: len(fault["loc"])] == fault["loc"] for place in places
        )
    ]


def advice(fault: Mapping[str, Any]) -> str:
    """What to change for one pydantic error (an ErrorDetails)."""
    words = _WORDS.get(fault["type"])
    if words is None:
        return str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "this value should")
    return words if isinstance(words, str) else words(fault["ctx"])
