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
EXCEPT: Final = "except"
COLUMNS: Final = (
    "ingredients", "codes", EXCEPT, "diagnosis", "level", "condition", "mechanism", "source", "date",
)  # fmt: skip
SEQUELAE: Final = "sequelae"  # in EXCEPT: what an injury left behind is not the injury
_UNKNOWN: Final = "it is not known which diagnoses the patient has"
SOME_READ: Final = (
    "the rule reads the diagnoses of its table alone: a drug that another one forbids may be shown"
)
NONE_READ: Final = (
    "the rule that reviews drugs reads no diagnoses: a drug that one of them forbids may be shown"
)


class Row(NamedTuple):
    """One row. `codes` are keys of codes (see codes.Code), or beginnings of keys; `without` are other ones below these."""

    codes: tuple[str, ...]
    without: tuple[str, ...]
    without_sequelae: bool
    diagnosis: str
    level: Level
    condition: str
    mechanism: str
    source: str
    date: str

    def holds(self, key: str, *, is_sequela: bool = False) -> bool:
        """Whether it is about the code with this key."""
        if not key.startswith(self.codes) or (is_sequela and self.without_sequelae):
            return False
        return not key.startswith(self.without)


class Diagnoses:
    """The rows by ingredient."""

    def __init__(self, rows: dict[Ingredient, list[Row]]) -> None:
        self._rows = rows

    @classmethod
    def read(cls, read: ReadFile, folder: str, ingredients: Ingredients) -> Diagnoses:
        """Read the table. Raises TableUnusable."""
        rows: dict[Ingredient, list[Row]] = {}
        filled = ["ingredients", "codes", "diagnosis", "level"]
        for line in read_table(read, f"{folder}/{FILE}", COLUMNS, filled, EXCEPT):
            words = line["condition"], line["mechanism"], line["source"], line["date"]
            row = Row(*_keys(line), line["diagnosis"], line.word("level", Level), *words)
            for name in line.listed("ingredients"):
                rows.setdefault(ingredients.member(line, name), []).append(row)
        return cls(rows)

    def findings(self, drug: str, ingredients: Iterable[Ingredient], known: Known) -> Iterator[Finding]:
        """What the table has against the drug: of each code the most serious row, each row once with all of its codes."""
        rows = [row for each in ingredients for row in self._rows.get(each, ())]
        found: dict[Row, list[str]] = {}
        for key, known_by, is_sequela in _had(known):
            holding = [row for row in rows if row.holds(key, is_sequela=is_sequela)]
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


def _keys(line: Line) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """The keys of a row's codes, those of codes below them that it is not about, and whether sequelae are among these."""
    excepted = line.listed(EXCEPT)
    try:
        codes = tuple(map(key_of, line.listed("codes")))
        without = tuple(key_of(each) for each in excepted if each != SEQUELAE)
    except ValueError as wrong:
        raise line.refused(str(wrong)) from None
    if idle := [key for key in without if key in codes or not key.startswith(codes)]:
        raise line.refused(f"{EXCEPT}: {idle[0].split()[-1]} is below none of the codes")
    return codes, without, SEQUELAE in excepted


def _had(known: Known) -> Iterator[tuple[str, str, bool]]:
    """Of what a patient has, the keys; by what each is known: a code as it was sent, or the potassium; whether a sequela."""
    yield from ((each.key, each.sent, each.is_sequela) for each in known.codes)
    potassium = known.patient.potassium_mmol_l
    if potassium is not None and potassium >= HYPERKALEMIA_MMOL_L:
        yield HYPERKALEMIA, f"potassium {potassium:g} mmol/L", False
    if potassium is not None and potassium < HYPOKALEMIA_MMOL_L:
        yield HYPOKALEMIA, f"potassium {potassium:g} mmol/L", False
