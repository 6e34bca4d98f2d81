"""`text-generation`: a text in, a text out that a model writes token by token, as a summary or a note.

The graphs are those of `decoder_graphs`: a decoder alone, or one behind an encoder, with or without a cache of keys and values.
How tokens are chosen is in `decoding`. The decoder runs once for each token, so the worker's heartbeat, turns and limits hold
for each; jobs whose texts have the same length run together, and one that has ended leaves the run. With `left_padding`, those
of any length do, and waiting ones join between two tokens (continuous batching).

The model abstains from a text that it cannot read to the end, from one with too many tokens that its vocabulary lacks and,
with `confidence`, from answers of which it is not sure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, Self

from pydantic import Field, create_model

from models.field_codes import FieldCode
from models.lazy import np
from models.manifest import MANIFEST_NAME, Fault, ManifestInvalid, ModelManifest
from models.pipelines.arrivals import AllAtOnce, Arrivals
from models.pipelines.contract import FieldFault, GraphSpec, InputRejected, Run, pointer_to
from models.pipelines.decoder_graphs import (
    ENCODER,
    DecoderOfStates,
    LoneDecoder,
    decoder_graphs,
)
from models.pipelines.decoding import Choice, Decoder, Writing, Written
from models.pipelines.generation_types import (
    MOST_BEAMS,
    GenerationOptions,
    GenerationParameters,
    TextGenerated,
    beams_of,
)
from models.pipelines.one_text import OneText, TextInput
from models.pipelines.text_tokens import ReadText, TextTokenizer, feeds_of_windows, longest_feeds
from models.pipelines.texts import STEP
from models.pipelines.typed import TypedCase, TypedPipeline

if TYPE_CHECKING:
    from models.pipelines.contract import ReadFile

RUN_TOKENS: Final = 16_384  # most tokens whose keys and values one run keeps, unless one answer has more
DECIMALS: Final = 6
UNFINISHED: Final = (
    "\N{REPLACEMENT CHARACTER} \n"  # at the end of a text that goes on: half a character, or space
)

Case = TypedCase[TextInput, GenerationOptions]


class TextGeneration(
    OneText, TypedPipeline[GenerationParameters, TextInput, TextGenerated, GenerationOptions]
):
    """The pipeline. Immutable once made."""

    names: frozenset[str]
    step: int  # of the lengths that texts are padded to

    @classmethod
    def load(cls, manifest: ModelManifest, read: ReadFile) -> Self:
        """See TypedPipeline. The bundle's graphs tell the layout."""
        made = super().load(manifest, read)
        made.names = frozenset(manifest.graph_tables)
        behind_encoder = ENCODER in made.names
        by_itself = behind_encoder and manifest.graph_tables[ENCODER].row_by_row
        made.step = STEP if behind_encoder and not by_itself else 1  # an encoder's mask allows for padding
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

    def try_longest(self, run: Run) -> None:
        """See longest_texts: the longest text and, of the longest answer, the last token, with an empty cache of the others."""
        given, feeds = self.parameters, longest_feeds(self.parameters)
        decoder: DecoderOfStates | LoneDecoder
        if ENCODER in self.names:
            decoder = DecoderOfStates(run, given, self.names, feeds)
            before = len(given.begins) + given.max_new_tokens - 2 if given.max_new_tokens > 1 else 0
        else:
            decoder = LoneDecoder(run, given, feeds["input_ids"][:, :1])
            before = given.max_tokens + given.max_new_tokens - 2
        decoder.begin()
        if before:
            decoder.lengthen(before)
            decoder.go_on([0], [given.vocabulary - 1])

    def open_bundle(self, folder: Path) -> Writer:
        """See TypedPipeline. Raises BundleRefused if the tokenizer is damaged or another model's."""
        return Writer(self.parameters, self.names, TextTokenizer(folder, self.parameters), self.step)


class _Prompt(NamedTuple):
    """A case that was read. `length` is in tokens, as the graph is fed it; `unread`: why it must not be answered."""

    number: int
    options: GenerationOptions
    text: ReadText
    length: int
    unread: str | None


class Writer:
    """What scores."""

    def __init__(
        self, parameters: GenerationParameters, names: frozenset[str], tokenizer: TextTokenizer, step: int
    ) -> None:
        self._parameters = parameters
        self._step = step
        self._names = names
        self._tokenizer = tokenizer

    def score(self, run: Run, cases: Sequence[Case]) -> list[TextGenerated]:
        """See TypedScoring."""
        arrivals = AllAtOnce[Case, TextGenerated](cases)
        self.score_arrivals(run, arrivals)
        return arrivals.answers

    def score_arrivals(self, run: Run, arrivals: Arrivals[Case, TextGenerated]) -> None:
        """See ContinuousScoring."""
        writing, written, waiting, taken = Writing(), dict[int, _Prompt](), list[_Prompt](), 0
        while True:
            cases = () if waiting else arrivals.take()
            for prompt in self._read(cases, taken):
                if prompt.unread is None:
                    waiting.append(prompt)
                else:
                    arrivals.give(prompt.number, self._result(prompt))
            taken += len(cases)
            begun = self._next(written.values(), waiting)
            waiting = [prompt for prompt in waiting if prompt not in begun]
            self._begin(run, writing, begun)
            written |= {prompt.number: prompt for prompt in begun}
            if not written:
                if cases:  # all of which it abstains from
                    continue
                return
            given_up = written.keys() & arrivals.given_up()
            for number, found in writing.step(given_up).items():
                arrivals.give(number, self._result(written.pop(number), found))
            written = {number: written[number] for number in written if number not in given_up}
            arrivals.show(partial(self._so_far, writing, written))

    def _read(self, cases: Sequence[Case], first: int) -> Iterator[_Prompt]:
        for number, case in enumerate(cases, first):
            text = self._tokenizer.read(getattr(case.input, self._parameters.field))
            length = -(-len(text.windows[0].ids) // self._step) * self._step
            yield _Prompt(number, case.options, text, length, text.unread(self._parameters))

    def _next(self, written: Collection[_Prompt], waiting: Sequence[_Prompt]) -> list[_Prompt]:
        """The prompts whose answers are begun now: those that fit beside the others, at least one if there are none.

        Without left padding those of the least length, once there are no others.
        """
        if not self._parameters.left_padding:
            if written:
                return []
            shortest = min((prompt.length for prompt in waiting), default=0)
            waiting = [prompt for prompt in waiting if prompt.length == shortest]
        chosen = list[_Prompt]()
        for prompt in waiting:
            every = [*written, *chosen, prompt]
            rows = sum(beams_of(each.options) for each in every)
            tokens = rows * max(each.length + each.options.max_new_tokens for each in every)
            if tokens > RUN_TOKENS and len(every) > 1:
                break
            chosen.append(prompt)
        return chosen

    def _begin(self, run: Run, writing: Writing, prompts: Sequence[_Prompt]) -> None:
        """Have those of one length join together: in their first run nothing is padded but what an encoder reads."""
        groups: dict[int, list[_Prompt]] = {}
        for prompt in prompts:
            groups.setdefault(prompt.length, []).append(prompt)
        for length, some in groups.items():
            windows = [prompt.text.windows[0] for prompt in some]
            decoder: Decoder
            if ENCODER in self._names:
                feeds = feeds_of_windows(windows, length, self._parameters)
                decoder = DecoderOfStates(run, self._parameters, self._names, feeds)
            else:
                ids = np.array([window.ids for window in windows], np.int64)
                decoder = LoneDecoder(run, self._parameters, ids)
            writing.join(decoder, {prompt.number: self._choice(prompt.options) for prompt in some})

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

    def _so_far(self, writing: Writing, prompts: Mapping[int, _Prompt]) -> dict[int, str]:
        """The beginnings of the texts, as far as no stop word may cut them."""
        found = {}
        for number, tokens in writing.settled().items():
            text = self._tokenizer.text_of(tokens).rstrip(UNFINISHED)
            for word in prompts[number].options.stop:
                begun = next((n for n in range(len(word) - 1, 0, -1) if text.endswith(word[:n])), 0)
                text = text[: len(text) - begun].rstrip()
            found[number] = text
        return found

    def _result(self, prompt: _Prompt, found: Written | None = None) -> TextGenerated:
        reason, options = prompt.unread or self._doubt(found), prompt.options
        answered = None if found is None or reason else self._tokenizer.text_of(found.tokens)
        for word in options.stop if answered else ():
            answered = answered and answered.partition(word)[0].rstrip()
        return TextGenerated(
            text=answered,
            finish=None if found is None else found.finish,
            new_tokens=0 if found is None else len(found.tokens),
            mean_log_probability=None if found is None else min(0.0, round(found.mean, DECIMALS)),
            seed=options.seed if options.temperature > 0 else None,
            abstained=reason is not None,
            abstain_reason=reason,
            tokens=prompt.text.tokens,
            truncated=prompt.text.truncated,
        )

    def _doubt(self, found: Written | None) -> str | None:
        limits = self._parameters.confidence
        return limits.reason if limits and found and found.mean < limits.limit else None


def _whole(most: int, description: str) -> Any:
    return Annotated[int, Field(ge=1, le=most, description=description)]


def _refuse(names: Sequence[str], detail: str, code: FieldCode = FieldCode.INVALID_VALUE) -> None:
    """Raises InputRejected for each of the options `names`."""
    if names:
        raise InputRejected(*(FieldFault(pointer_to(name), code, detail) for name in names))


load = TextGeneration.load
