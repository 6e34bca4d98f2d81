"""Checks the example of an input that callers are shown: a golden case that the manifest names, or those of the schema."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jsonschema import Draft202012Validator

from models.golden_cases import GOLDEN_NAME, GoldenCase
from models.manifest import MANIFEST_NAME, Fault, ModelManifest
from models.pipelines import Pipeline

_PLACE: Final = f"{MANIFEST_NAME}: example_case"
_PARAMETERS: Final = f"{MANIFEST_NAME}: parameters"


def example_faults(manifest: ModelManifest, cases: Sequence[GoldenCase], pipeline: Pipeline) -> list[Fault]:
    """The faults of an example that is missing, that the model abstains from, or that callers could not send."""
    number = manifest.example_case
    if number is None:
        return _unfit(pipeline.input_schema())
    if number >= len(cases):
        reason = f"{GOLDEN_NAME} has {len(cases)} cases, counted from 0: name one of these"
        return [Fault(_PLACE, "example_unknown", reason)]
    case = cases[number]
    if case.expected.get("abstained") is True:
        reason = f"the model abstains from case {number} of {GOLDEN_NAME}: name one that it answers"
        return [Fault(_PLACE, "example_abstained", reason)]
    if not Draft202012Validator(pipeline.input_schema()).is_valid(case.input):
        reason = f"case {number} of {GOLDEN_NAME} does not fit the input schema: name another, or none"
        return [Fault(_PLACE, "example_unfit", reason)]
    return []


def _unfit(schema: Mapping[str, Any]) -> list[Fault]:
    """Faults of examples that a field of the schema has and does not take itself."""
    validator = Draft202012Validator(schema)
    advice = "the example of `{name}` does not fit the input schema: give one that the model takes"
    return [
        Fault(_PARAMETERS, "example_unfit", advice.format(name=name))
        for name, rule in schema.get("properties", {}).items()
        if not all(map(validator.evolve(schema=rule).is_valid, rule.get("examples", ())))
    ]
