"""Linear heads of classifiers of texts: logistic regression on pooled states, and a linear SVM on n-grams.

Both are convex and fitted to all rows at once, so a training takes seconds and always comes out the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.svm import LinearSVC
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.encoders import Encoder, padded
from models.training.quick_products import quick_products
from models.training.text_models import HASHES, NGrams, Pooled, hashed_n_grams, pooled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Tokens = Sequence[Sequence[int]]

RUN_TOKENS = 4096
MOST_ROWS = 2**16  # what 16 bits can number
LETTERS = range(2, 6)  # of a token, that are counted together
LEAST_TEXTS = 2  # of such letters


@torch.no_grad()
def states_of(encoder: Encoder, tokens: Tokens) -> list[Tensor]:
    """The states bfloat16 [L,H] of each text. See quick_products."""
    encoder.eval()
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    found = [torch.empty(0)] * len(tokens)
    while order:
        rows = order[: max(1, RUN_TOKENS // len(tokens[order[0]]))]
        while len(rows) > 1 and len(rows) * len(tokens[rows[-1]]) > RUN_TOKENS * 3 // 2:
            rows.pop()
        order = order[len(rows) :]
        with quick_products():
            states = encoder(*padded([tokens[row] for row in rows])).bfloat16()
        for row, each in zip(rows, states, strict=True):
            found[row] = each[: len(tokens[row])].clone()
    return found


def pooled_states(states: Sequence[Tensor]) -> Floats:
    """Mean and greatest [N,2H] of the states of each text."""
    ones = (torch.ones(1, len(each)) for each in states)
    rows = [pooled(each.float()[None], mask)[0] for each, mask in zip(states, ones, strict=True)]
    found: Floats = torch.stack(rows).double().numpy()
    return found


def hashes_of(tokens: Tokens) -> list[Ints]:
    """The hashes of the n-grams of each text."""
    return [torch.cat(hashed_n_grams(torch.tensor([ids])), 1)[0].numpy() for ids in tokens]


def n_gram_places(hashes: Sequence[Ints], slots: int, least: int) -> Tensor:
    """The row of each hash below `slots`, int16 [S], see NGrams: n-grams of fewer texts than `least` share the first."""
    texts = np.bincount(np.concatenate([np.unique(each) for each in hashes]), minlength=HASHES)
    used = np.unique(np.flatnonzero(texts >= least) % slots)
    if len(used) >= MOST_ROWS:
        raise ValueError(f"{len(used)} n-grams: keep those of more texts")
    places = np.zeros(slots, np.int64)
    places[used] = np.arange(1, len(used) + 1)
    return torch.from_numpy((places - MOST_ROWS // 2).astype(np.int16))


def n_grams_of(hashes: Sequence[Ints], lengths: Sequence[int], places: Tensor) -> sparse.csr_matrix:
    """How often each known n-gram is in a text, over the root of its length: [N,R]."""
    rows_of = places.numpy().astype(np.int64) + MOST_ROWS // 2
    counts = [len(each) for each in hashes]
    columns = rows_of[np.concatenate(hashes) % len(places)]
    rows = np.repeat(np.arange(len(hashes)), counts)
    values = np.repeat(1 / np.sqrt(np.asarray(lengths, np.float64)), counts) * (columns > 0)
    return sparse.csr_matrix((values, (rows, columns)), (len(hashes), rows_of.max() + 1))


def fit_pooled(states: Sequence[Tensor], classes: Ints, count: int, penalty: float) -> Pooled:
    """Logistic regression on the pooled states of texts, which are brought to one scale on the way."""
    features = pooled_states(states)
    mean, scale = features.mean(0), features.std(0) + 1e-3
    table = torch.from_numpy((features - mean) / scale).float()
    weights, offset = _fit(lambda matrix: table @ matrix, table.shape[1], classes, count, penalty)
    weights = weights / torch.from_numpy(scale).float()[:, None]
    return Pooled(weights=weights, offset=offset - torch.from_numpy(mean).float() @ weights)


def counts_of(tokens: Tokens, known: int) -> sparse.csr_matrix:
    """How often each of the `known` tokens is in a text, over the root of its length: [N,V]."""
    lengths = [len(each) for each in tokens]
    rows, columns = np.repeat(np.arange(len(tokens)), lengths), np.concatenate(tokens)
    values = np.repeat(1 / np.sqrt(np.asarray(lengths, np.float64)), lengths)
    return sparse.csr_matrix((values, (rows, columns)), (len(tokens), known))


def letters_of(tokenizer: Tokenizer) -> sparse.csr_matrix:
    """How often each run of LETTERS letters is in each token of WordPiece [V,G]; a space marks where a word begins or ends."""
    forms = [tokenizer.id_to_token(each) for each in range(tokenizer.get_vocab_size())]
    spaced = [f"{form[2:]} " if form.startswith("##") else f" {form} " for form in forms]
    runs = [
        []
        if form.startswith("[")
        else [text[at : at + n] for n in LETTERS for at in range(len(text) - n + 1)]
        for form, text in zip(forms, spaced, strict=True)
    ]
    places = {run: place for place, run in enumerate(sorted({run for each in runs for run in each}))}
    rows = np.repeat(np.arange(len(runs)), [len(each) for each in runs])
    columns = [places[run] for each in runs for run in each]
    return sparse.csr_matrix((np.ones(len(columns)), (rows, columns)), (len(runs), len(places)))


@dataclass(frozen=True)
class Counted:
    """What a linear SVM of n-grams is fitted to: n-grams [N,R] by `places`, tokens [N,V], classes [N], and weights [N]."""

    n_grams: sparse.csr_matrix
    tokens: sparse.csr_matrix
    classes: Ints
    shares: Floats


def fit_n_grams(
    rows: Counted, count: int, places: Tensor, letters: sparse.csr_matrix, strength: float
) -> NGrams:
    """A linear SVM of n-grams and of the `letters` [V,G] of tokens, rare ones weighted up.

    A token weighs what its letters do, which related words share. A class without rows gets the least offset of all.
    """
    lettered = rows.tokens @ letters
    rarity = [_rarity(rows.n_grams, 1), _rarity(lettered, LEAST_TEXTS)]
    scaled = [each @ sparse.diags(by) for each, by in zip((rows.n_grams, lettered), rarity, strict=True)]
    machine = LinearSVC(C=strength, random_state=0)
    machine.fit(sparse.hstack(scaled).tocsr(), rows.classes, sample_weight=rows.shares)
    offset = np.full(count, machine.intercept_.min())
    offset[machine.classes_] = machine.intercept_
    weights = np.zeros((sum(map(len, rarity)), count))
    weights[:, machine.classes_] = machine.coef_.T * np.concatenate(rarity)[:, None]
    of_n_grams, of_letters = np.split(weights, [len(rarity[0])])
    tables = {"weights": of_n_grams, "tokens": letters @ of_letters, "offset": offset}
    return NGrams(places=places, **{name: torch.from_numpy(each).float() for name, each in tables.items()})


def _rarity(counts: sparse.csr_matrix, least: int) -> Floats:
    """A weight for each column, 0 where fewer than `least` rows have it; rows so weighted are of length 1 on average."""
    texts = np.bincount(counts.indices, counts.data > 0, minlength=counts.shape[1])
    found: Floats = (np.log((1 + counts.shape[0]) / (1 + texts)) + 1) * (texts >= least)
    return found / np.sqrt((counts @ sparse.diags(found)).power(2).sum() / counts.shape[0])


def _fit(
    product: Callable[[Tensor], Tensor], width: int, classes: Ints, count: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression by L-BFGS, the squares of the weights times `penalty` added to the mean loss."""
    weights, offset = (torch.zeros(shape, requires_grad=True) for shape in ((width, count), (count,)))
    targets = torch.from_numpy(classes)
    optimiser = torch.optim.LBFGS(
        [weights, offset], max_iter=40, history_size=8, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        found = F.cross_entropy(product(weights) + offset, targets) + penalty * weights.pow(2).sum()
        found.backward()
        return found

    optimiser.step(loss)
    return weights.detach(), offset.detach()
