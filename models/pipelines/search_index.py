"""The index of a collection of documents: the files of a bundle's `index` folder, mapped, and how passages are found in them.

A document is searched by its passages. Each has a vector of 8-bit numbers with a scale; passages lie by cells, whose centres
were found by spherical k-means, so that a search can leave out cells that are far from the question (an inverted file: Jégou et
al., IEEE TPAMI 33:117, 2011). The tokens of documents are counted in postings for BM25 (Robertson and Zaragoza, Found. Trends
Inf. Retr. 3:333, 2009). Arrays are .npy files and never copied as a whole; the documents are an Arrow file, of which a search
reads the batches of its hits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.lazy import np, pa
from models.manifest import BundleRefused, Fault

if TYPE_CHECKING:
    from models.pipelines.contract import Array

# Name of an array -> its dtype and the number of its dimensions.
ARRAYS: Final = {
    "vectors": ("int8", 2),  # [P,D] unit vectors, divided by their scale
    "scales": ("float32", 1),  # [P]
    "passages": ("int32", 2),  # [P,3] document, start and end in code points of its text; by cell
    "centres": ("float32", 2),  # [C,D]
    "cells": ("int64", 1),  # [C+1] first passage of each cell, and P
    "terms": ("int64", 1),  # [V+1] first posting of each token, and T
    "postings": ("uint32", 1),  # [T] documents that hold the token; uint16 where that suffices
    "counts": ("uint8", 1),  # [T] how often, at most 255
    "lengths": ("uint32", 1),  # [N] tokens of each document
}
DOCUMENTS: Final = "documents.arrow"
COLUMNS: Final = ["id", "title", "url", "text", "codes"]
BATCH: Final = 64  # documents of a batch of the Arrow file
BLOCK: Final = 1024  # passages that are compared at once: their float32 numbers stay in the cache
CANDIDATES: Final = 200  # documents that an approximate search ranks, by each of its two measures
K1: Final = 0.9  # of BM25, with B: the defaults of Anserini, not tuned here
B: Final = 0.4


@dataclass(frozen=True, slots=True)
class Found:
    """One document by its best passage. `score` is what it was ranked by, `similarity` the cosine of passage and question."""

    document: int
    passage: int
    score: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents, the best first, and the greatest similarity of any that was ranked."""

    found: list[Found]
    similarity: float


class SearchIndex:
    """Opened once; serves all threads."""

    def __init__(self, folder: Path, name: str, *, dimension: int, vocabulary: int) -> None:
        """Raises BundleRefused if a file is missing, damaged or does not fit the others or the encoder."""
        self._name = name
        self._arrays = {each: self._array(folder, each) for each in ARRAYS}
        self._documents = self._table(folder)
        self._check(dimension, vocabulary)
        owners, lengths = self._arrays["passages"][:, 0], self._arrays["lengths"]
        self._by_document = np.argsort(owners, kind="stable").astype(np.int32)
        counts = np.bincount(owners, minlength=self.documents)
        self._first = np.concatenate([[0], np.cumsum(counts)])
        mean = max(float(lengths.mean()), 1.0)
        self._norms = (K1 * (1 - B + B * lengths / mean)).astype(np.float32)

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return len(self._arrays["lengths"])

    @property
    def passages(self) -> int:
        """How many passages they have."""
        return len(self._arrays["passages"])

    def place(self, passage: int) -> tuple[int, int]:
        """Start and end of a passage in the text of its document, in code points."""
        _, start, end = self._arrays["passages"][passage].tolist()
        return start, end

    def document(self, number: int) -> dict[str, Any]:
        """A document: id, title, url, text and codes."""
        batch = self._documents.get_batch(number // BATCH)
        found: dict[str, Any] = batch.slice(number % BATCH, 1).to_pylist()[0]
        return found

    def best(
        self, vector: Array, tokens: Sequence[int], *, limit: int, lexical: float, probes: int | None
    ) -> Ranking:
        """The `limit` best documents for a question: its unit vector [D] and its tokens.

        They are ranked by similarity + `lexical` times their share of the greatest BM25 of all documents. With `probes` only
        documents of that many cells, and the best by BM25, are ranked; otherwise all are.
        """
        question = np.ascontiguousarray(vector, np.float32)
        words = self._bm25(tokens) if lexical else np.zeros(self.documents, np.float32)
        if probes is None:
            documents, rows = np.arange(self.documents), self._by_document
            products = self._products(question, slice(None))[rows]
        else:
            documents = self._candidates(question, words, probes)
            rows = self._by_document[_joined(self._first[documents], self._first[documents + 1])]
            products = self._products(question, rows)
        ends = np.cumsum(self._first[documents + 1] - self._first[documents])
        starts = np.concatenate([[0], ends[:-1]])
        similarity = np.maximum.reduceat(products, starts)
        peak = words.max(initial=0)
        scores = similarity + (lexical * words[documents] / peak if peak > 0 else 0)
        top = _greatest(scores, limit)
        found = [
            Found(
                document=int(documents[each]),
                passage=int(rows[starts[each] + np.argmax(products[starts[each] : ends[each]])]),
                score=float(scores[each]),
                similarity=float(similarity[each]),
            )
            for each in top[np.argsort(-scores[top], kind="stable")]
        ]
        return Ranking(found, float(similarity.max()))

    def _candidates(self, question: Array, words: Array, probes: int) -> Array:
        """Documents to rank, in ascending order: the nearest of the cells that are nearest, and the best by BM25."""
        cells = self._arrays["cells"]
        near = np.argsort(-(self._arrays["centres"] @ question), kind="stable")[:probes]
        rows = _joined(cells[near], cells[near + 1])
        nearest = rows[_greatest(self._products(question, rows), 2 * CANDIDATES)]
        worded = _greatest(words, CANDIDATES)
        documents = np.concatenate([self._arrays["passages"][nearest, 0], worded[words[worded] > 0]])
        return np.unique(documents).astype(np.int64)

    def _products(self, question: Array, passages: Any) -> Array:
        """float32: the products of some passages with the question, a block at a time."""
        vectors, scales = self._arrays["vectors"][passages], self._arrays["scales"][passages]
        found = np.empty(len(scales), np.float32)
        for start in range(0, len(found), BLOCK):
            block = slice(start, start + BLOCK)
            found[block] = vectors[block].astype(np.float32) @ question
        products: Array = found * scales
        return products

    def _bm25(self, tokens: Sequence[int]) -> Array:
        """float32 [N]."""
        terms, found = self._arrays["terms"], np.zeros(self.documents, np.float32)
        for token in sorted(set(tokens)):
            span = slice(*terms[token : token + 2])
            documents, counts = (
                self._arrays["postings"][span],
                self._arrays["counts"][span].astype(np.float32),
            )
            rarity = np.float32(np.log1p((len(found) - len(documents) + 0.5) / (len(documents) + 0.5)))
            found[documents] += rarity * counts * (K1 + 1) / (counts + self._norms[documents])
        return found

    def _array(self, folder: Path, name: str) -> Array:
        """One array, mapped. Raises BundleRefused."""
        dtype, dimensions = ARRAYS[name]
        path = f"{self._name}/{name}.npy"
        try:
            found: Array = np.load(folder / path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise self._refused(path, "it is missing or damaged") from None
        narrow = name == "postings" and found.dtype == "uint16"
        if not (found.dtype == dtype or narrow) or found.ndim != dimensions:
            raise self._refused(path, f"it is no array of {dtype} with {dimensions} dimensions")
        return found.view(np.ndarray)  # still mapped; each slice of a memmap makes a costly object

    def _table(self, folder: Path) -> Any:
        path = f"{self._name}/{DOCUMENTS}"
        try:
            return pa.ipc.open_file(pa.memory_map(str(folder / path)))
        except (OSError, pa.ArrowInvalid):
            raise self._refused(path, "it is missing or damaged") from None

    def _check(self, dimension: int, vocabulary: int) -> None:
        """Raises BundleRefused if the files do not fit each other, or the encoder."""
        size = {name: array.shape for name, array in self._arrays.items()}
        count, documents = size["passages"][0], size["lengths"][0]
        wanted = {
            "vectors": (count, dimension), "scales": (count,), "passages": (count, 3),
            "centres": (size["centres"][0], dimension), "cells": (size["centres"][0] + 1,),
            "terms": (vocabulary + 1,), "counts": size["postings"],
        }  # fmt: skip
        for name, shape in wanted.items():
            if size[name] != shape:
                raise self._refused(f"{self._name}/{name}.npy", f"its shape is {size[name]}, not {shape}")
        for name, end in (("cells", count), ("terms", size["postings"][0])):
            edges = self._arrays[name]
            if edges[0] != 0 or edges[-1] != end or (np.diff(edges) < 0).any():
                raise self._refused(f"{self._name}/{name}.npy", "it does not divide what it should")
        held, columns = self._documents.num_record_batches, self._documents.schema.names
        owners = self._arrays["passages"][:, 0]
        if size["postings"][0] and self._arrays["postings"].max() >= documents:
            raise self._refused(f"{self._name}/postings.npy", "it names documents that there are not")
        if columns != COLUMNS:
            raise self._refused(
                f"{self._name}/{DOCUMENTS}", "it has other columns than the documents of an index"
            )
        if held != -(-documents // BATCH) or set(np.unique(owners)) != set(range(documents)):
            raise self._refused(f"{self._name}/{DOCUMENTS}", "it has other documents than the passages")

    def _refused(self, path: str, reason: str) -> BundleRefused:
        advice = "make the index again with `medqueue models index`"
        return BundleRefused(Fault(path, "index_unusable", f"{reason}: {advice}"))


def _greatest(scores: Array, count: int) -> Array:
    """The places of the `count` greatest scores; of equal ones the first."""
    if len(scores) <= count:
        return np.arange(len(scores))
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    above, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))


def _joined(starts: Array, ends: Array) -> Array:
    """The numbers of several spans, one after another."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())
