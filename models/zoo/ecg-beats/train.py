"""Train ecg-beats.

Source: MIT-BIH Arrhythmia Database, set DS1 (see models/training/heartbeats), ODC-By 1.0: 22 half-hour records, one a patient,
each beat annotated. The folder of the data holds `ecg_mitbih`. About three minutes on two cores; seeds fixed.

Gradient boosting on the features of the pipeline. Beats are learned at the annotated R peaks and again at those that the
pipeline detects, so that both ways of sending a recording are known. The shipped model is the mean, in log odds, of fourteen
ensembles of trees, two for each seventh of the records left out; every figure is of the two that did not see the patient.
"""

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sklearn
from ecg_cases import WAVES, golden, stopped, wave
from ecg_faults import centroids, fault_figures, faults_table, limits, limits_of_folds, strange_minutes
from ecg_figures import DETECTED, GIVEN, MINUTES, Rows, figures
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.manifest import ModelManifest
from models.pipelines import InputRejected
from models.pipelines.beat_classification import BeatClassification, Reading, read_beats
from models.pipelines.beat_features import FEATURES, OF_RECORDING
from models.training.boosted_trees import baseline_of, trees_of
from models.training.calibration import softmax, temperature
from models.training.export import OPSET, parity, save
from models.training.heartbeats import (
    ANSWERED,
    GAIN,
    NEAR_S,
    NOISES,
    RATE,
    Record,
    noise,
    paired,
    read_records,
)
from models.training.writing import rounded, write_golden, write_report

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HERE = Path(__file__).resolve().parent
SEED = 20261129
# Records left out together. Ectopic beats stand in few records, and are spread over the folds.
FOLDS = (
    ("101", "203", "220"), ("106", "114", "223", "230"), ("108", "122", "207"), ("109", "201", "215"),
    ("112", "118", "119", "205"), ("115", "116", "208"), ("124", "209"),
)  # fmt: skip
MEMBERS = 2  # of each fold
NORMAL_SHARE = 0.2  # of the normal beats, which each member learns from
RARER = 0.7  # a record's beats of a class count by their number to the power of 1 - RARER: none outweighs the others
CLASS_WEIGHTS = (1.5, 1.0, 1.0, 0.3)
# Of no use between patients: what tells 22 recordings apart rather than their beats.
COLUMNS = [
    place for place, name in enumerate(FEATURES) if name not in (*OF_RECORDING, "amplitude", "pre", "post")
]
MINUTE = round(60 * RATE)
NOISY = 40  # foreign recordings of each kind
STOPPED_S = 28.0


def pipeline() -> BeatClassification:
    """The pipeline with the manifest's parameters; figures of `quality` are not known yet."""
    text = (HERE / "manifest.template.toml").read_text().replace("most_centroid_hz =", "# ")
    table = tomllib.loads(text.replace(" = $", " = 0.0 # $"))
    made = BeatClassification.load(ModelManifest.model_validate(table), lambda _: b"")
    assert isinstance(made, BeatClassification)
    return made


MADE = pipeline()


def case_of(
    samples: Sequence[float], *, gain: float = GAIN, rate: float = RATE, **more: Any
) -> dict[str, Any]:
    return {"lead": "II", "sampling_rate": rate, "gain": gain, "samples": list(samples), **more}


def read(case: dict[str, Any]) -> Reading:
    """A recording as the service reads it."""
    return read_beats(MADE.read_input(MADE.encode(case)), MADE.parameters)


# Rows


def readings(record: Record) -> Iterator[tuple[int, int, Reading]]:
    """(way, number of the first sample, what is read) of a record sent in each way."""
    samples = record.samples.tolist()
    yield GIVEN, 0, read(case_of(samples, beats=record.beats.tolist()))
    yield DETECTED, 0, read(case_of(samples))
    for start in range(0, len(samples) - MINUTE + 1, MINUTE):
        yield MINUTES, start, read(case_of(samples[start : start + MINUTE]))


def read_rows(records: Sequence[Record]) -> tuple[Rows, int, int]:
    """All beats, and how many minutes were read, and how many of them abstained from."""
    parts, minutes, unfit = [], 0, 0
    for number, record in enumerate(records):
        for way, start, reading in readings(record):
            minutes += way == MINUTES
            if reading.unfit is not None:
                unfit += 1
                assert way == MINUTES, record.name
                continue
            place = paired(reading.places + start, record.beats, NEAR_S * RATE)
            truth = np.where(place >= 0, record.classes[place], -1)
            ones = np.ones(len(place), int)
            parts.append(Rows(reading.feeds["features"], truth, number * ones, way * ones, len(parts) * ones))
    return Rows(*map(np.concatenate, zip(*parts, strict=True))), minutes, unfit


def weights(rows: Rows, chosen: NDArray[np.bool_]) -> Floats:
    """Of the chosen beats, mean 1."""
    keys = (rows.way[chosen] * 100 + rows.record[chosen]) * 10 + rows.truth[chosen]
    _, group, count = np.unique(keys, return_inverse=True, return_counts=True)
    found = count[group] ** -RARER * np.array(CLASS_WEIGHTS)[rows.truth[chosen]]
    return np.asarray(found / found.mean())


# Models


def boosted(seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.12, max_leaf_nodes=8, min_samples_leaf=30, l2_regularization=10.0,
        max_features=0.3, max_bins=48, early_stopping=False, random_state=seed,
    )  # fmt: skip


def fitted(rows: Rows, fold: Ints) -> tuple[list[HistGradientBoostingClassifier], Floats, Floats]:
    """Members, and log odds of the beats [N,4] by those that did not see their record; those of the baseline [N,4]."""
    features, members = rows.features[:, COLUMNS], []
    odds, plain = np.zeros((2, len(features), ANSWERED))
    for number in range(len(FOLDS)):
        held = fold == number
        known = ~held & (rows.way != MINUTES) & (rows.truth >= 0) & (rows.truth < ANSWERED)
        for member in range(MEMBERS):
            seed = SEED + number * MEMBERS + member
            drawn = np.random.default_rng(seed).random(len(features)) < NORMAL_SHARE
            chosen = known & (drawn | (rows.truth != 0))
            learned = boosted(seed).fit(
                features[chosen], rows.truth[chosen], sample_weight=weights(rows, chosen)
            )
            odds[held] += learned._raw_predict(features[held]) / MEMBERS
            members.append(learned)
        baseline = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=200))
        baseline.fit(
            features[chosen], rows.truth[chosen], logisticregression__sample_weight=weights(rows, chosen)
        )
        plain[held] = baseline.decision_function(features[held])
        print("fold", number + 1, flush=True)
    return members, odds, plain


def graph_of(members: list[HistGradientBoostingClassifier], heat: float) -> onnx.ModelProto:
    """`features` float32 [N,F] to `logits` [N,4]: the members' mean over the temperature."""
    trees = trees_of(members, columns=COLUMNS, scale=1 / heat)
    node = helper.make_node(
        "TreeEnsembleRegressor", ["features"], ["logits"], domain="ai.onnx.ml", n_targets=ANSWERED,
        base_values=(baseline_of(members) / heat).tolist(), **trees,
    )  # fmt: skip
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["beats", width])
        for name, width in (("features", len(FEATURES)), ("logits", ANSWERED))
    ]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(
        helper.make_graph([node], "beats", ends[:1], ends[1:]), opset_imports=opsets, ir_version=10
    )


# The bundle


def unfit_shares(records: Sequence[Record]) -> dict[str, float]:
    """The share of recordings of a minute that is abstained from, of each kind that is foreign."""
    chance = np.random.default_rng(SEED)
    kinds = {kind: [noise(kind, 60, chance) * GAIN for _ in range(NOISY)] for kind in NOISES}
    minutes = [each.samples[MINUTE * 10 : MINUTE * 11].astype(float) for each in records]
    kinds |= {kind: [wave(kind, 60, chance) * GAIN for _ in range(NOISY)] for kind in WAVES}
    kinds["stopped"] = [stopped(each, STOPPED_S) for each in minutes]
    return {kind: float(np.mean([is_unfit(each) for each in samples])) for kind, samples in kinds.items()}


def is_unfit(samples: Floats) -> bool:
    """Whether a recording at RATE is refused or abstained from."""
    try:
        return read(case_of(samples.tolist())).unfit is not None
    except InputRejected:
        return True


def answers(features: Floats) -> Ints:
    """The classes [b] that the graph answers."""
    import onnxruntime

    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"features": features})[0].argmax(1))


def train(data: Path) -> None:
    """Write everything of the bundle that comes from the data."""
    records = list(read_records(data / "ecg_mitbih"))
    rows, minutes, unfit = read_rows(records)
    fold = np.array([[each.name in names for names in FOLDS].index(True) for each in records])
    members, odds, plain = fitted(rows, fold[rows.record])
    given = (rows.way == GIVEN) & (rows.truth < ANSWERED)
    heat = temperature(odds[given], rows.truth[given])
    save(graph_of(members, heat), HERE / "model.onnx")
    some = rows.features[:: len(rows.features) // 500]
    wanted = np.mean([each._raw_predict(some[:, COLUMNS]) for each in members], 0) / heat
    caught, spectra = unfit_shares(records), centroids(records)
    bounds = limits_of_folds(spectra, fold)
    faults = fault_figures(records, bounds, lambda samples: read(case_of(samples.tolist())), answers)
    unfit += strange_minutes(spectra, bounds)
    least, most = limits(spectra)
    report = figures(rows, softmax(odds / heat), plain, records) | {
        "records": len(records), "beats": len(given[rows.way == GIVEN]), "temperature": heat,
        "minutes_sent": minutes, "false_alarm_rate": unfit / minutes,
        "catch_rate": float(np.mean([caught[kind] for kind in NOISES])), "abstained_from": caught,
        "least_centroid_hz": least, "most_centroid_hz": most, "faults": faults,
        "parity": parity(HERE / "model.onnx", {"features": some}, {"logits": wanted}),
    }  # fmt: skip
    report |= {"scikit_learn": sklearn.__version__, "seed": SEED}
    told = rounded(faults)
    assert isinstance(told, dict)
    write_report(HERE, report, faults_table=faults_table(told))
    write_golden(HERE, golden())
