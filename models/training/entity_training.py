"""The training of a bundled model of entities, from texts to figures: what the two models that come with medqueue share.

The states of the frozen encoder are computed once. A head is fitted to them by cross-entropy of the tags (Adam with decoupled
weight decay, one cycle of the learning rate, a moving mean of the weights); a tenth of the texts is kept apart for the
temperature and the limit of the novelty. The figures are of other texts, answered by the pipeline with the ONNX file.
"""

from __future__ import annotations

import copy
import time
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.manifest import MODEL
from models.pipelines import Array
from models.pipelines.classification import NOVELTY
from models.pipelines.text_tokens import TextTokenizer
from models.pipelines.token_classification import (
    LOGITS,
    EntitiesResult,
    TokenClassification,
    TokenClassificationParameters,
    entity_spans,
    most_likely_tags,
)
from models.pipelines.typed import NoOptions, TypedCase
from models.sandbox import cpu_session
from models.training.calibration import softmax
from models.training.eight_bits import write_graph
from models.training.encoders import padded
from models.training.entities import IGNORED, Found, Span, Tagged, confidence, figures
from models.training.entity_lexicon import Lexicon
from models.training.entity_models import Head, Pieces, Tagger
from models.training.entity_samples import (
    Recipe,
    Sample,
    lexicon_of,
    marked,
    pieces_of,
    runs,
    samples_of,
    together_padded,
)
from models.training.novelty import Mahalanobis
from models.training.quick_products import quick_products

Floats = NDArray[np.float64]
FEEDS = ("input_ids", "attention_mask")
STEP_TOKENS = 1500
RATE, DECAY, WARM_UP = 3e-3, 0.02, 0.15
WARMTHS = np.arange(6, 31) / 10
PARTS = 10  # of the texts, one of which is kept for calibration
FALSE_ALARMS = 0.01
BATCH = 64


def fitted_head(
    recipe: Recipe, samples: Sequence[Sample], pieces: Pieces, lexicon: Lexicon, seed: int
) -> Head:
    """A head trained on samples: the moving mean of its weights."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    width = recipe.encoder.positions.shape[1]
    head = Head(pieces, width, lexicon.marks, 1 + 2 * recipe.kinds, recipe.sizes)
    mean = copy.deepcopy(head)
    lengths = [len(each.ids) for each in samples]
    plan = [rows for _ in range(recipe.epochs) for rows in runs(lengths, STEP_TOKENS, chance)]
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=len(plan) + 1, pct_start=WARM_UP)
    head.train()
    began, total = time.monotonic(), 0.0
    for step, rows in enumerate(plan, 1):
        loss = _loss(head, [samples[row] for row in rows], pieces)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not say
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        cycle.step()
        _follow(mean, head, 1 - min(0.99, (1 + step) / (10 + step)))
        total += float(loss.detach())
        if step % 100 == 0:
            print(
                f"step {step} of {len(plan)}, loss {total / 100:.4f}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
            total = 0.0
    return mean.eval()


def _loss(head: Head, samples: Sequence[Sample], pieces: Pieces) -> Tensor:
    states, known, mask, tags = together_padded(samples, pieces)
    with quick_products():
        logits = head(states, known, mask)
    return F.cross_entropy(logits.float().flatten(0, 1), tags.flatten(), ignore_index=IGNORED)


@torch.no_grad()
def _follow(mean: Head, head: Head, share: float) -> None:
    for own, other in zip(mean.parameters(), head.parameters(), strict=True):
        own.lerp_(other, share)


def detector_of(samples: Sequence[Sample]) -> Mahalanobis:
    """The detector of novelty, fitted to the mean states of windows."""
    return Mahalanobis(np.stack([each.states.float().mean(0).numpy() for each in samples]))


def warmth_of(heads: Sequence[Head], samples: Sequence[Sample], pieces: Pieces) -> float:
    """The temperature by which the probabilities of entities say best whether they are right (least Brier score)."""
    logits = [logits_of(heads, each, pieces) for each in samples]
    answers = [entities_of(each, sample) for each, sample in zip(logits, samples, strict=True)]
    right = np.array([hit for each in answers for *_, hit in each], np.float64)

    def error(warmth: float) -> float:
        found = [
            softmax(scores / warmth)[first : last + 1, 1 + 2 * kind : 3 + 2 * kind].sum(1).mean()
            for scores, entities in zip(logits, answers, strict=True)
            for kind, first, last, _ in entities
        ]
        return float(((np.array(found) - right) ** 2).mean())

    return float(min(WARMTHS, key=error))


@torch.no_grad()
def logits_of(heads: Sequence[Head], sample: Sample, pieces: Pieces) -> Floats:
    """The mean logits float64 [T,C] of the tokens that have a tag."""
    states, known, mask, _ = together_padded([sample], pieces)
    total = sum(head(states, known, mask)[0].double().numpy() for head in heads)
    found: Floats = np.asarray(total)[np.array(sample.tags) != IGNORED] / len(heads)
    return found


def entities_of(logits: Floats, sample: Sample) -> list[tuple[int, int, int, bool]]:
    """The entities found in a sample, kind, first and last, and whether they are right."""
    right = set(entity_spans([tag for tag in sample.tags if tag != IGNORED]))
    return [(*each, each in right) for each in entity_spans(most_likely_tags(logits))]


class Served:
    """The pipeline with the graph in `folder`, as it will be served."""

    def __init__(self, folder: Path, parameters: TokenClassificationParameters) -> None:
        self._session = cpu_session(folder / "model.onnx", threads=torch.get_num_threads())
        self.kinds = [label.id for label in parameters.labels]
        self._pipeline = TokenClassification(parameters, lambda _: b"")
        self._tagger = self._pipeline.open_bundle(folder)

    def found(self, texts: Sequence[str]) -> list[Found]:
        """The entities of each text."""
        field = self._pipeline.parameters.field
        answers = []
        for start in range(0, len(texts), BATCH):
            inputs = [self._pipeline.input_type(**{field: text}) for text in texts[start : start + BATCH]]
            cases = [TypedCase(each, NoOptions(), {}) for each in inputs]
            answers += [self._found(each) for each in self._tagger.score(self._run, cases)]
        return answers

    def _run(self, feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:  # noqa: ARG002 - there is one
        names = [each.name for each in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))

    def _found(self, result: EntitiesResult) -> Found:
        if result.entities is None:
            return Found(None)
        spans = {
            Span(each.start, each.end, self.kinds.index(each.label)): each.probability
            for each in result.entities
        }
        return Found(spans)


def parameters_of(folder: Path, vocabulary: int, limit: float = 0.0) -> TokenClassificationParameters:
    """The parameters of the manifest's template in `folder`, with figures that are not known yet as 0."""
    known = defaultdict[str, object](int, vocabulary=vocabulary, novelty_limit=limit, metrics="")
    table = tomllib.loads(Template((folder / "manifest.template.toml").read_text()).substitute(known))
    return TokenClassificationParameters.model_validate(table["parameters"])


def train_tagger(folder: Path, recipe: Recipe, documents: Sequence[Sequence[Tagged]]) -> dict[str, Any]:
    """Write model.onnx to `folder` and return the report: settings and limits.

    A document is read text by text and, if it has several, as a whole too. The first tenth is kept for calibration.
    """
    tokenizer = TextTokenizer(folder, recipe.parameters)
    count = len(documents) // PARTS
    kept, fitted = (samples_of(recipe, tokenizer, part) for part in (documents[:count], documents[count:]))
    lexicon, pieces = lexicon_of(recipe, fitted), pieces_of(recipe, fitted)
    fitted = marked(recipe, fitted, lexicon, own=True)
    kept = marked(recipe, kept, lexicon, own=False)
    heads = [fitted_head(recipe, fitted, pieces, lexicon, seed) for seed in recipe.seeds]
    detector = detector_of(fitted)
    warmth = warmth_of(heads, kept, pieces)
    tagger = Tagger(recipe.encoder, pieces, lexicon.module(), heads, novelty=detector, temperature=warmth)
    example = dict(zip(FEEDS, padded([each.ids for each in kept[:3]]), strict=True))
    gap = write_graph(folder / "model.onnx", tagger, example, (LOGITS, NOVELTY))
    with torch.no_grad():
        novelty = np.concatenate([detector(each.states.float().mean(0)[None])[:, 0].numpy() for each in kept])
    limit = round(float(np.quantile(novelty, 1 - FALSE_ALARMS)), 3)
    return {
        "windows": len(fitted), "windows_calibration": len(kept), "heads": len(heads), "lexicon": len(lexicon),
        "temperature": warmth, "novelty_limit": limit, "parity": gap, "seed": recipe.seeds[0],
    }  # fmt: skip


def served_figures(
    served: Served,
    texts: Sequence[Tagged],
    foreign: Mapping[str, Sequence[str]],
    groups: Sequence[int] | int,
    seed: int,
) -> dict[str, Any]:
    """Figures on `texts`, and the shares of them and of each foreign set that the model abstains from."""
    found = served.found([each.text for each in texts])
    alarms = [each.probabilities is None for each in found]
    caught = {
        name: [each.probabilities is None for each in served.found(rows)] for name, rows in foreign.items()
    }
    answered = [(one, each) for one, each, alarm in zip(found, texts, alarms, strict=True) if not alarm]
    return {
        "texts_held_out": len(texts), **figures(found, texts, served.kinds, groups, seed),
        **confidence(*zip(*answered, strict=True)),
        "false_alarm_rate": np.mean(alarms),
        "catch_rate": np.mean([each for rows in caught.values() for each in rows]),
        "caught": {name: np.mean(rows) for name, rows in caught.items()},
    }  # fmt: skip
