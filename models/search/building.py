"""Writes the index of a collection: see models.pipelines.search_index for its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from models.pipelines.search_index import ARRAYS, BATCH, DOCUMENTS
from models.pipelines.text_tokens import ReadText
from models.pipelines.text_vectors import EncoderParameters, TextEncoder
from models.search.documents import CollectionRefused, Document, LineFault
from models.search.passages import passages_of

if TYPE_CHECKING:
    from models.pipelines.contract import Array

SPECIAL: Final = 2  # tokens that an encoder puts around a passage
MOST_WINDOWS: Final = 1000  # of a document
PER_CELL: Final = 128  # passages of a cell, on average
ROUNDS: Final = 10  # of k-means
SAMPLE: Final = 256  # passages of the sample for k-means, by cell
AT_ONCE: Final = 2**26  # products of vectors and centres in memory: all of a large collection need tens of GB
SEED: Final = 20261128
LEVEL: Final = 19  # of zstd
SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("url", pa.string()),
        ("text", pa.string()),
        ("codes", pa.list_(pa.struct([("system", pa.string()), ("code", pa.string())]))),
    ]
)
Vectors = Callable[[Sequence[ReadText]], "Array"]


@dataclass(frozen=True)
class Passages:
    """The passages of a collection: where each is, its tokens, and the tokens of each document."""

    places: list[tuple[int, int, int]]  # document, start, end
    read: list[ReadText]
    terms: list[Counter[int]]


def divided(documents: Sequence[Document], folder: Path, parameters: EncoderParameters) -> Passages:
    """The documents in passages, by the tokenizer in `folder`. Raises CollectionRefused."""
    unlimited = parameters.model_copy(update={"max_windows": MOST_WINDOWS, "overlap": 0})
    encoder = TextEncoder(folder, unlimited)
    found = Passages([], [], [])
    for number, document in enumerate(documents):
        whole = encoder.read(document.text)
        if whole.truncated or not whole.tokens:
            reason = (
                "has too many tokens: divide it" if whole.truncated else "has no token that the encoder knows"
            )
            raise CollectionRefused(LineFault(number + 1, f"(counted in documents) its text {reason}"))
        found.terms.append(Counter(whole.token_ids))
        for start, end in passages_of(document.text, whole, parameters.max_tokens - SPECIAL):
            found.places.append((number, start, end))
            found.read.append(encoder.read(document.text[start:end]))
    return found


def write_index(
    folder: Path, documents: Sequence[Document], passages: Passages, vectors: Array, vocabulary: int
) -> None:
    """Write the files of an index into the new `folder`. `vectors` are unit vectors [P,D] of the passages."""
    folder.mkdir(parents=True)
    centres, cell = cells_of(vectors.astype(np.float32))
    order = np.argsort(cell, kind="stable")
    scales = np.abs(vectors).max(axis=1) / 127
    starts, postings, counts = _postings(passages.terms, vocabulary)
    arrays = {
        "vectors": np.rint(vectors / scales[:, None])[order],
        "scales": scales[order],
        "passages": np.array(passages.places)[order],
        "centres": centres,
        "cells": np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=len(centres)))]),
        "terms": starts,
        "postings": postings,
        "counts": counts,
        "lengths": np.array([each.total() for each in passages.terms]),
    }
    kinds = {name: kind for name, (kind, _) in ARRAYS.items()}
    if len(documents) <= 2**16:
        kinds["postings"] = "uint16"
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.astype(kinds[name]))
    _write_documents(folder / DOCUMENTS, documents)


def cells_of(vectors: Array) -> tuple[Array, Array]:
    """Centres float32 [C,D] by spherical k-means (Dhillon and Modha, Mach Learn 42:143, 2001), and the cell of each vector."""
    count = max(1, len(vectors) // PER_CELL)
    chance = np.random.default_rng(SEED)
    sample = vectors[np.sort(chance.permutation(len(vectors))[: SAMPLE * count])]
    centres = sample[np.sort(chance.permutation(len(sample))[:count])]
    for _ in range(ROUNDS):
        cell = nearest(sample, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, cell, sample)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    return centres.astype(np.float32), nearest(vectors, centres)


def nearest(vectors: Array, centres: Array, at_once: int = AT_ONCE) -> Array:
    """The centre of the greatest product with each vector [P], with `at_once` products in memory."""
    step = max(1, at_once // len(centres))
    parts = [
        np.argmax(vectors[start : start + step] @ centres.T, axis=1) for start in range(0, len(vectors), step)
    ]
    return np.concatenate(parts)


def _postings(terms: Sequence[Counter[int]], vocabulary: int) -> tuple[Array, Array, Array]:
    """First posting of each token, documents and counts; by token, then by document."""
    tokens = np.array([token for each in terms for token in each], np.int64)
    documents = np.repeat(np.arange(len(terms)), [len(each) for each in terms])
    counts = np.array([min(count, 255) for each in terms for count in each.values()], np.int64)
    order = np.lexsort((documents, tokens))
    starts = np.concatenate([[0], np.cumsum(np.bincount(tokens, minlength=vocabulary))])
    return starts, documents[order], counts[order]


def _write_documents(path: Path, documents: Sequence[Document]) -> None:
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=LEVEL))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA, options=options) as writer:
        for start in range(0, len(documents), BATCH):
            rows: list[dict[str, Any]] = [
                {
                    "id": each.id,
                    "title": each.title,
                    "url": each.url,
                    "text": each.text,
                    "codes": [{"system": system, "code": code} for system, code in each.codes],
                }
                for each in documents[start : start + BATCH]
            ]
            writer.write_batch(pa.RecordBatch.from_pylist(rows, SCHEMA))
