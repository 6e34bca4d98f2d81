"""The scoring half of a recommender: feeds, ranking, reasons by leaving out what is known, and the review by a rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

from models.drug_safety.codes import read_code
from models.drug_safety.known import ambiguous
from models.lazy import np
from models.pipelines.context_fields import Columns, Fact
from models.pipelines.contract import PredictionInvalid, Run
from models.pipelines.item_catalogue import Catalogue, Item
from models.pipelines.recommendation_rules import Reviewed, Rule
from models.pipelines.recommendation_types import (
    Because,
    Objection,
    RankedItem,
    RecommendationInput,
    RecommendationOptions,
    RecommendationResult,
    Unchecked,
    Unknown,
)
from models.pipelines.typed import TypedCase

if TYPE_CHECKING:
    from models.pipelines.contract import Array

HISTORY: Final = "history"
PRESENT: Final = "present"
NOTHING_KNOWN: Final = "no item and no code that was sent is known to the model"
DECIMALS: Final = 5  # of scores: sums of float32 differ behind them with the number of rows of a run
ROWS: Final = 256  # most of one run of the graph

Case = TypedCase[RecommendationInput, RecommendationOptions]
Facts = tuple[Fact, ...]


@dataclass(frozen=True)
class _Known:
    """What the model knows of an input: items and context, in the order of their columns, and what it does not know."""

    items: Facts
    context: Facts
    unknown: tuple[Unknown, ...]
    ambiguous: tuple[Unchecked, ...]
    counted: int  # items and codes: what an answer can rest upon

    @property
    def all(self) -> Facts:
        return self.items + self.context

    def without(self, place: int) -> tuple[Facts, Facts]:
        """Items and context without one of `all`."""
        number = len(self.items)
        if place < number:
            return self.items[:place] + self.items[place + 1 :], self.context
        return self.items, self.context[: place - number] + self.context[place - number + 1 :]


class Recommender:
    """Scores a row for each case, one for nothing at all, and one for each case without each of its facts."""

    def __init__(
        self, catalogue: Catalogue, columns: Sequence[Columns], rule: Rule, rule_name: str | None = None
    ) -> None:
        self._catalogue = catalogue
        self._columns = columns
        self._rule = rule
        self._rule_name = rule_name
        widths = [len(each.blank) for each in columns]
        self._starts = {each.field.name: sum(widths[:place]) for place, each in enumerate(columns)}
        self._blank = np.array([value for each in columns for value in each.blank], np.float32)

    def score(self, run: Run, cases: Sequence[Case]) -> list[RecommendationResult]:
        """See TypedScoring."""
        known = [self._known(case.input) for case in cases]
        rows = [
            [(each.items, each.context), *self._left_out(each, case)]
            for each, case in zip(known, cases, strict=True)
        ]
        scores = self._scores(run, [((), ()), *chain.from_iterable(rows)], len(cases))
        ends = np.cumsum([1, *map(len, rows)])
        blocks = [scores[start:end] for start, end in pairwise(ends.tolist())]
        usual = np.isfinite(scores[0]).all()
        if wrong := [row for row, block in enumerate(blocks) if not (usual and np.isfinite(block).all())]:
            raise PredictionInvalid(tuple(wrong), "a score is not finite")
        return [
            self._result(case, each, scores[0], block)
            for case, each, block in zip(cases, known, blocks, strict=True)
        ]

    def _known(self, value: RecommendationInput) -> _Known:
        places: set[int] = set()
        unknown: list[Unknown] = []
        for field, names in ((HISTORY, value.history), (PRESENT, value.present)):
            for name in names or ():
                found = [item for item in self._catalogue.meant(name) if item.withdrawn is None]
                if not found:
                    unknown.append(Unknown(field=field, code=name))
                places.update(self._catalogue.place[item.id] for item in found)
        context, counted = [], len(places)
        doubted: list[str] = []
        for each in self._columns:
            given = getattr(value, each.field.name)
            if given is not None:
                facts = each.facts(given)
                context += facts
                counted += len(facts) if each.informs else 0
                unknown += [Unknown(field=each.field.name, code=code) for code in each.unknown(given)]
                doubted += each.ambiguous(given)
        items = [self._catalogue.items[place] for place in sorted(places)]
        had = (Fact(HISTORY, item.id, item.display, self._catalogue.place[item.id]) for item in items)
        told = tuple(_ambiguous(dict.fromkeys(doubted)))
        return _Known(tuple(had), tuple(context), tuple(dict.fromkeys(unknown)), told, counted)

    def _left_out(self, known: _Known, case: Case) -> list[tuple[Facts, Facts]]:
        """A row without each of the facts; none where no reasons are wanted."""
        if not case.options.reasons or not known.counted:
            return []
        return [known.without(place) for place in range(len(known.all))]

    def _scores(self, run: Run, rows: Sequence[tuple[Facts, Facts]], cases: int) -> Array:
        """float64 [rows, items]. Raises PredictionInvalid."""
        history = np.zeros((len(rows), len(self._catalogue)), np.float32)
        context = np.tile(self._blank, (len(rows), 1))
        for row, (items, facts) in enumerate(rows):
            for fact in items:
                history[row, fact.column] = fact.value
            for fact in facts:
                context[row, self._starts[fact.field] + fact.column] = fact.value
        found = []
        for start in range(0, len(rows), ROWS):
            feeds = {"history": history[start : start + ROWS]}
            if self._blank.size:
                feeds["context"] = context[start : start + ROWS]
            given = np.asarray(run(feeds)["scores"], np.float64)
            if given.shape != feeds["history"].shape:
                raise PredictionInvalid(tuple(range(cases)), f"scores has the shape {given.shape}")
            found.append(given)
        return np.concatenate(found)

    def _result(self, case: Case, known: _Known, usual: Array, block: Array) -> RecommendationResult:
        if not known.counted:
            return self._answer(known, self._review(case, ()), [], NOTHING_KNOWN)
        scored = _Scored(
            known.all, np.round(block[0], DECIMALS), np.round(usual, DECIMALS), block[0] - block[1:]
        )
        reviewed = self._review(case, self._ranked(case, scored.scores))
        items = [
            scored.item(rank, item, self._catalogue.place[item.id], case.options.reasons)
            for rank, item in enumerate(reviewed.kept, start=1)
        ]
        return self._answer(known, reviewed, items, None)

    def _answer(
        self, known: _Known, reviewed: Reviewed, items: list[RankedItem], abstain_reason: str | None
    ) -> RecommendationResult:
        return RecommendationResult(
            items=items,
            removed=list(reviewed.removed),
            flagged=list(reviewed.flagged),
            unchecked=[*_untold(known.ambiguous, reviewed), *reviewed.unchecked],
            flagged_present=[self._named(each) for each in reviewed.flagged_present],
            unchecked_present=list(reviewed.unchecked_present),
            rule=self._rule_name,
            unknown=list(known.unknown),
            known=known.counted,
            abstained=abstain_reason is not None,
            abstain_reason=abstain_reason,
        )

    def _named(self, objection: Objection) -> Objection:
        """With the name that the catalogue has for what is had now, if it has one."""
        item = self._catalogue.find(objection.id)
        return objection if item is None else objection.model_copy(update={"display": item.display})

    def _ranked(self, case: Case, scores: Array) -> list[Item]:
        """All items that may be recommended, the best first; of equal ones the first of the catalogue."""
        sent = [*present_of(case.input), *([] if case.options.again else case.input.history)]
        apart = {item.id for name in sent for item in self._catalogue.meant(name)}
        order = np.argsort(-scores, kind="stable").tolist()
        return [item for place in order if (item := self._catalogue.items[place]).id not in apart]

    def _review(self, case: Case, ranked: Sequence[Item]) -> Reviewed:
        """The ranking after the rule, cut behind the last item of the answer."""
        top = case.options.top
        facts = {name: getattr(case.input, name) for name in type(case.input).model_fields}
        found = ((name, self._catalogue.find(name)) for name in present_of(case.input))
        present = [name if item is None else item.id for name, item in found]
        number = top
        while True:
            reviewed = self._rule.review(facts, present, ranked[:number])
            if len(reviewed.kept) >= top or number >= len(ranked):
                return reviewed
            number += top - len(reviewed.kept)


@dataclass(frozen=True)
class _Scored:
    """One case: its facts [F]; scores of the items [I], also where nothing is known; what they lose without each fact [F,I]."""

    facts: Facts
    scores: Array
    usual: Array
    losses: Array

    def item(self, rank: int, item: Item, place: int, most: int) -> RankedItem:
        """The item at this place of the catalogue, with at most so many reasons."""
        return RankedItem(
            rank=rank,
            id=item.id,
            display=item.display,
            code=item.code,
            score=float(self.scores[place]),
            usual=float(self.usual[place]),
            reasons=self._reasons(self.losses[:, place], most) if most else [],
        )

    def _reasons(self, losses: Array, most: int) -> list[Because]:
        """The facts without which an item would lose most of its score, with their shares of all such losses."""
        gains = np.where(np.round(losses, DECIMALS) > 0, losses, 0)
        if not gains.any():
            return []
        shares = np.round(gains / gains.sum(), DECIMALS - 1)
        return [
            Because(
                field=self.facts[place].field,
                code=self.facts[place].code,
                display=self.facts[place].display,
                share=float(shares[place]),
            )
            for place in np.argsort(-shares, kind="stable")[:most].tolist()
            if shares[place] > 0
        ]


def _ambiguous(codes: Iterable[str]) -> Iterator[Unchecked]:
    """That codes which counted may be of another system."""
    for each in ambiguous(read for code in codes if (read := read_code(code))):
        yield Unchecked(subject=each.subject, check=each.check, reason=each.reason, detail=each.detail)


def _untold(told: Sequence[Unchecked], reviewed: Reviewed) -> list[Unchecked]:
    """What the rule has not told itself."""
    by_rule = {(each.subject, each.reason) for each in (*reviewed.unchecked, *reviewed.unchecked_present)}
    return [each for each in told if (each.subject, each.reason) not in by_rule]


def present_of(value: RecommendationInput) -> Sequence[str]:
    """What is had now: if the caller does not say, all of the history."""
    return value.history if value.present is None else value.present
