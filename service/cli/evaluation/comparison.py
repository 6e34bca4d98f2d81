"""Which comparison suits the answers of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from service.cli.evaluation.classes import classification
from service.cli.evaluation.entities import entities
from service.cli.evaluation.figures import Evaluation, given, problems
from service.cli.evaluation.numbers import regression
from service.cli.evaluation.rankings import ranking
from service.cli.evaluation.scoring import Scored


def evaluated(
    scored: Sequence[Scored], labels: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> Evaluation:
    """The figures of scored cases. `values` maps values of the truth to ids of labels. Raises click.UsageError."""
    first = next((case for case in scored if case.answer is not None), None)
    if first is None:
        raise click.UsageError(f"No case was scored: {dict(problems(scored))}.")
    kind = given(first).get("type", "classification" if labels else "regression")
    if kind == "classification":
        return classification(scored, labels, values)
    if kind == "regression":
        return regression(scored)
    if kind == "entities":
        return entities(scored, values)
    if kind == "search":
        return ranking(scored)
    raise click.UsageError(f"Answers of the type {kind} have no comparison: compare the results yourself.")
