"""`token-classification`: a text in, the entities that it names out: their places, texts and types.

The graph takes `input_ids` and `attention_mask` int64 [N,L] (and `token_type_ids`, if the manifest says so), as exports from
Hugging Face do, and gives `logits` float32 [N,L,1+2K] for K types: outside, then begin and inside of each type in the order of
`labels` (the scheme BIO: Ramshaw and Marcus 1995). The most likely sequence of tags in which nothing is inside that did not
begin is found by dynamic programming (Viterbi 1967). With `unit = "words"` each word has the tag of its first token, as models
need that were trained on those alone. A long text is read in windows; each token counts where it has more text on both sides.

The model abstains from a text that it cannot read to the end, from one with too many unknown tokens and, if the manifest has
a limit to `novelty` float32 [N,1], an output of the graph, from one unlike what it was trained on: the mean over its windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from pydantic import Field, model_validator

from models.lazy import np
from models.manifest import MODEL
from models.pipelines.classification import NOVELTY
from models.pipelines.classification_parameters import LabelParameters, Novelty, Share
from models.pipelines.contract import ANY_LENGTH, GraphSpec, Label, PredictionInvalid, Run, TensorSpec
from models.pipelines.one_text import (
    Count,
    OneText,
    OneTextParameters,
    TextInput,
    TokenCount,
    Truncated,
    WindowCount,
)
from models.pipelines.text_tokens import (
    ReadText,
    TextTokenizer,
    feeds_of_windows,
    runs_of_windows,
    text_feeds,
)
from models.pipelines.typed import NoOptions, TypedCase, TypedPipeline, TypedResult
from models.pipelines.typed_classification import Coding

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from models.pipelines.contract import Array

LOGITS: Final = "logits"


class TokenClassificationParameters(OneTextParameters):
    """The `[parameters]` table of a token classification manifest. An entity of less than `least_probability` is left out."""

    labels: Annotated[tuple[LabelParameters, ...], Field(min_length=1, max_length=500, strict=False)]
    least_probability: Share = 0.0
    unit: Annotated[
        Literal["tokens", "words"],
        Field(description="what has one tag: each token, or each word that of its first"),
    ] = "tokens"
    novelty: Novelty | None = None

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if len({label.id for label in self.labels}) < len(self.labels):
            raise ValueError("labels: give each label its own id")
        return self


class Entity(TypedResult):
    """What the text names between two places, counted in code points of the text as it was sent; `end` is behind it."""

    start: Count
    end: Count
    text: str
    label: str
    display: str
    code: Coding | None
    probability: Annotated[
        Share, Field(description="mean over its tokens or words of the probability of its type")
    ]


class EntitiesResult(TypedResult):
    """The entities of a text, in its order. They are null when the model abstained."""

    type: Literal["entities"] = "entities"
    entities: list[Entity] | None
    abstained: bool
    abstain_reason: str | None
    tokens: TokenCount
    windows: WindowCount
    truncated: Truncated


class TokenClassification(
    OneText, TypedPipeline[TokenClassificationParameters, TextInput, EntitiesResult, NoOptions]
):
    """The pipeline. Immutable once made."""

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See the module."""
        tags = 1 + 2 * len(self.parameters.labels)
        logits = TensorSpec(LOGITS, "float32", (ANY_LENGTH, tags))
        novelty = () if self.parameters.novelty is None else (TensorSpec(NOVELTY, "float32", (1,)),)
        return {MODEL: GraphSpec(text_feeds(self.parameters), (logits, *novelty))}

    def labels(self) -> list[Label]:
        """The types of entities, in the graph's order."""
        return [Label(**label.model_dump()) for label in self.parameters.labels]

    def open_bundle(self, folder: Path) -> Tagger:
        """See TypedPipeline. Raises BundleRefused if the tokenizer is damaged or another model's."""
        return Tagger(self.parameters, TextTokenizer(folder, self.parameters))


class Tokens(NamedTuple):
    """The tokens of a whole text, or its words: their offsets [T] and logits float64 [T,1+2K]."""

    offsets: Sequence[tuple[int, int]]
    logits: NDArray[np.float64]


class WindowScores(NamedTuple):
    """What the graph gave for a window: logits float64 [L,1+2K] without padding, and its novelty, 0 where there is no limit."""

    logits: NDArray[np.float64]
    novelty: float


class Tagger:
    """What scores: windows of like length in one run, then one sequence of tags for each text."""

    def __init__(self, parameters: TokenClassificationParameters, tokenizer: TextTokenizer) -> None:
        self._parameters = parameters
        self._tokenizer = tokenizer

    def score(self, run: Run, cases: Sequence[TypedCase[TextInput, NoOptions]]) -> list[EntitiesResult]:
        """See TypedScoring."""
        texts = [str(getattr(case.input, self._parameters.field)) for case in cases]
        read = [self._tokenizer.read(text) for text in texts]
        scores = iter(self._scores(run, read))
        return [
            self._result(text, each, [next(scores) for _ in each.windows])
            for text, each in zip(texts, read, strict=True)
        ]

    def _scores(self, run: Run, read: Sequence[ReadText]) -> list[WindowScores]:
        """What the graph gives for each window of the texts, in order. Raises PredictionInvalid."""
        windows = [window for text in read for window in text.windows]
        texts = [row for row, text in enumerate(read) for _ in text.windows]
        found: dict[int, WindowScores] = {}
        for rows, length in runs_of_windows(windows):
            given = run(feeds_of_windows([windows[row] for row in rows], length, self._parameters))
            logits = np.asarray(given[LOGITS], np.float64)
            novelty = self._novelty(given, len(rows))
            wanted = (len(rows), length, 1 + 2 * len(self._parameters.labels))
            if logits.shape != wanted or novelty.shape != (len(rows), 1):
                reason = f"{LOGITS} has the shape {logits.shape}, {NOVELTY} {novelty.shape}"
                raise PredictionInvalid(tuple({texts[row] for row in rows}), reason)
            for place, row in enumerate(rows):
                found[row] = WindowScores(logits[place, : len(windows[row].ids)], float(novelty[place, 0]))
        for name in WindowScores._fields:
            bad = {text for row, text in enumerate(texts) if not np.isfinite(getattr(found[row], name)).all()}
            if bad:
                raise PredictionInvalid(tuple(sorted(bad)), f"{name} holds what is not a finite number")
        return [found[row] for row in range(len(windows))]

    def _novelty(self, given: Mapping[str, Array], count: int) -> NDArray[np.float64]:
        if self._parameters.novelty is None:
            return np.zeros((count, 1))
        return np.asarray(given[NOVELTY], np.float64)

    def _result(self, text: str, read: ReadText, scores: Sequence[WindowScores]) -> EntitiesResult:
        reason = read.unread(self._parameters) or self._unlike(read, scores)
        tokens = _joined(read, [each.logits for each in scores], self._parameters)
        return EntitiesResult(
            entities=None if reason else list(self._entities(text, tokens)),
            abstained=reason is not None,
            abstain_reason=reason,
            tokens=read.tokens,
            windows=len(read.windows),
            truncated=read.truncated,
        )

    def _unlike(self, read: ReadText, scores: Sequence[WindowScores]) -> str | None:
        """Why the text is unlike the training data: its novelty is the mean over its windows, weighted by their tokens."""
        limit = self._parameters.novelty
        if limit is None:
            return None
        weights = [max(window.tokens, 1) for window in read.windows]
        novelty = np.average([each.novelty for each in scores], weights=weights)
        return limit.reason if novelty >= limit.limit else None

    def _entities(self, text: str, tokens: Tokens) -> Iterator[Entity]:
        shares = _softmax(tokens.logits)
        for kind, first, last in entity_spans(most_likely_tags(tokens.logits)):
            probability = float(shares[first : last + 1, 1 + 2 * kind : 3 + 2 * kind].sum(axis=1).mean())
            start, end = tokens.offsets[first][0], tokens.offsets[last][1]
            named = text[start:end].strip()
            if named and probability >= self._parameters.least_probability:
                start += len(text[start:end]) - len(text[start:end].lstrip())
                label = self._parameters.labels[kind]
                coding = Coding(system=label.system, code=label.code) if label.system and label.code else None
                yield Entity(
                    start=start,
                    end=start + len(named),
                    text=named,
                    label=label.id,
                    display=label.display,
                    code=coding,
                    probability=min(probability, 1.0),
                )


def _joined(read: ReadText, logits: Sequence[Array], parameters: TokenClassificationParameters) -> Tokens:
    """The tokens of all windows but special ones, each once: what two windows share is cut in the middle."""
    overlap = parameters.overlap
    offsets: list[tuple[int, int]] = []
    words: list[int | None] = []
    kept: list[Array] = []
    last = len(read.windows) - 1
    for place, (window, given) in enumerate(zip(read.windows, logits, strict=True)):
        rows = [row for row, special in enumerate(window.special) if not special]
        rows = rows[
            overlap // 2 if place else 0 : len(rows) - (overlap - overlap // 2 if place < last else 0)
        ]
        offsets += [window.offsets[row] for row in rows]
        words += [window.words[row] for row in rows]
        kept.append(given[rows])
    every = Tokens(offsets, np.concatenate(kept))
    return _by_word(every, words) if parameters.unit == "words" else every


def _by_word(tokens: Tokens, words: Sequence[int | None]) -> Tokens:
    """The words of tokens: each from its first token to its last, with the logits of the first."""
    first = [row for row, word in enumerate(words) if row == 0 or word != words[row - 1]]
    ends = [*first[1:], len(words)]
    places = [
        (tokens.offsets[start][0], tokens.offsets[end - 1][1]) for start, end in zip(first, ends, strict=True)
    ]
    return Tokens(places, tokens.logits[first])


def most_likely_tags(logits: NDArray[np.float64]) -> NDArray[np.int64]:
    """The most likely tags int64 [T] of logits [T,1+2K]: inside a type comes only behind begin or inside of the same type."""
    count = len(logits)
    begin, inside = slice(1, None, 2), slice(2, None, 2)
    score = logits[0].copy() if count else np.empty(0)
    score[inside] = -np.inf
    came = np.zeros(logits.shape, np.int64)
    own = np.arange(logits.shape[1])
    for row in range(1, count):
        came[row] = score.argmax()
        stays = score[inside] >= score[begin]
        came[row, inside] = np.where(stays, own[inside], own[begin])
        score = score[came[row]] + logits[row]
    tags = np.zeros(count, np.int64)
    for row in range(count - 1, -1, -1):
        tags[row] = score.argmax() if row == count - 1 else came[row + 1, tags[row + 1]]
    return tags


def entity_spans(tags: Sequence[int] | NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """The entities of tags: type, first token, last token."""
    first = -1
    for row, tag in enumerate([*map(int, tags), 0]):
        if tag and tag % 2 == 0 and first >= 0:
            continue
        if first >= 0:
            yield (int(tags[first]) - 1) // 2, first, row - 1
        first = row if tag else -1


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


load = TokenClassification.load
