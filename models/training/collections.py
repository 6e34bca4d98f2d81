"""Collections of documents as they are indexed, questions with their vectors, and the encoder that makes vectors, each once."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.pipelines.search_index import SearchIndex
from models.pipelines.semantic_search import SearchParameters
from models.pipelines.text_tokens import ReadText
from models.pipelines.text_vectors import TextEncoder
from models.sandbox import cpu_session
from models.search.building import Passages, divided, write_index
from models.search.bundles import encode
from models.search.documents import Document

Floats = NDArray[np.float64]
AT_ONCE = 2048  # texts that are encoded before their vectors are kept


class Encoding:
    """Unit vectors of texts by a graph; each text is encoded once, and its vector kept in a folder."""

    def __init__(self, graph: Path, bundle: Path, parameters: SearchParameters, kept: Path) -> None:
        """`bundle` is the folder with the tokenizer."""
        self._session = cpu_session(graph, threads=2)
        self._encoder = TextEncoder(bundle, parameters)
        self._bundle, self._parameters = bundle, parameters
        kept.mkdir(exist_ok=True)
        self._path = kept / f"{hashlib.sha256(graph.read_bytes()).hexdigest()[:16]}.npz"
        self._known: dict[bytes, Floats] = {}
        if self._path.exists():
            with np.load(self._path) as found:
                self._known = dict(zip(map(bytes, found["keys"]), found["vectors"], strict=True))

    def texts(self, texts: Sequence[str]) -> tuple[list[ReadText], Floats]:
        """The texts as tokens, and their vectors [N,D]."""
        read = [self._encoder.read(text) for text in texts]
        return read, self.vectors(read)

    def collection(self, documents: Sequence[Document]) -> "Collection":
        """Documents in passages, with the vectors of these."""
        passages = divided(documents, self._bundle, self._parameters)
        return Collection(documents, passages, self.vectors(passages.read), self._parameters.vocabulary)

    def vectors(self, read: Sequence[ReadText]) -> Floats:
        """The vectors [N,D] of texts."""
        keys = [_key(text) for text in read]
        missing = [text for key, text in zip(keys, read, strict=True) if key not in self._known]
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            found = encode(part, lambda some: self._encoder.vectors(self._run, some), lambda *_: None)
            self._known |= dict(zip(map(_key, part), found, strict=True))
            everything = np.frombuffer(b"".join(self._known), np.uint8).reshape(len(self._known), -1)
            np.savez(self._path, keys=everything, vectors=np.stack(list(self._known.values())))
            print(f"encoded {start + len(part)} of {len(missing)}", flush=True)
        return np.stack([self._known[key] for key in keys]).astype(np.float64)

    def _run(self, feeds: dict[str, NDArray[np.int64]], graph: str = "model") -> dict[str, Floats]:  # noqa: ARG002
        return {"vector": self._session.run(["vector"], feeds)[0]}


def _key(text: ReadText) -> bytes:
    return hashlib.sha256(json.dumps([window.ids for window in text.windows]).encode()).digest()[:16]


@dataclass(frozen=True)
class Collection:
    """Documents with their passages, and the vectors [P,D] of these."""

    documents: Sequence[Document]
    passages: Passages
    vectors: Floats
    known: int  # tokens of the vocabulary

    def moved(self, projection: NDArray[np.float32]) -> "Collection":
        """The same with vectors behind a linear map."""
        return Collection(self.documents, self.passages, projected(self.vectors, projection), self.known)

    def written(self, folder: Path, numbers: Sequence[int] | None = None) -> SearchIndex:
        """The index in `folder`; that of a part numbers documents by their place in `numbers`."""
        chosen = range(len(self.documents)) if numbers is None else numbers
        new = {old: place for place, old in enumerate(chosen)}
        rows = [row for row, (document, _, _) in enumerate(self.passages.places) if document in new]
        places = [self.passages.places[row] for row in rows]
        part = Passages(
            [(new[document], start, end) for document, start, end in places],
            [self.passages.read[row] for row in rows],
            [self.passages.terms[each] for each in chosen],
        )
        documents = [self.documents[each] for each in chosen]
        write_index(folder / "index", documents, part, self.vectors[rows], self.known)
        return SearchIndex(folder, "index", dimension=self.vectors.shape[1], vocabulary=self.known)


def projected(vectors: Floats, projection: NDArray[np.float32]) -> Floats:
    """Unit vectors [N,D] behind a linear map [D,D]."""
    moved = vectors @ projection.astype(np.float64)
    lengths: Floats = np.linalg.norm(moved, axis=1, keepdims=True)
    return moved / lengths
