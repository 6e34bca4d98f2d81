"""The stays of eICU's demo as recommenders learn from them: who was where, with which diagnoses and past history.

Source: eICU Collaborative Research Database Demo (Pollard et al., Sci Data 5:180178, 2018), ODbL 1.0. What was ordered in a
stay (drugs, treatments, consultants) each recommender reads itself. Records are of whole stays, in no order of time.
"""

import csv
import gzip
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from models.pipelines.context_fields import CodesField
from models.pipelines.item_catalogue import listed

LEAST_PATIENTS = 5  # of an item or a group, so that no file of a bundle tells of single patients
OLDEST = 90.0  # ages above 89 are written "> 89"
NOTES = "notes/Progress Notes/Past History/"
GROUPS = Path(__file__).with_name("diagnosis_groups.csv")
# Diagnoses whose codes in the data say something else than their words, with the codes of what they say; by a part of the name.
CORRECTED: dict[str, tuple[str, ...]] = {
    "hyponatremia": ("276.1", "E87.1"),
    "hypokalemia": ("276.8", "E87.6"),
    "hypomagnesemia": ("E83.42",),
    "hypermagnesemia": ("E83.41",),
    "hypophosphatemia": (),
    "bacteremia": ("790.7", "R78.81"),
    "septic shock": ("785.52", "R65.21"),
    "hypovolemic shock": ("R57.1",),
    "coumadin administration": ("D68.32",),
    "hypercoagulable state": ("289.81", "D68.69"),
    "leukocytosis": ("288.60", "D72.829"),
    "agitation": ("R45.1",),
    "rhabdomyolysis": ("728.88", "M62.82"),
    "obstructive uropathy": ("599.60", "N13.9"),
    "atrial flutter": ("427.32", "I48.92"),
    "ARDS": ("J80",),
    "esophageal CA": ("150.9", "C15.9"),
    "s/p kidney transplant": ("V42.0", "Z94.0"),
    "chest wall trauma": (),
}


class Group(NamedTuple):
    """A group of diagnoses or findings, fed as one column. `excluded` codes are of none, whatever lists a shorter code."""

    id: str
    display: str
    codes: Sequence[str]
    excluded: Sequence[str] = ()


@dataclass(frozen=True)
class Stay:
    """One stay in intensive care. `diagnoses` are codes of ICD-9 and ICD-10, and the names of those without one."""

    id: str
    patient: str
    hospital: str
    unit: str
    admitted_from: str | None
    age: float | None
    sex: str | None
    diagnoses: frozenset[str]
    past_history: frozenset[str]

    def context(self) -> dict[str, object]:
        """The fields of a recommender's input, as a caller sends them."""
        return {
            "diagnoses": sorted(self.diagnoses),
            "past_history": sorted(self.past_history),
            "age": self.age,
            "sex": self.sex,
            "unit": self.unit,
            "admitted_from": self.admitted_from,
        }


def rows(folder: Path, name: str) -> Iterator[dict[str, str]]:
    """The rows of a table of the data."""
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def read_stays(folder: Path) -> dict[str, Stay]:
    """All stays by their id, in the order of the file."""
    diagnoses: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows(folder, "diagnoses"):
        diagnoses[row["patientunitstayid"]].update(codes_of(row) or [row["diagnosisstring"]])
    history: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows(folder, "past_history"):
        history[row["patientunitstayid"]].add(row["pasthistorypath"].removeprefix(NOTES))
    return {row["patientunitstayid"]: _stay(row, diagnoses, history) for row in rows(folder, "stays")}


def codes_of(row: Mapping[str, str]) -> Sequence[str]:
    """The codes of a row of diagnoses: of ICD-9, ICD-10, both or none."""
    for part in row["diagnosisstring"].split("|"):
        if part in CORRECTED:
            return CORRECTED[part]
    return [code.strip() for code in row["icd9code"].split(",") if code.strip()]


def diagnosis_groups(stays: Mapping[str, Stay]) -> list[Group]:
    """The groups of GROUPS, and one for each diagnosis that has no code, that LEAST_PATIENTS or more have."""
    with GROUPS.open(encoding="utf-8", newline="") as file:
        found = [
            Group(row["group"], row["display"], listed(row["codes"]), listed(row["except"]))
            for row in csv.DictReader(file)
        ]
    names = {name for stay in stays.values() for name in stay.diagnoses if "|" in name and ";" not in name}
    named = names - {code for group in found for code in group.codes}
    found += [Group(name, _display(name), ()) for name in sorted(named)]
    field = CodesField(name="diagnoses", title="Diagnoses", type="codes", file=GROUPS.name, category=3)
    columns = field.columns(lambda _: groups_text(found).encode())
    patients: defaultdict[int, set[str]] = defaultdict(set)
    for stay in stays.values():
        for fact in columns.facts(sorted(stay.diagnoses)):
            patients[fact.column].add(stay.patient)
    return [group for place, group in enumerate(found) if len(patients[place]) >= LEAST_PATIENTS]


def past_history_groups(stays: Mapping[str, Stay]) -> list[Group]:
    """Groups of past history, one for each finding of LEAST_PATIENTS or more.

    A finding is the last two parts of its path, such as "Metastases/lung"; the last alone is a code where it is the only one.
    """
    patients: defaultdict[str, set[str]] = defaultdict(set)
    paths: defaultdict[str, set[str]] = defaultdict(set)
    of_last: defaultdict[str, set[str]] = defaultdict(set)
    for stay in stays.values():
        for path in stay.past_history:
            *_, parent, last = ["", *path.split("/")]
            name = f"{parent}/{last}"
            patients[name].add(stay.patient)
            paths[name].update((path, NOTES + path))
            of_last[last].add(name)
    kept = sorted(name for name in patients if len(patients[name]) >= LEAST_PATIENTS)
    lone = {name for names in of_last.values() if len(names) == 1 for name in names}
    return [
        Group(name, name.replace("/", ": "), sorted(paths[name]) + [name.rpartition("/")[2]] * (name in lone))
        for name in kept
    ]


def frequent(items: Mapping[str, frozenset[str]], stays: Mapping[str, Stay]) -> list[str]:
    """The items of LEAST_PATIENTS or more, sorted, of `items` by stay."""
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for stay, ordered in items.items():
        for item in ordered:
            patients[item].add(stays[stay].patient)
    return sorted(item for item in patients if len(patients[item]) >= LEAST_PATIENTS)


def groups_text(groups: Iterable[Group]) -> str:
    """Groups as the side file that a recommender reads, without codes that hold its separator, a semicolon."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("group", "display", "codes", "except"))
    for group in groups:
        codes = "; ".join(code for code in group.codes if ";" not in code)
        writer.writerow((group.id, group.display, codes, "; ".join(group.excluded)))
    return text.getvalue()


def _stay(row: Mapping[str, str], diagnoses: Mapping[str, set[str]], history: Mapping[str, set[str]]) -> Stay:
    name, age = row["patientunitstayid"], row["age"]
    return Stay(
        id=name,
        patient=row["uniquepid"],
        hospital=row["hospitalid"],
        unit=row["unittype"],
        admitted_from=row["unitadmitsource"] or None,
        age=OLDEST if age.startswith(">") else float(age) if age else None,
        sex={"Female": "female", "Male": "male"}.get(row["gender"]),
        diagnoses=frozenset(diagnoses.get(name, ())),
        past_history=frozenset(history.get(name, ())),
    )


def _display(name: str) -> str:
    """The last two parts of a diagnosis's name."""
    text = ": ".join(name.split("|")[-2:])
    return text[0].upper() + text[1:]
