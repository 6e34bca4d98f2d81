"""How many of the eICU demo's drug orders and allergies the drug safety rule understands.

    python -m models.drug_safety.coverage --data DIR

DIR holds `eicu_demo/` (github.com/eth-mds/eicu-demo; PhysioNet, ODbL 1.0). Counts orders whose ingredient is named, by code
(`ingredients.csv`); orders as written, "WARFARIN SODIUM 5 MG PO TABS", beside what their code says (`medications.csv.gz`);
drugs at admission, by name (`admission_drugs.csv.gz`); and recorded allergies, by text.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from models.drug_safety.findings import Patient, Reason
from models.drug_safety.safety import DrugSafety

PACKAGE = Path(__file__).parent


def bundled() -> DrugSafety:
    """The rule with the tables of this package."""
    return DrugSafety.read(lambda path: (PACKAGE / path).read_bytes(), "tables")


def understood(safety: DrugSafety, name: str) -> str:
    """How much the rule knows of what has this name."""
    ingredients = safety.ingredients.named(name)
    active = [each for each in ingredients if each.active]
    if not ingredients:
        return "unknown"
    if not active:
        return "known to have no active ingredient"
    if all(each.listed for each in active):
        return "known, with an entry in the interactions"
    if all(each.terms for each in active):
        return "known, some ingredient by its classes alone"
    return "known, some ingredient without interactions"


def understood_allergy(safety: DrugSafety, text: str) -> str:
    """Whether a recorded allergy is understood, or part of it."""
    listed = safety.review(Patient(allergies=(text,)), [], ["heparin"]).unchecked
    lost = [each.subject for each in listed if each.reason is Reason.ALLERGY_NOT_UNDERSTOOD]
    return "understood" if not lost else "not understood" if text.strip() in lost else "understood in part"


def read_as(safety: DrugSafety, order: str, code: str) -> str:
    """Whether an order as written names the active ingredients that its code means."""
    named, meant = (
        {each.name for each in safety.ingredients.named(text) if each.active} for text in (order, code)
    )
    if not safety.ingredients.named(order):
        return "unknown"
    if named == meant:
        return "the ingredients of its code"
    return "these, and others that it names" if named > meant else "other ingredients"


def _rows(path: Path) -> Iterator[dict[str, str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _print(title: str, counts: Counter[str]) -> None:
    print(f"{title}: {counts.total():,}")
    for what, count in counts.most_common():
        print(f"  {what:<52}{count:>8,}  {100 * count / counts.total():5.1f} %")


def main() -> None:
    """Print the four counts."""
    parser = argparse.ArgumentParser(
        description="Count what the drug safety rule understands of the eICU demo."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds eicu_demo/")
    folder = parser.parse_args().data / "eicu_demo"
    safety = bundled()
    orders: Counter[str] = Counter()
    for row in _rows(folder / "ingredients.csv"):
        orders[understood(safety, f"hicl:{row['drughiclseqno']}")] += int(row["named_orders"])
    written = Counter(
        read_as(safety, row["drugname"], f"hicl:{row['drughiclseqno']}")
        for row in _rows(folder / "medications.csv.gz")
        if row["drugname"].strip() and safety.ingredients.named(f"hicl:{row['drughiclseqno']}")
    )
    admission = Counter(
        understood(safety, row["drugname"]) for row in _rows(folder / "admission_drugs.csv.gz")
    )
    allergies = Counter(
        understood_allergy(safety, row["allergyname"]) for row in _rows(folder / "allergies.csv.gz")
    )
    _print("orders whose ingredient is named", orders)
    _print("orders as written, with an ingredient by their code", written)
    _print("drugs at admission", admission)
    _print("recorded allergies", allergies)


if __name__ == "__main__":
    main()
