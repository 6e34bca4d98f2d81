"""`semantic-search`: a question in, a ranked list of documents out, each with its best passage, link and scores.

An encoder (see text_vectors) makes a unit vector of the question; the passages of a collection have theirs in the index of
the bundle (see search_index), made by `medqueue models index`. A document is ranked by the cosine of question and passage, and
by the words that both have in common (BM25). The model abstains where the best cosine of any passage is below a limit: the
collection then has nothing about the question, such as one of another kind or in another language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from models.manifest import MODEL, ManifestTable, Text
from models.pipelines.classification_parameters import Share
from models.pipelines.contract import GraphSpec, Run
from models.pipelines.one_text import Count, OneText
from models.pipelines.search_index import Found, SearchIndex
from models.pipelines.text_tokens import ReadText
from models.pipelines.text_vectors import EncoderParameters, TextEncoder, encoder_graph
from models.pipelines.typed import TypedCase, TypedInput, TypedOptions, TypedPipeline, TypedResult
from models.pipelines.typed_classification import Coding

if TYPE_CHECKING:
    from models.pipelines.contract import Array

MOST_HITS: Final = 100
DECIMALS: Final = 6
Cosine = Annotated[float, Field(ge=-1.001, le=1.001)]


class Relevance(ManifestTable):
    """Below which similarity of the best passage the model abstains, and what that costs and catches."""

    limit: Annotated[float, Field(ge=-1, le=1)]
    false_alarm_rate: Share
    catch_rate: Share
    foreign_set: Text
    source: Text
    reason: Text = "no passage of the collection is about this"


class SearchParameters(EncoderParameters):
    """The `[parameters]` table of a semantic search manifest."""

    index: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="folder of the index")] = (
        "index"
    )
    lexical: Annotated[float, Field(ge=0, le=10, description="weight of BM25 beside the similarity")] = 0.0
    probes: Annotated[
        int,
        Field(
            ge=0,
            description="cells that a search which is not `exact` looks into; 0 compares all passages every time",
        ),
    ] = 32
    relevance: Relevance | None = None


class Question(TypedInput):
    """A question, in the manifest's `field`."""


class SearchOptions(TypedOptions):
    """How many documents are ranked, and how."""

    limit: Annotated[int, Field(ge=1, le=MOST_HITS, description="most documents of the answer")] = 10
    exact: Annotated[bool, Field(description="compare all passages, not only those of the nearest cells")] = (
        False
    )


class Hit(TypedResult):
    """A document, by its best passage."""

    rank: Annotated[int, Field(ge=1)]
    id: str
    title: str | None
    url: str | None
    codes: list[Coding]
    text: Annotated[str, Field(description="the passage")]
    start: Annotated[Count, Field(description="of the passage in the document's text, in code points")]
    end: Count
    score: Annotated[float, Field(description="what the documents are ranked by")]
    similarity: Annotated[Cosine, Field(description="cosine of question and passage")]


class SearchResult(TypedResult):
    """A ranked list. It is empty when the model abstained."""

    type: Literal["search"] = "search"
    hits: list[Hit]
    best_similarity: Annotated[Cosine, Field(description="of any passage")]
    abstained: bool
    abstain_reason: str | None
    exact: bool
    documents: Annotated[Count, Field(description="of the collection")]
    tokens: Annotated[Count, Field(description="of the question, as the model's tokenizer cuts it")]
    windows: Annotated[Count, Field(description="in which it was read")]
    truncated: Annotated[
        bool, Field(description="the question is longer than was read; the model then abstains")
    ]


Case = TypedCase[Question, SearchOptions]


class SemanticSearch(OneText, TypedPipeline[SearchParameters, Question, SearchResult, SearchOptions]):
    """The pipeline. Immutable once made."""

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See text_vectors."""
        return {MODEL: encoder_graph(self.parameters)}

    def open_bundle(self, folder: Path) -> Searcher:
        """See TypedPipeline. Raises BundleRefused if tokenizer or index are damaged or another model's."""
        given = self.parameters
        index = SearchIndex(folder, given.index, dimension=given.dimension, vocabulary=given.vocabulary)
        return Searcher(given, TextEncoder(folder, given), index)


class Searcher:
    """What scores: the questions of a batch are encoded together, and each searched for on its own."""

    def __init__(self, parameters: SearchParameters, encoder: TextEncoder, index: SearchIndex) -> None:
        self._parameters = parameters
        self._encoder = encoder
        self._index = index

    def score(self, run: Run, cases: Sequence[Case]) -> list[SearchResult]:
        """See TypedScoring."""
        read = [self._encoder.read(getattr(case.input, self._parameters.field)) for case in cases]
        vectors = self._encoder.vectors(run, read)
        return [self._result(*each) for each in zip(cases, read, vectors, strict=True)]

    def _result(self, case: Case, text: ReadText, vector: Array) -> SearchResult:
        given, options = self._parameters, case.options
        probes = None if options.exact else given.probes or None
        ranking = self._index.best(
            vector, text.token_ids, limit=options.limit, lexical=given.lexical, probes=probes
        )
        reason = text.unread(given) or self._irrelevant(ranking.similarity)
        return SearchResult(
            hits=[] if reason else [self._hit(rank, each) for rank, each in enumerate(ranking.found, 1)],
            best_similarity=round(ranking.similarity, DECIMALS),
            abstained=reason is not None,
            abstain_reason=reason,
            exact=probes is None,
            documents=self._index.documents,
            tokens=text.tokens,
            windows=len(text.windows),
            truncated=text.truncated,
        )

    def _irrelevant(self, best: float) -> str | None:
        relevance = self._parameters.relevance
        return relevance.reason if relevance is not None and best < relevance.limit else None

    def _hit(self, rank: int, found: Found) -> Hit:
        document, (start, end) = self._index.document(found.document), self._index.place(found.passage)
        return Hit(
            rank=rank,
            id=document["id"],
            title=document["title"],
            url=document["url"],
            codes=[Coding(**code) for code in document["codes"]],
            text=document["text"][start:end],
            start=start,
            end=end,
            score=round(found.score, DECIMALS),
            similarity=round(found.similarity, DECIMALS),
        )


load = SemanticSearch.load
