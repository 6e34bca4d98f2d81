"""The figures of ecg-beats."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.training.figures import brier, by_class, calibration_error, interval, share
from models.training.heartbeats import ANSWERED, CLASSES, Record, jk_index, kappa, table_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rule = NDArray[np.bool_]

SEED: Final = 20261129
GIVEN, DETECTED, MINUTES = range(
    3
)  # ways to send: R peaks annotated; detected; detected, in recordings of a minute
LETTERS: Final = CLASSES[:ANSWERED].lower()
LEAST: Final = 0.5  # `upper` of the manifest's `abstain`


class Rows(NamedTuple):
    """Beats: features [N,F], places in CLASSES or -1 of no beat; numbers of record, of way to send, of what was sent [N]."""

    features: NDArray[np.float32]
    truth: Ints
    record: Ints
    way: Ints
    part: Ints


def shares(answered: Ints, truth: Ints) -> dict[str, object]:
    """Figures of answers [N] by class."""
    table = table_of(answered, truth)
    return {
        "jk": jk_index(table), "kappa": kappa(table), "accuracy": share(answered == truth),
        **by_class(answered, truth, LETTERS),
    }  # fmt: skip


def figures(rows: Rows, probability: Floats, plain: Floats, records: Sequence[Record]) -> dict[str, object]:
    """Of half-hour records with annotated R peaks, and of the other ways to send them. Probabilities [N,4]."""
    classed = (rows.truth >= 0) & (rows.truth < ANSWERED)
    given = classed & (rows.way == GIVEN)
    found, truth, record = probability[given], rows.truth[given], rows.record[given]
    answered, sure = found.argmax(1), found.max(1) >= LEAST
    in_minutes = classed & (rows.way == MINUTES)
    return {
        **shares(answered, truth), **intervals(answered, truth, record),
        "brier": brier(found, truth), "ece": calibration_error(found, truth),
        "logistic": shares(plain[given].argmax(1), truth),
        "abstained_share": share(~sure),
        "abstained": {letter: share(~sure[truth == place]) for place, letter in enumerate(LETTERS)},
        "sure": shares(answered[sure], truth[sure]),
        "detected": detected(rows, probability, records),
        "minutes": shares(probability[in_minutes].argmax(1), rows.truth[in_minutes]),
        "mostly_v": mostly_ventricular(rows, probability),
        "q_answers": answers_to_q(rows, probability),
        "subgroups": {
            name: shares(answered[each], truth[each]) | {"records": len(np.unique(record[each]))}
            for name, each in subgroups(record, records).items()
        },
        "record_accuracy": {
            each.name: share((answered == truth)[record == number]) for number, each in enumerate(records)
        },
    }  # fmt: skip


def intervals(answered: Ints, truth: Ints, record: Ints) -> dict[str, object]:
    """95 % intervals, resampled by record."""

    def one(places: Ints, figure: Callable[[Floats], float]) -> float:
        return figure(table_of(answered[places], truth[places]))

    def right(table: Floats, of: int, axis: int) -> float:
        total = table.sum(axis)[of]
        return float(table[of, of] / total) if total else float("nan")

    wanted: dict[str, Callable[[Floats], float]] = {
        "jk": jk_index,
        "accuracy": lambda table: float(table.trace() / table.sum()),
    }
    for place, letter in enumerate(LETTERS):
        wanted[f"sensitivity_{letter}"] = partial(right, of=place, axis=1)
        wanted[f"ppv_{letter}"] = partial(right, of=place, axis=0)
    groups = record.tolist()
    return {
        f"{name}_95": interval(partial(one, figure=figure), groups, seed=SEED)
        for name, figure in wanted.items()
    }


def detected(rows: Rows, probability: Floats, records: Sequence[Record]) -> dict[str, object]:
    """Of half-hour records whose R peaks are detected: of the peaks; by class of those that are beats; of V, all counted."""
    way = rows.way == DETECTED
    truth, answered = rows.truth[way], probability[way].argmax(1)
    beats, classed = truth >= 0, (truth >= 0) & (truth < ANSWERED)
    everything = np.concatenate([each.classes for each in records])
    ventricular = CLASSES.index("V")
    found = int(((answered == ventricular) & (truth == ventricular)).sum())
    return {
        "peaks_sensitivity": beats.sum() / len(everything), "peaks_ppv": share(beats),
        **shares(answered[classed], truth[classed]),
        "sensitivity_v_of_all": found / (everything == ventricular).sum(),
        "ppv_v_of_all": found / (answered == ventricular).sum(),
    }  # fmt: skip


def mostly_ventricular(rows: Rows, probability: Floats) -> dict[str, float]:
    """How many recordings of a minute have more V beats than others, and the share of those V beats that is answered V."""
    way = rows.way == MINUTES
    is_v, answered_v = rows.truth[way] == CLASSES.index("V"), probability[way].argmax(1) == CLASSES.index("V")
    _, part = np.unique(rows.part[way], return_inverse=True)
    mostly = np.bincount(part, is_v) / np.bincount(part) > 0.5
    return {"minutes": int(mostly.sum()), "sensitivity_v": share(answered_v[mostly[part] & is_v])}


def answers_to_q(rows: Rows, probability: Floats) -> dict[str, int]:
    """How beats that cannot be classified are answered."""
    unclassed = (rows.way == GIVEN) & (rows.truth == CLASSES.index("Q"))
    counts = np.bincount(probability[unclassed].argmax(1), minlength=ANSWERED).tolist()
    return dict(zip(LETTERS, counts, strict=True))


def subgroups(record: Ints, records: Sequence[Record]) -> dict[str, Rule]:
    """Which beats are of which patients."""
    women = np.array([each.sex == "F" for each in records])[record]
    age = np.array([each.age for each in records])[record]
    return {"women": women, "men": ~women, "under_65": age < 65, "from_65": age >= 65}
