"""Train heart-failure-mortality.

Source: Chicco, Jurman (2020), Heart failure clinical records, UCI Machine Learning Repository, doi:10.24432/C5Z89R, CC BY 4.0;
data of Ahmad et al., PLoS ONE 12:e0181001 (2017). The folder of the data holds `train.csv`, whose header carries spaces. About
one minute on one core; seeds fixed.

`time`, the days until death or the end of observation, is left out: it is known only afterwards, and tells the outcome.

The shipped model is the mean log odds of a logistic regression, a random forest and gradient boosting, and of a random forest
that sees age, ejection fraction and creatinine alone, which the source's authors found to tell most (Chicco, Jurman 2020); with
Platt's scaling.
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
SEED = 20261129
FLAGS = ("anaemia", "diabetes", "high_blood_pressure", "smoking")
# The fields in the manifest's order, with the ranges of the numbers, from which foreign rows are drawn.
RANGES: dict[str, tuple[float, float]] = {
    "age": (18, 110), "anaemia": (0, 1), "creatinine_phosphokinase": (5, 20000), "diabetes": (0, 1),
    "ejection_fraction": (5, 90), "high_blood_pressure": (0, 1), "platelets": (5000, 1500000), "serum_creatinine": (0.1, 20),
    "serum_sodium": (100, 180), "sex": (0, 1), "smoking": (0, 1),
}  # fmt: skip
NAMES = tuple(RANGES)
COLUMNS = Columns(NAMES, {}, logs=("creatinine_phosphokinase", "serum_creatinine"))
EXCHANGED = (
    ("age", "ejection_fraction"),
    ("serum_sodium", "creatinine_phosphokinase"),
    ("age", "serum_sodium"),
)
LEADING = ("age", "ejection_fraction", "serum_creatinine")
MEMBERS = (*risk.BASELINES, "forest_of_three")
PROTOCOL = "nested 5-fold cross-validation, twice; settings, calibration and threshold from each fold's training rows"
FOREIGN_SET = "half patients of the set with two measurements exchanged, half rows drawn at random from the accepted ranges"


def read_rows(folder: Path) -> tuple[Floats, Floats]:
    """Rows [N, 11], and whether the patient died [N]."""
    with (folder / "train.csv").open() as file:
        header, *lines = csv.reader(file)
    names = [name.strip() for name in header]
    table = np.array([[float(cell) for cell in line] for line in lines])
    return table[:, [names.index(name) for name in NAMES]], table[:, names.index("DEATH_EVENT")]


def families() -> risk.Families:
    """The models among which each family's best is chosen."""
    forests = [RandomForestClassifier(60, min_samples_leaf=least, random_state=SEED) for least in (8, 15)]
    boosted = [
        GradientBoostingClassifier(
            max_depth=depth, n_estimators=count, learning_rate=rate, subsample=0.6, max_features=0.4,
            min_samples_leaf=8, random_state=SEED,
        )
        for depth, count, rate in ((1, 60, 0.1), (2, 60, 0.05))
    ]  # fmt: skip
    return {
        "logistic_regression": [Linear(LogisticRegression(C=c, max_iter=2000)) for c in (0.03, 0.1, 0.3)],
        "random_forest": [Forest(each) for each in forests],
        "gradient_boosting": [Boosting(each) for each in boosted],
        "forest_of_three": [Forest(each, only=LEADING) for each in forests],
    }


def exchanged(rows: Floats) -> Floats:
    """Each row with two of its measurements exchanged, in three ways, as far as the ranges accept them."""
    found = []
    for pair in EXCHANGED:
        one, other = map(NAMES.index, pair)
        order = np.arange(rows.shape[1])
        order[[one, other]] = other, one
        found.append(rows[:, order])
    least, greatest = np.array(list(RANGES.values())).T
    every = np.concatenate(found)
    return every[((least <= every) & (every <= greatest)).all(1)]


def drawn(count: int) -> Floats:
    """Rows whose fields are drawn at random, evenly over what is accepted."""
    chance = np.random.default_rng(SEED)
    columns = []
    for name, (least, greatest) in RANGES.items():
        digits = 1 if name == "serum_creatinine" else 0
        is_flag = (least, greatest) == (0, 1)
        columns.append(
            chance.integers(0, 2, count).astype(float)
            if is_flag
            else chance.uniform(least, greatest, count).round(digits)
        )
    return np.stack(columns, axis=1)


def as_input(row: Floats) -> dict[str, object]:
    """A row as a caller sends it."""
    found: dict[str, object] = dict(zip(NAMES, row.tolist(), strict=True))
    found |= {name: bool(found[name]) for name in FLAGS}
    return {**found, "sex": "male" if found["sex"] else "female"}


def study_of(rows: Floats, truth: Floats) -> risk.Study:
    """What is measured, and how."""
    ages, male = rows[:, NAMES.index("age")], rows[:, NAMES.index("sex")] == 1
    known = exchanged(rows)
    return risk.Study(
        COLUMNS, rows, truth, families(), MEMBERS,
        sensitivity=0.75, grey=0.03, false_alarms=0.02,
        foreign={"exchanged": known, "random": drawn(len(known))},
        groups={"female": ~male, "male": male, "under_60": ages < 60, "from_60": ages >= 60},
        inner=4, repeats=2, seed=SEED,
    )  # fmt: skip


def train(data: Path) -> None:
    """Measure, train on every row, export, and write the bundle's files."""
    rows, truth = read_rows(data)
    cases = risk.write_bundle(
        HERE, study_of(rows, truth), drawn(1)[0], protocol=PROTOCOL, foreign_set=FOREIGN_SET
    )
    write_golden(HERE, [(note, as_input(row)) for note, row in cases])
