"""Train heart-disease-cleveland.

Source: Janosi, Steinbrunn, Pfisterer, Detrano (1989), Heart Disease, UCI Machine Learning Repository, doi:10.24432/C52P4X,
CC BY 4.0: patients sent for coronary angiography to the Cleveland Clinic. The folder of the data holds `train.csv`, with tabs
between its columns and `?` for absent values. About three minutes on one core; seeds fixed.

The shipped model is the mean log odds of a logistic regression, a random forest and gradient boosting, with Platt's scaling.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from models.training import risk
from models.training.tables import Boosting, Columns, Forest, Linear
from models.training.writing import write_golden

Floats = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
SEED = 20261128
# Codes of the source by column, in the order of the manifest's values.
CODES = {"cp": (1, 2, 3, 4), "restecg": (0, 1, 2), "slope": (1, 2, 3), "thal": (3, 6, 7)}
NAMES = (
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal",
)  # fmt: skip
COLUMNS = Columns(NAMES, {name: len(codes) for name, codes in CODES.items()}, coded=("ca",))
# The ranges of the manifest, from which foreign rows are drawn.
RANGES = {
    "age": (18, 100),
    "trestbps": (60, 260),
    "chol": (80, 700),
    "thalach": (50, 230),
    "oldpeak": (0, 10),
    "ca": (0, 3),
}
EXCHANGED = (("trestbps", "thalach"), ("chol", "trestbps"), ("chol", "thalach"))
VALUES = {
    "sex": ("female", "male"),
    "cp": ("typical angina", "atypical angina", "non-anginal pain", "asymptomatic"),
    "restecg": ("normal", "ST-T abnormality", "left ventricular hypertrophy"),
    "slope": ("upsloping", "flat", "downsloping"),
    "thal": ("normal", "fixed defect", "reversible defect"),
}
PROTOCOL = "nested 5-fold cross-validation, three times; settings, calibration and threshold from each fold's training rows"
FOREIGN_SET = "half patients of the set with two measurements exchanged, half rows drawn at random from the accepted ranges"


def read_rows(folder: Path) -> tuple[Floats, Floats]:
    """Rows [N, 13], NaN where `?` stands, and whether a vessel is narrowed [N]: target 1 to 4, against 0."""
    with (folder / "train.csv").open() as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    rows = np.array([[_number(name, row[name]) for name in NAMES] for row in table])
    return rows, np.array([float(row["target"] != "0") for row in table])


def _number(name: str, cell: str) -> float:
    if cell == "?":
        return np.nan
    return float(CODES[name].index(int(cell))) if name in CODES else float(cell)


def families() -> risk.Families:
    """The models among which each family's best is chosen."""
    forests = [RandomForestClassifier(100, min_samples_leaf=least, random_state=SEED) for least in (3, 6, 12)]
    boosted = [
        GradientBoostingClassifier(
            max_depth=depth, n_estimators=count, learning_rate=rate, subsample=0.6, max_features=0.4,
            min_samples_leaf=8, random_state=SEED,
        )
        for depth, count, rate in ((1, 100, 0.1), (2, 60, 0.05), (2, 120, 0.05))
    ]  # fmt: skip
    return {
        "logistic_regression": [Linear(LogisticRegression(C=c, max_iter=2000)) for c in (0.03, 0.1, 0.3, 1)],
        "random_forest": [Forest(each) for each in forests],
        "gradient_boosting": [Boosting(each) for each in boosted],
    }


def accepted(rows: Floats) -> Floats:
    """Those rows that the service does not refuse for their ranges."""
    inside = np.ones(len(rows), np.bool_)
    for name, (least, greatest) in RANGES.items():
        column = rows[:, NAMES.index(name)]
        inside &= np.isnan(column) | ((least <= column) & (column <= greatest))
    return rows[inside]


def exchanged(rows: Floats) -> Floats:
    """Each row with two of its measurements exchanged, in three ways, as far as they are accepted."""
    found = []
    for pair in EXCHANGED:
        one, other = map(NAMES.index, pair)
        order = np.arange(rows.shape[1])
        order[[one, other]] = other, one
        found.append(rows[:, order])
    return accepted(np.concatenate(found))


def drawn(count: int) -> Floats:
    """Rows whose fields are drawn at random, evenly over what is accepted."""
    chance = np.random.default_rng(SEED)
    columns = []
    for name in NAMES:
        if name in RANGES:
            columns.append(chance.uniform(*RANGES[name], count).round(1 if name == "oldpeak" else 0))
        else:
            columns.append(chance.integers(0, len(CODES.get(name, (0, 1))), count).astype(float))
    return np.stack(columns, axis=1)


def as_input(row: Floats) -> dict[str, object]:
    """A row as a caller sends it."""
    found: dict[str, object] = {}
    for name, value in zip(NAMES, row.tolist(), strict=True):
        if np.isnan(value):
            continue
        if name in VALUES:
            found[name] = VALUES[name][int(value)]
        elif name in ("fbs", "exang"):
            found[name] = bool(value)
        else:
            found[name] = int(value) if name == "ca" else value
    return found


def study_of(rows: Floats, truth: Floats) -> risk.Study:
    """What is measured, and how."""
    ages, male = rows[:, NAMES.index("age")], rows[:, NAMES.index("sex")] == 1
    known = exchanged(rows)
    return risk.Study(
        COLUMNS, rows, truth, families(), risk.BASELINES,
        sensitivity=0.85, grey=0.05, false_alarms=0.02,
        foreign={"exchanged": known, "random": drawn(len(known))},
        groups={"female": ~male, "male": male, "under_55": ages < 55, "from_55": ages >= 55},
        blanked=("ca", "thal"), seed=SEED,
    )  # fmt: skip


def train(data: Path) -> None:
    """Measure, train on every row, export, and write the bundle's files."""
    rows, truth = read_rows(data)
    cases = risk.write_bundle(
        HERE, study_of(rows, truth), drawn(1)[0], protocol=PROTOCOL, foreign_set=FOREIGN_SET
    )
    write_golden(HERE, [(note, as_input(row)) for note, row in cases])
