"""Makes a bundle that searches a collection, with the encoder of another bundle: files, manifest, golden cases and card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx

from models.bundle import CARD_NAME, Bundle, BundleRefused, Fault, fitted, read_bundle
from models.checking import sealed
from models.golden_cases import GOLDEN_NAME
from models.graph import external_locations
from models.manifest import MANIFEST_NAME, is_name
from models.manifest_words import NAME_RULE
from models.pipelines.registry import load_pipeline
from models.pipelines.search_index import SearchIndex
from models.pipelines.semantic_search import SearchParameters, SemanticSearch
from models.pipelines.text_embedding import TextEmbedding
from models.pipelines.text_tokens import ReadText
from models.pipelines.text_vectors import EncoderParameters, TextEncoder
from models.sandbox import CpuRun
from models.search.building import Passages, Vectors, divided, write_index
from models.search.documents import Document
from models.toml_text import toml_text

if TYPE_CHECKING:
    from models.pipelines.contract import Array

INDEX: Final = "index"
AT_ONCE: Final = 256  # passages that are encoded together
LEAST_RECALL: Final = 0.99  # of an approximate search against the exact one, among the first ten
PROBES: Final = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
SMALL: Final = 4096  # passages: fewer are all compared, which is quicker (decision 14)
SAMPLE: Final = 200  # documents whose beginnings are the questions that recall is measured with
BEGINNING: Final = 120  # code points of such a question
TOP: Final = 10
SEED: Final = 20261128
# What is checked of a golden answer: nothing that a document says, which may be confidential.
CHECKED: Final = ("type", "best_similarity", "abstained", "documents", "exact")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class About:
    """What a person says of the new bundle."""

    name: str
    title: str
    license: str
    made_on: date


def write_search_bundle(
    folder: Path, source: Path, documents: Sequence[Document], about: About, progress: Progress
) -> Bundle:
    """Write and seal a bundle in the new `folder` that searches `documents` with the encoder of the bundle `source`.

    `progress` is told how many passages of how many are encoded. Raises BundleRefused, CollectionRefused, or
    FileExistsError.
    """
    if not is_name(about.name):
        advice = f"no model can be called {about.name!r}: give another by --name: {NAME_RULE}"
        raise BundleRefused(Fault(f"{MANIFEST_NAME}: name", "manifest_invalid", advice))
    encoder = read_bundle(source)
    parameters = search_parameters(encoder)
    passages = divided(documents, source, parameters)
    vectors = vectors_of(encoder, parameters)
    folder.mkdir(parents=True)
    _copy_encoder(encoder, parameters, folder)
    encoded = encode(passages.read, vectors, progress)
    write_index(folder / INDEX, documents, passages, encoded, parameters.vocabulary)
    probes, recall = chosen_probes(folder, parameters, documents, vectors)
    parameters = parameters.model_copy(update={"probes": probes})
    _write_texts(folder, encoder, parameters, about, _counts(documents, passages) | {"recall": recall})
    return sealed(folder, golden=True)


def search_parameters(encoder: Bundle) -> SearchParameters:
    """Those of a search with the encoder of a bundle. Raises BundleRefused if it has none."""
    pipeline = load_pipeline(encoder.manifest)
    if isinstance(pipeline, SemanticSearch):
        return pipeline.parameters.model_copy(update={"index": INDEX})
    if isinstance(pipeline, TextEmbedding):
        return SearchParameters.model_validate(
            {**pipeline.parameters.model_dump(exclude_unset=True), "index": INDEX}
        )
    reason = (
        f"{encoder.manifest.name} has no encoder of texts: name a bundle of semantic-search or text-embedding"
    )
    raise BundleRefused(Fault(f"{MANIFEST_NAME}: pipeline", "no_encoder", reason))


def vectors_of(encoder: Bundle, parameters: EncoderParameters) -> Vectors:
    """The function that makes the vectors of texts, with the graph of a bundle, on the CPU."""
    run = fitted(encoder.folder, encoder.manifest, load_pipeline(encoder.manifest), CpuRun())
    text_encoder = TextEncoder(encoder.folder, parameters)

    def vectors(read: Sequence[ReadText]) -> Array:
        return text_encoder.vectors(run, read)

    return vectors


def encode(read: Sequence[ReadText], vectors: Vectors, progress: Progress) -> Array:
    """Unit vectors float32 [P,D]. Passages of like length are encoded together, since padding costs as much as text."""
    order = sorted(range(len(read)), key=lambda each: len(read[each].windows[0].ids))
    found: Array | None = None
    for start in range(0, len(order), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        part = vectors([read[row] for row in rows])
        if found is None:
            found = np.empty((len(read), part.shape[1]), np.float32)
        found[rows] = part
        progress(start + len(rows), len(order))
    assert found is not None
    return found


def chosen_probes(
    folder: Path, parameters: SearchParameters, documents: Sequence[Document], vectors: Vectors
) -> tuple[int, float]:
    """The fewest cells of PROBES with a recall of LEAST_RECALL, and that recall, as measured with beginnings of documents.

    0 for a SMALL collection, whose passages are all compared.
    """
    index = SearchIndex(folder, INDEX, dimension=parameters.dimension, vocabulary=parameters.vocabulary)
    if index.passages < SMALL:
        return 0, 1.0
    encoder = TextEncoder(folder, parameters)
    chosen = np.random.default_rng(SEED).permutation(len(documents))[:SAMPLE]
    read = [encoder.read(documents[each].text[:BEGINNING]) for each in sorted(chosen)]
    found = list(zip(vectors(read), read, strict=True))
    exact = [_tops(index, parameters, *each, probes=None) for each in found]
    recall = 0.0
    for probes in PROBES:
        near = [_tops(index, parameters, *each, probes=probes) for each in found]
        recall = float(np.mean([len(a & b) / len(a) for a, b in zip(exact, near, strict=True)]))
        if recall >= LEAST_RECALL:
            break
    return probes, recall


def _tops(
    index: SearchIndex, parameters: SearchParameters, vector: Array, read: ReadText, *, probes: int | None
) -> set[int]:
    ranking = index.best(vector, read.token_ids, limit=TOP, lexical=parameters.lexical, probes=probes)
    return {each.document for each in ranking.found}


def _copy_encoder(encoder: Bundle, parameters: EncoderParameters, folder: Path) -> None:
    """Graph, weights beside it, and tokenizer."""
    graph = encoder.model_path
    beside = external_locations(onnx.load(str(graph), load_external_data=False))
    inside = graph.relative_to(encoder.folder)
    for path in (inside, Path(parameters.tokenizer), *(inside.parent / each for each in sorted(beside))):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(encoder.folder / path, folder / path)


def _counts(documents: Sequence[Document], passages: Passages) -> dict[str, Any]:
    return {
        "documents": len(documents),
        "passages": len(passages.places),
        "tokens": sum(each.total() for each in passages.terms),
    }


def _write_texts(
    folder: Path, encoder: Bundle, parameters: SearchParameters, about: About, figures: Mapping[str, Any]
) -> None:
    """Manifest, golden cases and card."""
    rounded = {**figures, "recall": round(figures["recall"], 4)}
    (folder / MANIFEST_NAME).write_text(_manifest(encoder, parameters, about, rounded), encoding="utf-8")
    placeholders = dict.fromkeys(CHECKED)
    cases = [
        {"note": case.note, "input": case.input, "options": {}, "expected": placeholders}
        for case in encoder.golden
    ]
    (folder / GOLDEN_NAME).write_text(json.dumps({"cases": cases}, ensure_ascii=False), encoding="utf-8")
    template = Template(Path(__file__).with_name("card.template.md").read_text(encoding="utf-8"))
    relevance = parameters.relevance
    source = encoder.manifest
    card = template.substitute(
        rounded, name=about.name, title=about.title, license=about.license, made_on=about.made_on.isoformat(),
        compared=_compared(parameters.probes), encoder=parameters.encoder, source=f"{source.name} {source.version}",
        source_license=source.license, digest=encoder.digest,
        abstains="never" if relevance is None else f"where the best similarity is below {relevance.limit}",
    )  # fmt: skip
    (folder / CARD_NAME).write_text(card, encoding="utf-8")


def _compared(probes: int) -> str:
    """Which passages a search compares, for the card."""
    if not probes:
        return "all passages"
    return f"the passages of the {probes} nearest cells of the index, with the option `exact` all of them"


def _manifest(encoder: Bundle, parameters: SearchParameters, about: About, figures: Mapping[str, Any]) -> str:
    source = encoder.manifest
    summary = f"Ranks {figures['documents']} documents by what they have to do with a question."
    own: dict[str, Any] = {
        "name": about.name, "version": "1.0.0", "kind": source.kind, "pipeline": "semantic-search",
        "title": about.title, "summary": summary, "license": about.license,
        "runtime": source.runtime.model_dump(exclude_unset=True),
        "graph": source.graph_tables["model"].model_dump(exclude_unset=True),
        "metrics": figures,
        "parameters": parameters.model_dump(exclude_unset=True) | {"probes": parameters.probes, "index": INDEX},
    }  # fmt: skip
    return toml_text(own)
