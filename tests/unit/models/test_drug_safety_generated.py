"""10,000 generated patients: what the drug safety rule keeps is looked over by a checker that reads the tables on its own.

The checker shares no code with the rule. It expands every row by brute force into pairs of names, and counts the faults that
passed: pairs, allergies, pregnancy, breastfeeding, renal function and age. Of the drugs that a patient takes it looks for what
the rule did not tell, and for what it told without cause.
"""

import csv
import random
import time
import unicodedata
from collections import defaultdict
from dataclasses import replace
from functools import cache
from typing import NamedTuple, cast

from models.drug_safety import Finding, Kind, Patient, Reason
from models.drug_safety.findings import Sex
from tests.unit.models.drug_tables import PACKAGE, bundled

PATIENTS = 10_000
SERIOUS = ("contraindicated", "not recommended")
Row = dict[str, str]


def rows(name: str) -> list[Row]:
    with (PACKAGE / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def bare(text: str) -> str:
    """Letters and digits alone, without accents."""
    split = unicodedata.normalize("NFD", text.lower().replace("œ", "oe"))
    return "".join(letter for letter in split if letter in "abcdefghijklmnopqrstuvwxyz0123456789")


def cells(text: str) -> list[str]:
    return [cell.strip() for cell in text.split(";") if cell.strip()]


class Raw(NamedTuple):
    """The tables as the checker reads them: names of ingredients in place of everything else."""

    drugs: list[str]
    allergens: list[str]
    names: dict[str, list[str]]  # by ingredient
    pairs: dict[str, set[str]]  # seriously interacting or duplicate, in both directions
    interacting: dict[str, set[str]]
    allergies: dict[str, set[str]]  # recorded text: ingredients
    limits: dict[str, dict[str, list[tuple[float, float]]]]  # kind, ingredient: from, below


def read_names() -> dict[str, list[str]]:
    found = {row["ingredient"]: [row["ingredient"], *cells(row["aliases"])] for row in rows("ingredients")}
    owners = defaultdict(set)
    for row in rows("ingredients"):
        for french in cells(row["substances"]):
            owners[bare(french)].add((row["ingredient"], french))
    taken = {bare(name) for names in found.values() for name in names}
    for some in owners.values():
        if len({ingredient for ingredient, _ in some}) == 1:
            for ingredient, french in some:
                if bare(french) not in {*taken, "or"}:
                    found[ingredient].append(french)
    return found


def members() -> dict[str, set[str]]:
    """The ingredients of each substance and class."""
    classes = {bare(row["substance"]): cells(row["classes"]) for row in rows("substances")}
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows("ingredients"):
        for french in cells(row["substances"]):
            for name in [french, *classes[bare(french)]]:
                found[bare(name)].add(row["ingredient"])
    for row in rows("assigned_classes"):
        found[bare(row["class"])] |= set(cells(row["ingredients"]))
    return found


def read_interacting() -> dict[str, set[str]]:
    of = members()
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows("interactions"):
        if row["level"] in SERIOUS:
            for first in of[bare(row["first"])]:
                for second in of[bare(row["second"])] - {first}:
                    found[first].add(second)
                    found[second].add(first)
    for row in rows("label_interactions"):
        if row["level"] in SERIOUS:
            for first in cells(row["first"]):
                for second in cells(row["second"]):
                    found[first].add(second)
                    found[second].add(first)
    return found


def read_duplicates() -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    tolerated: set[str] = set()
    for row in rows("duplicates"):
        if row["same_ingredient"] not in ("", *SERIOUS):
            tolerated |= set(cells(row["members"]))
        if row["level"] in SERIOUS:
            for member in cells(row["members"]):
                found[member] |= set(cells(row["members"])) - {member}
    for row in rows("ingredients"):
        if row["active"] == "yes" and row["ingredient"] not in tolerated:
            found[row["ingredient"]].add(row["ingredient"])
    return found


def read_allergies() -> dict[str, set[str]]:
    """For each name of a class and each ingredient, what an allergy to it forbids."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    crossing: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows("allergy_cross"):
        if row["level"] in SERIOUS:
            crossing[row["recorded"]] |= set(cells(row["against"]))
    for row in rows("ingredients"):
        found[row["ingredient"]].add(row["ingredient"])
    for row in rows("allergy_classes"):
        for name in [row["class"], *cells(row["aliases"])]:
            found[name] |= crossing[row["class"]] | (
                set(cells(row["members"])) if row["if_class"] in SERIOUS else set()
            )
        for member in cells(row["members"]):
            if row["if_member"]:
                found[member] |= crossing[row["class"]]
            if row["if_member"] in SERIOUS:
                found[member] |= set(cells(row["members"]))
    return found


def read_limits() -> dict[str, dict[str, list[tuple[float, float]]]]:
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for kind in ("pregnancy", "breastfeeding", "renal", "age"):
        found[kind] = defaultdict(list)
        for row in rows(kind):
            least = float(row.get("from_years") or 0)
            below = float(row.get("below_years") or row.get("below_ml_min") or "inf")
            for ingredient in cells(row["ingredients"]) if row["level"] in SERIOUS else []:
                found[kind][ingredient].append((least, below))
    return found


@cache
def raw() -> Raw:
    interacting, duplicates = read_interacting(), read_duplicates()
    names = read_names()
    pairs = {name: interacting[name] | duplicates[name] for name in names}
    allergies = read_allergies()
    return Raw(sorted(names), sorted(allergies), names, pairs, interacting, allergies, read_limits())


# What codes say: the highest clearance of the stage, and from which one on a measured clearance contradicts it.
STAGES = {"N18.6": (14.9, 15.0), "N18.4": (29.9, 60.0), "N18.30": (59.9, 120.0)}
PREGNANT = "Z33.1"


def clearance_of(patient: Patient) -> float | None:
    measured = patient.creatinine_clearance_ml_min
    for code in patient.diagnoses or ():
        if code in STAGES and (measured is None or measured >= STAGES[code][1]):
            return STAGES[code][0]
    return measured


def forbidden(drug: str, patient: Patient, allergens: list[str]) -> bool:
    """Whether the tables forbid the ingredient for the patient alone."""
    limits = raw().limits
    pregnant = patient.pregnant or PREGNANT in (patient.diagnoses or ())
    numbers = {"pregnancy": 0.0 if pregnant else None, "breastfeeding": 0.0 if patient.breastfeeding else None,
               "renal": clearance_of(patient), "age": patient.age_years}  # fmt: skip
    return any(drug in raw().allergies[allergen] for allergen in allergens) or any(
        least <= number < below
        for kind, number in numbers.items()
        if number is not None
        for least, below in limits[kind].get(drug, ())
    )


def generated(chance: random.Random) -> tuple[Patient, list[str]]:
    allergens = chance.sample(raw().allergens, chance.choice([0, 0, 1, 1, 2, 4]))
    sex = chance.choice([None, "female", "male"])
    age = chance.choice([None, chance.uniform(0, 3), chance.uniform(0, 20), chance.uniform(18, 100)])
    pregnant = chance.random() < 0.5 if sex == "female" else None
    clearance = chance.choice([None, 0.0, 15.0, 30.0, chance.uniform(0, 120)])
    code = chance.choice([None, None, None, *STAGES, PREGNANT])
    patient = Patient(
        tuple(allergens),
        age,
        cast(Sex | None, sex),
        pregnant,
        pregnant is False and age is None,
        clearance,
        None if code is None else (code,),
    )
    return patient, allergens


Told = set[str | frozenset[str]]  # a drug with something of the patient, or a pair


def wanted_of_present(present: list[str], patient: Patient, allergens: list[str]) -> Told:
    """What the tables seriously have against the drugs that a patient takes."""
    alone: Told = {drug for drug in present if forbidden(drug, patient, allergens)}
    pairs = {
        frozenset((drug, other)) for drug in present for other in raw().pairs[drug] & {*present} - {drug}
    }
    return alone | pairs


def told_of_present(findings: tuple[Finding, ...], spelled: dict[str, str]) -> list[str | frozenset[str]]:
    """The serious findings, with the names of ingredients; diagnoses apart, which the checker does not read."""
    serious = {
        (each.drug, each.with_ if each.kind in (Kind.INTERACTION, Kind.DUPLICATE) else None)
        for each in findings
        if each.level in SERIOUS and each.kind is not Kind.DIAGNOSIS
    }
    return [
        spelled[drug] if other is None else frozenset((spelled[drug], spelled[other]))
        for drug, other in serious
    ]


def test_no_fault_passes_in_10_000_generated_patients() -> None:
    chance = random.Random(15)
    drugs = raw().drugs
    passed, removed, unjustified = [], 0, []
    wrong_of_present, alone_of_present, pairs_of_present = [], 0, 0
    proposed_once = set()
    for _ in range(PATIENTS):
        patient, allergens = generated(chance)
        present = chance.sample(drugs, chance.randrange(16))
        proposed = chance.sample(drugs, 16)
        proposed_once.update(proposed)
        spelled = {
            chance.choice([name, name.upper(), chance.choice(raw().names[name])]): name for name in proposed
        }
        had = {chance.choice(raw().names[name]): name for name in present}
        review = bundled().review(patient, list(had), list(spelled))
        kept = [spelled[name] for name in review.kept]
        told = told_of_present(review.present, had)
        wanted = wanted_of_present(present, patient, allergens)
        if len(told) > len({*told}) or {*told} != wanted:
            wrong_of_present.append((wanted ^ {*told}, patient))
        alone_of_present += len(wanted & {*present})
        pairs_of_present += len(wanted - {*present})
        around = {*present, *kept}
        for drug in kept:
            others = around - {drug} if drug not in present else around
            if forbidden(drug, patient, allergens) or raw().pairs[drug] & others:
                passed.append((drug, patient))
        for drug in {spelled[finding.drug] for finding in review.removed}:
            removed += 1
            if not forbidden(drug, patient, allergens) and not raw().pairs[drug] & around:
                unjustified.append((drug, patient))
    assert passed == []
    assert unjustified == []
    assert wrong_of_present == []
    assert alone_of_present > 5_000
    assert pairs_of_present > 2_000
    assert removed > 20_000  # the generated patients do put the rule to the test
    assert proposed_once == set(drugs)


def test_every_pair_of_drugs_interacts_as_the_raw_table_says() -> None:
    safety = bundled()
    for ingredient in safety.ingredients.all:
        partners = safety._interactions.partners(ingredient)
        serious = {other.name for other, found in partners.items() if found[0].level in SERIOUS}
        assert serious == raw().interacting[ingredient.name], ingredient.name


def test_every_drug_is_checked_against_every_allergen() -> None:
    drugs = raw().drugs
    for allergen, against in raw().allergies.items():
        patient = Patient(allergies=(allergen,))
        few = [*against, *random.Random(allergen).sample(drugs, 5)]
        for drug in few:
            kept = bundled().review(patient, [], [drug]).kept
            assert (kept == ()) is (drug in against), (allergen, drug)


def test_the_order_of_present_drugs_changes_nothing() -> None:
    chance = random.Random(3)
    drugs = raw().drugs
    for _ in range(50):
        patient, _allergens = generated(chance)
        present, proposed = chance.sample(drugs, 20), chance.sample(drugs, 30)
        review = bundled().review(patient, present, proposed)
        assert bundled().review(patient, reversed(present), proposed) == review
        again = bundled().review(patient, [*present, present[0]], proposed)
        twice = [each for each in again.unchecked if each.reason is Reason.NAMED_TWICE]
        assert [each.subject for each in twice] == [present[0]]
        assert (
            replace(again, unchecked=tuple(each for each in again.unchecked if each not in twice)) == review
        )


def test_unknown_names_are_always_listed_and_no_text_raises() -> None:
    chance = random.Random(5)
    letters = "aàéß\u0130\ud800\x00/+-;&,() 1\"'%\n🩺ﬁ"
    for _ in range(3000):
        text = "".join(chance.choices(letters, k=chance.randrange(30)))
        review = bundled().review(Patient(allergies=(text,)), [text], [text, "heparin"])
        assert review.kept == (text, "heparin")
        assert (text, None, Reason.UNKNOWN_NAME) in [each[:3] for each in review.unchecked]
        assert Reason.ALLERGY_NOT_UNDERSTOOD in [each.reason for each in review.unchecked]


def test_removed_drugs_have_a_reason_and_a_level_that_removes() -> None:
    chance = random.Random(9)
    drugs = raw().drugs
    for _ in range(200):
        patient, _allergens = generated(chance)
        proposed = chance.sample(drugs, 40)
        review = bundled().review(patient, chance.sample(drugs, 10), proposed)
        assert sorted({*review.kept, *(finding.drug for finding in review.removed)}) == sorted(proposed)
        assert all(finding.level in SERIOUS and finding.source and finding.date for finding in review.removed)
        assert all(finding.level not in SERIOUS and finding.drug in review.kept for finding in review.flagged)


def test_a_review_of_50_drugs_beside_20_takes_a_few_milliseconds() -> None:
    """The figure of docs/drug-safety.md, 2.1 ms of CPU, with room for a busy machine."""
    chance = random.Random(1)
    drugs = [each.name for each in bundled().ingredients.all if each.terms]
    stays = [(chance.sample(drugs, 20), chance.sample(drugs, 50)) for _ in range(20)]
    took = []
    for _ in range(4):
        started = time.process_time()
        for present, proposed in stays:
            bundled().review(Patient(), present, proposed)
        took.append((time.process_time() - started) / len(stays))
    assert min(took) < 0.004
