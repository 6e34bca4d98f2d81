"""Texts with entities: reading files of tagged tokens, tags of a tokenizer's tokens, a baseline, and figures with intervals."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.pipelines.text_tokens import Window
from models.training.figures import brier, calibration_error, interval

Ints = NDArray[np.int64]
Unit = Literal["tokens", "words"]
IGNORED = -1  # the tag of tokens that have none


class Span(NamedTuple):
    """An entity: `start` and `end` in code points of its text, and the number of its kind."""

    start: int
    end: int
    kind: int


@dataclass(frozen=True)
class Tagged:
    """A text and its entities, in order and apart."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Found:
    """What a model found in a text, with the probability of each; None if it abstained."""

    probabilities: Mapping[Span, float] | None


def read_tagged(path: Path, kinds: Sequence[str], *, parted: str, joined: str) -> list[Tagged]:
    """The texts of a file of one token and tag a line (`B` or `I`, a sign, the kind; or `O`), with blank lines between texts.

    `parted` stands between token and tag, `joined` comes between the tokens of a text.
    """
    texts, lines = [], path.read_text(encoding="utf-8").split("\n")
    tokens: list[str] = []
    tags: list[str] = []
    for line in [*lines, ""]:
        if line:
            token, _, tag = line.rpartition(parted)
            tokens.append(token)
            tags.append(tag)
        elif tokens:
            texts.append(_tagged(tokens, tags, kinds, joined))
            tokens, tags = [], []
    return texts


def _tagged(tokens: Sequence[str], tags: Sequence[str], kinds: Sequence[str], joined: str) -> Tagged:
    spans: list[Span] = []
    place, inside = 0, False
    for token, tag in zip(tokens, tags, strict=True):
        end = place + len(token)
        if tag != "O":
            kind = kinds.index(tag[2:])
            if tag[0] == "I" and inside and spans[-1].kind == kind:
                spans[-1] = spans[-1]._replace(end=end)
            else:
                spans.append(Span(place, end, kind))
        inside = tag != "O"
        place = end + len(joined)
    return Tagged(joined.join(tokens), tuple(spans))


def passages(texts: Sequence[Tagged], lengths: Sequence[int], most: int) -> list[list[Tagged]]:
    """Neighbouring texts in groups of at most `most` tokens; `lengths` is how many each has. A longer text stands alone."""
    groups: list[list[Tagged]] = []
    total = 0
    for text, length in zip(texts, lengths, strict=True):
        if not groups or total + length > most:
            groups.append([])
            total = 0
        groups[-1].append(text)
        total += length
    return groups


def together(texts: Sequence[Tagged]) -> Tagged:
    """Texts as one, with blanks between them."""
    place, spans = 0, []
    for each in texts:
        spans += [Span(span.start + place, span.end + place, span.kind) for span in each.spans]
        place += len(each.text) + 1
    return Tagged(" ".join(each.text for each in texts), tuple(spans))


def tags_of(window: Window, spans: Sequence[Span], unit: Unit) -> list[int]:
    """The tag of each token: outside 0, then begin and inside of each kind.

    It is IGNORED for special tokens and, where words have tags, for all but their first.
    """
    starts = [span.start for span in spans]
    tags, before = [], -1
    for row, (start, _) in enumerate(window.offsets):
        word = window.words[row]
        if window.special[row] or (unit == "words" and row and word == window.words[row - 1]):
            tags.append(IGNORED)
            continue
        place = bisect_right(starts, start) - 1
        if place < 0 or start >= spans[place].end:
            tags.append(0)
        else:
            begins = start == spans[place].start and start != before
            tags.append(2 * spans[place].kind + (1 if begins else 2))
        before = start
    return tags


class Dictionary:
    """The baseline: every entity of the training texts, as the kind that it mostly has, by the longest match of units."""

    def __init__(self, texts: Iterable[Tagged], blanks: bool) -> None:
        """`blanks` says whether a unit is a word between blanks; else a character."""
        self._blanks = blanks
        kinds: defaultdict[tuple[str, ...], Counter[int]] = defaultdict(Counter)
        for text in texts:
            for span in text.spans:
                kinds[self._units(text.text[span.start : span.end])[0]][span.kind] += 1
        self._kinds = {units: counts.most_common(1)[0][0] for units, counts in kinds.items()}
        self._longest = max(map(len, self._kinds))

    def found(self, text: str) -> Found:
        """The entities of a text."""
        units, places = self._units(text)
        spans: dict[Span, float] = {}
        row = 0
        while row < len(units):
            lengths = range(min(self._longest, len(units) - row), 0, -1)
            length = next((each for each in lengths if units[row : row + each] in self._kinds), 0)
            if length:
                kind = self._kinds[units[row : row + length]]
                spans[Span(places[row][0], places[row + length - 1][1], kind)] = 1.0
            row += max(length, 1)
        return Found(spans)

    def _units(self, text: str) -> tuple[tuple[str, ...], list[tuple[int, int]]]:
        parts = text.split(" ") if self._blanks else list(text)
        ends = np.cumsum([len(part) + self._blanks for part in parts]) - self._blanks
        places = [(int(end) - len(part), int(end)) for part, end in zip(parts, ends, strict=True)]
        return tuple(part.casefold() for part in parts), places


def figures(
    found: Sequence[Found],
    truth: Sequence[Tagged],
    kinds: Sequence[str],
    groups: Sequence[int] | int,
    seed: int,
) -> dict[str, Any]:
    """Exact matches of place and kind over all texts: precision, recall and F1 with intervals, and F1 of each kind.

    A text that the model abstained from counts as answered with nothing. `groups` are resampled as wholes.
    """
    counts = np.array([_counts(*each, len(kinds)) for each in zip(found, truth, strict=True)])
    report: dict[str, Any] = {}
    for name, of in (("f1", _f1), ("precision", _precision), ("recall", _recall)):
        total = counts.sum(1)

        def figure(rows: Ints, of: Any = of, total: Any = total) -> float:
            return float(of(total[rows].sum(0)))

        report |= {name: figure(np.arange(len(total))), f"{name}_95": interval(figure, groups, seed=seed)}
    report["f1_by_type"] = {}
    for place, kind in enumerate(kinds):

        def own(rows: Ints, place: int = place) -> float:
            return float(_f1(counts[rows, place].sum(0)))

        every = np.arange(len(counts))
        report["f1_by_type"] |= {kind: own(every), f"{kind}_95": interval(own, groups, seed=seed)}
    return report


def confidence(found: Sequence[Found], truth: Sequence[Tagged]) -> dict[str, float]:
    """How well the probability of an entity says whether it is exactly right."""
    pairs = [
        (probability, span in each.spans)
        for one, each in zip(found, truth, strict=True)
        for span, probability in (one.probabilities or {}).items()
    ]
    probabilities, right = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    hits = right.astype(np.int64)
    return {"ece": calibration_error(probabilities, hits), "brier": brier(probabilities, hits)}


def _counts(found: Found, truth: Tagged, kinds: int) -> Ints:
    """Of each kind how many entities are right, found and true, [K,3]."""
    counts = np.zeros((kinds, 3), np.int64)
    given = set(found.probabilities or {})
    for column, spans in enumerate((given & set(truth.spans), given, truth.spans)):
        for span in spans:
            counts[span.kind, column] += 1
    return counts


def _f1(counts: Ints) -> float:
    return 2 * counts[0] / (counts[1] + counts[2]) if counts[1] + counts[2] else float("nan")


def _precision(counts: Ints) -> float:
    return counts[0] / counts[1] if counts[1] else float("nan")


def _recall(counts: Ints) -> float:
    return counts[0] / counts[2] if counts[2] else float("nan")
