"""The graphs of text generation, by the names that Optimum's exports and the builder of onnxruntime-genai give their tensors.

Three layouts, told by the names of a bundle's graphs:

- a decoder alone, `model`: what it is asked and what it answers are one sequence (GPT, Llama and their like);
- `encoder` and `decoder`: the decoder reads the states of the encoder (T5, BART and their like). It begins without a cache or,
  where it is merged of two, takes `use_cache_branch`;
- `encoder`, `decoder`, which takes no cache, and `decoder-with-past`.

A decoder with a cache takes, of each layer, `past_key_values.N.key` and `.value` [B,H,P,D], and gives `present.N.key` and
`.value`; behind an encoder, `.N.decoder.` has such a pair and, where the cache is `cross`, `.N.encoder.` another. Without a
cache, all tokens are run again for each new one.

What an encoder reads is padded, with a mask. Sequences of a decoder have the same length in one run; with `left_padding`, the
shorter ones stand behind columns of nothing, which the decoder's mask hides, so that others may join them between two tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import Field, model_validator

from models.lazy import np
from models.manifest import MODEL, ManifestTable
from models.pipelines.contract import ANY_LENGTH, GraphSpec, PredictionInvalid, Run, TensorSpec
from models.pipelines.decoder_rows import PAST, READ_MASK, Tokens, as_read, joined, lengthened, taken
from models.pipelines.one_text import OneTextParameters

if TYPE_CHECKING:
    from models.pipelines.contract import Array

ENCODER: Final = "encoder"
DECODER: Final = "decoder"
WITH_PAST: Final = "decoder-with-past"
LOGITS: Final = "logits"
STATES: Final = "encoder_hidden_states"
PAIR: Final = ("key", "value")
_PLACES: Final = "position_ids"
_OWN_MASK: Final = "decoder_attention_mask"


class CacheParameters(ManifestTable):
    """The keys and values that a decoder takes of tokens before."""

    layers: Annotated[int, Field(ge=1, le=1000, description="layers of the decoder")]
    heads: Annotated[int, Field(ge=1, le=1000, description="heads of keys and values")]
    head_size: Annotated[int, Field(ge=1, le=65_536, description="numbers of a head")]
    cross: Annotated[
        bool, Field(description="whether a decoder behind an encoder takes those of its states, too")
    ] = True


Token = Annotated[int, Field(ge=0)]


class DecoderParameters(OneTextParameters):
    """What the pipeline must know of tokenizer and decoder, in `[parameters]`."""

    cache: CacheParameters | None = None
    start: Annotated[
        Token | Annotated[tuple[Token, ...], Field(min_length=1, strict=False)] | None,
        Field(description="token, or tokens, that the decoder behind an encoder begins with"),
    ] = None
    left_padding: Annotated[
        bool,
        Field(
            description="whether the decoder takes mask and positions and reads nothing that the mask hides in front of a text"
        ),
    ] = False
    end: Annotated[
        tuple[Token, ...],
        Field(min_length=1, strict=False, description="tokens that end an answer"),
    ]

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        if self.max_windows != 1 or self.token_types:
            raise ValueError("max_windows, token_types: an answer is written to one window of one text")
        known = self.vocabulary
        if any(token >= known for token in (*self.end, *self.begins)):
            raise ValueError("start, end: tokens of the vocabulary, counted from 0")
        if len({*self.end}) < len(self.end):
            raise ValueError("end: name each token once")
        return self

    @property
    def begins(self) -> tuple[int, ...]:
        """The tokens of `start`; empty if there are none."""
        if self.start is None:
            return ()
        return self.start if isinstance(self.start, tuple) else (self.start,)


def decoder_graphs(names: frozenset[str], given: DecoderParameters) -> dict[str, GraphSpec]:
    """What is fed to the graphs of a bundle that has those called `names`, and read from them."""
    if ENCODER not in names:
        own, placed = _cache("", given), _ids("attention_mask", _PLACES)
        feeds = [*_ids("input_ids"), *(placed if given.left_padding else _optional(*placed)), *own[0]]
        return {MODEL: GraphSpec((*feeds, _BRANCH), (_LOGITS, *own[1]))}
    states = TensorSpec(STATES, "float32", (ANY_LENGTH, ANY_LENGTH))
    read = GraphSpec(_ids("input_ids", "attention_mask"), (_last_hidden_state(),))
    own, cross = _cache(f".{DECODER}", given), _cache(f".{ENCODER}", given)
    placed = _ids(_OWN_MASK, _PLACES)
    asked = (
        *_ids("input_ids"),
        *_optional(*_ids("encoder_attention_mask")),
        *(placed if given.left_padding else _optional(*placed)),
    )
    past = (*own[0], *cross[0])
    if WITH_PAST not in names:
        merged = GraphSpec((*asked, states, *past, _BRANCH), (_LOGITS, *own[1], *cross[1]))
        return {ENCODER: read, DECODER: merged}
    first = GraphSpec((*asked, states), (_LOGITS, *own[1], *cross[1]))
    further = GraphSpec((*asked, *_optional(states), *past), (_LOGITS, *own[1]))
    return {ENCODER: read, DECODER: first, WITH_PAST: further}


class LoneDecoder:
    """A decoder alone, and its sequences: prompts of one length [N,L]. See decoding.JoinedDecoder."""

    def __init__(self, run: Run, given: DecoderParameters, prompts: Array) -> None:
        self._run = run
        self._given = given
        self._tokens = Tokens(prompts)
        self._cache: dict[str, Array] = {}

    def begin(self) -> Array:
        """See decoding.Decoder."""
        self._cache = _empty("", self._given, len(self._tokens.ids))
        return self._scores(self._tokens.ids, first=True)

    def go_on(self, parents: Sequence[int], tokens: Sequence[int]) -> Array:
        """See decoding.Decoder."""
        cut = self._tokens.continued(parents, tokens)
        self._cache = taken(self._cache, parents, cut)
        return self._scores(self._tokens.ids[:, -1:] if self._given.cache else self._tokens.ids, first=False)

    def join(self, other: LoneDecoder) -> None:
        """See decoding.JoinedDecoder."""
        length = self._tokens.join(other._tokens)
        self._cache = joined(self._cache, other._cache, length)

    def lengthen(self, length: int) -> None:
        """Stand behind `length` tokens without having run them, for a trial of what comes then."""
        self._tokens.lengthen(length)
        self._cache = lengthened(self._cache, length)

    def _scores(self, ids: Array, *, first: bool) -> Array:
        feeds = {
            "input_ids": ids,
            "attention_mask": self._tokens.mask,
            _PLACES: self._tokens.places(ids.shape[1]),
            _BRANCH.name: np.array([not first]),
            **self._cache,
        }
        given = self._run(feeds)
        self._cache = {name: np.asarray(given[_present(name)]) for name in self._cache}
        return _last_scores(given, self._given.vocabulary)


class DecoderOfStates:
    """A decoder that reads an encoder's states, and its sequences. `read` are the encoder's feeds [N,L].

    See decoding.JoinedDecoder.
    """

    def __init__(
        self, run: Run, given: DecoderParameters, names: frozenset[str], read: Mapping[str, Array]
    ) -> None:
        self._run = run
        self._given = given
        self._further = WITH_PAST if WITH_PAST in names else DECODER
        self._read = read
        self._tokens = Tokens(np.tile(np.array(given.begins, np.int64), (len(read["input_ids"]), 1)))
        self._own: dict[str, Array] = {}
        self._seen: dict[
            str, Array
        ] = {}  # what does not change with the tokens: states, mask, keys and values of them

    def begin(self) -> Array:
        """See decoding.Decoder."""
        states = self._run(self._read, ENCODER)["last_hidden_state"]
        self._seen = {STATES: np.asarray(states), READ_MASK: self._read["attention_mask"]}
        rows = len(self._tokens.ids)
        self._own = _empty(f".{DECODER}", self._given, rows)
        cross = _empty(f".{ENCODER}", self._given, rows)
        given = self._run(self._feeds(self._tokens.ids, cross, first=True), DECODER)
        self._seen |= {name: np.asarray(given[_present(name)]) for name in cross}
        return self._taken_from(given)

    def go_on(self, parents: Sequence[int], tokens: Sequence[int]) -> Array:
        """See decoding.Decoder."""
        cut = self._tokens.continued(parents, tokens)
        self._own, self._seen = taken(self._own, parents, cut), as_read(taken(self._seen, parents))
        ids = self._tokens.ids[:, -1:] if self._given.cache else self._tokens.ids
        return self._taken_from(self._run(self._feeds(ids, {}, first=False), self._further))

    def join(self, other: DecoderOfStates) -> None:
        """See decoding.JoinedDecoder."""
        length = self._tokens.join(other._tokens)
        self._own = joined(self._own, other._own, length)
        read = max(each._seen[READ_MASK].shape[1] for each in (self, other))
        self._seen = joined(self._seen, other._seen, read, behind=True)

    def lengthen(self, length: int) -> None:
        """See LoneDecoder."""
        self._tokens.lengthen(length)
        self._own = lengthened(self._own, length)

    def _feeds(self, ids: Array, cross: Mapping[str, Array], *, first: bool) -> dict[str, Array]:
        return {
            "input_ids": ids,
            _OWN_MASK: self._tokens.mask,
            _PLACES: self._tokens.places(ids.shape[1]),
            **self._seen,
            **self._own,
            **cross,
            _BRANCH.name: np.array([not first]),
        }

    def _taken_from(self, given: Mapping[str, Array]) -> Array:
        """The scores [N,V] of the last token. Where a decoder gives keys and values of the states again, they are ignored."""
        self._own = {name: np.asarray(given[_present(name)]) for name in self._own}
        return _last_scores(given, self._given.vocabulary)


_NO_CACHE: Final = "so leave `cache` out of [parameters] if the decoder keeps no keys and values"
_LOGITS: Final = TensorSpec(LOGITS, "float32", (ANY_LENGTH, ANY_LENGTH))
_BRANCH: Final = TensorSpec("use_cache_branch", "bool", (), lone=True, optional=True)


def _last_hidden_state() -> TensorSpec:
    return TensorSpec("last_hidden_state", "float32", (ANY_LENGTH, ANY_LENGTH))


def _ids(*names: str) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, "int64", (ANY_LENGTH,)) for name in names)


def _optional(*specs: TensorSpec) -> tuple[TensorSpec, ...]:
    """The feeds, for graphs that may lack an input for them."""
    return tuple(TensorSpec(spec.name, spec.dtype, spec.shape, optional=True) for spec in specs)


def _cache(part: str, given: DecoderParameters) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The feeds and outputs of keys and values; `part` is "", ".decoder" or ".encoder"."""
    if given.cache is None or (part == f".{ENCODER}" and not given.cache.cross):
        return (), ()
    shape = (given.cache.heads, ANY_LENGTH, given.cache.head_size)
    names = [f"{PAST}.{layer}{part}.{each}" for layer in range(given.cache.layers) for each in PAIR]
    return tuple(TensorSpec(name, "float32", shape, without=_NO_CACHE) for name in names), tuple(
        TensorSpec(_present(name), "float32", shape, without=_NO_CACHE) for name in names
    )


def _present(past: str) -> str:
    return past.replace(PAST, "present")


def _empty(part: str, given: DecoderParameters, rows: int) -> dict[str, Array]:
    """Keys and values of no tokens, by the names of their feeds."""
    return {
        spec.name: np.zeros((rows, spec.shape[0], 0, spec.shape[2]), np.float32)
        for spec in _cache(part, given)[0]
    }


def _last_scores(given: Mapping[str, Array], vocabulary: int) -> Array:
    """The scores [N,V] of what follows the last token. Graphs may have more, of tokens that no tokenizer gives.

    Raises PredictionInvalid if there are fewer.
    """
    scores = np.asarray(given[LOGITS])[:, -1, :vocabulary]
    if scores.shape[1] < vocabulary:
        reason = f"the graph scores {scores.shape[1]} tokens, and the vocabulary has {vocabulary}"
        raise PredictionInvalid(tuple(range(len(scores))), reason)
    return scores
