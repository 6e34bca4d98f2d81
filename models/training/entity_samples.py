"""Windows of texts with tags, as a tagger is fitted to them: states of the frozen encoder, and marks of a lexicon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from models.pipelines.text_tokens import TextTokenizer, Window
from models.pipelines.token_classification import TokenClassificationParameters, entity_spans
from models.training.encoders import Encoder, padded
from models.training.entities import IGNORED, Tagged, tags_of, together
from models.training.entity_lexicon import Lexicon, Named
from models.training.entity_models import Known, Pieces, Sizes
from models.training.quick_products import quick_products

RUN_TOKENS = 8192
FOLDS = 10
LEAST_COUNT = 3  # occurrences of a piece of which heads learn


@dataclass(frozen=True)
class Recipe:
    """How a tagger is made. `rows` and `forms` [V] are each token's row of the encoder and the number of its form."""

    encoder: Encoder
    rows: Tensor
    forms: Tensor
    parameters: TokenClassificationParameters
    epochs: int
    seeds: Sequence[int]
    sizes: Sizes = field(default_factory=Sizes)

    @property
    def kinds(self) -> int:
        return len(self.parameters.labels)


@dataclass(frozen=True)
class Sample:
    """A window: its tags [L], states bfloat16 [L,H], the fold of its text, and marks [L,LONGEST]."""

    ids: list[int]
    tags: list[int]
    states: Tensor
    fold: int
    marks: Tensor

    def entities(self) -> list[tuple[int, int, int]]:
        """The entities: first token, behind the last, kind. Tokens without a tag belong to the one before."""
        tagged = [row for row, tag in enumerate(self.tags) if tag != IGNORED]
        ends = [*tagged[1:], len(self.ids) - 1]
        found = entity_spans([self.tags[row] for row in tagged])
        return [(tagged[first], ends[last], kind) for kind, first, last in found]


def samples_of(
    recipe: Recipe, tokenizer: TextTokenizer, documents: Sequence[Sequence[Tagged]]
) -> list[Sample]:
    """The windows of documents, as the pipeline reads them, without marks: each text, and several together as a whole."""
    windows: list[tuple[Window, Tagged, int]] = [
        (window, each, place * FOLDS // len(documents))
        for place, document in enumerate(documents)
        for each in _readings(document)
        for window in tokenizer.read(each.text).windows
    ]
    states = _states_of(recipe, [window.ids for window, *_ in windows])
    return [
        Sample(window.ids, tags_of(window, each.spans, recipe.parameters.unit), own, fold, torch.empty(0))
        for (window, each, fold), own in zip(windows, states, strict=True)
    ]


def lexicon_of(recipe: Recipe, samples: Sequence[Sample]) -> Lexicon:
    """The entities that samples name."""
    return Lexicon(
        [Named(rows_of(recipe, each), each.entities(), each.fold) for each in samples], recipe.kinds
    )


def pieces_of(recipe: Recipe, samples: Sequence[Sample]) -> Pieces:
    """What reads tokens, with the pieces that are common in samples."""
    counts = Counter(row for each in samples for row in rows_of(recipe, each))
    common = sorted(row for row, count in counts.items() if count >= LEAST_COUNT)
    return Pieces(recipe.rows, recipe.forms, common)


def marked(recipe: Recipe, samples: Sequence[Sample], lexicon: Lexicon, *, own: bool) -> list[Sample]:
    """Samples with marks; `own` says that the lexicon has their own entities, which are left out of account."""
    return [
        replace(each, marks=lexicon.of(rows_of(recipe, each), each.fold if own else None)) for each in samples
    ]


def rows_of(recipe: Recipe, sample: Sample) -> list[int]:
    """The encoder's rows of a sample's tokens."""
    found: list[int] = recipe.rows[torch.tensor(sample.ids)].tolist()
    return found


def together_padded(samples: Sequence[Sample], pieces: Pieces) -> tuple[Tensor, Known, Tensor, Tensor]:
    """States [N,L,H], what is known, mask and tags [N,L] of samples, padded to the longest."""
    ids, mask = padded([each.ids for each in samples])
    tags, _ = padded([[tag - IGNORED for tag in each.tags] for each in samples])
    states, marks = (
        torch.nn.utils.rnn.pad_sequence(each, batch_first=True)
        for each in ([each.states for each in samples], [each.marks for each in samples])
    )
    _, numbers, forms = pieces(ids)
    return states.float(), Known(numbers, forms, marks), mask, tags + IGNORED


def runs(
    lengths: Sequence[int], tokens: int, chance: np.random.Generator | None = None
) -> Iterator[list[int]]:
    """Rows of like length, of at most so many tokens together with padding; in an order by `chance`, if given."""
    keys = np.array(lengths, np.float64)
    if chance is not None:
        keys = keys * (1 + 0.3 * chance.random(len(keys)))
    found: list[list[int]] = [[]]
    longest = 0
    for row in np.argsort(keys, kind="stable").tolist():
        longest = max(longest, lengths[row])
        if found[-1] and (len(found[-1]) + 1) * longest > tokens:
            found.append([])
            longest = lengths[row]
        found[-1].append(row)
    order = range(len(found)) if chance is None else chance.permutation(len(found)).tolist()
    yield from (found[place] for place in order)


@torch.no_grad()
def _states_of(recipe: Recipe, ids: Sequence[list[int]]) -> list[Tensor]:
    states: list[Tensor] = [torch.empty(0)] * len(ids)
    for rows in runs([len(each) for each in ids], RUN_TOKENS):
        given, mask = padded([ids[row] for row in rows])
        with quick_products():
            found = recipe.encoder(recipe.rows[given], mask)
        for place, row in enumerate(rows):
            states[row] = found[place, : len(ids[row])].bfloat16().clone()
    return states


def _readings(document: Sequence[Tagged]) -> list[Tagged]:
    return [*document, together(document)] if len(document) > 1 else list(document)
