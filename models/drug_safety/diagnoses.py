"""Diagnoses that forbid a drug, or ask for care with it: a table of codes of ICD-10-CM and ICD-9-CM, by beginnings of codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from models.drug_safety.coded_facts import HYPERKALEMIA, HYPOKALEMIA
from models.drug_safety.codes import key_of
from models.drug_safety.findings import SEVERITY, Finding, Kind, Level, Reason, Unchecked
from models.drug_safety.ingredients import Ingredient, Ingredients
from models.drug_safety.known import HYPERKALEMIA_MMOL_L, HYPOKALEMIA_MMOL_L, Known
from models.drug_safety.tables import Line, ReadFile, read_table

FILE: Final = "diagnoses.csv"
COLUMNS: Final = ("ingredients", "codes", "diagnosis", "level", "condition", "mechanism", "source", "date")
_UNKNOWN: Final = "it is not known which diagnoses the patient has"
SOME_READ: Final = (
    "the rule reads the diagnoses of its table alone: a drug that another one forbids may be shown"
)
NONE_READ: Final = (
    "the rule that reviews drugs reads no diagnoses: a drug that one of them forbids may be shown"
)


class Row(NamedTuple):
    """One row. `codes` are keys of codes (see codes.Code), or beginnings of keys."""

    codes: tuple[str, ...]
    diagnosis: str
    level: Level
    condition: str
    mechanism: str
    source: str
    date: str


class Diagnoses:
    """The rows by ingredient."""

    def __init__(self, rows: dict[Ingredient, list[Row]]) -> None:
        self._rows = rows

    @classmethod
    def read(cls, read: ReadFile, folder: str, ingredients: Ingredients) -> Diagnoses:
        """Read the table. Raises TableUnusable."""
        rows: dict[Ingredient, list[Row]] = {}
        filled = ["ingredients", "codes", "diagnosis", "level"]
        for line in read_table(read, f"{folder}/{FILE}", COLUMNS, filled):
            words = line["condition"], line["mechanism"], line["source"], line["date"]
            row = Row(_keys(line), line["diagnosis"], line.word("level", Level), *words)
            for name in line.listed("ingredients"):
                rows.setdefault(ingredients.member(line, name), []).append(row)
        return cls(rows)

    def findings(self, drug: str, ingredients: Iterable[Ingredient], known: Known) -> Iterator[Finding]:
        """What the table has against the drug: of each code the most serious row, each row once with all of its codes."""
        rows = [row for each in ingredients for row in self._rows.get(each, ())]
        found: dict[Row, list[str]] = {}
        for code, known_by in _had(known):
            holding = [row for row in rows if code.startswith(row.codes)]
            if holding:
                row = min(holding, key=lambda each: SEVERITY[each.level])
                found.setdefault(row, []).append(known_by)
        for row, facts in found.items():
            fact = f"{row.diagnosis} ({', '.join(dict.fromkeys(facts))})"
            words = row.condition, row.mechanism, f"{Kind.DIAGNOSIS} {row.diagnosis}", row.source, row.date
            yield Finding(drug, Kind.DIAGNOSIS, row.level, fact, *words)

    def unchecked(self, drug: str, ingredients: Iterable[Ingredient], known: Known) -> Iterator[Unchecked]:
        """That nothing is known of diagnoses that rows on the drug ask for."""
        if known.patient.diagnoses is None and any(each in self._rows for each in ingredients):
            yield Unchecked(drug, Kind.DIAGNOSIS, Reason.DIAGNOSES_UNKNOWN, _UNKNOWN)


def _keys(line: Line) -> tuple[str, ...]:
    try:
        return tuple(map(key_of, line.listed("codes")))
    except ValueError as wrong:
        raise line.refused(str(wrong)) from None


def _had(known: Known) -> Iterator[tuple[str, str]]:
    """The keys of what a patient has, and by what it is known: codes as they were sent, and what the potassium says."""
    yield from ((each.key, each.sent) for each in known.codes)
    potassium = known.patient.potassium_mmol_l
    if potassium is not None and potassium >= HYPERKALEMIA_MMOL_L:
        yield HYPERKALEMIA, f"potassium {potassium:g} mmol/L"
    if potassium is not None and potassium < HYPOKALEMIA_MMOL_L:
        yield HYPOKALEMIA, f"potassium {potassium:g} mmol/L"
