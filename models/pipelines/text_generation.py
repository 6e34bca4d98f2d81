"""`text-generation`: a text in, a text out that a model writes token by token, as a summary or a note.

The graphs are those of `decoder_graphs`: a decoder alone, or one behind an encoder, with or without a cache of keys and values.
How tokens are chosen is in `decoding`. The decoder runs once for each token, so the worker's heartbeat, turns and limits hold
for each; jobs whose texts have the same length run together, and one that has ended leaves the run.

The model abstains from a text that it cannot read to the end, from one with too many tokens that its vocabulary lacks and,
with `confidence`, from answers of which it is not sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, create_model, model_validator

from models.field_codes import FieldCode
from models.lazy import np
from models.manifest import MANIFEST_NAME, Fault, ManifestInvalid, ManifestTable, ModelManifest, Text
from models.pipelines.classification_parameters import Share
from models.pipelines.contract import FieldFault, GraphSpec, InputRejected, PredictionInvalid, Run, pointer_to
from models.pipelines.decoder_graphs import (
    ENCODER,
    DecoderOfStates,
    DecoderParameters,
    LoneDecoder,
    decoder_graphs,
)
from models.pipelines.decoding import Choice, Decoder, Finish, Written, write
from models.pipelines.one_text import Count, OneText, TextInput, TokenCount, Truncated
from models.pipelines.text_tokens import ReadText, TextTokenizer, feeds_of_windows
from models.pipelines.texts import STEP
from models.pipelines.typed import TypedCase, TypedOptions, TypedPipeline, TypedResult

if TYPE_CHECKING:
    from models.pipelines.contract import ReadFile

MOST_BEAMS: Final = 16
MOST_TOKENS: Final = 65_536
RUN_TOKENS: Final = 16_384  # most tokens whose keys and values one run keeps, unless one answer has more
LARGEST_SEED: Final = 2**32 - 1
DECIMALS: Final = 6

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


Case = TypedCase[TextInput, GenerationOptions]


class TextGeneration(
    OneText, TypedPipeline[GenerationParameters, TextInput, TextGenerated, GenerationOptions]
):
    """The pipeline. Immutable once made."""

    names: frozenset[str]

    @classmethod
    def load(cls, manifest: ModelManifest, read: ReadFile) -> Self:
        """See TypedPipeline. The bundle's graphs tell the layout."""
        made = super().load(manifest, read)
        made.names = frozenset(manifest.graph_tables)
        behind_encoder = ENCODER in made.names
        if behind_encoder is not (made.parameters.start is not None):
            advice = (
                "give the token that the decoder begins with (`decoder_start_token_id`)"
                if behind_encoder
                else "remove it, or add the tables [graphs.encoder] and [graphs.decoder]"
            )
            raise ManifestInvalid(Fault(f"{MANIFEST_NAME}: parameters.start", "manifest_invalid", advice))
        return made

    def prepare(self, read: ReadFile) -> None:
        """Make the types of input and options of the manifest's limits."""
        super().prepare(read)
        given = self.parameters
        fields: dict[str, Any] = {
            "max_new_tokens": (
                _whole(given.max_new_tokens, "most tokens of the answer"),
                given.max_new_tokens,
            ),
            "beams": (_whole(min(MOST_BEAMS, given.token_budget), "answers that are followed"), given.beams),
        }
        self.options_type = create_model(GenerationOptions.__name__, __base__=GenerationOptions, **fields)

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See decoder_graphs."""
        return decoder_graphs(self.names, self.parameters)

    def check_options(self, value: object) -> dict[str, object]:
        """See Pipeline. Options that say nothing together are refused, too."""
        checked = super().check_options(value)
        options = self.read_options(checked)
        if options.temperature > 0:
            only_beams = ["beams"] if options.beams > 1 and "beams" in checked else []
            _refuse(only_beams, "A sample has one beam: leave beams out, or send a temperature of 0.")
        else:
            only_samples = [name for name in ("top_p", "seed") if name in checked]
            _refuse(only_samples, "It is of a sample: send a temperature above 0 with it, or leave it out.")
        if beams_of(options) * options.max_new_tokens > self.parameters.token_budget:
            most = f"beams times max_new_tokens must be at most {self.parameters.token_budget}"
            name = "beams" if "beams" in checked else "max_new_tokens"
            _refuse([name], f"{most}: send fewer of either.", FieldCode.OUT_OF_RANGE)
        return checked

    def open_bundle(self, folder: Path) -> Writer:
        """See TypedPipeline. Raises BundleRefused if the tokenizer is damaged or another model's."""
        return Writer(self.parameters, self.names, TextTokenizer(folder, self.parameters))


class Writer:
    """What scores."""

    def __init__(
        self, parameters: GenerationParameters, names: frozenset[str], tokenizer: TextTokenizer
    ) -> None:
        self._parameters = parameters
        self._names = names
        self._tokenizer = tokenizer

    def score(self, run: Run, cases: Sequence[Case]) -> list[TextGenerated]:
        """See TypedScoring."""
        read = [self._tokenizer.read(getattr(case.input, self._parameters.field)) for case in cases]
        unread = [text.unread(self._parameters) for text in read]
        written: dict[int, Written] = {}
        for rows in self._runs(read, cases, [row for row, reason in enumerate(unread) if reason is None]):
            decoder = self._decoder(run, [read[row] for row in rows])
            try:
                answers = write(decoder, [self._choice(cases[row].options) for row in rows])
            except PredictionInvalid as invalid:
                raise PredictionInvalid(tuple(rows[row] for row in invalid.rows), invalid.reason) from None
            written |= dict(zip(rows, answers, strict=True))
        return [
            self._result(case, text, reason, written.get(row))
            for row, (case, text, reason) in enumerate(zip(cases, read, unread, strict=True))
        ]

    def _runs(self, read: Sequence[ReadText], cases: Sequence[Case], rows: list[int]) -> Iterator[list[int]]:
        """The cases of each run: of one length to the graph, and of no more than RUN_TOKENS."""
        groups: dict[int, list[int]] = {}
        for row in rows:
            groups.setdefault(self._length(read[row]), []).append(row)
        for length in sorted(groups):
            some, total = list[int](), 0
            for row in groups[length]:
                options = cases[row].options
                tokens = beams_of(options) * (length + options.max_new_tokens)
                if some and total + tokens > RUN_TOKENS:
                    yield some
                    some, total = [], 0
                some.append(row)
                total += tokens
            yield some

    def _length(self, text: ReadText) -> int:
        """Of a text in its run. An encoder's mask allows for padding, to the next multiple of STEP."""
        length = len(text.windows[0].ids)
        return -(-length // STEP) * STEP if ENCODER in self._names else length

    def _decoder(self, run: Run, texts: Sequence[ReadText]) -> Decoder:
        windows = [text.windows[0] for text in texts]
        if ENCODER in self._names:
            feeds = feeds_of_windows(windows, self._length(texts[0]), self._parameters)
            return DecoderOfStates(run, self._parameters, self._names, feeds)
        return LoneDecoder(run, self._parameters, np.array([window.ids for window in windows], np.int64))

    def _choice(self, options: GenerationOptions) -> Choice:
        def stops(tokens: Sequence[int]) -> bool:
            text = self._tokenizer.text_of(tokens)
            return any(word in text for word in options.stop)

        return Choice(
            max_new_tokens=options.max_new_tokens,
            ends=self._parameters.end,
            beams=beams_of(options),
            temperature=options.temperature,
            top_p=options.top_p,
            seed=options.seed,
            no_repeat=self._parameters.no_repeat,
            stops=stops if options.stop else None,
        )

    def _result(self, case: Case, text: ReadText, reason: str | None, found: Written | None) -> TextGenerated:
        reason = reason or self._doubt(found)
        answered = None if found is None or reason else self._tokenizer.text_of(found.tokens)
        for word in case.options.stop if answered else ():
            answered = answered and answered.partition(word)[0].rstrip()
        return TextGenerated(
            text=answered,
            finish=None if found is None else found.finish,
            new_tokens=0 if found is None else len(found.tokens),
            mean_log_probability=None if found is None else min(0.0, round(found.mean, DECIMALS)),
            seed=case.options.seed if case.options.temperature > 0 else None,
            abstained=reason is not None,
            abstain_reason=reason,
            tokens=text.tokens,
            truncated=text.truncated,
        )

    def _doubt(self, found: Written | None) -> str | None:
        limits = self._parameters.confidence
        return limits.reason if limits and found and found.mean < limits.limit else None


def beams_of(options: GenerationOptions) -> int:
    """The beams of a job: 1 of a sample."""
    return 1 if options.temperature > 0 else options.beams


def _whole(most: int, description: str) -> Any:
    return Annotated[int, Field(ge=1, le=most, description=description)]


def _refuse(names: Sequence[str], detail: str, code: FieldCode = FieldCode.INVALID_VALUE) -> None:
    """Raises InputRejected for each of the options `names`."""
    if names:
        raise InputRejected(*(FieldFault(pointer_to(name), code, detail) for name in names))


load = TextGeneration.load
