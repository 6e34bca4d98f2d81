"""A model as a reader sees it, with what its inputs and options may be, and an example of its input."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType

from models.pipelines.parts import PartKind, part_kind
from service.cli.cases import EXAMPLE_UPLOAD
from service.cli.client import Json
from service.cli.schema_rows import input_rows, property_rows
from service.cli.tables import fields, moment, text

MODEL_FIELDS: Final = (
    "name",
    "title",
    "summary",
    "kind",
    "task",
    "version",
    "digest",
    "precision",
    "license",
)
_PART_EXAMPLES: Final = {PartKind.FILE: EXAMPLE_UPLOAD, PartKind.RESULT: {"job": "JOB_ID"}}


def model(found: Json) -> RenderableType:
    """A model: what it is, what it takes, what it answers, how well."""
    head = fields((name, found.get(name)) for name in MODEL_FIELDS)
    problem = found.get("problem") or {}
    versions = [_version(each) for each in found["versions"]]
    return Group(
        head,
        fields([("aliases", found["aliases"]), ("versions", versions)]),
        *_section("Problem", list(problem.items())),
        *_section("Input", input_rows(found["input_schema"]) if found["input_schema"] else []),
        *_section("Options", property_rows(found.get("options_schema") or {})),
        *_section("Labels", [(label["id"], _coded(label)) for label in found["labels"]]),
        *_section("Figures", list(found["metrics"].items())),
    )


def _version(found: Json) -> str:
    """A version with its precision if that is stated."""
    precision = f" in {found['precision']}" if found.get("precision") else ""
    return f"{found['version']}{precision} of {moment(found['published_at'])}"


def example(schema: Json) -> Any:
    """An input that a schema gives as its example, or one made of its fields' examples.

    Placeholders stand for the ids of required files and results of other jobs.
    """
    if schema.get("examples"):
        return schema["examples"][0]
    return dict(_examples(schema.get("properties") or {}, set(schema.get("required") or ())))


def _examples(properties: Mapping[str, Json], required: set[str]) -> Iterator[tuple[str, Any]]:
    for name, rule in properties.items():
        kind = part_kind(rule)
        if rule.get("examples"):
            yield name, rule["examples"][0]
        elif kind is not None and name in required:
            yield name, _PART_EXAMPLES[kind]


def _section(title: str, pairs: list[tuple[str, object]]) -> list[RenderableType]:
    return [text(f"\n{title}", "bold"), fields(pairs)] if pairs else []


def _coded(label: Json) -> str:
    coded = "" if label["code"] is None else f" ({label['code']}, {label['system']})"
    return f"{label['display']}{coded}"
