"""How the tokens of an answer are chosen from the scores of a decoder: greedily, by beam search, or by sampling.

Knows no graph: a decoder is what continues sequences by a token and scores all tokens that may follow. Sums of logarithms are
float64. Nothing that is chosen for one request depends on the other requests of its run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self, cast

from models.lazy import np
from models.pipelines.contract import PredictionInvalid

if TYPE_CHECKING:
    from models.pipelines.contract import Array

Finish = Literal["end", "stop", "length"]


class Decoder(Protocol):
    """Sequences of one length that are continued together, each by one token at a time."""

    def begin(self) -> Array:
        """The scores (logits) float [N,V] of the first token of each of the N answers."""

    def go_on(self, parents: Sequence[int], tokens: Sequence[int]) -> Array:
        """Continue sequence `parents[i]` by `tokens[i]`; the scores [M,V] of what follows. A sequence not named is dropped."""


class JoinedDecoder(Decoder, Protocol):
    """A decoder that another's sequences join, of whatever length they are."""

    def join(self, other: Self) -> None:
        """Take in the sequences of `other`, which has begun, behind its own."""


@dataclass(frozen=True)
class Choice:
    """How the tokens of one answer are chosen.

    `ends` are the tokens that end an answer, at least one. `stops` tells whether some tokens' text has come to a stop word.
    Sampling if `temperature` is above 0, among the fewest tokens that have `top_p` of the probability together (nucleus
    sampling, Holtzman et al. 2020); otherwise beam search of `beams`, which is greedy for 1. No run of `no_repeat` tokens
    occurs twice, if not 0.
    """

    max_new_tokens: int
    ends: Collection[int]
    beams: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    no_repeat: int = 0
    stops: Callable[[Sequence[int]], bool] | None = None


class Written(NamedTuple):
    """The tokens of an answer, without the one that ended it, the sum of their logarithms of probability, and why it ended."""

    tokens: tuple[int, ...]
    log_probability: float
    finish: Finish

    @property
    def mean(self) -> float:
        """The mean logarithm of a token's probability, that of the ending one included: what beams are compared by."""
        return self.log_probability / max(1, len(self.tokens) + (self.finish == "end"))


class _Live(NamedTuple):
    tokens: tuple[int, ...]
    log_probability: float


@dataclass
class Answering:
    """One answer while it is written: up to `beams` live sequences, and as many of those that have ended.

    The search is that of `generate` in transformers with its defaults (`early_stopping` false, `length_penalty` 1).
    A sequence ends if it is among the `beams` most probable of its step; sequences that live take the places of those that end.
    """

    choice: Choice
    live: list[_Live] = field(default_factory=lambda: [_Live((), 0.0)])
    ended: list[Written] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = np.random.default_rng(self.choice.seed)

    def extend(self, logs: Array) -> tuple[list[int], list[int]]:
        """Choose what follows each live sequence, by logarithms of probabilities [K,V]: parents and tokens of what lives on."""
        for row, each in enumerate(self.live):
            banned = _repeating(each.tokens, self.choice.no_repeat)
            logs[row, banned] = -np.inf  # its caller's, and of this step alone
        if self.choice.temperature > 0:
            chosen = [(0, self._drawn(logs[0]))]
        elif self.choice.beams == 1:
            chosen = [(0, int(logs[0].argmax()))]
        else:
            totals = logs + np.array([[each.log_probability] for each in self.live])
            chosen = _best(totals, self.choice.beams * (1 + len(self.choice.ends)))
        return self._follow(chosen, logs)

    def best(self) -> Written:
        """The most probable ended answer, by the mean over its tokens; the first of several."""
        return max(self.ended, key=lambda each: each.mean)

    def settled(self) -> tuple[int, ...]:
        """The tokens that all sequences begin with, so that the answer will, too."""
        first, *others = {each.tokens for each in self.live} | {each.tokens for each in self.ended}
        alike = (
            at for at, token in enumerate(first) if any(each[at : at + 1] != (token,) for each in others)
        )
        return first[: next(alike, len(first))]

    def _follow(self, chosen: Sequence[tuple[int, int]], logs: Array) -> tuple[list[int], list[int]]:
        before, self.live = self.live, []
        parents, tokens = [], []
        for place, (row, token) in enumerate(chosen):
            total = before[row].log_probability + float(logs[row, token])
            grown = (*before[row].tokens, token)
            if finish := self._finish(grown):
                kept = grown[:-1] if finish == "end" else grown
                self.ended += [Written(kept, total, finish)] if place < self.choice.beams else []
            elif len(self.live) < self.choice.beams:
                self.live.append(_Live(grown, total))
                parents.append(row)
                tokens.append(token)
        if self._is_decided():
            self.live, parents, tokens = [], [], []
        return parents, tokens

    def _finish(self, tokens: tuple[int, ...]) -> Finish | None:
        """Why a sequence ends with the last of its tokens; None if it goes on."""
        if tokens[-1] in self.choice.ends:
            return "end"
        if self.choice.stops is not None and self.choice.stops(tokens):
            return "stop"
        return "length" if len(tokens) == self.choice.max_new_tokens else None

    def _is_decided(self) -> bool:
        """Whether `beams` have ended, and none that lives is more probable than the least of them. Only these are kept."""
        beams = self.choice.beams
        self.ended = sorted(self.ended, key=lambda each: -each.mean)[:beams]
        if len(self.ended) < beams or not self.live:
            return False
        first = self.live[0]
        return first.log_probability / len(first.tokens) <= self.ended[-1].mean

    def _drawn(self, logs: Array) -> int:
        """A token drawn from the nucleus of the distribution at the temperature."""
        heated = np.exp(_log_softmax(logs[None].astype(np.float64) / self.choice.temperature))[0]
        order = np.argsort(-heated, kind="stable")
        reached = np.cumsum(heated[order])
        kept = int(np.searchsorted(reached, self.choice.top_p * reached[-1])) + 1
        place = np.searchsorted(reached[:kept], self._chance.random() * reached[:kept][-1], side="right")
        return int(order[min(int(place), kept - 1)])


class Writing:
    """Answers that are written together, each under a number: all their live sequences run at once.

    One that has ended leaves. Others join if the decoder lets them.
    """

    def __init__(self) -> None:
        self._decoder: Decoder | None = None
        self._scores: Array = np.zeros((0, 0), np.float32)
        self._answers: dict[int, Answering] = {}

    @property
    def numbers(self) -> Collection[int]:
        """Of the answers that have not ended."""
        return self._answers.keys()

    def settled(self) -> dict[int, tuple[int, ...]]:
        """The tokens that each answer will begin with, as far as they are known."""
        return {number: answer.settled() for number, answer in self._answers.items()}

    def join(self, decoder: Decoder, choices: Mapping[int, Choice]) -> None:
        """Begin an answer for each of the decoder's sequences, beside those there are.

        Unless it is the first or all others have ended, the decoder must be one that joins the first.
        """
        scores = decoder.begin()
        if len(scores) != len(choices):
            reason = f"the decoder gives scores of {len(scores)} rows for {len(choices)}"
            raise PredictionInvalid(tuple(choices), reason)
        if self._answers:
            cast("JoinedDecoder", self._decoder).join(cast("JoinedDecoder", decoder))
            self._scores = np.concatenate([self._scores, scores])
        else:
            self._decoder, self._scores = decoder, scores
        self._answers |= {number: Answering(choice) for number, choice in choices.items()}

    def step(self, given_up: Collection[int] = ()) -> dict[int, Written]:
        """Continue each live sequence by a token; the answers that end by it. Those `given_up` leave without one.

        Raises PredictionInvalid, naming the numbers of the answers.
        """
        self._check_scores()
        logs, start = _log_softmax(np.asarray(self._scores, np.float32)), 0
        parents, tokens, ended = list[int](), list[int](), dict[int, Written]()
        for number, answer in list(self._answers.items()):
            count = len(answer.live)
            if number not in given_up:
                of_these, chosen = answer.extend(logs[start : start + count])
                parents += [start + row for row in of_these]
                tokens += chosen
            if number in given_up or not answer.live:
                del self._answers[number]
                if number not in given_up:
                    ended[number] = answer.best()
            start += count
        if tokens and self._decoder is not None:
            self._scores = self._decoder.go_on(parents, tokens)
        return ended

    def _check_scores(self) -> None:
        finite = np.isfinite(self._scores).all(axis=1)
        if not finite.all():
            owners = np.repeat([*self._answers], [len(answer.live) for answer in self._answers.values()])
            raise PredictionInvalid(tuple(set(owners[~finite].tolist())), "a score of a token is not finite")


def write(decoder: Decoder, choices: Sequence[Choice]) -> list[Written]:
    """An answer for each of the decoder's sequences, chosen as `choices` say. Raises PredictionInvalid, naming the row."""
    writing, found = Writing(), dict[int, Written]()
    writing.join(decoder, dict(enumerate(choices)))
    while writing.numbers:
        found |= writing.step()
    return [found[row] for row in range(len(choices))]


def _log_softmax(scores: Array) -> Array:
    """Logarithms of probabilities [K,V], of scores that may be -inf but not all of a row."""
    shifted: Array = scores - scores.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def _best(totals: Array, count: int) -> list[tuple[int, int]]:
    """The places of the `count` greatest of `totals` [K,V], the greatest first; of equal ones the first in order."""
    flat = totals.reshape(-1)
    count = min(count, int(np.isfinite(flat).sum()))  # at least one: a token that ends is never a repetition
    least = np.partition(flat, -count)[-count]
    places = np.flatnonzero(flat >= least)
    order = places[np.argsort(-flat[places], kind="stable")][:count]
    rows, tokens = np.divmod(order, totals.shape[1])
    return list(zip(rows.tolist(), tokens.tolist(), strict=True))


def _repeating(tokens: Sequence[int], length: int) -> list[int]:
    """The tokens that would end a run of `length` tokens which the sequence has already."""
    if not length or len(tokens) < length:
        return []
    head = tuple(tokens[len(tokens) - length + 1 :])
    starts = range(len(tokens) - length + 1)
    return [tokens[at + length - 1] for at in starts if tuple(tokens[at : at + length - 1]) == head]
