"""What the figures of xray-generator are made of: pictures as the service draws them, beside real ones.

Distances are root mean square differences of grey levels, as shares of the range from black to white.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from models.pipelines.seeded_noise import normal_noise
from models.sandbox import cpu_session
from models.training.chest_xrays import SIDE, Split
from models.training.figures import auc_with_interval, interval, share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CLASSIFIER = Path(__file__).resolve().parents[1] / "pneumonia-xray-28"
NAMES = ("normal", "pneumonia")
SEED = 15
EACH = 1000  # pictures of each class that are measured
BATCH = 50
COMPONENTS = 60  # principal ones, of the classifiers that compare synthetic with real training images
COST = 3.0
PAIRED = 500  # images of each class whose distances from each other are taken
CLOSE = 0.01  # quantile of the distances of validation images from training images


@dataclass(frozen=True)
class Pictures:
    """Grey levels float64 [n, 784] in 0..1, of 256 levels, and their classes int64 [n]."""

    greys: Floats
    labels: Ints

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, label: int) -> Floats:
        """The grey levels of a class."""
        return self.greys[self.labels == label]

    @property
    def feed(self) -> NDArray[np.float32]:
        """As graphs are fed them, [n,1,28,28]."""
        return self.greys.reshape(-1, 1, SIDE, SIDE).astype(np.float32)


def real(split: Split) -> Pictures:
    """The images of a split."""
    return Pictures(split.pixels.reshape(len(split), -1) / 255, split.truth)


def balanced(pictures: Pictures) -> Pictures:
    """EACH pictures of each class, drawn without replacement."""
    chance = np.random.default_rng(SEED)
    rows = [chance.choice(np.flatnonzero(pictures.labels == label), EACH, replace=False) for label in (0, 1)]
    chosen = np.concatenate(rows)
    return Pictures(pictures.greys[chosen], pictures.labels[chosen])


def noise_of(seeds: range, length: int) -> NDArray[np.float32]:
    """The noise of seeds as the pipeline draws it, [n, length]."""
    return np.stack([normal_noise(seed, (length,)) for seed in seeds])


def drawn(path: Path, noise: int) -> Pictures:
    """EACH pictures of each class by a graph of so much noise, of the seeds from 0, with the grey levels of files."""
    session, found = cpu_session(path), []
    for label in (0, 1):
        for start in range(0, EACH, BATCH):
            seeds = range(start, start + BATCH)
            feeds = {"noise": noise_of(seeds, noise), "label": np.full(len(seeds), label, np.int64)}
            found.append(session.run(["image"], feeds)[0])
    return as_files(np.concatenate(found), np.repeat([0, 1], EACH))


def as_files(images: NDArray[np.float32], labels: Ints) -> Pictures:
    """Images as the service's files have them: cut to 0..1 and rounded to 256 levels."""
    levels = np.rint(np.clip(images.astype(np.float64), 0, 1) * 255)
    return Pictures(levels.reshape(len(images), -1) / 255, labels)


def agreement(pictures: Pictures) -> dict[str, Any]:
    """How often pneumonia-xray-28 calls a picture what it is, by its probability and threshold, and abstains."""
    manifest = tomllib.loads((CLASSIFIER / "manifest.toml").read_text())
    session, parameters = cpu_session(CLASSIFIER / "model.onnx"), manifest["parameters"]
    probability, novelty = session.run(["probability", "novelty"], {"image": pictures.feed})
    right = (probability[:, 0] >= parameters["threshold"]["value"]) == (pictures.labels == 1)
    withheld = novelty[:, 0] >= parameters["novelty"]["limit"]
    return {
        "agreement": share(right),
        "agreement_95": interval(lambda rows: share(right[rows]), len(right), seed=SEED),
        **{f"agreement_{name}": share(right[pictures.labels == label]) for label, name in enumerate(NAMES)},
        "abstained": share(withheld),
        "abstained_95": interval(lambda rows: share(withheld[rows]), len(right), seed=SEED),
        "agreement_answered": share(right[~withheld]),
    }


def classifier_version() -> str:
    """The version of the classifier that `agreement` asks."""
    return str(tomllib.loads((CLASSIFIER / "manifest.toml").read_text())["version"])


def nearest(pictures: Pictures, train: Pictures) -> Floats:
    """The distance of each picture from the nearest training image of either class."""
    a, b = pictures.greys, train.greys
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares.min(1), 0) / a.shape[1])


def distances(pictures: Pictures, val: Pictures, train: Pictures) -> dict[str, Any]:
    """Distances from training images, and the share that is nearer than a validation image (CLOSE of them) ever is."""
    found, usual = nearest(pictures, train), nearest(val, train)
    closest, close = float(usual.min()), float(np.quantile(usual, CLOSE))
    return {
        **_quantiles("nearest", found),
        **_quantiles("nearest_validation", usual),
        "closer_than_closest": share(found < closest),
        "closer_than_closest_95": _exact(int((found < closest).sum()), len(found)),
        "closer_than_close": share(found < close),
        "closer_than_close_95": _exact(int((found < close).sum()), len(found)),
    }


def _quantiles(name: str, values: Floats) -> dict[str, Any]:
    return {
        f"{name}_least": values.min(),
        f"{name}_close": np.quantile(values, CLOSE),
        f"{name}_median": np.median(values),
        f"{name}_median_95": interval(lambda rows: float(np.median(values[rows])), len(values), seed=SEED),
    }


def _exact(count: int, rows: int) -> list[float]:
    """95 % interval of a share (Clopper and Pearson 1934), for shares that may be none."""
    low = beta.ppf(0.025, count, rows - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, rows - count) if count < rows else 1.0
    return [float(low), float(high)]


def usefulness(train: Pictures, val: Pictures) -> list[float]:
    """AUC on real validation images of a support vector machine on principal components of `train`, with its interval."""
    parts = PCA(COMPONENTS, random_state=SEED).fit(train.greys)
    known, asked = parts.transform(train.greys), parts.transform(val.greys)
    machine = SVC(C=COST, gamma="scale").fit(known, train.labels)
    return auc_with_interval(machine.decision_function(asked), val.labels, len(val), seed=SEED)


def diversity(pictures: Pictures, train: Pictures) -> dict[str, Any]:
    """Mean distance of two pictures of a class, as a share of that of two training images of the class."""
    found: dict[str, Any] = {}
    for label, name in enumerate(NAMES):
        apart, usual = (_apart(each.of(label)[:PAIRED]) for each in (pictures, train))

        def ratio(rows: Ints, apart: Floats = apart, usual: Floats = usual) -> float:
            return _mean_apart(apart, rows) / _mean_apart(usual, np.arange(len(usual)))

        found[f"diversity_{name}"] = ratio(np.arange(len(apart)))
        found[f"diversity_{name}_95"] = interval(ratio, len(apart), seed=SEED)
    return found


def _apart(greys: Floats) -> Floats:
    """Distances of all pairs, [n, n]."""
    squares = (greys * greys).sum(1)
    return np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * greys @ greys.T, 0) / greys.shape[1])


def _mean_apart(apart: Floats, rows: Ints) -> float:
    """The mean over pairs of `rows` that are not the same picture, which a resample may hold twice."""
    different = rows[:, None] != rows[None]
    return float(apart[np.ix_(rows, rows)][different].mean())


def report(pictures: Pictures, train: Pictures, val: Pictures) -> dict[str, Any]:
    """All figures of pictures, real or not, but the distances from training images."""
    auc, low, high = usefulness(pictures, val)
    return {**agreement(pictures), "auc": auc, "auc_95": [low, high], **diversity(pictures, train)}
