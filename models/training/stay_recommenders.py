"""What recommenders that learn from the stays of eICU's demo share: their context, and their figures by subgroup."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.pipelines.context_fields import CategoryField, CodesField, Columns, ContextField, NumberField
from models.training.export import parity
from models.training.recommenders import Fit, Floats, Linear, Users, measured
from models.training.stays import Stay, diagnosis_groups, groups_text, past_history_groups

BINS = (30.0, 45.0, 55.0, 65.0, 75.0, 85.0)
SUBGROUPS: dict[str, Callable[[Stay], bool]] = {
    "women": lambda stay: stay.sex == "female",
    "men": lambda stay: stay.sex == "male",
    "under_50": lambda stay: stay.age is not None and stay.age < 50,
    "from_50_to_69": lambda stay: stay.age is not None and 50 <= stay.age < 70,
    "from_70": lambda stay: stay.age is not None and stay.age >= 70,
    "mixed_units": lambda stay: stay.unit == "Med-Surg ICU",
    "medical_units": lambda stay: stay.unit == "MICU",
    "cardiac_units": lambda stay: stay.unit in {"Cardiac ICU", "CCU-CTICU", "CSICU", "CTICU"},
    "surgical_units": lambda stay: stay.unit in {"SICU", "Neuro ICU"},
}  # by what is compared


def write_context(folder: Path, stays: Mapping[str, Stay]) -> dict[str, int]:
    """Write the groups of diagnoses and past history into a bundle; how many there are of each."""
    groups = {"diagnoses": diagnosis_groups(stays), "past_history": past_history_groups(stays)}
    for name, each in groups.items():
        (folder / f"{name}.csv").write_text(groups_text(each), encoding="utf-8", newline="")
    return {name: len(each) for name, each in groups.items()}


def context_columns(folder: Path, stays: Sequence[Stay]) -> tuple[Columns, ...]:
    """How the context of the manifest is fed, by the groups that the bundle in `folder` has."""
    return tuple(field.columns(lambda path: (folder / path).read_bytes()) for field in context_fields(stays))


def context_fields(stays: Sequence[Stay]) -> list[ContextField]:
    """The context of the manifest."""
    units = sorted({stay.unit for stay in stays})
    sources = sorted({stay.admitted_from for stay in stays if stay.admitted_from})
    return [
        CodesField(name="diagnoses", title="Diagnoses", type="codes", file="diagnoses.csv", category=3),
        CodesField(name="past_history", title="Past history", type="codes", file="past_history.csv"),
        NumberField(name="age", title="Age", type="number", unit="a", minimum=15.0, maximum=120.0, bins=BINS),
        CategoryField(name="sex", title="Sex", type="category", values=("female", "male")),
        CategoryField(name="unit", title="Unit", type="category", values=tuple(units)),
        CategoryField(name="admitted_from", title="Admitted from", type="category", values=tuple(sources)),
    ]


def context_texts(columns: Sequence[Columns]) -> dict[str, str]:
    """What the templates of a bundle say of the context: bins, and the values of each category, as TOML."""
    values = {
        each.field.name: json.dumps(list(each.field.values))
        for each in columns
        if isinstance(each.field, CategoryField)
    }
    return {"bins": json.dumps(list(BINS)), **values}


def fed(columns: Sequence[Columns], stay: Stay) -> tuple[list[float], int]:
    """What the pipeline feeds of a stay's context [C], and how many of its codes the model knows."""
    row, known = [], 0
    for each in columns:
        values, value = list(each.blank), stay.context()[each.field.name]
        facts = [] if value is None else each.facts(value)
        for fact in facts:
            values[fact.column] = fact.value
        row += values
        known += len(facts) if each.informs else 0
    return row, known


def share_abstained(
    columns: Sequence[Columns],
    stays: Mapping[str, Stay],
    had: Mapping[str, frozenset[str]],
    items: Sequence[str],
) -> float:
    """The share of all stays, also of those without an item, of whose items and context the model knows nothing.

    `had` are the items of each stay, by its id; `items` those of the catalogue.
    """
    known = {*items}
    unknown = [
        stay
        for stay in stays.values()
        if not (fed(columns, stay)[1] or had.get(stay.id, frozenset()) & known)
    ]
    return len(unknown) / len(stays)


def by_subgroup(
    fit: Fit, users: Users, informed: NDArray[np.bool_], stays: Sequence[Stay], *, seed: int
) -> dict[str, object]:
    """Figures of each subgroup, with its number of stays. Cold ones are of the stays with a code that is known."""
    ranked = measured(fit, users, seed=seed)
    ranked.cold_recall[~informed] = ranked.cold_ndcg[~informed] = np.nan
    parts = {name: np.array([chosen(stay) for stay in stays]) for name, chosen in SUBGROUPS.items()}
    return {
        name: {"stays": int(part.sum())} | ranked.figures(users.groups, part, seed=seed)
        for name, part in parts.items()
    }


def graph_parity(path: Path, model: Linear, users: Users) -> float:
    """The greatest difference of the graph from the model, also for no history at all."""
    history: Floats = np.vstack([users.items[:200], np.zeros_like(users.items[:50])])
    context = np.vstack([users.context[:200], users.context[:50]])
    feeds = {"history": history.astype(np.float32), "context": context.astype(np.float32)}
    return parity(path, feeds, {"scores": model.scores(history, context)})
