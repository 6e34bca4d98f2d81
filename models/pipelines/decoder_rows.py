"""The rows of a decoder's run: tokens of sequences, and the keys and values of them, that continue, leave and are joined.

Shorter sequences stand behind columns of nothing, which the mask hides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from models.lazy import np

if TYPE_CHECKING:
    from models.pipelines.contract import Array

READ_MASK: Final = "encoder_attention_mask"
PAST: Final = "past_key_values"


class Tokens:
    """The tokens of sequences [N,L], of which the shorter ones stand behind columns of nothing."""

    def __init__(self, ids: Array) -> None:
        self.ids = ids
        self._before = np.zeros(len(ids), np.int64)  # columns of nothing

    @property
    def mask(self) -> Array:
        """int64 [N,L]: 0 for the columns of nothing."""
        return (np.arange(self.ids.shape[1]) >= self._before[:, None]).astype(np.int64)

    def places(self, count: int) -> Array:
        """int64 [N,count]: the places of the last tokens in their own sequences."""
        length = self.ids.shape[1]
        places: Array = np.maximum(np.arange(length - count, length) - self._before[:, None], 0)
        return places

    def continued(self, parents: Sequence[int], tokens: Sequence[int]) -> int:
        """Continue the sequences `parents`; how many columns no longer hold any and are cut off in front."""
        before = self._before[list(parents)]
        cut = int(before.min())
        self._before = before - cut
        self.ids = np.column_stack([self.ids[list(parents), cut:], tokens])
        return cut

    def lengthen(self, length: int) -> None:
        """Have `length` tokens, of which the new ones are the last one again."""
        self.ids = np.pad(self.ids, ((0, 0), (0, length - self.ids.shape[1])), mode="edge")

    def join(self, other: Tokens) -> int:
        """Take in others behind these; the length of all."""
        length: int = max(self.ids.shape[1], other.ids.shape[1])
        self._before = np.concatenate([each._before + length - each.ids.shape[1] for each in (self, other)])
        self.ids = np.concatenate([_lengthened(each.ids, 1, length) for each in (self, other)])
        return length


def taken(values: dict[str, Array], parents: Sequence[int], cut: int = 0) -> dict[str, Array]:
    """The rows of each of `values` that are continued, in their order; the same arrays if they all are.

    Of keys and values [N,H,P,D], the first `cut` tokens are left out.
    """
    places = list(parents)
    every = all(len(value) == len(places) for value in values.values()) and places == list(range(len(places)))
    if every and not cut:
        return values
    return {name: value[places, :, cut:] if cut else value[places] for name, value in values.items()}


def as_read(seen: dict[str, Array]) -> dict[str, Array]:
    """Without the columns of the encoder that no sequence reads any more, as the longest text has left."""
    mask = seen[READ_MASK]
    length = mask.shape[1] if mask[:, -1].any() else int(np.flatnonzero(mask.any(axis=0))[-1]) + 1
    if length == mask.shape[1]:
        return seen
    return {
        name: value[:, :, :length] if name.startswith(PAST) else value[:, :length]
        for name, value in seen.items()
    }


def lengthened(cache: Mapping[str, Array], length: int) -> dict[str, Array]:
    """Keys and values [N,H,P,D] of `length` tokens, of which the first have zeros."""
    return {name: _lengthened(value, 2, length) for name, value in cache.items()}


def joined(
    some: Mapping[str, Array], others: Mapping[str, Array], length: int, *, behind: bool = False
) -> dict[str, Array]:
    """The rows of both, each lengthened to `length` tokens: the third axis of keys and values, the second of others."""
    return {
        name: np.concatenate([
            _lengthened(each[name], 2 if name.startswith(PAST) else 1, length, behind=behind)
            for each in (some, others)
        ])
        for name in some
    }  # fmt: skip


def _lengthened(values: Array, axis: int, length: int, *, behind: bool = False) -> Array:
    """With zeros in front, or behind, so that the axis has this length."""
    missing = length - values.shape[axis]
    if not missing:
        return values
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, missing) if behind else (missing, 0)
    return np.pad(values, widths)
