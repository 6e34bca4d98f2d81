"""A matcher of two texts: the states of a frozen encoder, aligned between the texts (Parikh et al. 2016; Chen et al. 2017).

Both texts are one row of tokens, of type 0 and 1. The encoder reads each as if it stood alone, and the answer is the same in
either order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.encoders import Encoder, mean_state
from models.training.novelty import Mahalanobis

SPECIAL = 4  # ids below are special tokens


class Alignment(nn.Module):
    """Logits [N] that two texts mean the same: states [N,L,H], ids, mask and types [N,L].

    Each token is compared with a mixture of the other text's tokens that are like it, with the nearest of them, and whether the
    other text has the same token; `rarity` [V,1] says how few texts have it. States are brought to one scale by `mean` and
    `scale` [H].
    """

    mean: Tensor
    scale: Tensor
    rarity: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, rarity: Tensor, width: int) -> None:
        super().__init__()
        for name, each in (("mean", mean), ("scale", scale), ("rarity", rarity)):
            self.register_buffer(name, each)
        self.inner, self.key = nn.Linear(len(mean), width), nn.Linear(len(mean), width)
        self.sharpness = nn.Parameter(torch.tensor(16.0))
        self.compared, self.joined = nn.Linear(4 * width + 3, width), nn.Linear(4 * width + 1, width)
        self.outer, self.dropout = nn.Linear(width, 1), nn.Dropout(0.2)

    def forward(self, states: Tensor, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        shown = mask.float() * (ids >= SPECIAL).float()
        states = self.dropout((states - self.mean) / self.scale)
        inner, keys = F.gelu(self.inner(states)).float(), F.normalize(self.key(states).float(), dim=2)
        other = (types.unsqueeze(1) != types.unsqueeze(2)).float() * shown.unsqueeze(1)
        alike = keys @ keys.transpose(1, 2)
        mixed = torch.softmax(alike * self.sharpness - (1 - other) * 1e4, 2) @ inner
        nearest = (alike - (1 - other) * 3).amax(2).clamp(min=-1.0)
        equal = ((ids.unsqueeze(1) == ids.unsqueeze(2)).float() * other).amax(2)
        rare = F.embedding(ids, self.rarity)[..., 0]
        flags = torch.stack([nearest, equal, rare], 2)
        parts = [inner, mixed, (inner - mixed).abs(), inner * mixed, flags]
        tokens = F.gelu(self.compared(torch.cat(parts, 2))).float()
        first, second = (self._side(tokens, shown * (types == each).float()) for each in (0, 1))
        means = [
            (states * (shown * rare * (types == each).float()).unsqueeze(2)).sum(1).float() for each in (0, 1)
        ]
        cosine = F.cosine_similarity(*means).unsqueeze(1)
        joined = self.joined(self.dropout(torch.cat([first + second, (first - second).abs(), cosine], 1)))
        logits: Tensor = self.outer(self.dropout(F.gelu(joined)))[:, 0].float()
        return logits

    @staticmethod
    def _side(tokens: Tensor, here: Tensor) -> Tensor:
        """Mean and greatest [N,2W] of one text's tokens."""
        shown = here.unsqueeze(2)
        mean = (tokens * shown).sum(1) / shown.sum(1).clamp(min=1.0)
        return torch.cat([mean, (tokens - (1 - shown) * 1e4).amax(1).clamp(min=-1.0)], 1)


class Matcher(nn.Module):
    """What is exported: feeds int64 [N,L] to the probability [N,1] that two texts mean the same, by Platt's scaling, and
    novelty [N,1], the greater one of both texts.
    """

    def __init__(
        self, encoder: Encoder, head: Alignment, novelty: Mahalanobis, slope: float, offset: float
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.novelty, self.slope, self.offset = encoder, head, novelty, slope, offset

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        states = self.encoder(input_ids, attention_mask, token_type_ids)
        logits = self.head(states, input_ids, attention_mask, token_type_ids)
        sides = (attention_mask * (1 - token_type_ids), attention_mask * token_type_ids)
        first, second = (self.novelty(mean_state(states, side)) for side in sides)
        return torch.sigmoid(self.slope * logits + self.offset).unsqueeze(1), torch.maximum(first, second)
