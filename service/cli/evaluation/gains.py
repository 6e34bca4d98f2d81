"""What a refit gained or lost: the figures of both versions on the same cases, and the intervals of their differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from models.bundle import BundleRefused, Fault
from models.training.figures import middle_95, operating_point, resamples
from service.cli.evaluation.comparison import evaluated
from service.cli.evaluation.figures import SEED, Evaluation, Floats, Ints
from service.cli.evaluation.losses import ANSWERED, LESS_IS_BETTER, key_of, scored_here

if TYPE_CHECKING:
    from models.variants.measuring import LocalModel
    from service.cli.evaluation.classes import Classified
    from service.cli.evaluation.local import LocalCase

Measure = Callable[[Ints], float]

COVERAGE: Final = "coverage of the interval"
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
        """Whether all of the interval of the difference is on the worse side.

        An interval that holds more often is only wider: its coverage is compared with what the manifest states.
        """
        return self.name != COVERAGE and self.gain.high < -LEAST_LOSS


@dataclass(frozen=True)
class Comparison:
    """The gains of a refit, and of models that abstain the shares of cases that both answer.

    `stated` are the figures that the manifest's tables of parameters state, by table.
    """

    gains: Sequence[Gain]
    answered: tuple[float, float] | None = None
    stated: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


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
    drawn = _drawn([groups[place] for place in places])
    defined = old.defined() & new.defined()
    names = [name for name in old.measures if name in defined]
    gains = [_gain(name, old.measures[name], new.measures[name], drawn) for name in names]
    costs, coverage = _costs(new, refit), _coverage(gains, refit)
    stated = {name: each for name, each in (("threshold", costs), ("interval", coverage)) if each}
    return Comparison(gains, (_share_answered(old), _share_answered(new)), stated)


def compared_columns(
    old: Mapping[str, Floats], new: Mapping[str, Floats], groups: Sequence[str | None]
) -> Comparison:
    """The means of figures [N] by name, of the same rows. A row whose figure is NaN does not count."""
    drawn = _drawn(groups)
    means = {name: (_mean_of(old[name]), _mean_of(new[name])) for name in old if np.isfinite(old[name]).any()}
    return Comparison([_gain(name, *both, drawn) for name, both in means.items()])


def _mean_of(column: Floats) -> Measure:
    def measure(rows: Ints) -> float:
        chosen = column[rows]
        known = chosen[np.isfinite(chosen)]
        return float(known.mean()) if len(known) else float("nan")

    return measure


def _drawn(groups: Sequence[str | None]) -> list[Ints]:
    """All rows, then those of each resample, of whole groups where every row has one."""
    known = len(groups) if None in groups else groups
    return [np.arange(len(groups)), *resamples(known, seed=SEED)]


def _gain(name: str, old: Measure, new: Measure, drawn: Sequence[Ints]) -> Gain:
    before, after = (np.array([_value(measure, rows) for rows in drawn]) for measure in (old, new))
    sign = -1.0 if name.partition(" of ")[0].endswith(LESS_IS_BETTER) else 1.0
    return Gain(name, *(_estimate(each) for each in (before, after, sign * (after - before))))


def _value(measure: Measure, rows: Ints) -> float:
    try:
        return measure(rows)
    except ValueError:
        return float("nan")


def _estimate(values: Floats) -> Estimate:
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


def _coverage(gains: Sequence[Gain], refit: LocalModel) -> dict[str, float]:
    """How often the interval held. Raises BundleRefused where that is less than is stated, beyond the figure's interval."""
    found = next((each.refit for each in gains if each.name == COVERAGE), None)
    if found is None:
        return {}
    stated = refit.manifest.parameters["interval"]["coverage"]
    if found.high < stated:
        reason = f"the interval holds {found} of the values, and {stated:g} are stated: give more rows"
        raise BundleRefused(Fault(f"metrics: {COVERAGE}", "refit_loses", reason))
    return {"measured": round(found.value, DIGITS)}


def check_gains(found: Sequence[Gain]) -> None:
    """Raises BundleRefused with each figure in which the refit is worse than its parent beyond the interval."""
    faults = [
        Fault(
            f"metrics: {each.name}",
            "refit_loses",
            f"it changes from {each.parent} to {each.refit}, a loss whose interval leaves no doubt. If the parent was trained "
            "on held-out rows, every refit looks worse: hold out others. Otherwise keep the parent, or give more rows",
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
    if found.answered is not None:
        key = key_of(ANSWERED)
        metrics[f"{key}_parent"], metrics[key] = found.answered
    return {name: round(float(value), DIGITS) for name, value in metrics.items()}


def as_table(found: Comparison) -> str:
    """The figures as a table of the card."""
    head = "| figure | parent | refit | gain |\n|---|---|---|---|\n"
    rows = [f"| {each.name} | {each.parent} | {each.refit} | {each.gain} |\n" for each in found.gains]
    if found.answered is not None:
        before, after = found.answered
        rows.append(f"| {ANSWERED} | {before:.4f} | {after:.4f} | |\n")
    return f"{head}{''.join(rows)}"
