"""The language of a catalogue of advice: what a rule asks of a person, and whether it holds.

A rule is a list of clauses, all of which must hold. A clause is a test, or a list of tests of which one must hold. A test is

- the name of a group of conditions, such as `"hypertension"`: one of its codes is among the person's conditions;
- `"FIELD >= NUMBER"`, also with `>`, `<` and `<=`: a number of the person, in the unit of the input;
- `"FIELD is VALUE"`: the value of a field that has a closed set of them; of a list, that it holds the value.

Answers are true, false or unknown (None), by the strong three-valued logic of Kleene (Introduction to Metamathematics, 1952,
section 64): an absent value is never taken for a normal one.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from models.pipelines.advice_patient import FIELDS, Known

_NUMBER: Final = re.compile(r"([a-z_0-9]+) (>=|<=|>|<) (-?[0-9]+(?:\.[0-9]+)?)")
_VALUE: Final = re.compile(r"([a-z_0-9]+) is ([a-z_0-9]+)")
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt,
}  # fmt: skip
NEGATED: Final = {">=": "<", ">": "<=", "<=": ">", "<": ">="}
_WRITTEN: Final[Mapping[str, object]] = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a person: values by field (None: unknown), and the codes that fell into each group of conditions."""

    values: Mapping[str, object]
    groups: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class InGroup:
    """One of the conditions is in a group."""

    group: str

    def holds(self, facts: Facts) -> bool | None:
        """See the module."""
        return bool(facts.groups.get(self.group))


@dataclass(frozen=True, slots=True)
class Compares:
    """A number lies on one side of a bound."""

    field: Known
    sign: str
    bound: float

    def holds(self, facts: Facts) -> bool | None:
        """See the module."""
        value = facts.values[self.field.name]
        return None if value is None else _COMPARE[self.sign](float(str(value)), self.bound)


@dataclass(frozen=True, slots=True)
class Is:
    """A field has a value, or a list holds it."""

    field: Known
    value: object

    def holds(self, facts: Facts) -> bool | None:
        """See the module."""
        value = facts.values[self.field.name]
        if value is None:
            return None
        return (
            self.value in value if isinstance(value, Sequence) and self.field.listed else value == self.value
        )


Test = InGroup | Compares | Is
Clause = tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Clauses that must all hold; of each, one test."""

    clauses: tuple[Clause, ...]

    def holds(self, facts: Facts) -> bool | None:
        """See the module."""
        return _all(_any(test.holds(facts) for test in clause) for clause in self.clauses)

    def reasons(self, facts: Facts) -> list[Test]:
        """The tests that hold, in the order of the rule."""
        return [test for clause in self.clauses for test in clause if test.holds(facts)]

    def missing(self, facts: Facts) -> list[str]:
        """The absent fields on which the answer depends, in the order of the rule."""
        unknown = (clause for clause in self.clauses if _any(test.holds(facts) for test in clause) is None)
        return list(
            dict.fromkeys(
                test.field.name
                for clause in unknown
                for test in clause
                if not isinstance(test, InGroup) and test.holds(facts) is None
            )
        )


def read_rule(written: Sequence[str | Sequence[str]], groups: Iterable[str]) -> Rule:
    """A rule as the catalogue writes it. Raises ValueError with what to write instead."""
    known = frozenset(groups)
    return Rule(
        tuple(
            tuple(_test(each, known) for each in ([clause] if isinstance(clause, str) else clause))
            for clause in written
        )
    )


def _test(text: str, groups: frozenset[str]) -> Test:
    if found := _NUMBER.fullmatch(text):
        return _comparison(found[1], found[2], float(found[3]))
    if found := _VALUE.fullmatch(text):
        return _value(found[1], _WRITTEN.get(found[2], found[2]))
    if not _NAME.fullmatch(text):
        raise ValueError(
            f'{text!r} is no test: write a group of conditions, "FIELD >= NUMBER" (or >, <, <=) or "FIELD is VALUE"'
        )
    if text not in groups:
        raise ValueError(f"there is no group of conditions {text!r}: add [groups.{text}]")
    return InGroup(text)


def _comparison(name: str, sign: str, bound: float) -> Test:
    field = _field(name)
    if field.values:
        raise ValueError(f'{name} is no number: write "{name} is VALUE"')
    inside = field.least < bound <= field.most if sign in (">=", "<") else field.least <= bound < field.most
    if not inside:
        raise ValueError(
            f"{name} {sign} {bound:g} is the same for everybody: write a bound between {field.least:g} and {field.most:g}"
        )
    return Compares(field, sign, bound)


def _value(name: str, value: object) -> Test:
    field = _field(name)
    if not field.values:
        raise ValueError(f'{name} is a number: write "{name} >= NUMBER", or with >, <, <=')
    if value not in field.values or isinstance(value, bool) is not isinstance(field.values[0], bool):
        allowed = ", ".join(str(each).lower() for each in field.values)
        raise ValueError(f"{name} has no value {str(value).lower()!r}: write one of {allowed}")
    return Is(field, value)


def _field(name: str) -> Known:
    if name not in FIELDS:
        raise ValueError(f"there is no field {name!r}: write one of {', '.join(FIELDS)}")
    return FIELDS[name]


def _all(answers: Iterable[bool | None]) -> bool | None:
    found = list(answers)
    return False if False in found else None if None in found else True


def _any(answers: Iterable[bool | None]) -> bool | None:
    found = list(answers)
    return True if True in found else None if None in found else False
