"""Train icu-mortality.

Source: PhysioNet/Computing in Cardiology Challenge 2012, set A (Silva et al., CinC 39:245, 2012), ODC-By 1.0: 48 hours of vital
signs and laboratory values of patients in intensive care. The folder of the data holds `set-a.csv.gz` (RecordID, Time,
Parameter, Value) and `Outcomes-a.txt`. About five minutes on one core; seeds fixed.

Gradient boosting on summaries of each parameter, of all patients whose single values are within the ranges. Figures are
of those whose whole series the pipeline accepts, too. From which stays it abstains, because too little was measured or a
parameter looks to be in another unit, is chosen on four fifths of the patients and measured on the others. `measure` counts
that again, with the rules of today, and leaves the figures of probabilities as they were measured in training. The shipped
model is the mean, in log odds, of five ensembles of trees, each trained without a fifth of the patients; every figure is
of the ensemble that did not see the patient.
"""

import csv
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
from icu_completeness import INCOMPLETE, completeness_figures, incomplete_table, kept_masks, limits, toml
from icu_graph import graph_of
from icu_measures import GOLDEN, MEASURES, measures_toml
from icu_units import Stay, suspect_units, unit_figures, units_table
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.manifest import ModelManifest
from models.pipelines import InputRejected
from models.pipelines.timeseries_classification import TimeseriesClassification
from models.training.calibration import platt
from models.training.export import parity, save
from models.training.figures import (
    auc_with_interval,
    brier,
    calibration_error,
    interval,
    operating_point,
    share,
)
from models.training.writing import rounded, write_golden, write_report

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rule = NDArray[np.bool_]
Folds = Sequence[tuple[Ints, Ints]]

HERE = Path(__file__).resolve().parent
SEED = 20261129
FOLDS = 5
FALSE_ALARMS = 0.01
NAMES = [each.name for each in MEASURES]
SHORTEST_HOURS = 32  # less than 1 % of the patients have no parameter that spans them


def read_cases(folder: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """(outcome, input as a caller sends it) of each patient."""
    with (folder / "Outcomes-a.txt").open() as file:
        died = {row["RecordID"]: int(row["In-hospital_death"]) for row in csv.DictReader(file)}
    patients: dict[str, list[dict[str, object]]] = {}
    with gzip.open(folder / "set-a.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            one = {"time": row["Time"], "parameter": row["Parameter"], "value": float(row["Value"])}
            patients.setdefault(row["RecordID"], []).append(one)
    for patient, observations in patients.items():
        yield died[patient], {"observations": observations}


def pipeline(**more: object) -> TimeseriesClassification:
    """The pipeline with the manifest's measures, of which each single value is checked: `more` are rules for whole series."""
    labels = ["survived", "died"]
    parameters = {
        "labels": labels,
        "measures": [
            {key: getattr(each, key) for key in ("name", "title", "unit", "minimum", "maximum", "unknown")}
            for each in MEASURES
        ],
        "hours": 48,
        "fewest": 20,
        "most": 5000,
        **more,
    }
    table = {
        "name": "icu-mortality", "version": "1.0.0", "kind": "diagnosis", "pipeline": "timeseries-classification",
        "title": "x", "summary": "x", "license": "x", "parameters": parameters,
    }  # fmt: skip
    made = TimeseriesClassification.load(ModelManifest.model_validate(table), lambda _: b"")
    assert isinstance(made, TimeseriesClassification)
    return made


class Stays(NamedTuple):
    """Of n stays: summaries [n,P,8], outcomes [n], whether the whole series is accepted [n], and the known values."""

    summary: NDArray[np.float32]
    truth: Ints
    accepted: NDArray[np.bool_]
    known: list[Stay]


def read_stays(folder: Path) -> tuple[Stays, int]:
    """The stays whose single values are accepted, and how many others have a refused value."""
    made, rows, truth, accepted, known, refused = pipeline(), [], [], [], [], 0
    strict = pipeline(measures=[each._asdict() for each in MEASURES], shortest_hours=SHORTEST_HOURS)
    for died, case in read_cases(folder):
        try:
            value = made.read_input(made.encode(case))
        except InputRejected:
            refused += 1
            continue
        rows.append(made.feeds_of([value], 1)["summary"][0])
        truth.append(died)
        accepted.append(is_accepted(strict, case))
        known.append(made.known(value))
    return Stays(np.stack(rows), np.array(truth), np.array(accepted), known), refused


def is_accepted(made: TimeseriesClassification, case: dict[str, object]) -> bool:
    try:
        made.encode(case)
    except InputRejected:
        return False
    return True


def boosted(seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=220, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=30, l2_regularization=5.0,
        max_features=0.2, max_bins=64, early_stopping=False, random_state=seed,
    )  # fmt: skip


def threshold_of(probabilities: Floats, truth: Ints) -> float:
    """The threshold, in hundredths, of the largest event 1: the lesser of sensitivity and positive predictive value."""
    return max(np.arange(5, 80) / 100, key=lambda value: event_1(probabilities, truth, float(value)))


def event_1(probabilities: Floats, truth: Ints, threshold: float) -> float:
    point = operating_point(probabilities, truth, threshold)
    return min(point["sensitivity"], np.nan_to_num(point["ppv"]))


def novelty_of(summary: NDArray[np.float32], center: Floats, spread: Floats) -> Floats:
    """Root mean square of how many standard deviations the mean of each known parameter is away [n]."""
    away = ((summary[:, :, 4] - center) / spread) ** 2
    return np.sqrt(np.nanmean(away, axis=1))


def spread_of(means: NDArray[np.float32]) -> Floats:
    """Standard deviations; 1 of what is the same in all patients, such as the mark of ventilation."""
    spread = np.nanstd(means, 0)
    return np.where(spread > 1e-6, spread, 1.0)


def drawn(summary: NDArray[np.float32]) -> NDArray[np.float32]:
    """The foreign set: the same parameters as each patient's, with means drawn evenly within the accepted ranges."""
    chance, found = np.random.default_rng(SEED), summary.copy()
    low, high = (np.array([getattr(each, end) for each in MEASURES]) for end in ("minimum", "maximum"))
    means = chance.uniform(low, high, summary.shape[:2])
    found[:, :, 4] = np.where(np.isnan(summary[:, :, 4]), np.nan, means)
    return found


class Scores(NamedTuple):
    """Members, and of each stay by those that did not see it: log odds, the baseline's probability, novelty [n]."""

    members: list[HistGradientBoostingClassifier]
    odds: Floats
    plain: Floats
    novelty: Floats
    incomplete: dict[str, Floats]  # log odds of the stays with what INCOMPLETE leaves of them


def crossed(stays: Stays, folds: Folds) -> Scores:
    """Fit one member for each fold."""
    summary, truth = stays.summary, stays.truth
    flat = summary.reshape(len(summary), -1)
    kept_of = kept_masks(stays.known, NAMES, SEED)
    found = Scores([], *np.zeros((3, len(truth))), {kind: np.zeros(len(truth)) for kind in INCOMPLETE})
    for fold, (kept, held) in enumerate(folds):
        found.members.append(boosted(SEED + fold).fit(flat[kept], truth[kept]))
        found.odds[held] = found.members[-1].decision_function(flat[held])
        baseline = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=0.005, max_iter=300))
        found.plain[held] = baseline.fit(flat[kept], truth[kept]).predict_proba(flat[held])[:, 1]
        means = summary[kept][:, :, 4]
        found.novelty[held] = novelty_of(summary[held], np.nanmean(means, 0), spread_of(means))
        for kind, mask in kept_of.items():
            part = reduced(summary[held], mask[held]).reshape(len(held), -1)
            found.incomplete[kind][held] = found.members[-1].decision_function(part)
        print("fold", fold + 1, flush=True)
    return found


def reduced(summary: NDArray[np.float32], kept: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Summaries as if only the kept parameters [n,P] had been measured."""
    found = np.where(kept[:, :, None], summary, np.nan).astype(np.float32)
    found[:, :, 5] = np.where(kept, summary[:, :, 5], 0)
    return found


def train(data: Path) -> None:
    """Write everything of the bundle that comes from the data."""
    stays, refused = read_stays(data)
    summary, truth, accepted = stays.summary, stays.truth, stays.accepted
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(summary[:, 0], truth))
    scores = crossed(stays, folds)
    slope, offset = platt(scores.odds, truth)
    found = risk(scores.odds, slope, offset)
    center, spread = np.nanmean(summary[:, :, 4], 0), spread_of(summary[:, :, 4])
    limit = round(float(np.quantile(scores.novelty, 1 - FALSE_ALARMS)), 3)
    report = figures(found[accepted], truth[accepted], scores.plain[accepted]) | {
        "patients": len(truth), "refused": refused, "deaths": int(truth.sum()), "novelty_limit": limit,
        "accepted": int(accepted.sum()), "scored": int(accepted.sum()), "scored_deaths": int(truth[accepted].sum()),
        "false_alarm_rate": float((scores.novelty[accepted] >= limit).mean()),
        "catch_rate": float((novelty_of(drawn(summary), center, spread) >= limit).mean()),
        "subgroups": subgroups(summary[accepted], found[accepted], truth[accepted]),
    }  # fmt: skip
    report |= abstentions(stays, scores, (slope, offset), scores.novelty >= limit)
    save(graph_of(scores.members, slope, offset, center, spread), HERE / "model.onnx")
    report["parity"] = parity_of(summary[:400], scores.members, (slope, offset), (center, spread))
    report |= {"scikit_learn": sklearn.__version__, "seed": SEED}
    write(report, usable_of(stays))
    write_golden(HERE, GOLDEN)


def write(report: Mapping[str, object], usable: Sequence[Stay]) -> None:
    """Write metrics, manifest and card, with limits that are chosen on accepted stays."""
    told, enough = rounded(report), limits(usable)
    assert isinstance(told, dict)
    write_report(
        HERE, report, measures=measures_toml(suspect_units(usable)), shortest_hours=float(SHORTEST_HOURS),
        completeness=toml(enough), units_table=units_table(told["wrong_units"]),
        incomplete_table=incomplete_table(told["incomplete"]),
        **{f"fewest_{number}": each.fewest for number, each in enumerate(enough.groups)}, fewest_hours=enough.fewest_hours,
    )  # fmt: skip


def measure(data: Path) -> None:
    """Count again which stays are refused, and from which it abstains for its input, by the ranges and rules of today."""
    stays, refused = read_stays(data)
    usable, report = usable_of(stays), json.loads((HERE / "metrics.json").read_text())
    counts, _, _ = doubted(stays)
    for kind, share_caught in counts.pop("caught").items():
        report["incomplete"][kind]["abstained"] = share_caught
    write(report | counts | {"accepted": len(usable), "refused": refused}, usable)


def abstentions(stays: Stays, scores: Scores, scaling: tuple[float, float], novel: Rule) -> dict[str, object]:
    """From which accepted stays it abstains, as they are, incomplete, and in wrong units; limits are of other folds."""
    truth = stays.truth[stays.accepted]
    counts, missed, suspected = doubted(stays)
    caught = counts.pop("caught")
    found, died = risk(scores.odds[stays.accepted], *scaling), truth == 1
    abstained, threshold = novel[stays.accepted] | missed | suspected, threshold_of(found, truth)
    answered = ~abstained
    incomplete = {
        kind: {
            "abstained": caught[kind],
            "deaths_found_without": share(risk(odds[stays.accepted], *scaling)[died] >= threshold),
        }
        for kind, odds in scores.incomplete.items()
    }
    return {
        **counts, "abstained": share(abstained), "abstained_died": share(abstained[died]),
        "answered_auc": auc_with_interval(found[answered], truth[answered], int(answered.sum()), seed=SEED)[0],
        "answered_event_1": event_1(found[answered], truth[answered], threshold),
        "incomplete": incomplete,
    }  # fmt: skip


def doubted(stays: Stays) -> tuple[dict[str, Any], Rule, Rule]:
    """Figures of accepted stays, and of which too little is measured or a unit looks wrong [n]; limits are of other folds."""
    usable, truth = usable_of(stays), stays.truth[stays.accepted]
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(truth, truth))
    caught, missed = completeness_figures(usable, NAMES, folds, SEED)
    strict = pipeline(measures=[each._asdict() for each in MEASURES], shortest_hours=SHORTEST_HOURS)
    wrong_units, suspected = unit_figures(strict.parameters.measures, usable, folds)
    counts = {
        "too_little_measured": share(missed), "too_little_measured_died": share(missed[truth == 1]),
        "suspected_unchanged": share(suspected), "wrong_units": wrong_units, "caught": caught,
    }  # fmt: skip
    return counts, missed, suspected


def usable_of(stays: Stays) -> list[Stay]:
    return [stay for stay, whole in zip(stays.known, stays.accepted, strict=True) if whole]


def risk(odds: Floats, slope: float, offset: float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-slope * odds - offset)))


def parity_of(
    summary: NDArray[np.float32],
    members: Sequence[HistGradientBoostingClassifier],
    scaling: tuple[float, float],
    usual: tuple[Floats, Floats],
) -> float:
    """The greatest difference between the graph and what it was made of."""
    flat = summary.reshape(len(summary), -1)
    wanted = risk(np.mean([each.decision_function(flat) for each in members], 0), *scaling)
    given = {"probability": wanted[:, None], "novelty": novelty_of(summary, *usual)[:, None]}
    return parity(HERE / "model.onnx", {"summary": summary}, given)


def figures(found: Floats, truth: Ints, plain: Floats) -> dict[str, object]:
    limit = threshold_of(found, truth)
    area, low, high = auc_with_interval(found, truth, len(truth), seed=SEED)
    point = {key: each for key, each in operating_point(found, truth, limit).items() if key != "npv"}
    return {
        "auc": area, "auc_95": [low, high], "threshold": float(limit), **point,
        "event_1": event_1(found, truth, limit),
        "event_1_95": interval(lambda rows: event_1(found[rows], truth[rows], limit), len(truth), seed=SEED),
        "brier": brier(found, truth), "ece": calibration_error(found, truth),
        "auc_logistic": auc_with_interval(plain, truth, len(truth), seed=SEED)[0],
        "event_1_logistic": event_1(plain, truth, threshold_of(plain, truth)),
    }  # fmt: skip


def subgroups(summary: NDArray[np.float32], found: Floats, truth: Ints) -> dict[str, object]:
    age, gender = (summary[:, NAMES.index(name), 0] for name in ("Age", "Gender"))
    groups = {
        "women": gender == 0,
        "men": gender == 1,
        "under_50": age < 50,
        "from_50_to_69": (age >= 50) & (age < 70),
    }
    groups["from_70"] = age >= 70
    return {
        name: {
            "patients": int(rows.sum()),
            "auc": auc_with_interval(found[rows], truth[rows], int(rows.sum()), seed=SEED)[0],
        }
        for name, rows in groups.items()
    }
