"""Figures of search: nDCG, BM25 over words as the baseline, rankings by the served code."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.pipelines.search_index import K1, B, SearchIndex
from models.pipelines.text_tokens import ReadText

TOP = 10
WORD = re.compile(r"\w+")
Floats = NDArray[np.float64]


def ndcg(ranked: Sequence[int], gains: Mapping[int, float]) -> float:
    """Normalized discounted cumulative gain of the first ten (Järvelin and Kekäläinen, ACM TOIS 20:422, 2002)."""
    found = sum(gains.get(each, 0) / math.log2(place + 2) for place, each in enumerate(ranked[:TOP]))
    best = sorted(gains.values(), reverse=True)[:TOP]
    return found / sum(gain / math.log2(place + 2) for place, gain in enumerate(best))


@dataclass(frozen=True)
class Questions:
    """Questions by their vectors [N,D] and their tokens."""

    vectors: Floats
    read: Sequence[ReadText]

    def part(self, rows: Sequence[int]) -> "Questions":
        """Some of them."""
        return Questions(self.vectors[rows], [self.read[row] for row in rows])

    def ranked(self, index: SearchIndex, *, lexical: float, probes: int | None = None) -> list[list[int]]:
        """The best ten documents for each, by the code that serves."""
        found = [
            index.best(vector, text.token_ids, limit=TOP, lexical=lexical, probes=probes)
            for vector, text in zip(self.vectors, self.read, strict=True)
        ]
        return [[each.document for each in ranking.found] for ranking in found]

    def similarities(self, index: SearchIndex) -> Floats:
        """The greatest similarity of any passage, for each."""
        found = [index.best(vector, (), limit=1, lexical=0, probes=None) for vector in self.vectors]
        return np.array([ranking.similarity for ranking in found])


def recall(near: Sequence[Sequence[int]], exact: Sequence[Sequence[int]]) -> float:
    """The share of the exact lists that is in the others."""
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(near, exact, strict=True)]))


class WordIndex:
    """BM25 over lower-case words: the baseline."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = [WORD.findall(text.lower()) for text in texts]
        lengths = np.array([len(each) for each in words])
        self._count = len(texts)
        self._postings: dict[str, tuple[NDArray[np.int64], Floats]] = {}
        held: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, each in enumerate(words):
            for word, count in Counter(each).items():
                held[word].append((number, count))
        for word, pairs in held.items():
            numbers, counts = np.array(pairs).T
            rarity = math.log(1 + (len(texts) - len(pairs) + 0.5) / (len(pairs) + 0.5))
            norms = K1 * (1 - B + B * lengths[numbers] / lengths.mean())
            self._postings[word] = (numbers, rarity * counts * (K1 + 1) / (counts + norms))

    def ranked(self, questions: Sequence[str]) -> list[list[int]]:
        """The best ten documents for each question."""
        return [np.argsort(-self._scores(each), kind="stable")[:TOP].tolist() for each in questions]

    def _scores(self, question: str) -> Floats:
        scores = np.zeros(self._count)
        for word in set(WORD.findall(question.lower())):
            if word in self._postings:
                numbers, weights = self._postings[word]
                scores[numbers] += weights
        return scores
