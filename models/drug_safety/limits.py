"""Limits by pregnancy, breastfeeding, renal function and age, from one table each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from models.drug_safety.findings import SEVERITY, Finding, Kind, Level, Reason, Unchecked
from models.drug_safety.ingredients import Ingredient, Ingredients
from models.drug_safety.known import Known, may_be_pregnant
from models.drug_safety.tables import Line, ReadFile, read_table

_ALL: Final = ("ingredients", "level", "condition", "mechanism", "source", "date")
RENAL: Final = (*_ALL, "below_ml_min")
AGE: Final = (*_ALL, "from_years", "below_years")
COLUMNS: Final = {Kind.PREGNANCY: _ALL, Kind.BREASTFEEDING: _ALL, Kind.RENAL: RENAL, Kind.AGE: AGE}
FILES: Final = tuple(f"{kind}.csv" for kind in COLUMNS)


class Limit(NamedTuple):
    """One row: it holds from `least` up to, not including, `below`, in years or ml/min; always if both are None."""

    level: Level
    condition: str
    mechanism: str
    rule: str
    source: str
    date: str
    least: float | None = None
    below: float | None = None

    def holds(self, number: float) -> bool:
        """Whether the number is within the limits of the row."""
        return (self.least is None or number >= self.least) and (self.below is None or number < self.below)


class Limits:
    """The rows of all four tables by ingredient."""

    def __init__(self, rows: dict[Kind, dict[Ingredient, list[Limit]]]) -> None:
        self._rows = rows
        self._highest = max(each.below or 0 for some in rows[Kind.RENAL].values() for each in some)

    @classmethod
    def read(cls, read: ReadFile, folder: str, ingredients: Ingredients) -> Limits:
        """Read the four tables. Raises TableUnusable."""
        rows: dict[Kind, dict[Ingredient, list[Limit]]] = {}
        for kind, columns in COLUMNS.items():
            of_kind = rows.setdefault(kind, {})
            for line in read_table(read, f"{folder}/{kind}.csv", columns, ["ingredients", "level"]):
                limit = _limit(line, kind)
                for name in line.listed("ingredients"):
                    of_kind.setdefault(ingredients.member(line, name), []).append(limit)
        return cls(rows)

    def findings(self, drug: str, ingredients: Iterable[Ingredient], known: Known) -> Iterator[Finding]:
        """What the tables have against the drug for this patient."""
        for kind, fact, limit in self._holding(ingredients, known):
            yield Finding(drug, kind, limit.level, fact, *limit[1:6])

    def unchecked(self, drug: str, ingredients: Iterable[Ingredient], known: Known) -> Iterator[Unchecked]:
        """Facts about the patient that rows on the drug ask for and nothing is known of."""
        for kind, reason in _unknown(known):
            if any(each in self._rows[kind] for each in ingredients):
                yield Unchecked(drug, kind, reason, _WHY[reason])

    def partial(self, known: Known) -> Iterator[Unchecked]:
        """That a table which counts for the patient has some drugs alone, once a table; of kidneys below its highest limit."""
        yield from (self._partial(kind, str(kind)) for kind in _facts(known) if kind is not Kind.AGE)
        if known.clearance is not None and known.clearance.least < self._highest:
            yield self._partial(Kind.RENAL, "kidneys")

    def _partial(self, kind: Kind, subject: str) -> Unchecked:
        detail = f"the table knows {len(self._rows[kind])} drugs: no entry of a drug says nothing of it"
        return Unchecked(subject, kind, Reason.NOT_READ, detail)

    def _holding(self, ingredients: Iterable[Ingredient], known: Known) -> Iterator[tuple[Kind, str, Limit]]:
        facts = _facts(known)
        for ingredient in ingredients:
            for kind, (fact, number) in facts.items():
                for limit in self._rows[kind].get(ingredient, ()):
                    if limit.holds(number):
                        yield kind, fact, limit
            yield from _by_clearance(self._rows[Kind.RENAL].get(ingredient, ()), known)


def _by_clearance(rows: Iterable[Limit], known: Known) -> Iterator[tuple[Kind, str, Limit]]:
    """The rows that hold for all that the clearance may be; for lack of them the worst that may hold, as a precaution."""
    clearance = known.clearance
    if clearance is None:
        return
    certain = [each for each in rows if each.below is not None and clearance.below <= each.below]
    yield from ((Kind.RENAL, clearance.fact, each) for each in certain)
    possible = [each for each in rows if each not in certain and each.holds(clearance.least)]
    if possible:
        worst = min(possible, key=lambda each: SEVERITY[each.level])
        if not certain or SEVERITY[worst.level] < min(SEVERITY[each.level] for each in certain):
            condition = f"{worst.level} below {worst.below:g} ml/min; the code does not say: measure it"
            words = "; ".join(filter(None, (condition, worst.condition)))
            yield Kind.RENAL, clearance.fact, worst._replace(level=Level.PRECAUTION, condition=words)


_WHY: Final = {
    Reason.PREGNANCY_UNKNOWN: "it is not known whether the patient is pregnant",
    Reason.BREASTFEEDING_UNKNOWN: "it is not known whether the patient is breastfeeding",
    Reason.RENAL_FUNCTION_UNKNOWN: "the creatinine clearance is not known",
    Reason.AGE_UNKNOWN: "the age is not known",
}


def _facts(known: Known) -> dict[Kind, tuple[str, float]]:
    """What is known of the patient, as a name and a number that rows are compared with; but for the kidneys."""
    found: dict[Kind, tuple[str, float]] = {}
    patient = known.patient
    if known.pregnancy:
        found[Kind.PREGNANCY] = (known.pregnancy, 0)
    if patient.breastfeeding:
        found[Kind.BREASTFEEDING] = ("breastfeeding", 0)
    if patient.age_years is not None:
        found[Kind.AGE] = (f"age {patient.age_years:g} years", patient.age_years)
    return found


def _unknown(known: Known) -> Iterator[tuple[Kind, Reason]]:
    patient, possible = known.patient, may_be_pregnant(known.patient)
    if patient.pregnant is None and possible and not known.pregnancy:
        yield Kind.PREGNANCY, Reason.PREGNANCY_UNKNOWN
    if patient.breastfeeding is None and possible:
        yield Kind.BREASTFEEDING, Reason.BREASTFEEDING_UNKNOWN
    if known.clearance is None or known.clearance.unbounded:
        yield Kind.RENAL, Reason.RENAL_FUNCTION_UNKNOWN
    if patient.age_years is None:
        yield Kind.AGE, Reason.AGE_UNKNOWN


def _limit(line: Line, kind: Kind) -> Limit:
    least = line.number_in("from_years") if kind is Kind.AGE else None
    below = (
        line.number_in({Kind.AGE: "below_years", Kind.RENAL: "below_ml_min"}[kind])
        if kind in _NUMBERED
        else None
    )
    if kind in _NUMBERED and least is None and below is None:
        raise line.refused("give a limit")
    if least is not None and below is not None and least >= below:
        raise line.refused("from_years must be less than below_years")
    words = line["condition"], line["mechanism"], _rule(kind, least, below), line["source"], line["date"]
    return Limit(line.word("level", Level), *words, least, below)


_NUMBERED: Final = frozenset({Kind.AGE, Kind.RENAL})


def _rule(kind: Kind, least: float | None, below: float | None) -> str:
    unit = "years" if kind is Kind.AGE else "ml/min"
    bounds = [f"from {least:g}" if least is not None else "", f"below {below:g}" if below is not None else ""]
    return f"{kind} {' '.join(filter(None, bounds))} {unit}" if kind in _NUMBERED else str(kind)
