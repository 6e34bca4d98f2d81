"""Which comparison suits the answers of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import click

from service.cli.evaluation.beats import beats
from service.cli.evaluation.boxes import detections
from service.cli.evaluation.classes import classification, label_of_case
from service.cli.evaluation.entities import entities
from service.cli.evaluation.figures import Evaluation, given, problems, unscored
from service.cli.evaluation.labelled import Labelled
from service.cli.evaluation.masks import segmentation
from service.cli.evaluation.numbers import regression
from service.cli.evaluation.rankings import ranking
from service.cli.evaluation.scoring import Scored
from service.cli.evaluation.tasks import tasks
from service.cli.evaluation.texts import texts

# The type of the answers of a pipeline: results of batches do not hold it.
TYPES: Final = {
    "beat-classification": "beats",
    "image-generation": "image-generation",
    "image-segmentation": "image-segmentation",
    "object-detection": "detections",
    "molecule-property": "molecule-property",
    "recommendation": "recommendation",
    "semantic-search": "search",
    "tabular-regression": "regression",
    "text-generation": "text",
    "token-classification": "entities",
}


def evaluated(
    scored: Sequence[Scored],
    labels: Sequence[Mapping[str, Any]],
    values: Mapping[str, str],
    pipeline: str = "",
) -> Evaluation:
    """The figures of scored cases. `values` maps values of the truth to ids of labels. Raises click.UsageError."""
    first = next((case for case in scored if case.answer is not None), None)
    if first is None:
        raise click.UsageError(_nothing_scored(scored))
    otherwise = "classification" if labels else pipeline or "regression"
    kind = given(first).get("type") or TYPES.get(pipeline, otherwise)
    comparisons: dict[str, Callable[[], Evaluation]] = {
        "beats": lambda: beats(scored, labels, values),
        "classification": lambda: classification(scored, labels, values),
        "detections": lambda: detections(scored, labels, values),
        "entities": lambda: entities(scored, values),
        "image-segmentation": lambda: segmentation(scored, labels, values),
        "molecule-property": lambda: tasks(scored, values),
        "recommendation": lambda: ranking(scored, "items"),
        "regression": lambda: regression(scored),
        "search": lambda: ranking(scored),
        "text": lambda: texts(scored),
    }
    if kind not in comparisons:
        raise click.UsageError(
            f"Answers of the type {kind} have no comparison: compare the results yourself."
        )
    return replace(comparisons[kind](), unscored=unscored(scored))


def check_truths(
    cases: Sequence[Labelled], labels: Sequence[Mapping[str, Any]], values: Mapping[str, str], pipeline: str
) -> None:
    """Refuse a truth that is no label before the cases are scored, if the model is a classifier. Raises click.UsageError."""
    if labels and pipeline not in TYPES:
        for case in cases:
            label_of_case(case, labels, values)


def _nothing_scored(scored: Sequence[Scored]) -> str:
    """How many cases ended with which code, and the first of them with what to change."""
    counts = ", ".join(f"{code} {count}" for code, count in problems(scored).most_common())
    first = [f"  {each.case}: {each.code}. {each.detail}".rstrip() for each in unscored(scored)]
    return "\n".join([f"No case was scored: {counts}.", *first])
