"""Linear heads on frozen encoders of texts: multinomial logistic regression on pooled states, and on n-grams of tokens.

Both are convex and fitted by L-BFGS on all rows at once, so a training takes seconds and always comes out the same.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.encoders import Encoder, padded
from models.training.text_models import hashed_n_grams, pooled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Tokens = Sequence[Sequence[int]]

RUN_TOKENS = 4096


@torch.no_grad()
def features_of(encoder: Encoder, tokens: Tokens) -> Floats:
    """The pooled states [N,2H] of texts. Products are in bfloat16, which costs a quarter of float32."""
    encoder.eval()
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    found = np.empty((len(tokens), 2 * encoder.positions.shape[1]))
    while order:
        rows = order[: max(1, RUN_TOKENS // len(tokens[order[0]]))]
        while len(rows) > 1 and len(rows) * len(tokens[rows[-1]]) > RUN_TOKENS * 3 // 2:
            rows.pop()
        order = order[len(rows) :]
        ids, mask = padded([tokens[row] for row in rows])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = encoder(ids, mask)
        found[rows] = pooled(states.float(), mask).double().numpy()
    return found


def n_grams_of(tokens: Tokens, buckets: int) -> sparse.csr_matrix:
    """How often each hashed n-gram is in a text, over the root of its tokens: [N, buckets]."""
    rows, columns, values = [], [], []
    for row, ids in enumerate(tokens):
        found = torch.cat(hashed_n_grams(torch.tensor([ids]), buckets), 1)[0].numpy()
        rows.append(np.full(len(found), row))
        columns.append(found)
        values.append(np.full(len(found), 1 / np.sqrt(len(ids))))
    places = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix((np.concatenate(values), places), (len(tokens), buckets), dtype=np.float32)


def rarity(n_grams: sparse.csr_matrix) -> Floats:
    """Inverse document frequency of each bucket, with a mean of 1."""
    texts = np.bincount(n_grams.indices, minlength=n_grams.shape[1])
    found = np.log((1 + n_grams.shape[0]) / (1 + texts)) + 1
    weights: Floats = found / found.mean()
    return weights


def fit_dense(features: Floats, classes: Ints, count: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights [F,C] and offset [C] of features [N,F], which are brought to one scale on the way."""
    mean, scale = features.mean(0), features.std(0) + 1e-3
    table = torch.from_numpy((features - mean) / scale).float()
    weights, offset = _fit(lambda matrix: table @ matrix, table.shape[1], classes, count, penalty)
    weights = weights / torch.from_numpy(scale).float()[:, None]
    return weights, offset - torch.from_numpy(mean).float() @ weights


def fit_sparse(
    n_grams: sparse.csr_matrix, classes: Ints, count: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """The same of n-grams [N,F], rare ones weighted up."""
    rare = rarity(n_grams)
    table = (n_grams @ sparse.diags(rare)).tocsr().astype(np.float32)
    turned = table.T.tocsr()

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(_: object, matrix: Tensor) -> Tensor:
            return torch.from_numpy(table @ matrix.detach().numpy())

        @staticmethod
        def backward(_: object, gradient: Tensor) -> Tensor:
            return torch.from_numpy(turned @ gradient.numpy())

    weights, offset = _fit(Product.apply, table.shape[1], classes, count, penalty)
    return weights * torch.from_numpy(rare).float()[:, None], offset


def _fit(
    product: Callable[[Tensor], Tensor], width: int, classes: Ints, count: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression, the squares of the weights times `penalty` added to the mean loss."""
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
