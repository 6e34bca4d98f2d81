"""The training of a bundled classifier of texts, from rows to figures: what note-section and trial-criterion share.

The encoder stays as it was published, its first layers with the words that the task needs. A head is fitted to its states, and
where it helps a linear SVM to n-grams of tokens. Their weights, the grey zone and the novelty's limit are fitted to rows that
the heads did not see; the shipped heads are fitted to all rows. The figures are of a third part of the data, scored by the ONNX
file itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.sandbox import cpu_session
from models.training.calibration import least_probability, softmax
from models.training.convolved_heads import scores_of
from models.training.eight_bits import write_graph
from models.training.encoders import Encoder, padded
from models.training.figures import brier, calibration_error, interval
from models.training.linear_heads import (
    Counted,
    counts_of,
    fit_n_grams,
    hashes_of,
    letters_of,
    n_gram_places,
    n_grams_of,
    states_of,
)
from models.training.novelty import Mahalanobis, novelty_figures
from models.training.text_models import NGrams, TextClassifier

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEEDS = ("input_ids", "attention_mask")


@dataclass(frozen=True)
class Rows:
    """Texts and their classes, by number; `notes` are other texts of the same classes, which help to fit n-grams."""

    texts: Sequence[str]
    classes: Ints
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class NGramRecipe:
    """N-grams of `least` texts or more, numbered by hashes below `slots`; `strength` is the C of their SVM, `note` what a
    note counts beside a text.
    """

    least: int
    strength: float
    note: float
    slots: int = 2**18


@dataclass(frozen=True)
class Recipe:
    """How a classifier is made.

    `head` fits the head on states to the states and classes of rows. Of `parts` parts of the training rows the first `kept` are
    left out in turn, to fit to them what the heads must not have seen. `rival` makes a classifier of scikit-learn, with
    which the heads are compared on the same parts.
    """

    encoder: Encoder
    tokenizer: Tokenizer
    classes: int
    max_tokens: int
    head: Callable[[Sequence[Tensor], Ints], nn.Module]
    n_grams: NGramRecipe | None
    parts: int
    kept: int
    seed: int
    rival: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Read:
    """Rows as the heads read them: ids, states [L,H], hashes of n-grams, classes [N], and ids of notes, if there are any."""

    ids: list[list[int]]
    states: list[Tensor]
    hashes: list[Ints]
    classes: Ints
    notes: list[list[int]]

    @property
    def means(self) -> Floats:
        """The mean state of each row [N,H]."""
        return np.stack([each.float().mean(0).double().numpy() for each in self.states])


@dataclass(frozen=True)
class Seen:
    """Scores [n,K,C] of K heads, and novelty [n], of rows that neither heads nor detector were fitted to."""

    scores: Floats
    novelty: Floats
    classes: Ints


def train_classifier(
    folder: Path, recipe: Recipe, train: Rows, held_out: Rows, foreign: Sequence[str]
) -> dict[str, Any]:
    """Write model.onnx to `folder` and return the report: settings, and figures on `held_out`."""
    read = read_rows(recipe, train)
    means = read.means
    part = np.random.default_rng(recipe.seed).permutation(len(train.texts)) % recipe.parts
    seen = [
        _seen(recipe, read, means, np.flatnonzero(part != each), np.flatnonzero(part == each))
        for each in range(recipe.kept)
    ]
    joint = Seen(*(np.concatenate([getattr(each, name) for each in seen]) for name in Seen.__annotations__))
    weights = _weights(joint)
    probabilities = softmax(_mixed(joint, weights))
    least = least_probability(probabilities, joint.classes)
    heads = fitted_heads(recipe, read, np.arange(len(part)))
    model = TextClassifier(recipe.encoder, *heads, Mahalanobis(means), weights)
    feeds = dict(zip(FEEDS, padded(read.ids[:3]), strict=True))
    gap = write_graph(folder / "model.onnx", model, feeds, ("probabilities", "novelty"))
    run = OnnxModel(recipe, folder / "model.onnx")
    found, novelty = run.of_texts(held_out.texts)
    strange = run.of_texts(foreign)[1]
    limits = novelty_figures(joint.novelty, strange)
    report = {
        "rows": len(part), "rows_calibration": len(joint.classes), "rows_held_out": len(held_out.texts),
        **figures(found, held_out.classes, recipe.seed),
        "accuracy_calibration": (probabilities.argmax(1) == joint.classes).mean(),
        **{
            f"{name}_{head}": figure
            for place, head in enumerate(("states", "n_grams")[: len(weights)])
            for name, figure in (
                ("accuracy_of", (joint.scores[:, place].argmax(1) == joint.classes).mean()),
                ("weight_of", weights[place]),
            )
        },
        "least_probability": least, **limits,
        **(_beside(recipe, train, part, probabilities.argmax(1)) if recipe.rival else {}),
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


def _beside(recipe: Recipe, train: Rows, part: Ints, answered: Ints) -> dict[str, Any]:
    """The accuracy of the rival on the parts that are left out, and how much greater that of the heads is."""
    assert recipe.rival is not None
    texts, found = np.array(train.texts, object), []
    for each in range(recipe.kept):
        fitted = recipe.rival().fit(texts[part != each], train.classes[part != each])
        found.append(fitted.predict(texts[part == each]) == train.classes[part == each])
    truth = np.concatenate([train.classes[part == each] for each in range(recipe.kept)])
    right = np.concatenate(found)
    gain = (answered == truth).astype(float) - right
    return {
        "baseline_accuracy_calibration": right.mean(),
        "gain_calibration": gain.mean(),
        "gain_calibration_95": interval(lambda rows: float(gain[rows].mean()), len(gain), seed=recipe.seed),
    }


def read_rows(recipe: Recipe, rows: Rows) -> Read:
    """What the heads read of rows; what is behind `max_tokens` of a text is left out."""
    ids, notes = ids_of(recipe, rows.texts), ids_of(recipe, rows.notes)
    return Read(ids, states_of(recipe.encoder, ids), hashes_of(ids), rows.classes, notes)


def ids_of(recipe: Recipe, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text's first window."""
    recipe.tokenizer.enable_truncation(recipe.max_tokens)
    return [each.ids for each in recipe.tokenizer.encode_batch(list(texts))]


def fitted_heads(recipe: Recipe, read: Read, rows: Ints) -> tuple[nn.Module, NGrams | None]:
    """Heads fitted to some rows."""
    classes = read.classes[rows]
    of_states = recipe.head([read.states[row] for row in rows], classes)
    if recipe.n_grams is None:
        return of_states, None
    places = n_gram_places([read.hashes[row] for row in rows], recipe.n_grams.slots, recipe.n_grams.least)
    letters = letters_of(recipe.tokenizer)
    counted = _counted(read, rows, places, letters.shape[0], recipe.n_grams.note)
    return of_states, fit_n_grams(counted, recipe.classes, places, letters, recipe.n_grams.strength)


def _counted(read: Read, rows: Ints, places: Tensor, known: int, note: float) -> Counted:
    """Some rows, and behind them their notes, each of which counts `note`."""
    ids, hashes = [read.ids[row] for row in rows], [read.hashes[row] for row in rows]
    notes = [read.notes[row] for row in rows] if read.notes and note else []
    every = [*ids, *notes]
    n_grams = n_grams_of([*hashes, *hashes_of(notes)], [len(each) for each in every], places)
    shares = np.repeat([1.0, note], [len(ids), len(notes)])
    return Counted(n_grams, counts_of(every, known), np.resize(read.classes[rows], len(every)), shares)


def _seen(recipe: Recipe, read: Read, means: Floats, fitted: Ints, kept: Ints) -> Seen:
    of_states, n_grams = fitted_heads(recipe, read, fitted)
    novelty = Mahalanobis(means[fitted])(torch.from_numpy(means[kept]).float())[:, 0].double().numpy()
    scores = [scores_of(of_states, [read.states[row] for row in kept])]
    if n_grams is not None:
        weights, tokens, offset = (
            each.double().numpy() for each in (n_grams.weights, n_grams.tokens, n_grams.offset)
        )
        found = _counted(read, kept, n_grams.places, len(tokens), 0)
        scores.append(found.n_grams @ weights + found.tokens @ tokens + offset)
    return Seen(np.stack(scores, axis=1), novelty, read.classes[kept])


def _weights(seen: Seen) -> tuple[float, ...]:
    """The weights of the heads in the logits, of the least cross-entropy: temperature scaling of each (Guo et al. 2017)."""
    rows = np.arange(len(seen.classes))

    def loss(weights: Floats) -> float:
        return float(-np.log(softmax(_mixed(seen, weights))[rows, seen.classes] + 1e-12).mean())

    return tuple(minimize(loss, np.ones(seen.scores.shape[1]), method="Nelder-Mead").x.round(3).tolist())


def _mixed(seen: Seen, weights: Sequence[float] | Floats) -> Floats:
    return np.einsum("nkc,k->nc", seen.scores, np.asarray(weights))


class OnnxModel:
    """The written file, as it will be served."""

    def __init__(self, recipe: Recipe, path: Path) -> None:
        self._recipe = recipe
        self._session = cpu_session(path)

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
