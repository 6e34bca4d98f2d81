"""Measure health-advice-recommender: `python -m models.training health-advice-recommender --data DIR`. Nothing is trained.

The catalogue is written by hand; this script checks and measures it. DIR holds the folders `medquad` (`pairs.jsonl.gz`; Ben
Abacha and Demner-Fushman, BMC Bioinformatics 20:511, 2019; CC BY 4.0), in which every passage that an item quotes is looked
up, `eicu_demo` (`stays.csv.gz`, `diagnoses.csv.gz`; Pollard et al., Scientific Data 5:180178, 2018; ODbL 1.0) and
`smart_patients` (problems, vitals and labs; SMART on FHIR, Apache-2.0), whose people are asked for advice. Half a minute on
one core; seeds fixed. Only counts are kept of them.
"""

import csv
import gzip
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from example_people import example_people

from models.drug_safety.codes import System, read_code
from models.pipelines.advice import Adviser, facts_of
from models.pipelines.advice_catalogue import Catalogue
from models.pipelines.advice_patient import FIELDS, SYSTEMS, Person
from models.pipelines.advice_results import AdviceResult
from models.pipelines.advice_rules import Compares, InGroup, Test
from models.pipelines.pregnancy import cannot_be_pregnant
from models.training.figures import interval
from models.training.writing import write_golden, write_report

HERE = Path(__file__).resolve().parent
SEED = 20261129
DRAWN = 10_000
LEAST_STAYS = 40  # of a condition whose coverage is stated
GENERAL = 3  # the priority of what holds for everybody
# LOINC codes of the fields, of blood or serum.
LABS = {
    "2823-3": "potassium", "6298-4": "potassium", "2345-7": "glucose", "2339-0": "glucose", "13457-7": "ldl", "18262-6": "ldl",
}  # fmt: skip
VITALS = {
    "SYSTOLIC": "systolic", "DIASTOLIC": "diastolic", "BMI": "bmi", "HEART_RATE": "heart_rate",
    "OXYGEN_SATURATION": "oxygen_saturation",
}  # fmt: skip
SEXES = {"Female": "female", "Male": "male", "F": "female", "M": "male"}
Known = dict[str, Any]


def rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a table, compressed or not."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(content.decode().splitlines(), delimiter=delimiter, restkey="rest"))


def stays(folder: Path) -> list[tuple[str, Known]]:
    """(patient, what is known) of the stays that have a diagnosis in ICD-10; ages above 89 are 90."""
    codes: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows(folder / "diagnoses.csv.gz"):
        codes[row["patientunitstayid"]] |= {
            code.strip() for code in row["icd9code"].split(",") if is_icd10(code.strip())
        }
    found = []
    for row in rows(folder / "stays.csv.gz"):
        conditions = sorted(codes[row["patientunitstayid"]])
        if conditions and row["age"]:
            known = {"age": 90.0 if ">" in row["age"] else float(row["age"]), "conditions": conditions}
            found.append((row["uniquepid"], fitting(known | sex_of(row["gender"]) | bmi_of(row))))
    return found


def is_icd10(code: str) -> bool:
    """Whether a code of a column that mixes ICD-9 and ICD-10 is of ICD-10."""
    read = read_code(code)
    return read is not None and read.system is System.ICD_10


def bmi_of(row: Mapping[str, str]) -> Known:
    height, weight = (float(row[name] or 0) for name in ("admissionheight", "admissionweight"))
    return {"bmi": weight / (height / 100) ** 2} if height > 100 and weight > 20 else {}


def sex_of(text: str) -> Known:
    return {"sex": SEXES[text]} if text in SEXES else {}


def sample_patients(folder: Path) -> list[tuple[str, Known]]:
    """(patient, what is known) of the sample patients: all problems, and the last value of each vital and lab."""
    problems, vitals, labs = (
        grouped(rows(folder / f"{name}.txt", "\t")) for name in ("problems", "vitals", "labs")
    )
    found = []
    for row in rows(folder / "patients.txt", "\t"):
        patient = row["PID"]
        dates = [each["START_DATE"] for each in (*problems[patient], *vitals[patient]) if each["START_DATE"]]
        dates += [each["DATE"] for each in labs[patient] if each["DATE"]]
        conditions = sorted(
            {each["SNOMED"] for each in problems[patient] if read_code(each["SNOMED"], SYSTEMS)}
        )
        known: Known = {
            "age": float(int(max(dates)[:4]) - int(row["YOB"] or row["dob"][:4])) if dates else 40.0,
            "conditions": conditions,
        }
        for each in sorted(vitals[patient], key=lambda each: each["TIMESTAMP"]):
            known |= {field: float(each[name]) for name, field in VITALS.items() if each.get(name)}
        for each in sorted(labs[patient], key=lambda each: each["DATE"]):
            if each["LOINC"] in LABS and re.fullmatch(r"[0-9.]+", each["VALUE"]):
                known[LABS[each["LOINC"]]] = float(each["VALUE"])
        found.append((patient, fitting(known | sex_of(row["GENDER"]))))
    return found


def grouped(table: Sequence[Mapping[str, str]]) -> defaultdict[str, list[Mapping[str, str]]]:
    found: defaultdict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in table:
        found[row["PID"]].append(row)
    return found


def fitting(known: Known) -> Known:
    """Without numbers that no input may have."""
    return {
        name: value
        for name, value in known.items()
        if not isinstance(value, float) or FIELDS[name].least <= value <= FIELDS[name].most
    }


def figures(catalogue: Catalogue, people: Sequence[tuple[str, Known]]) -> dict[str, object]:
    """Figures about some people; intervals resample patients, who may have several stays."""
    results = answers(catalogue, [known for _, known in people])
    patients = [patient for patient, _ in people]
    covered = np.array([is_covered(catalogue, result) for result in results])
    codes = Counter(bool(catalogue.groups_of(code)) for _, known in people for code in known["conditions"])
    shown, held, unsure = (
        sum(len(getattr(each, name)) for each in results) for name in ("items", "withheld", "undetermined")
    )
    return {
        "people": len(people),
        "patients": len(set(patients)),
        "covered": covered.mean(),
        "covered_95": interval(lambda drawn: float(covered[drawn].mean()), patients, seed=SEED),
        "covered_answered": covered[[not result.abstained for result in results]].mean(),
        "any_item": np.mean([bool(result.items) for result in results]),
        "abstained": np.mean([result.abstained for result in results]),
        "items_mean": shown / len(people),
        "undetermined_share": unsure / (shown + held + unsure),
        "seek_care": np.mean([bool(result.seek_care) for result in results]),
        "known_codes": codes[True] / codes.total(),
    }


def is_covered(catalogue: Catalogue, result: AdviceResult) -> bool:
    """Whether an item is shown that is not for everybody."""
    general = {item.table.id for item in catalogue.items if item.table.priority == GENERAL}
    return any(item.id not in general for item in result.items)


def by_condition(catalogue: Catalogue, people: Sequence[tuple[str, Known]]) -> dict[str, object]:
    """The share of covered stays of each condition that enough of them have."""
    covered = [is_covered(catalogue, result) for result in answers(catalogue, [known for _, known in people])]
    found: defaultdict[str, list[int]] = defaultdict(list)
    for place, (_, known) in enumerate(people):
        for group in {name for code in known["conditions"] for name in catalogue.groups_of(code)}:
            found[group].append(place)
    told: dict[str, object] = {}
    for group, places in sorted(found.items(), key=lambda each: -len(each[1])):
        if len(places) >= LEAST_STAYS:
            hits, patients = (
                np.array([covered[place] for place in places]),
                [people[place][0] for place in places],
            )
            low, high = interval(lambda drawn, hits=hits: float(hits[drawn].mean()), patients, seed=SEED)  # type: ignore[misc]
            told[group.replace("-", "_")] = {
                "stays": len(places),
                "covered": hits.mean(),
                "covered_95": [low, high],
            }
    return told


def answers(catalogue: Catalogue, known: Sequence[Known]) -> list[AdviceResult]:
    adviser = Adviser(catalogue)
    return [adviser.advise(Person.model_validate(each), "en") for each in known]


def contraindicated_shown(catalogue: Catalogue) -> int:
    """Items that are shown to generated people in spite of a contraindication or a red flag. Tests count them independently."""
    chance, adviser, wrong = random.Random(SEED), Adviser(catalogue), 0
    items = {item.table.id: item for item in catalogue.items}
    for _ in range(DRAWN):
        person = drawn(catalogue, chance)
        facts = facts_of(catalogue, person)
        held = {
            category
            for flag in catalogue.flags
            if flag.rule.holds(facts)
            for category in flag.table.withholds
        }
        for shown in adviser.advise(person, "en").items:
            item = items[shown.id]
            wrong += item.table.category in held or any(each.rule.holds(facts) for each in item.unless)
    return wrong


def drawn(catalogue: Catalogue, chance: random.Random) -> Person:
    """Somebody near some of the bounds that rules name."""
    known: Known = {"age": float(chance.choice((18, 35, 50, 65, 80))), "conditions": []}
    for test in chance.sample(every_test(catalogue), 10):
        if isinstance(test, InGroup):
            group = catalogue.table.groups[test.group]
            known["conditions"].append(chance.choice(group.codes))
        elif isinstance(test, Compares):
            known[test.field.name] = test.bound + chance.choice((-1, 0, 1)) * 0.1
        else:
            known[test.field.name] = [test.value] if test.field.listed else test.value
    if known.get("diastolic", 0) >= known.get("systolic", 300):
        del known["diastolic"]
    person = Person.model_validate(fitting(known))
    return (
        person.model_copy(update={"pregnant": None}) if cannot_be_pregnant(person.sex, person.age) else person
    )


def every_test(catalogue: Catalogue) -> list[Test]:
    rules = [flag.rule for flag in catalogue.flags] + [item.rule for item in catalogue.items]
    rules += [each.rule for item in catalogue.items for each in item.unless]
    return [test for rule in rules for clause in rule.clauses for test in clause]


def quotes(catalogue: Catalogue, folder: Path) -> Iterator[bool]:
    """Of each item that quotes MedQuAD, whether the words stand in an answer about that focus at that address."""
    answers: defaultdict[tuple[str, str], str] = defaultdict(str)
    with gzip.open(folder / "pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        for pair in map(json.loads, file):
            answers[pair["url"], pair["focus"]] += " " + " ".join(pair["answer"].split())
    for item in catalogue.items:
        if item.source.focus is not None:
            assert item.table.quote is not None, f"{item.table.id}: quote the passage"
            yield item.table.quote in answers[item.source.url, item.source.focus]


def train(data: Path) -> None:
    """Check and measure the catalogue, and write the bundle's figures, card and golden inputs."""
    catalogue = Catalogue.read((HERE / "catalogue.toml").read_bytes(), "catalogue.toml")
    found = list(quotes(catalogue, data / "medquad"))
    intensive, sample = stays(data / "eicu_demo"), sample_patients(data / "smart_patients")
    report = {
        "items": len(catalogue.items),
        "flags": len(catalogue.flags),
        "groups": len(catalogue.table.groups),
        "sources": len(catalogue.table.sources),
        "reachable": 1.0,  # Catalogue.read refuses a catalogue in which an item is not
        "quotes": len(found),
        "quotes_found": np.mean(found),
        "generated": DRAWN,
        "contraindicated_shown": contraindicated_shown(catalogue),
        "eicu": figures(catalogue, intensive),
        "smart": figures(catalogue, sample),
        "by_condition": by_condition(catalogue, intensive),
        "seed": SEED,
    }
    told = report["by_condition"]
    assert isinstance(told, dict)
    table = "\n".join(
        f"| {catalogue.table.groups[name.replace('_', '-')].en} | {each['stays']} | {each['covered']:.4f} "
        f"| {each['covered_95'][0]:.4f} to {each['covered_95'][1]:.4f} |"
        for name, each in told.items()
    )
    write_report(HERE, report, condition_rows=table)
    write_golden(HERE, example_people())
