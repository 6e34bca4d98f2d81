"""What a refit gained or lost: the figures of both versions on the same cases, and the intervals of their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from models.bundle import BundleRefused, Fault
from models.training.figures import middle_95, operating_point, resamples
from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.figures import EVERYBODY, SEED, Evaluation, Ints
from service.cli.evaluation.losses import ANSWERED, LESS_IS_BETTER, key_of, scored_here

if TYPE_CHECKING:
    from models.variants.measuring import LocalModel
    from service.cli.evaluation.classes import Classified
    from service.cli.evaluation.local import LocalCase

DIGITS: Final = 4
# A loss below the digits that are shown is none: probabilities are rounded before they are recalibrated.
LEAST_LOSS: Final = 0.5 * 10**-DIGITS


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True)
class Gain:
    """One figure of the parent and of the refit on the same cases; `gain` is above 0 where the refit is better."""

    name: str
    parent: Estimate
    refit: Estimate
    gain: Estimate

    @property
    def is_loss(self) -> bool:
        """Whether all of the interval of the difference is on the worse side."""
        return self.gain.high < -LEAST_LOSS


@dataclass(frozen=True)
class Comparison:
    """The gains of a refit, the shares of cases that both answer, and what its threshold costs if it has one."""

    gains: Sequence[Gain]
    answered: tuple[float, float]
    threshold: Mapping[str, float]


def compared(
    parent: LocalModel, refit: LocalModel, cases: Sequence[LocalCase], values: Mapping[str, str]
) -> Comparison:
    """The figures of both. Raises BundleRefused where the refit fails on cases that the parent answers."""
    labels = [asdict(label) for label in parent.pipeline.labels()]
    old, new = (
        evaluated(scored_here(model, cases), labels, values, model.manifest.pipeline)
        for model in (parent, refit)
    )
    places = [each.place for each in old.answered]
    if places != [each.place for each in new.answered]:
        reason = (
            "the refit fails on held-out cases that the parent answers, or answers others: keep the parent"
        )
        raise BundleRefused(Fault("metrics", "refit_loses", reason))
    groups = {case.place: case.group for case in cases}
    known = [groups[place] for place in places]
    drawn = list(resamples(len(places) if None in known else known, seed=SEED))
    shares = (_share_answered(old), _share_answered(new))
    return Comparison(_gains(old, new, drawn), shares, _costs(new, refit))


def _gains(old: Evaluation, new: Evaluation, drawn: Sequence[Ints]) -> list[Gain]:
    """The figures that both have of everybody."""
    defined = [
        {each.name for each in found.figures if each.group == EVERYBODY} & found.measures.keys()
        for found in (old, new)
    ]
    return [_gain(old, new, name, drawn) for name in old.measures if name in defined[0] & defined[1]]


def _gain(old: Evaluation, new: Evaluation, name: str, drawn: Sequence[Ints]) -> Gain:
    everybody = np.arange(len(old.answered))
    before, after = (
        np.array([_value(found, name, rows) for rows in (everybody, *drawn)]) for found in (old, new)
    )
    sign = -1.0 if name.partition(" of ")[0].endswith(LESS_IS_BETTER) else 1.0
    return Gain(name, *(_estimate(each) for each in (before, after, sign * (after - before))))


def _value(found: Evaluation, name: str, rows: Ints) -> float:
    try:
        return found.measures[name](rows)
    except ValueError:
        return float("nan")


def _estimate(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Estimate:
    """Of a figure, followed by those of the resamples."""
    return Estimate(float(values[0]), *middle_95(values[1:]))


def _share_answered(found: Evaluation) -> float:
    return found.counts["answered"] / found.counts["cases"]


def _costs(new: Evaluation, refit: LocalModel) -> dict[str, float]:
    """What answering the positive label from the threshold on costs, whether or not the model abstains."""
    table: Classified | None = new.curves.get("table")
    threshold = refit.manifest.parameters.get("threshold")
    if table is None or table.positive is None or threshold is None:
        return {}
    truth = (table.truth == table.positive).astype(np.int64)
    found = operating_point(table.probabilities[:, table.positive], truth, threshold["value"])
    wanted = {name: found[name] for name in ("sensitivity", "specificity", "ppv", "prevalence")}
    if not np.isfinite([*wanted.values()]).all():
        reason = "no held-out case reaches the threshold, so its predictive value cannot be measured: hold out more"
        raise BundleRefused(Fault("parameters.threshold", "refit_unmeasured", reason))
    return {name: round(value, DIGITS) for name, value in wanted.items()}


def check_gains(found: Sequence[Gain]) -> None:
    """Raises BundleRefused with each figure in which the refit is worse than its parent beyond the interval."""
    faults = [
        Fault(
            f"metrics: {each.name}",
            "refit_loses",
            f"it changes from {each.parent} to {each.refit}, a loss whose interval leaves no doubt: keep the parent, or give "
            "more rows",
        )
        for each in found
        if each.is_loss
    ]
    if faults:
        raise BundleRefused(*faults)


def as_metrics(found: Comparison) -> dict[str, float | str]:
    """The figures as a manifest's metrics; those of the parent end in `_parent`."""
    metrics: dict[str, float | str] = {}
    for each in found.gains:
        key, refit = key_of(each.name), each.refit
        metrics |= {key: refit.value, f"{key}_95_low": refit.low, f"{key}_95_high": refit.high}
        metrics[f"{key}_parent"] = each.parent.value
    metrics[key_of(ANSWERED)], metrics[f"{key_of(ANSWERED)}_parent"] = found.answered[1], found.answered[0]
    return {name: round(float(value), DIGITS) for name, value in metrics.items()}


def as_table(found: Comparison) -> str:
    """The figures as a table of the card."""
    head = "| figure | parent | refit | gain |\n|---|---|---|---|\n"
    rows = [f"| {each.name} | {each.parent} | {each.refit} | {each.gain} |\n" for each in found.gains]
    before, after = found.answered
    return f"{head}{''.join(rows)}| {ANSWERED} | {before:.4f} | {after:.4f} | |\n"
