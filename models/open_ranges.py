"""Finds numbers that a model takes without a range: of these no value is refused, however far from what it learned."""

from collections.abc import Mapping
from typing import Any, Final

from models.manifest import MANIFEST_NAME, Fault
from models.pipelines import Pipeline
from models.pipelines.features.numbers import FLOAT32_MAX, MOST_WHOLE

_LIMITS: Final[Mapping[str, float]] = {"number": FLOAT32_MAX, "integer": MOST_WHOLE}
_SHOWN: Final = 5
WHY: Final = (
    "a value far from those that the model was trained with, as in another unit, is scored, not refused"
)


def open_ranges(pipeline: Pipeline) -> list[Fault]:
    """A remark on the numbers of an input that lack a minimum or a maximum; none if all have both."""
    properties: Mapping[str, Any] = pipeline.input_schema().get("properties") or {}  # type: ignore[assignment]  # a table
    names = [name for name, rule in properties.items() if _is_open(rule)]
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    reason = f"{', '.join(names[:_SHOWN])}{more} may be any number: {WHY}. Give each a minimum and a maximum"
    return [Fault(f"{MANIFEST_NAME}: parameters.features", "range_open", reason)]


def _is_open(rule: Mapping[str, Any]) -> bool:
    kinds = rule.get("type")
    kind = next(
        (each for each in _LIMITS if each == kinds or (isinstance(kinds, list) and each in kinds)), None
    )
    if kind is None or "enum" in rule:
        return False
    limit = _LIMITS[kind]
    low = rule.get("minimum", rule.get("exclusiveMinimum", -limit))
    high = rule.get("maximum", rule.get("exclusiveMaximum", limit))
    return bool(low <= -limit or high >= limit)
