"""Whether anybody at all is shown an item of a catalogue of advice: finds such a person, or shows that there is none.

A person is searched for whom one test of each clause holds and each rule against the item is false. Every bound that a rule
names, and the middle between two of them, stands for all numbers of its kind, so the search is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from models.pipelines.advice_patient import FIELDS, Known, Person
from models.pipelines.advice_rules import Compares, Facts, InGroup, Is, Rule, Test
from models.pipelines.pregnancy import OLDEST_PREGNANT, YOUNGEST_PREGNANT

Literal = tuple[Test, bool]  # a test, and whether it is to hold
Codes = Mapping[str, Sequence[str]]  # the codes of each group of conditions, each valid as a code of a person
_USUAL_AGE: Final = 40.0


def witness(rule: Rule, against: Sequence[Rule], codes: Codes) -> Person | None:
    """Somebody for whom `rule` holds and none of `against` does; None if there is nobody."""
    return next((found for found in _found([], list(rule.clauses), list(against), codes)), None)


def _found(
    literals: list[Literal], clauses: list[tuple[Test, ...]], against: list[Rule], codes: Codes
) -> Iterator[Person]:
    """Depth-first: a test of the next clause, then a clause of the next rule to break."""
    person = _person(literals, codes)
    if person is None:
        return
    if clauses:
        for test in clauses[0]:
            yield from _found([*literals, (test, True)], clauses[1:], against, codes)
    elif against:
        for clause in against[0].clauses:
            broken = [(test, False) for test in clause]
            yield from _found([*literals, *broken], [], against[1:], codes)
    else:
        yield person


def _person(literals: Sequence[Literal], codes: Codes) -> Person | None:
    """Somebody of whom all literals are true, each of them known; None if they contradict each other."""
    conditions = _conditions(literals, codes)
    names = dict.fromkeys(test.field.name for test, _ in literals if not isinstance(test, InGroup))
    options = {name: _values(FIELDS[name], literals) for name in names}
    if conditions is None or not all(options.values()):
        return None
    chosen = {name: values[len(values) // 2] for name, values in options.items()}
    if chosen.get("pregnant") is True:
        options["age"] = [
            age
            for age in options.get("age", [_USUAL_AGE])
            if YOUNGEST_PREGNANT <= _of(age) <= OLDEST_PREGNANT
        ]
        options["sex"] = [sex for sex in options.get("sex", ["female"]) if sex == "female"]
        chosen |= {name: values[0] for name in ("age", "sex") if (values := options[name])}
        if not options["age"] or not options["sex"]:
            return None
    if {"systolic", "diastolic"} <= chosen.keys():
        pairs = [
            (high, low)
            for high in options["systolic"]
            for low in options["diastolic"]
            if _of(high) > _of(low)
        ]
        if not pairs:
            return None
        chosen["systolic"], chosen["diastolic"] = pairs[len(pairs) // 2]
    return Person.model_validate({"conditions": conditions, "age": _USUAL_AGE} | chosen)


def _conditions(literals: Sequence[Literal], codes: Codes) -> list[str] | None:
    """A code of each group that is wanted, in no group that is not."""
    wanted = dict.fromkeys(test.group for test, holds in literals if isinstance(test, InGroup) and holds)
    unwanted = [test.group for test, holds in literals if isinstance(test, InGroup) and not holds]
    chosen = []
    for group in wanted:
        fitting = [code for code in codes[group] if not any(_falls(code, codes[other]) for other in unwanted)]
        if not fitting:
            return None
        chosen.append(fitting[0])
    return chosen


def _falls(code: str, group: Sequence[str]) -> bool:
    return any(code == each or (not each[0].isdigit() and code.startswith(each)) for each in group)


def _values(field: Known, literals: Sequence[Literal]) -> list[object]:
    """What a field may be: of a list the one list that has what must be in it."""
    about = [
        (test, holds) for test, holds in literals if not isinstance(test, InGroup) and test.field == field
    ]
    if field.listed:
        wanted = [test.value for test, holds in about if isinstance(test, Is) and holds]
        unwanted = {test.value for test, holds in about if isinstance(test, Is) and not holds}
        return [] if unwanted & set(wanted) else [list(dict.fromkeys(wanted))]
    return [value for value in _candidates(field, about) if all(_agrees(value, *each) for each in about)]


def _candidates(field: Known, about: Sequence[Literal]) -> list[object]:
    if field.values:
        return list(field.values)
    bounds = sorted(
        {field.least, field.most, *(test.bound for test, _ in about if isinstance(test, Compares))}
    )
    between = [(low + high) / 2 for low, high in pairwise(bounds)]
    found: list[object] = [*sorted([*bounds, *between])]
    return found


def _agrees(value: object, test: Test, holds: bool) -> bool:
    return isinstance(test, Compares | Is) and test.holds(Facts({test.field.name: value}, {})) is holds


def _of(value: object) -> float:
    return float(str(value))
