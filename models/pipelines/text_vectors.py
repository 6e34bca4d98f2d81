"""Vectors of texts: what an encoder is fed, and how the outputs of its graph become one unit vector for each text.

Shared by the pipelines that answer with vectors, and by those that search with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from models.lazy import np
from models.pipelines.contract import ANY_LENGTH, GraphSpec, PredictionInvalid, Run, TensorSpec
from models.pipelines.one_text import OneTextParameters
from models.pipelines.text_tokens import (
    ReadText,
    TextTokenizer,
    feeds_of_windows,
    runs_of_windows,
    text_feeds,
)

if TYPE_CHECKING:
    from models.pipelines.contract import Array

VECTOR: Final = "vector"
HIDDEN: Final = "hidden"


class EncoderParameters(OneTextParameters):
    """What every pipeline with an encoder has in its `[parameters]`."""

    encoder: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            description="name of the encoder: vectors of different ones must not be compared",
        ),
    ]
    dimension: Annotated[int, Field(ge=2, le=65_536, description="numbers of a vector")]
    pooling: Annotated[
        Literal["none", "mean", "first"],
        Field(description="how the graph's `hidden` becomes a vector; `none` if it gives `vector`"),
    ] = "none"


def encoder_graph(parameters: EncoderParameters) -> GraphSpec:
    """The graph: `vector` float32 [N,D], or with a pooling `hidden` float32 [N,L,D]."""
    size = parameters.dimension
    vector = TensorSpec(VECTOR, "float32", (size,))
    hidden = TensorSpec(HIDDEN, "float32", (ANY_LENGTH, size))
    return GraphSpec(text_feeds(parameters), (vector if parameters.pooling == "none" else hidden,))


class TextEncoder:
    """The tokenizer and pooling of an encoder. Immutable; serves all threads."""

    def __init__(self, folder: Path, parameters: EncoderParameters) -> None:
        """Raises BundleRefused if the tokenizer is damaged, or is not the model's."""
        self._parameters = parameters
        self._tokenizer = TextTokenizer(folder, parameters)

    def read(self, text: str) -> ReadText:
        """The windows of a text."""
        return self._tokenizer.read(text)

    def vectors(self, run: Run, read: Sequence[ReadText]) -> Array:
        """Unit vectors float64 [N,D]: the mean over a text's windows, weighted by their tokens.

        Raises PredictionInvalid for texts whose vector has no direction, and what `run` raises.
        """
        windows = [window for text in read for window in text.windows]
        texts = np.repeat(np.arange(len(read)), [len(text.windows) for text in read])
        total = np.zeros((len(read), self._parameters.dimension))
        for rows, length in runs_of_windows(windows):
            feeds = feeds_of_windows([windows[row] for row in rows], length, self._parameters)
            weights = np.array([[max(windows[row].tokens, 1)] for row in rows])
            np.add.at(total, texts[rows], self._pooled(run(feeds), feeds) * weights)
        return _units(total)

    def _pooled(self, outputs: Mapping[str, Array], feeds: Mapping[str, Array]) -> Array:
        """float64 [N,D], a unit vector for each window."""
        if self._parameters.pooling == "none":
            return _units(np.asarray(outputs[VECTOR], np.float64), strict=False)
        hidden = np.asarray(outputs[HIDDEN], np.float64)
        if self._parameters.pooling == "first":
            return _units(hidden[:, 0], strict=False)
        mask = feeds["attention_mask"][:, :, None]
        return _units((hidden * mask).sum(axis=1), strict=False)


def _units(vectors: Array, *, strict: bool = True) -> Array:
    """The vectors [N,D] at length 1. With `strict` raises PredictionInvalid for those that have none."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    without = ~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0))
    if strict and without.any():
        rows = tuple(np.flatnonzero(without).tolist())
        raise PredictionInvalid(rows, "the vector of the text is zero or not finite")
    return vectors / np.where(without[:, None], np.nan, lengths)
