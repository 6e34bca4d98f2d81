"""The training of a bundled classifier of texts, from rows to figures: what note-section and trial-criterion share.

The encoder stays as it was published, its first layers with the words that the task needs. Two linear heads are fitted: on its
pooled states, and on n-grams of tokens. Their shares, the temperature, the grey zone and the novelty's limit are fitted to rows
that the heads did not see; the figures are of a third part of the data, scored by the ONNX file itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from tokenizers import Tokenizer

from models.training.calibration import least_probability, softmax, temperature
from models.training.eight_bits import with_int8_weights
from models.training.encoders import Encoder, padded
from models.training.export import export, parity, save
from models.training.figures import brier, calibration_error, interval
from models.training.linear_heads import features_of, fit_dense, fit_sparse, n_grams_of
from models.training.novelty import Mahalanobis, novelty_figures
from models.training.text_models import NGrams, Pooled, TextClassifier

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Texts and their classes, by number."""

    texts: Sequence[str]
    classes: Ints


@dataclass(frozen=True)
class Recipe:
    """How a classifier is made. `parts` is the number of parts of the training rows, one of which is kept for calibration.

    With `crossed` each part is kept once, by heads fitted to the others, and the shipped heads are fitted to all rows.
    """

    encoder: Encoder
    tokenizer: Tokenizer
    classes: int
    max_tokens: int
    buckets: int
    penalties: tuple[float, float]
    parts: int
    crossed: bool
    seed: int


@dataclass(frozen=True)
class Read:
    """Rows as both heads read them: ids, pooled states [N,2H], hashed n-grams [N,B], and classes [N]."""

    ids: list[list[int]]
    features: Floats
    n_grams: sparse.csr_matrix
    classes: Ints

    @property
    def means(self) -> Floats:
        return self.features[:, : self.features.shape[1] // 2]


@dataclass(frozen=True)
class Seen:
    """Scores [n,C] of both heads, and novelty [n], of rows that neither heads nor detector were fitted to."""

    pooled: Floats
    n_grams: Floats
    novelty: Floats
    classes: Ints


def train_classifier(
    folder: Path, recipe: Recipe, train: Rows, held_out: Rows, foreign: Sequence[str]
) -> dict[str, Any]:
    """Write model.onnx to `folder` and return the report: settings, and figures on `held_out`."""
    read = read_rows(recipe, train)
    part = np.random.default_rng(recipe.seed).permutation(len(train.texts)) % recipe.parts
    kept = range(recipe.parts) if recipe.crossed else range(1)
    rows = np.flatnonzero(part != 0)
    heads, seen = None, []
    for each in kept:
        heads = fitted_heads(recipe, read, np.flatnonzero(part != each))
        seen.append(_seen(read, heads, np.flatnonzero(part != each), np.flatnonzero(part == each)))
    if recipe.crossed or heads is None:
        rows = np.arange(len(part))
        heads = fitted_heads(recipe, read, rows)
    detector = Mahalanobis(read.means[rows])
    joint = Seen(*(np.concatenate([getattr(each, name) for each in seen]) for name in Seen.__annotations__))
    share, warmth = _mixture(joint)
    probabilities = softmax(_mixed(joint, share) / warmth)
    least = least_probability(probabilities, joint.classes)
    model = TextClassifier(recipe.encoder, heads, detector, share, warmth)
    gap = write_graph(folder, model, read.ids)
    run = OnnxModel(recipe, folder / "model.onnx")
    found, novelty = run.of_texts(held_out.texts)
    strange = run.of_texts(foreign)[1]
    limits = novelty_figures(joint.novelty, strange)
    report = {
        "rows": len(rows), "rows_calibration": len(joint.classes), "rows_held_out": len(held_out.texts),
        **figures(found, held_out.classes, recipe.seed),
        "accuracy_calibration": (probabilities.argmax(1) == joint.classes).mean(),
        "share_of_states": share, "temperature": warmth, "least_probability": least, **limits,
    }  # fmt: skip
    unclear = (found.max(1) < least) | (novelty >= limits["novelty_limit"])
    right = found.argmax(1) == held_out.classes
    return report | {
        "held_out_novel": (novelty >= limits["novelty_limit"]).mean(),
        "abstained": unclear.mean(),
        "accuracy_answered": right[~unclear].mean(),
        "foreign_rows": len(foreign),
        "parity": gap,
        "seed": recipe.seed,
    }


def read_rows(recipe: Recipe, rows: Rows) -> Read:
    """What the heads read of rows; what is behind `max_tokens` of a text is left out."""
    ids = ids_of(recipe, rows.texts)
    return Read(ids, features_of(recipe.encoder, ids), n_grams_of(ids, recipe.buckets), rows.classes)


def ids_of(recipe: Recipe, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text's first window."""
    recipe.tokenizer.enable_truncation(recipe.max_tokens)
    return [each.ids for each in recipe.tokenizer.encode_batch(list(texts))]


def fitted_heads(recipe: Recipe, read: Read, rows: Ints) -> tuple[Pooled, NGrams]:
    """Heads fitted to some rows."""
    classes, (dense, scattered) = read.classes[rows], recipe.penalties
    return (
        Pooled(*fit_dense(read.features[rows], classes, recipe.classes, dense)),
        NGrams(*fit_sparse(read.n_grams[rows], classes, recipe.classes, scattered)),
    )


def _seen(read: Read, heads: tuple[Pooled, NGrams], fitted: Ints, kept: Ints) -> Seen:
    (pooled, n_grams), detector = heads, Mahalanobis(read.means[fitted])
    with torch.no_grad():
        states = pooled(torch.from_numpy(read.features[kept]).float()).double().numpy()
        novelty = detector(torch.from_numpy(read.means[kept]).float())[:, 0].double().numpy()
        grams = read.n_grams[kept] @ n_grams.weights.numpy() + n_grams.offset.numpy()
    return Seen(states, grams.astype(np.float64), novelty, read.classes[kept])


def _mixture(seen: Seen) -> tuple[float, float]:
    """The share of the pooled states, in tenths, and the temperature, of the least cross-entropy."""
    rows = np.arange(len(seen.classes))

    def loss_of(tenth: int) -> float:
        logits = _mixed(seen, tenth / 10)
        found = [softmax(logits / warmth)[rows, seen.classes] for warmth in np.arange(0.4, 2.1, 0.2)]
        return min(float(-np.log(each + 1e-12).mean()) for each in found)

    share = min(range(11), key=loss_of) / 10
    return share, temperature(_mixed(seen, share), seen.classes)


def _mixed(seen: Seen, share: float) -> Floats:
    return share * seen.pooled + (1 - share) * seen.n_grams


def write_graph(folder: Path, model: TextClassifier, ids: Sequence[Sequence[int]]) -> float:
    """Write model.onnx with weights of eight bits; the gap between its float32 form and the trained model."""
    path = folder / "model.onnx"
    example = padded([ids[0], ids[1], ids[2]])
    names = ("input_ids", "attention_mask")
    dynamic = [{0: "rows", 1: "tokens"}] * 2
    export(model, example, path, inputs=names, outputs=("probabilities", "novelty"), dynamic=dynamic)
    with torch.no_grad():
        wanted = dict(
            zip(("probabilities", "novelty"), (each.numpy() for each in model(*example)), strict=True)
        )
    gap = parity(path, dict(zip(names, (each.numpy() for each in example), strict=True)), wanted)
    save(with_int8_weights(onnx.load(str(path))), path)
    return gap


class OnnxModel:
    """The written file, as it will be served."""

    def __init__(self, recipe: Recipe, path: Path) -> None:
        self._recipe = recipe
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def of_texts(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Probabilities [N,C] and novelty [N]."""
        ids = ids_of(self._recipe, texts)
        found = []
        for each in ids:
            feeds = {"input_ids": np.array([each]), "attention_mask": np.ones((1, len(each)), np.int64)}
            found.append([part[0] for part in self._session.run(["probabilities", "novelty"], feeds)])
        probabilities, novelty = zip(*found, strict=True)
        return np.stack(probabilities).astype(np.float64), np.stack(novelty)[:, 0].astype(np.float64)


def figures(probabilities: Floats, truth: Ints, seed: int) -> dict[str, Any]:
    """Accuracy, F1 by the mean over classes and by their rows, each with an interval, and calibration."""
    answered = probabilities.argmax(1)

    def f1(average: str) -> list[Any]:
        def of(rows: Ints) -> float:
            return float(f1_score(truth[rows], answered[rows], average=average, zero_division=0))

        return [of(np.arange(len(truth))), interval(of, len(truth), seed=seed)]

    (macro, macro_95), (weighted, weighted_95) = f1("macro"), f1("weighted")
    return {
        "accuracy": (answered == truth).mean(),
        "accuracy_95": interval(lambda rows: float((answered == truth)[rows].mean()), len(truth), seed=seed),
        "macro_f1": macro, "macro_f1_95": macro_95, "weighted_f1": weighted, "weighted_f1_95": weighted_95,
        "ece": calibration_error(probabilities, truth), "brier": brier(probabilities, truth),
    }  # fmt: skip


def baseline(train: Rows, held_out: Rows, vectorizer: TfidfVectorizer, strength: float) -> dict[str, float]:
    """TF-IDF and a linear SVM, fitted to all training rows."""
    answered = (
        make_pipeline(vectorizer, LinearSVC(C=strength))
        .fit(train.texts, train.classes)
        .predict(held_out.texts)
    )
    scores = {
        name: float(f1_score(held_out.classes, answered, average=name, zero_division=0))
        for name in ("macro", "weighted")
    }
    return {
        "baseline_accuracy": float((answered == held_out.classes).mean()),
        **{f"baseline_{name}_f1": score for name, score in scores.items()},
    }


def label_tables(labels: Sequence[Mapping[str, str]]) -> str:
    """Labels as lines of TOML."""
    return "\n".join(
        "[[parameters.labels]]\n"
        + "\n".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in label.items())
        + "\n"
        for label in labels
    )
