"""The stays of eICU's demo as recommenders learn from them: who was where, with which diagnoses and past history.

Source: eICU Collaborative Research Database Demo (Pollard et al., Sci Data 5:180178, 2018), ODbL 1.0. What was ordered in a
stay (drugs, treatments, consultants) each recommender reads itself. Records are of whole stays, in no order of time.
"""

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LEAST_PATIENTS = 5  # of an item or a group, so that no file of a bundle tells of single patients
OLDEST = 90.0  # ages above 89 are written "> 89"
NOTES = "notes/Progress Notes/Past History/"
# ICD-9 and ICD-10 categories of diagnoses that the data name without a code.
UNCODED = {
    "endocrine|glucose metabolism|diabetes mellitus": "250",
    "endocrine|glucose metabolism|diabetes mellitus|Type II": "250",
    "endocrine|glucose metabolism|diabetes mellitus|Type I": "250",
    "hematology|bleeding and red blood cell disorders|anemia": "285",
    "cardiovascular|shock / hypotension|hypotension / pressor dependent": "458",
    "cardiovascular|chest pain / ASHD|coronary artery disease": "414",
    "cardiovascular|chest pain / ASHD|acute coronary syndrome": "411",
    "cardiovascular|ventricular disorders|cardiomyopathy": "425",
    "gastrointestinal|pancreatic disease|pancreatitis": "577",
    "endocrine|glucose metabolism|hyperglycemia|suspected": "790",
}


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


def codes_of(row: Mapping[str, str]) -> list[str]:
    """The codes of a row of diagnoses: of ICD-9, ICD-10, both or none."""
    return [code.strip() for code in row["icd9code"].split(",") if code.strip()]


def diagnosis_groups(folder: Path, stays: Mapping[str, Stay]) -> list[tuple[str, str, list[str]]]:
    """Groups of diagnoses: (id, display, codes), each of LEAST_PATIENTS or more.

    A group is a category of ICD-9, the digits before the point, with the categories of ICD-10 that most often stand beside it;
    and a name for each diagnosis that has no code.
    """
    beside: defaultdict[str, Counter[str]] = defaultdict(Counter)
    names: defaultdict[str, Counter[str]] = defaultdict(Counter)
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows(folder, "diagnoses"):
        name, categories = row["diagnosisstring"], [code.partition(".")[0] for code in codes_of(row)]
        group = next((each for each in categories if each.isdigit()), None) or UNCODED.get(name, name)
        for each in categories or [name]:
            beside[each][group] += 1
        names[group][name] += 1
        patients[group].add(stays[row["patientunitstayid"]].patient)
    codes: defaultdict[str, list[str]] = defaultdict(list)
    for code in sorted(beside):
        codes[beside[code].most_common(1)[0][0]].append(code)
    kept = sorted(group for group in patients if len(patients[group]) >= LEAST_PATIENTS)
    return [
        (group, _display(names[group]), [code for code in codes[group] if code != group]) for group in kept
    ]


def past_history_groups(stays: Mapping[str, Stay]) -> list[tuple[str, str, list[str]]]:
    """Groups of past history: (id, display, codes), one for each finding of LEAST_PATIENTS or more.

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
        (name, name.replace("/", ": "), sorted(paths[name]) + [name.rpartition("/")[2]] * (name in lone))
        for name in kept
    ]


def frequent(items: Mapping[str, frozenset[str]], stays: Mapping[str, Stay]) -> list[str]:
    """The items of LEAST_PATIENTS or more, sorted, of `items` by stay."""
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for stay, ordered in items.items():
        for item in ordered:
            patients[item].add(stays[stay].patient)
    return sorted(item for item in patients if len(patients[item]) >= LEAST_PATIENTS)


def write_groups(path: Path, groups: Iterable[tuple[str, str, list[str]]]) -> None:
    """Write groups as the side file that a recommender reads, without codes that hold its separator, a semicolon."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("group", "display", "codes"))
        for group, display, codes in groups:
            writer.writerow((group, display, "; ".join(code for code in codes if ";" not in code)))


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


def _display(names: Counter[str]) -> str:
    """The most frequent diagnosis of a group, by the last two parts of its name."""
    parts = names.most_common(1)[0][0].split("|")[-2:]
    text = ": ".join(parts)
    return text[0].upper() + text[1:]
