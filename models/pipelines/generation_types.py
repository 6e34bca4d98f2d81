"""Parameters, options and result of text generation."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from models.manifest import ManifestTable, Text
from models.pipelines.classification_parameters import Share
from models.pipelines.decoder_graphs import DecoderParameters
from models.pipelines.decoding import Finish
from models.pipelines.one_text import Count, TokenCount, Truncated
from models.pipelines.seeded_noise import LARGEST_SEED
from models.pipelines.typed import TypedOptions, TypedResult

MOST_BEAMS: Final = 16
MOST_TOKENS: Final = 65_536

StopWord = Annotated[str, Field(min_length=1, max_length=100)]


class Confidence(ManifestTable):
    """Below which mean logarithm of a token's probability the model abstains, and what that costs and catches."""

    limit: Annotated[float, Field(le=0)]
    false_alarm_rate: Share
    catch_rate: Share
    foreign_set: Text
    source: Text
    reason: Text = "the model is not sure enough of any answer"


class GenerationParameters(DecoderParameters):
    """The `[parameters]` table of a text generation manifest."""

    max_new_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS, description="most tokens of an answer")]
    beams: Annotated[int, Field(ge=1, le=MOST_BEAMS, description="beams where a job does not say")] = 1
    token_budget: Annotated[
        int, Field(ge=1, le=1_000_000, description="most tokens of all beams of an answer together")
    ] = 4096
    no_repeat: Annotated[
        int, Field(ge=0, le=100, description="length of runs of tokens that no answer has twice; 0 for none")
    ] = 0
    confidence: Confidence | None = None

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if self.beams * self.max_new_tokens > self.token_budget:
            raise ValueError("token_budget: at least beams times max_new_tokens")
        return self


class GenerationOptions(TypedOptions):
    """How the answer is written. Without a temperature, by beam search; the manifest limits tokens and beams."""

    max_new_tokens: int = 1
    beams: int = 1
    temperature: Annotated[
        float, Field(ge=0, le=2, description="above 0 the answer is sampled: the higher, the more freely")
    ] = 0.0
    top_p: Annotated[
        float,
        Field(gt=0, le=1, description="share of the probability that is sampled from, the likeliest first"),
    ] = 1.0
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED, description="of a sample: the same gives the same")] = 0
    stop: Annotated[
        tuple[StopWord, ...],
        Field(max_length=8, strict=False, description="texts before which the answer is cut off"),
    ] = ()


class TextGenerated(TypedResult):
    """A text. It is null when the model abstained."""

    type: Literal["text"] = "text"
    text: str | None
    finish: Annotated[
        Finish | None,
        Field(
            description="`end`: the model ended it; `stop`: a stop word; `length`: cut off by max_new_tokens"
        ),
    ]
    new_tokens: Annotated[Count, Field(description="of the answer")]
    mean_log_probability: Annotated[
        float | None, Field(le=0, description="of the answer's tokens, by the model: natural logarithm")
    ]
    seed: Annotated[int | None, Field(description="of a sampled answer")]
    abstained: bool
    abstain_reason: str | None
    tokens: TokenCount
    truncated: Truncated


def beams_of(options: GenerationOptions) -> int:
    """The beams of a job: 1 of a sample."""
    return 1 if options.temperature > 0 else options.beams
