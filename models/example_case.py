"""Checks the golden case that a manifest names as the example of an input."""

from collections.abc import Sequence
from typing import Final

from jsonschema import Draft202012Validator

from models.golden_cases import GOLDEN_NAME, GoldenCase
from models.manifest import MANIFEST_NAME, Fault, ModelManifest
from models.pipelines import Pipeline

_PLACE: Final = f"{MANIFEST_NAME}: example_case"


def example_faults(manifest: ModelManifest, cases: Sequence[GoldenCase], pipeline: Pipeline) -> list[Fault]:
    """The fault of an example that is missing, that the model abstains from, or that callers could not send."""
    number = manifest.example_case
    if number is None:
        return []
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
