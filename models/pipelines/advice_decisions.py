"""What becomes of each item of a catalogue for one person: shown, withheld, undetermined, or not for this person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from models.pipelines.advice_catalogue import Against, Flag, Item
from models.pipelines.advice_rules import Facts


@dataclass(frozen=True, slots=True)
class Shown:
    """An item that is shown; `unchecked` are absent fields for which it would have been withheld only if they were known."""

    item: Item
    unchecked: tuple[str, ...]


@dataclass(slots=True)
class SortedOut:
    """The items that concern a person, each in one of the lists, in the order of the catalogue."""

    shown: list[Shown] = field(default_factory=list)
    withheld: list[tuple[Item, list[Flag], list[Against]]] = field(default_factory=list)
    undetermined: list[tuple[Item, list[str]]] = field(default_factory=list)


def sort_out(items: Iterable[Item], flags: Sequence[Flag], facts: Facts) -> SortedOut:
    """Decide each item; `flags` are the red flags that hold.

    What speaks against an item decides it, whether its own rule holds or is unknown; only if the rule holds is it told.
    Advice in whose place another stands is withheld for that only if the other is shown. If the other is undetermined, so is
    it; if the other is withheld, it is for the same reasons.
    """
    found = SortedOut()
    for item in items:
        fits = item.rule.holds(facts)
        if fits is False:
            continue
        raised = [flag for flag in flags if item.table.category in flag.table.withholds]
        against, pending = _speaking(item, facts, found, raised)
        if raised or against:
            if fits:
                found.withheld.append((item, raised, against))
            continue
        open_ones = [each for each in item.unless if each.rule.holds(facts) is None]
        needed = [*pending] + [
            name for each in open_ones if not each.table.if_known for name in each.rule.missing(facts)
        ]
        missing = list(dict.fromkeys([*item.rule.missing(facts), *needed]))
        if missing:
            found.undetermined.append((item, missing))
        else:
            unchecked = (name for each in open_ones for name in each.rule.missing(facts))
            found.shown.append(Shown(item, tuple(dict.fromkeys(unchecked))))
    return found


def _speaking(
    item: Item, facts: Facts, found: SortedOut, raised: list[Flag]
) -> tuple[list[Against], list[str]]:
    """What speaks against an item, and the absent fields on which advice in its place depends.

    Adds to `raised` the red flags for which such advice is withheld.
    """
    shown = {each.item.table.id for each in found.shown}
    against: list[Against] = []
    pending: list[str] = []
    for each in item.unless:
        instead = {*each.table.instead}
        if not each.rule.holds(facts):
            continue
        if not instead or instead & shown:
            against.append(each)
            continue
        pending += (
            name for other, missing in found.undetermined if other.table.id in instead for name in missing
        )
        for other, flags, reasons in found.withheld:
            if other.table.id in instead:
                raised += (flag for flag in flags if flag not in raised)
                against += (reason for reason in reasons if reason.table not in [a.table for a in against])
    return against, pending
