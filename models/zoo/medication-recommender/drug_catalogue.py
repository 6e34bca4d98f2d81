"""The files of medication-recommender: drugs, diagnoses and past history as the data have them."""

import csv
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from drug_names import LEFT_OUT, NO_NAME, WRITTEN, ingredient_of

from models import drug_safety
from models.pipelines.item_catalogue import folded
from models.training.stays import rows

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
TABLES = Path(drug_safety.__file__).parent / "tables"
# The interactions' reference has these under the code of a salt, a mixture or another insulin.
NOT_THAT_CODE = frozenset(("heparin", "docusate", "insulin detemir"))
# Drugs that were withdrawn from the market of the United States for safety, with the year (21 CFR 216.24, FDA), and brands.
WITHDRAWN = {
    "rofecoxib": (2004, "vioxx"), "valdecoxib": (2005, "bextra"), "cerivastatin": (2001, "baycol"),
    "troglitazone": (2000, "rezulin"), "terfenadine": (1998, "seldane; seldane-d"), "astemizole": (1999, "hismanal"),
    "propoxyphene": (2010, "darvon; darvon-n; darvocet; darvocet-n; dextropropoxyphene"),
    "sibutramine": (2010, "meridia"), "drotrecogin alfa": (2011, "xigris"), "pergolide": (2007, "permax"),
    "grepafloxacin": (1999, "raxar"),
}  # fmt: skip


def orders(folder: Path) -> tuple[dict[str, frozenset[str]], dict[str, int]]:
    """The ingredients ordered in each stay, and counts of orders: all, canceled, unnamed, left out, used."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    counts = dict.fromkeys(("all", "canceled", "unnamed", "left_out", "used"), 0)
    for row in rows(folder, "medications"):
        name = row["ingredient"]
        ingredient = ingredient_of(name, row["drughiclseqno"]) if name else None
        canceled, unnamed = row["drugordercancelled"] == "Yes", not name
        kind = "canceled" if canceled else "unnamed" if unnamed else "used" if ingredient else "left_out"
        counts["all"] += 1
        counts[kind] += 1
        if kind == "used" and ingredient:
            found[row["patientunitstayid"]].add(ingredient)
    return {stay: frozenset(names) for stay, names in found.items()}, counts


def write_catalogue(path: Path, folder: Path, drugs: Sequence[str]) -> int:
    """Write the side file of the drugs, in their order; how many have a code of RxNorm."""
    codes, source_codes = _rxnorm(), _source_codes(folder)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "display", "system", "code", "also", "withdrawn"))
        for drug in drugs:
            code = codes.get(drug, "")
            written = [name for name in WRITTEN[drug] if ":" not in name and name not in NO_NAME]
            names = [name for name in written if folded(name) != folded(drug)]
            names += [f"hicl:{each}" for each in source_codes[drug]] + ([f"rxnorm:{code}"] if code else [])
            writer.writerow((drug, _display(drug), RXNORM if code else "", code, "; ".join(names), ""))
        for drug, (year, brands) in WITHDRAWN.items():
            reason = f"from the market of the United States, in {year}. Send what is given in its place, or leave it out"
            writer.writerow((drug, _display(drug), "", "", brands, reason))
    return sum(drug in codes for drug in drugs)


def copy_tables(folder: Path) -> None:
    """Copy the tables of the drug safety rule, which are sealed with the bundle."""
    folder.mkdir(exist_ok=True)
    for name in drug_safety.FILES:
        shutil.copyfile(TABLES / name, folder / name)


def write_notice(path: Path) -> None:
    """Write the notice that the licence of the data asks for."""
    path.write_text(
        "medication-recommender contains information from the eICU Collaborative Research Database Demo (PhysioNet;\n"
        "Pollard et al., Sci Data 5:180178, 2018), which is made available under the Open Database License 1.0 (ODbL):\n"
        "https://opendatacommons.org/licenses/odbl/1-0/. The tables catalogue.csv, diagnoses.csv, past_history.csv\n"
        "and drug_safety/codes.csv and the weights of model.onnx are derived from it and are made available under the same\n"
        "licence. They hold no row of a patient.\n",
        encoding="utf-8",
    )


def _rxnorm() -> Mapping[str, str]:
    """Codes of RxNorm by ingredient, as the tables of the drug safety rule have them."""
    with (TABLES / "substances.csv").open(encoding="utf-8", newline="") as file:
        substances = {row["substance"]: row["rxnorm"] for row in csv.DictReader(file)}
    with (TABLES / "ingredients.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["ingredient"]: code
            for row in csv.DictReader(file)
            if row["ingredient"] not in NOT_THAT_CODE
            and (
                code := row["rxnorm"]
                or next(filter(None, map(substances.get, _listed(row["substances"]))), "")
            )
        }


def _listed(cell: str) -> Iterator[str]:
    return (each.strip() for each in cell.split(";"))


def _source_codes(folder: Path) -> Mapping[str, list[str]]:
    """The codes (HICL) of the data by ingredient."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    with (folder / "ingredients.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            ingredient = ingredient_of(row["ingredient"], row["drughiclseqno"])
            if ingredient is not None:
                found[ingredient].append(row["drughiclseqno"])
            elif row["ingredient"] not in LEFT_OUT:
                raise ValueError(f"drug_names.py does not have {row['ingredient']!r}: add it")
    return found


def _display(drug: str) -> str:
    return drug[0].upper() + drug[1:]
