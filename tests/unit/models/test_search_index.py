"""The index of a collection: the same ranking as by plain arithmetic, exact or not, and refused where a file is damaged."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import BundleRefused
from models.pipelines.search_index import ARRAYS, SearchIndex
from models.search.building import Passages, cells_of, nearest, write_index
from models.search.documents import Document

SIZE, WORDS, DOCUMENTS = 16, 30, 300


def unit(chance: np.random.Generator, count: int) -> Any:
    found = chance.normal(size=(count, SIZE))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


class Collection:
    """Documents of one to three passages, with made-up vectors and tokens."""

    def __init__(self, folder: Path) -> None:
        chance = np.random.default_rng(5)
        counts = chance.integers(1, 4, DOCUMENTS)
        self.owners = np.repeat(np.arange(DOCUMENTS), counts)
        self.vectors = unit(chance, len(self.owners))
        self.terms = [Counter(chance.integers(0, WORDS - 1, chance.integers(5, 40)).tolist()) for _ in counts]
        places = [(int(owner), 10 * place, 10 * place + 9) for place, owner in enumerate(self.owners)]
        documents = [Document(f"d{each}", f"text {each}", url=f"u{each}") for each in range(DOCUMENTS)]
        write_index(folder / "index", documents, Passages(places, [], self.terms), self.vectors, WORDS)
        self.folder = folder
        self.index = SearchIndex(folder, "index", dimension=SIZE, vocabulary=WORDS)

    def similarities(self, question: Any) -> Any:
        found = np.full(DOCUMENTS, -9.0)
        np.maximum.at(found, self.owners, self.vectors @ question)
        return found

    def bm25(self, tokens: list[int]) -> Any:
        lengths = np.array([each.total() for each in self.terms])
        found = np.zeros(DOCUMENTS)
        for token in set(tokens):
            held = sum(token in each for each in self.terms)
            rarity = np.log(1 + (DOCUMENTS - held + 0.5) / (held + 0.5))
            for place, each in enumerate(self.terms):
                norm = 0.9 * (0.6 + 0.4 * lengths[place] / lengths.mean())
                found[place] += rarity * each[token] * 1.9 / (each[token] + norm)
        return found


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return Collection(tmp_path_factory.mktemp("bundle"))


def question(seed: int) -> Any:
    return unit(np.random.default_rng(seed), 1)[0]


SEEDS = st.integers(0, 10_000)
TOKENS = st.lists(st.integers(0, WORDS - 1), max_size=6)


@given(SEEDS)
def test_documents_are_ranked_by_their_best_passage(collection: Collection, seed: int) -> None:
    asked = question(seed)
    ranking = collection.index.best(asked, [], limit=20, lexical=0, probes=None)
    similarities = collection.similarities(asked)
    assert ranking.similarity == pytest.approx(similarities.max(), abs=0.01)
    assert [each.similarity for each in ranking.found] == pytest.approx(
        np.sort(similarities)[::-1][:20].tolist(), abs=0.01
    )
    for each in ranking.found:
        assert each.score == each.similarity == pytest.approx(similarities[each.document], abs=0.01)
        start, _ = collection.index.place(each.passage)
        assert collection.owners[start // 10] == each.document
        assert collection.vectors[start // 10] @ asked == pytest.approx(each.similarity, abs=0.01)


@given(SEEDS, TOKENS, st.floats(0.01, 2))
def test_words_in_common_count_by_their_weight(
    collection: Collection, seed: int, tokens: list[int], lexical: float
) -> None:
    asked, words = question(seed), collection.bm25(tokens)
    ranking = collection.index.best(asked, tokens, limit=DOCUMENTS, lexical=lexical, probes=None)
    share = words / words.max() if words.max() else words
    wanted = collection.similarities(asked) + lexical * share
    assert len(ranking.found) == DOCUMENTS
    for each in ranking.found:
        assert each.score == pytest.approx(wanted[each.document], abs=0.01)
    scores = [each.score for each in ranking.found]
    assert scores == sorted(scores, reverse=True)


@given(SEEDS, TOKENS)
def test_a_search_in_all_cells_is_exact(collection: Collection, seed: int, tokens: list[int]) -> None:
    asked = question(seed)
    exact = collection.index.best(asked, tokens, limit=50, lexical=0.3, probes=None)
    near = collection.index.best(asked, tokens, limit=50, lexical=0.3, probes=999)
    assert [(each.document, each.passage) for each in near.found] == [
        (each.document, each.passage) for each in exact.found
    ]


def test_a_search_in_few_cells_finds_what_is_near(collection: Collection) -> None:
    shares = []
    for seed in range(100):
        asked = question(seed)
        exact = collection.index.best(asked, [], limit=10, lexical=0, probes=None)
        near = collection.index.best(asked, [], limit=10, lexical=0, probes=1)
        wanted, found = ({each.document for each in ranking.found} for ranking in (exact, near))
        shares.append(len(wanted & found) / 10)
    assert 0.3 < np.mean(shares) < 1


def test_documents_are_read_back(collection: Collection) -> None:
    for number in (0, 63, 64, DOCUMENTS - 1):
        assert collection.index.document(number) == {
            "id": f"d{number}", "title": None, "url": f"u{number}", "text": f"text {number}", "codes": [],
        }  # fmt: skip


def test_no_more_documents_come_than_there_are(collection: Collection) -> None:
    assert len(collection.index.best(question(1), [], limit=1000, lexical=0, probes=None).found) == DOCUMENTS


def test_cells_hold_the_vectors_that_are_nearest() -> None:
    vectors = unit(np.random.default_rng(1), 1000).astype(np.float32)
    centres, cell = cells_of(vectors)
    assert len(centres) == 7
    np.testing.assert_array_equal(cell, np.argmax(vectors @ centres.T, axis=1))
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 7, 20, 699])
def test_vectors_are_assigned_to_centres_a_part_at_a_time(at_once: int) -> None:
    vectors, centres = unit(np.random.default_rng(2), 100), unit(np.random.default_rng(3), 7)
    wanted = np.argmax(vectors @ centres.T, axis=1)
    np.testing.assert_array_equal(nearest(vectors, centres, at_once), wanted)


def test_what_is_read_of_an_index_stays_mapped(collection: Collection) -> None:
    vectors = collection.index._arrays["vectors"]
    assert isinstance(vectors.base, np.memmap)
    assert type(vectors) is np.ndarray


def opened(folder: Path, *, dimension: int = SIZE, vocabulary: int = WORDS) -> str:
    with pytest.raises(BundleRefused) as refused:
        SearchIndex(folder, "index", dimension=dimension, vocabulary=vocabulary)
    [fault] = refused.value.faults
    assert fault.code == "index_unusable"
    return fault.place


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Collection(tmp_path).folder


@pytest.mark.parametrize("name", ARRAYS)
def test_an_index_with_a_damaged_array_is_refused(copied: Path, name: str) -> None:
    path = copied / "index" / f"{name}.npy"
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-3]):
        path.write_bytes(content)
        assert opened(copied) == f"index/{name}.npy"
    path.unlink()
    assert opened(copied) == f"index/{name}.npy"


@pytest.mark.parametrize("name", ARRAYS)
def test_an_index_with_an_array_of_another_shape_is_refused(copied: Path, name: str) -> None:
    path = copied / "index" / f"{name}.npy"
    array = np.load(path)
    np.save(path, array[:-1])
    assert opened(copied).startswith("index/")
    np.save(path, array.astype(np.float64))
    assert opened(copied) == f"index/{name}.npy"


def test_an_index_of_another_encoder_is_refused(copied: Path) -> None:
    assert opened(copied, dimension=SIZE + 1) == "index/vectors.npy"
    assert opened(copied, vocabulary=WORDS + 1) == "index/terms.npy"


def test_an_index_with_other_documents_is_refused(copied: Path) -> None:
    path = copied / "index" / "documents.arrow"
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    assert opened(copied) == "index/documents.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, pa.schema([("id", pa.string())])):
        pass
    assert opened(copied) == "index/documents.arrow"


def test_an_index_whose_passages_or_words_are_of_no_document_is_refused(copied: Path) -> None:
    for name, place in (("passages", "documents.arrow"), ("postings", "postings.npy")):
        path = copied / "index" / f"{name}.npy"
        array = np.load(path)
        changed = array.copy()
        changed.reshape(-1)[0] = DOCUMENTS
        np.save(path, changed)
        assert opened(copied) == f"index/{place}"
        np.save(path, array)
