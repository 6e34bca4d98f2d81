"""Drugs of one group in the table of diagnoses: what it has against one of them, it has against its siblings.

Groups are the classes of the interactions, so that an ingredient which joins a class later is looked at as well.
"""

import csv

import pytest

from models.drug_safety.findings import SEVERITY, Level
from tests.unit.models.drug_tables import PACKAGE, bundled

Severity = dict[str, int]  # by beginning of a code
# The class, one of its members that stands for it, and members or diagnoses of which it does not hold.
GROUPS = [
    ("inhibiteurs de l enzyme de conversion", "lisinopril", ()),
    ("antagonistes des recepteurs de l angiotensine ii", "losartan", ()),
    ("inhibiteurs de l hmg coa reductase statines", "simvastatin", ()),
    ("insuline", "insulin regular", ()),
    ("sulfamides hypoglycemiants", "glipizide", ()),
    ("anti inflammatoires non steroidiens", "ibuprofen", ()),
    ("fluoroquinolones", "ciprofloxacin", ("long QT syndrome", "torsades de pointes")),  # not all prolong QT
    ("heparines", "enoxaparin", ("danaparoid", "fondaparinux")),  # no heparins: given after thrombocytopenia
    ("heparines", "fondaparinux", ()),
    ("anticoagulants oraux", "warfarin", ()),
    ("thrombolytiques", "alteplase", ()),
    ("diuretiques thiazidiques et apparentes", "hydrochlorothiazide", ()),
    ("diuretiques de l anse", "furosemide", ()),
    ("diuretiques epargneurs de potassium seuls ou associes", "triamterene", ()),
    ("beta bloquants non cardio selectifs y compris collyres", "propranolol", ()),
    ("beta bloquants sauf esmolol y compris collyres", "bisoprolol", ()),
    ("triptans", "sumatriptan", ()),
    (
        "neuroleptiques antipsychotiques sauf clozapine",
        "quetiapine",
        (
            "long QT syndrome",
            "torsades de pointes",
            "prochlorperazine",
        ),  # not all prolong QT; given for nausea
    ),
    ("autres analgesiques morphiniques agonistes", "morphine", ("alfentanil", "remifentanil", "sufentanil")),
]


def rows() -> list[dict[str, str]]:
    with (PACKAGE / "tables" / "diagnoses.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cells(text: str) -> list[str]:
    return [each.strip() for each in text.split(";")]


def severities(drug: str, without: tuple[str, ...]) -> Severity:
    found: Severity = {}
    for row in rows():
        if drug in cells(row["ingredients"]) and row["diagnosis"] not in without:
            for code in cells(row["codes"]):
                found[code] = min(SEVERITY[Level(row["level"])], found.get(code, len(SEVERITY)))
    return found


@pytest.mark.parametrize(("group", "drug", "without"), GROUPS, ids=[f"{each[1]}" for each in GROUPS])
def test_what_a_diagnosis_has_against_a_drug_holds_for_its_siblings(
    group: str, drug: str, without: tuple[str, ...]
) -> None:
    siblings = [each.name for each in bundled().ingredients.all if group in each.terms]
    assert drug in siblings
    wanted = severities(drug, without)
    assert wanted
    lacking = {}
    for sibling in {*siblings} - {*without}:
        found = severities(sibling, ())
        lacking[sibling] = [
            code
            for code, severity in wanted.items()
            if min((found[each] for each in found if code.startswith(each)), default=len(SEVERITY)) > severity
        ]
    assert {name: codes for name, codes in lacking.items() if codes} == {}


CONDITIONS = {
    "hypoglycemia": ("insulin regular", ["E16.2", "E16.A1", "E11.649", "E08.649", "E09.641", "251.2"]),
    "bleeding within the skull": ("heparin", ["S06.340A", "S06.5X0A", "S06.6X9A", "S06.890A", "851.02", "800.22", "P52.3"]),
    "bleeding of the gut": (
        "heparin",
        ["K57.31", "K57.33", "K55.21", "K62.5", "K29.01", "K31.811", "K28.4", "I85.01", "562.12", "569.3", "456.0", "534.00"],
    ),
    "G6PD deficiency": ("rasburicase", ["D55.0", "D75.A", "282.2"]),
    "shock": ("lisinopril", ["I95.9", "R65.21", "R57.9", "785.52", "T81.12XA"]),
    "Lewy bodies": ("haloperidol", ["G31.83", "331.82", "G20.A1", "332.0"]),
    "heart failure": ("ibuprofen", ["I50.9", "404.91", "398.91", "I09.81"]),
    "weak muscles": ("succinylcholine", ["G61.0", "S14.109A", "G12.21", "335.20", "357.0"]),
    "injured muscle": ("simvastatin", ["M62.82", "728.88", "T79.6XXA"]),
    "asthma": ("nadolol", ["J45.909", "493.90", "J46"]),
    "ketoacidosis": ("metformin", ["E10.10", "E08.10", "E09.11", "249.10"]),
}  # fmt: skip


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_code_of_a_condition_counts(condition: str) -> None:
    drug, codes = CONDITIONS[condition]
    known = severities(drug, ())
    assert [code for code in codes if not code.startswith(tuple(known))] == []
