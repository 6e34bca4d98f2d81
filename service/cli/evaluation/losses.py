"""What a variant of a model loses: the figures of both on the same labelled cases, scored in this process."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from models.bundle import BundleRefused, Fault
from service.cli.evaluation.classes import check_values
from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.figures import EVERYBODY
from service.cli.evaluation.scoring import Scored, flat

if TYPE_CHECKING:
    from models.variants.measuring import LocalModel, Result
    from service.cli.evaluation.local import LocalCase

ROWS_AT_ONCE: Final = 64
# Last words of figures, before the class or the image that they are of.
LESS_IS_BETTER: Final = ("Brier score", "error")
ANSWERED: Final = "share answered"


@dataclass(frozen=True)
class Loss:
    """One figure before and after. `loss` is positive where the variant is worse, of figures above 1 as a share.

    To answer more cases is as bad as to answer fewer: the original abstained from them for a reason.
    `after` is None where the answers of the variant leave the figure undefined; that is an infinite loss.
    """

    name: str
    before: float
    after: float | None

    @property
    def loss(self) -> float:
        """See Loss."""
        if self.after is None:
            return math.inf
        if self.name == ANSWERED:
            return abs(self.after - self.before)
        what = self.name.partition(" of ")[0]
        gain = self.before - self.after if what.endswith(LESS_IS_BETTER) else self.after - self.before
        return -gain / max(1.0, abs(self.before))


def losses(
    original: LocalModel, variant: LocalModel, cases: Sequence[LocalCase], values: Mapping[str, str]
) -> list[Loss]:
    """The figures of both. Raises click.UsageError where a truth does not fit the model."""
    check_values(values, [asdict(label) for label in original.pipeline.labels()])
    before, after = (_figures(model, cases, values) for model in (original, variant))
    return [Loss(name, value, after.get(name)) for name, value in before.items()]


def check_losses(found: Sequence[Loss], bound: float) -> None:
    """Raises BundleRefused with each figure that loses more than `bound`."""
    faults = [
        Fault(
            f"metrics: {each.name}",
            "variant_loses",
            f"it changes from {each.before:.5g} to {written(each.after)}, a larger loss than `runtime.variant_loss` allows "
            f"({bound:g}): choose another form, or keep the original",
        )
        for each in found
        if each.loss > bound
    ]
    if faults:
        raise BundleRefused(*faults)


def as_metrics(found: Sequence[Loss], cases: int, source: str) -> dict[str, float | str]:
    """The figures of the variant as a manifest's metrics."""
    figures: dict[str, float | str] = {
        key_of(each.name): round(each.after, 5) for each in found if each.after is not None
    }
    return {**figures, "cases": cases, "measured_with": source}


def written(figure: float | None) -> str:
    """A figure as it is shown."""
    return "undefined" if figure is None else f"{figure:.5g}"


def key_of(name: str) -> str:
    """The name of a figure as a key of a manifest's metrics."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _figures(model: LocalModel, cases: Sequence[LocalCase], values: Mapping[str, str]) -> dict[str, float]:
    labels = [asdict(label) for label in model.pipeline.labels()]
    found = evaluated(scored_here(model, cases), labels, values, model.manifest.pipeline)
    answered = found.counts["answered"] / found.counts["cases"]
    return {ANSWERED: answered} | {each.name: each.value for each in found.figures if each.group == EVERYBODY}


def scored_here(model: LocalModel, cases: Sequence[LocalCase]) -> list[Scored]:
    """The cases with their answers."""
    parts = (cases[start : start + ROWS_AT_ONCE] for start in range(0, len(cases), ROWS_AT_ONCE))
    return [each for part in parts for each in _scored(model, part)]


def _scored(model: LocalModel, cases: Sequence[LocalCase]) -> list[Scored]:
    """Cases with their answers; where they cannot be scored together, one by one."""
    results: Sequence[Result | None]
    try:
        results = model.answers([each.case for each in cases])
    except BundleRefused:
        results = [model.alone(each.case) for each in cases]
    return [
        Scored(each.place, each.truth, {}, None if result is None else dict(flat(result)), "model_failed")
        for each, result in zip(cases, results, strict=True)
    ]
