"""`text-embedding`: a text in, its vector out, for a caller's own comparisons: the product of two is their cosine.

The graph is an encoder as exported from sentence-transformers: it takes `input_ids` and `attention_mask` int64 [N,L] (and
`token_type_ids`, if the manifest says so), and gives `vector` [N,D], or `hidden` [N,L,D] with a `pooling`. A text of more than
`max_tokens` is read in windows, whose vectors are averaged, weighted by their tokens. The model abstains from a text that it
cannot read to the end, and from one with too many tokens that its vocabulary lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from models.lazy import np
from models.manifest import MODEL
from models.pipelines.contract import GraphSpec, Run
from models.pipelines.one_text import Count, OneText, TextInput, TokenCount, Truncated, WindowCount
from models.pipelines.text_tokens import ReadText
from models.pipelines.text_vectors import EncoderParameters, TextEncoder, encoder_graph
from models.pipelines.typed import NoOptions, TypedCase, TypedPipeline, TypedResult

if TYPE_CHECKING:
    from models.pipelines.contract import Array

DECIMALS = 7  # float32 holds no more


class EmbeddingResult(TypedResult):
    """The vector of a text, of length 1. It is null when the model abstained."""

    type: Literal["embedding"] = "embedding"
    encoder: Annotated[
        str,
        Field(description="vectors of different encoders must not be compared, nor those of other versions"),
    ]
    dimension: Count
    vector: list[float] | None
    abstained: bool
    abstain_reason: str | None
    tokens: TokenCount
    windows: WindowCount
    truncated: Truncated


class TextEmbedding(OneText, TypedPipeline[EncoderParameters, TextInput, EmbeddingResult, NoOptions]):
    """The pipeline. Immutable once made."""

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See the module."""
        return {MODEL: encoder_graph(self.parameters)}

    def open_bundle(self, folder: Path) -> Embedder:
        """See TypedPipeline. Raises BundleRefused if the tokenizer is damaged or another model's."""
        return Embedder(self.parameters, TextEncoder(folder, self.parameters))


class Embedder:
    """What scores."""

    def __init__(self, parameters: EncoderParameters, encoder: TextEncoder) -> None:
        self._parameters = parameters
        self._encoder = encoder

    def score(self, run: Run, cases: Sequence[TypedCase[TextInput, NoOptions]]) -> list[EmbeddingResult]:
        """See TypedScoring."""
        read = [self._encoder.read(getattr(case.input, self._parameters.field)) for case in cases]
        vectors = self._encoder.vectors(run, read)
        return [self._result(*each) for each in zip(read, vectors, strict=True)]

    def _result(self, text: ReadText, vector: Array) -> EmbeddingResult:
        reason = text.unread(self._parameters)
        return EmbeddingResult(
            encoder=self._parameters.encoder,
            dimension=self._parameters.dimension,
            vector=None if reason else np.round(vector, DECIMALS).tolist(),
            abstained=reason is not None,
            abstain_reason=reason,
            tokens=text.tokens,
            windows=len(text.windows),
            truncated=text.truncated,
        )


load = TextEmbedding.load
