"""Questions for the bundled search, made of the titles of its documents, and the bare loop that the service is compared with.

The bare loop does by hand what the pipeline does with a question: it cuts it into tokens with Hugging Face's library, runs the
same graph, searches the same index by the same code and reads the documents found. It checks, encrypts and records nothing.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from benchmarks.night import Session, bundle_of
from models.pipelines.registry import load_pipeline
from models.pipelines.search_index import Ranking, SearchIndex
from models.pipelines.semantic_search import SearchParameters, SemanticSearch

if TYPE_CHECKING:
    from models.pipelines.contract import Array

MODEL = "health-question-search"
FORMS = ("What are the symptoms of {}?", "How is {} treated?", "Is {} inherited?", "What causes {}?", "{}")
LIMIT = 10  # the default of the pipeline's option


class Asked(NamedTuple):
    """A question as the search takes it: its tokens without special ones, and its unit vector [D]."""

    tokens: list[int]
    vector: Array


class Searched(NamedTuple):
    """The ids of the documents that were found for each question, and the CPU seconds of all."""

    found: list[list[str]]
    cpu_s: float


def opened() -> tuple[SearchParameters, SearchIndex]:
    """The parameters and the index of the bundle."""
    bundle = bundle_of(MODEL)
    pipeline = load_pipeline(bundle.manifest)
    assert isinstance(pipeline, SemanticSearch)
    given = pipeline.parameters
    return given, SearchIndex(
        bundle.folder, given.index, dimension=given.dimension, vocabulary=given.vocabulary
    )


def questions(count: int, seed: int) -> list[str]:
    """Questions about the subjects of documents, each subject once, the same ones for the same seed."""
    _, index = opened()
    titles = sorted({index.document(number)["title"] or "" for number in range(index.documents)} - {""})
    chance = random.Random(seed)
    if count > len(titles):
        raise ValueError(f"the collection has {len(titles)} subjects, fewer than {count}")
    return [chance.choice(FORMS).format(title) for title in chance.sample(titles, count)]


class BareEncoder:
    """Tokenizer and graph, one question at a time."""

    def __init__(self) -> None:
        self._session = Session(MODEL)
        self._tokenizer = Tokenizer.from_file(str(bundle_of(MODEL).folder / "tokenizer.json"))

    def read(self, text: str) -> Asked:
        """One question, short enough for one window."""
        ids = self._tokenizer.encode(text).ids
        feeds = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
        vector = self._session.run(feeds)[0]
        return Asked(ids[1:-1], vector / np.linalg.norm(vector))


def bare_searches(texts: Sequence[str], *, exact: bool) -> Searched:
    """Search the bare way, in a process of its own with one thread; imports and opening left out."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_searched, (texts, exact))


def _searched(texts: Sequence[str], exact: bool) -> Searched:
    encoder, (given, index) = BareEncoder(), opened()
    begun, found = time.process_time(), []
    for text in texts:
        ranking = ranked(index, encoder.read(text), given.lexical, None if exact else given.probes)
        found.append([index.document(each.document)["id"] for each in ranking.found])
    return Searched(found, time.process_time() - begun)


def ranked(index: SearchIndex, asked: Asked, weight: float, probes: int | None) -> Ranking:
    """The best documents for a question, by the code that serves."""
    return index.best(asked.vector, asked.tokens, limit=LIMIT, lexical=weight, probes=probes)
