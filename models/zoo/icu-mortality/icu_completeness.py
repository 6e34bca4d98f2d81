"""How much must have been measured for icu-mortality to answer: limits, and which incomplete stays they catch."""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.pipelines.timeseries_completeness import Completeness

Stay = Mapping[str, Sequence[tuple[float, float]]]
Chance = np.random.Generator
Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]

AT_MOST = 0.02  # of the stays that a limit is chosen by have less, of each group and of the hours
ONCE = ("Age", "Gender")
BEDSIDE = (
    "HR", "Temp", "Urine", "GCS", "NISysABP", "NIDiasABP", "NIMAP", "SysABP", "DiasABP", "MAP", "RespRate", "SaO2",
    "FiO2", "MechVent",
)  # fmt: skip
LABORATORY = (
    "Creatinine", "BUN", "HCT", "Platelets", "WBC", "HCO3", "Na", "K", "Mg", "Glucose", "pH", "PaCO2", "PaO2", "Lactate",
    "Bilirubin", "Albumin", "ALP", "ALT", "AST", "TroponinT", "TroponinI", "Cholesterol",
)  # fmt: skip
GROUPS = {
    "values of age and sex": ONCE,
    "bedside measurements": BEDSIDE,
    "laboratory values": LABORATORY,
}


def limits(stays: Sequence[Stay]) -> Completeness:
    """The most that all but AT_MOST of the stays have. The figures are not known yet."""
    counts = {
        title: [sum(name in stay for name in names) for stay in stays] for title, names in GROUPS.items()
    }
    groups = [
        {"title": title, "measures": GROUPS[title], "fewest": _most(found)} for title, found in counts.items()
    ]
    known = {
        "groups": groups, "fewest_hours": _most([hours_of(stay) for stay in stays]), "false_alarm_rate": 0.0, "catch_rate": 0.0,
        "foreign_set": "-", "source": "-",
    }  # fmt: skip
    return Completeness.model_validate(known)


def _most(counts: Sequence[int]) -> int:
    ordered = sorted(counts)
    return max(1, ordered[int(AT_MOST * len(ordered))])


def hours_of(stay: Stay) -> int:
    return len({int(time) for pairs in stay.values() for time, _ in pairs})


def toml(found: Completeness) -> str:
    """The groups as the manifest has them."""
    groups = (
        f"{{title = {json.dumps(each.title)}, measures = {json.dumps(each.measures)}, fewest = {each.fewest}}}"
        for each in found.groups
    )
    return f"groups = [{', '.join(groups)}]\nfewest_hours = {found.fewest_hours}"


def changing(stay: Stay) -> list[str]:
    return [name for name in (*BEDSIDE, *LABORATORY) if name in stay]


def _at_random(share: float = 0.0, number: int = 0) -> Callable[[Stay, Chance], set[str]]:
    def names(stay: Stay, chance: Chance) -> set[str]:
        every = changing(stay)
        kept = min(len(every), max(number, round(share * len(every))))
        return {*ONCE, *chance.choice(every, kept, replace=False).tolist()}

    return names


# Foreign sets: the names that are kept of a stay. Age and sex stay but where the heart rate is alone.
INCOMPLETE: dict[str, Callable[[Stay, Chance], set[str]]] = {
    "heart_rate_alone": lambda _, __: {"HR"},
    "one_parameter": _at_random(number=1),
    "two_parameters": _at_random(number=2),
    "three_parameters": _at_random(number=3),
    "ten_parameters": _at_random(number=10),
    "half_of_the_parameters": _at_random(share=0.5),
    "bedside_alone": lambda _, __: {*ONCE, *BEDSIDE},
    "laboratory_alone": lambda _, __: {*ONCE, *LABORATORY},
    "without_age_and_sex": lambda stay, _: {*stay} - {*ONCE},
}


def kept_masks(stays: Sequence[Stay], names: Sequence[str], seed: int) -> dict[str, NDArray[np.bool_]]:
    """Which parameters [n, names] each incomplete set has of each stay."""
    chance = np.random.default_rng(seed)
    return {
        kind: np.array([[name in kept for name in names] for kept in (keep(stay, chance) for stay in stays)])
        for kind, keep in INCOMPLETE.items()
    }


def lacking(
    found: Completeness, stays: Sequence[Stay], names: Sequence[str], kept: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Which stays [n], or the parts of them that are `kept` [n, names], have too little for an answer."""
    whole = np.ones((len(stays), len(names)), bool) if kept is None else kept
    parts = (
        {name: stay[name] for name, has in zip(names, row, strict=True) if has and name in stay}
        for stay, row in zip(stays, whole, strict=True)
    )
    return np.array([found.lacks(part) is not None for part in parts])


def completeness_figures(
    stays: Sequence[Stay], names: Sequence[str], folds: Folds, seed: int
) -> tuple[dict[str, float], NDArray[np.bool_]]:
    """Shares of incomplete stays that limits of the other folds find, and which stays [n] they find as they are."""
    missed, caught = np.zeros(len(stays), bool), {kind: np.zeros(len(stays), bool) for kind in INCOMPLETE}
    masks = kept_masks(stays, names, seed)
    for kept, held in folds:
        known, some = limits([stays[place] for place in kept]), [stays[place] for place in held]
        missed[held] = lacking(known, some, names)
        for kind, mask in masks.items():
            caught[kind][held] = lacking(known, some, names, mask[held])
    return {kind: float(each.mean()) for kind, each in caught.items()}, missed


def incomplete_table(found: Mapping[str, Mapping[str, float]]) -> str:
    """The rows of the card's table."""
    return "\n".join(
        f"| {kind.replace('_', ' ')} | {one['abstained']} | {one['deaths_found_without']} |"
        for kind, one in found.items()
    )
