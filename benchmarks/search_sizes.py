"""`python -m benchmarks.search_sizes`: CPU of a search, without the encoder, in collections of several sizes.

The collections are made of health-question-search: smaller ones are parts of it, larger ones hold each document several times,
with the same words and with vectors turned at random (cosine about .8). Half of the questions choose the cells that an
approximate search looks into, as `medqueue models index` does; the other half is measured.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.night import bundle_of
from benchmarks.questions import MODEL, Asked, BareEncoder, opened, questions, ranked
from models.pipelines.search_index import ARRAYS, SearchIndex
from models.search.building import Passages, write_index
from models.search.bundles import LEAST_RECALL, PROBES
from models.search.documents import Document

if TYPE_CHECKING:
    from models.pipelines.contract import Array

SIZES = (0.04, 0.1, 0.25, 0.5, 1.0, 8.0, 16.0)
ASKED = 400
SEED = 20261129
TURNED = 0.75  # length of what is added to a unit vector of a copy


@dataclass(frozen=True)
class Source:
    """The arrays of an index, the vectors float32 [P,D] of its passages, and the words of each document."""

    arrays: dict[str, Array]
    vectors: Array
    terms: list[Counter[int]]


def source_of(folder: Path) -> Source:
    """The index of a bundle."""
    arrays = {name: np.load(folder / "index" / f"{name}.npy") for name in ARRAYS}
    tokens = np.repeat(np.arange(len(arrays["terms"]) - 1), np.diff(arrays["terms"]))
    terms: list[Counter[int]] = [Counter() for _ in arrays["lengths"]]
    for token, document, count in zip(
        tokens.tolist(), arrays["postings"].tolist(), arrays["counts"].tolist(), strict=True
    ):
        terms[document][token] = count
    return Source(arrays, arrays["vectors"].astype(np.float32) * arrays["scales"][:, None], terms)


def written(source: Source, times: float, folder: Path) -> SearchIndex:
    """An index of `times` as many documents."""
    chance = np.random.default_rng(SEED)
    whole = len(source.terms)
    chosen = np.sort(chance.permutation(whole)[: round(whole * min(times, 1))])
    copies = max(1, round(times))
    new = np.full(whole, -1)
    new[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(new[source.arrays["passages"][:, 0]] >= 0)
    places, vectors = [], []
    for copy in range(copies):
        part = source.arrays["passages"][rows].astype(np.int64)
        part[:, 0] = new[part[:, 0]] + copy * len(chosen)
        places.append(part)
        vectors.append(_turned(source.vectors[rows], chance) if copy else source.vectors[rows])
    passages = Passages(
        list(map(tuple, np.concatenate(places).tolist())),
        [],
        [source.terms[each] for each in chosen] * copies,
    )
    documents = [Document(str(number), "") for number in range(len(chosen) * copies)]
    write_index(
        folder / "index", documents, passages, np.concatenate(vectors), len(source.arrays["terms"]) - 1
    )
    return SearchIndex(
        folder, "index", dimension=source.vectors.shape[1], vocabulary=len(source.arrays["terms"]) - 1
    )


def _turned(vectors: Array, chance: np.random.Generator) -> Array:
    moved = vectors + chance.normal(0, TURNED / vectors.shape[1] ** 0.5, vectors.shape).astype(np.float32)
    unit: Array = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return unit


def searched(
    index: SearchIndex, asked: Sequence[Asked], weight: float, probes: int | None
) -> tuple[list[set[int]], float]:
    """The best ten documents of each question, and the CPU of a search in milliseconds."""
    begun = time.process_time()
    found = [ranked(index, each, weight, probes) for each in asked]
    took_s = time.process_time() - begun
    return [{each.document for each in ranking.found} for ranking in found], 1000 * took_s / len(asked)


def recall(near: Sequence[set[int]], exact: Sequence[set[int]]) -> float:
    """The share of the exact ten that is found."""
    return float(np.mean([len(a & b) / len(a) for a, b in zip(exact, near, strict=True)]))


def line(index: SearchIndex, asked: Sequence[Asked], weight: float, cells: int) -> str:
    """One row of the table."""
    choosing, measured = asked[::2], asked[1::2]
    exact, _ = searched(index, choosing, weight, None)
    for probes in PROBES:
        if recall(searched(index, choosing, weight, probes)[0], exact) >= LEAST_RECALL:
            break
    exact, exact_ms = searched(index, measured, weight, None)
    near, near_ms = searched(index, measured, weight, probes)
    return f"| {index.passages:,} | {exact_ms:.2f} | {near_ms:.2f} | {probes} of {cells} | {recall(near, exact):.3f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_sizes", description=__doc__)
    parser.add_argument("--times", nargs="+", type=float, default=SIZES, help="sizes, in those of the bundle")
    options = parser.parse_args()
    encoder, (given, _) = BareEncoder(), opened()
    asked = [encoder.read(text) for text in questions(ASKED, SEED)]
    source = source_of(bundle_of(MODEL).folder)
    print("| passages | CPU of an exact search, ms | of an approximate one, ms | cells | recall@10 |")
    print("| --- | --- | --- | --- | --- |")
    for times in options.times:
        with TemporaryDirectory() as folder:
            index = written(source, times, Path(folder))
            cells = len(np.load(Path(folder) / "index" / "centres.npy", mmap_mode="r"))
            print(line(index, asked, given.lexical, cells), flush=True)


if __name__ == "__main__":
    main()
