"""The tables of codes agree: what one table says that a code is, no other takes for another disease or passes over.

Three kinds of tables read diagnoses: the groups of the recommenders, the rows of the drug safety rule, and the conditions of
advice. Each pair below names a disease of one table that lies within a disease of another. Advice knows ICD-10 alone.
"""

import csv
from collections.abc import Iterator
from functools import cache

import pytest

from models.bundle import ZOO
from models.drug_safety.coded_facts import says_of_potassium, says_pregnant, stage_of
from models.drug_safety.codes import System, read_code
from models.drug_safety.diagnoses import COLUMNS, FILE, SEQUELAE
from models.drug_safety.tables import Line, read_table
from models.pipelines.advice_catalogue import ANY, Catalogue
from models.pipelines.context_fields import CodesField, Columns
from models.training.stays import GROUPS
from tests.unit.models.drug_tables import PACKAGE

ADVICE = Catalogue.read((ZOO / "health-advice-recommender" / "catalogue.toml").read_bytes(), "catalogue.toml")
LINES = read_table(lambda path: (PACKAGE / path).read_bytes(), f"tables/{FILE}", COLUMNS, [])
# The disease of one table, that of another which it lies within, and codes of the first that are rightly not in the second.
WITHIN = [
    ("group Asthma", "rule asthma", ""),
    ("advice asthma", "rule asthma", ""),
    ("rule asthma", "advice asthma", ""),
    ("rule status asthmaticus", "advice status-asthmaticus", ""),
    ("advice status-asthmaticus", "rule status asthmaticus", ""),
    ("group Depressive episode", "rule depression", ""),
    ("group Depressive episode", "advice depression", ""),
    ("rule depression", "rule depression or suicidal thoughts", ""),
    ("rule depression", "advice depression", ""),
    ("group Chronic obstructive pulmonary disease", "advice copd", ""),
    ("group Acute myocardial infarction", "rule myocardial infarction", ""),
    ("rule myocardial infarction", "rule coronary artery disease", ""),
    ("group Chronic ischemic heart disease", "rule coronary artery disease", ""),
    ("group Unstable angina and other acute ischemic heart diseases", "rule coronary artery disease", ""),
    ("rule coronary artery disease", "advice coronary-disease", ""),
    ("rule coronary artery disease other than infarction", "rule coronary artery disease", ""),
    ("advice coronary-disease", "rule coronary artery disease", ""),
    ("group Diabetes mellitus", "advice diabetes", ""),
    ("group Diabetes mellitus with ketoacidosis", "rule ketoacidosis", ""),
    ("group Diabetes mellitus with hyperosmolarity", "advice ketoacidosis", ""),
    ("rule ketoacidosis", "advice ketoacidosis", ""),
    ("rule ketoacidosis", "rule metabolic acidosis or ketoacidosis", ""),
    ("group Acidosis", "rule metabolic acidosis or ketoacidosis", ""),
    ("group Hypoglycemia or hypoglycemic coma", "rule hypoglycemia", ""),
    ("rule hypoglycemia", "advice hypoglycaemia", ""),
    ("advice hypoglycaemia", "rule hypoglycemia", ""),
    ("group Heart failure", "rule heart failure", ""),
    ("rule heart failure", "advice heart-failure", ""),
    ("advice heart-failure", "rule heart failure", ""),
    # An artery that is occluded, or stenosed, without an infarction is no stroke.
    (
        "group Cerebral infarction or occlusion of cerebral arteries",
        "rule stroke or transient ischemic attack",
        "434.00 434.10 434.90",
    ),
    ("group Cerebral infarction or occlusion of cerebral arteries", "advice stroke", ""),
    ("group Cerebral infarction or occlusion of cerebral arteries", "advice acute-stroke", ""),
    ("rule stroke or transient ischemic attack", "advice stroke", ""),
    (
        "rule stroke or transient ischemic attack",
        "rule arterial thromboembolism or stroke",
        "433 436",  # both leave open whether there was an infarction
    ),
    ("advice acute-stroke", "rule arterial thromboembolism or stroke", ""),
    ("group Cirrhosis of liver", "rule cirrhosis or liver failure", ""),
    ("group Cirrhosis of liver", "advice cirrhosis", ""),
    ("advice cirrhosis", "rule cirrhosis or liver failure", ""),
    (
        "rule cirrhosis or liver failure",
        "rule cirrhosis, portal hypertension or liver failure",
        "",
    ),
    ("rule liver failure", "rule cirrhosis or liver failure", ""),
    ("group Gastrointestinal hemorrhage (hematemesis, melena)", "rule gastrointestinal bleeding", ""),
    ("rule gastrointestinal bleeding", "advice digestive-bleeding-disease", ""),
    ("advice digestive-bleeding-disease", "rule gastrointestinal bleeding", ""),
    ("rule gastrointestinal bleeding", "rule active bleeding", ""),
    ("rule gastrointestinal bleeding", "rule gastrointestinal bleeding or peptic ulcer", ""),
    ("rule gastrointestinal bleeding", "rule bleeding or peptic ulcer", ""),
    ("rule gastrointestinal bleeding", "rule gastrointestinal obstruction or bleeding or perforation", ""),
    ("rule bleeding within the skull", "rule active bleeding", ""),
    ("rule bleeding within the skull", "rule bleeding or peptic ulcer", ""),
    ("group Traumatic subdural hemorrhage", "rule bleeding within the skull", ""),
    ("group Traumatic subarachnoid hemorrhage", "rule bleeding within the skull", ""),
    ("group Other and unspecified nontraumatic intracranial hemorrhage", "rule bleeding within the skull", ""),
    ("group Chronic kidney disease", "advice chronic-kidney-disease", ""),
    ("group End stage renal disease", "advice dialysis", ""),
    ("group Acute kidney failure", "advice sepsis-or-organ-failure", ""),
    ("group Acute respiratory distress syndrome", "advice sepsis-or-organ-failure", ""),
    ("group Sepsis (septicemia)", "advice sepsis-or-organ-failure", ""),
    ("group Septic shock", "advice sepsis-or-organ-failure", ""),
    ("rule epilepsy", "advice epilepsy", ""),
    ("advice epilepsy", "rule epilepsy", ""),
    ("group Hyperkalemia (hyperpotassemia)", "rule hyperkalemia", ""),
    ("rule hyperkalemia", "group Hyperkalemia (hyperpotassemia)", ""),
    ("rule hyperkalemia", "advice hyperkalaemia", ""),
    ("group Hypokalemia (hypopotassemia)", "rule hypokalemia", ""),
    ("rule hypokalemia", "group Hypokalemia (hypopotassemia)", ""),
    ("group Hypo-osmolality and hyponatremia", "advice hyponatraemia", ""),
    ("group Hypo-osmolality and hyponatremia", "rule hyponatremia", ""),
    ("rule hyponatremia", "rule hyponatremia or inappropriate secretion of antidiuretic hormone", ""),
    ("group Volume depletion (dehydration or hypovolemia)", "rule volume depletion", ""),
    ("group Hypocalcemia", "rule hypocalcemia", ""),
    ("group Anuria and oliguria", "rule anuria", ""),
    ("group Hypothyroidism", "advice hypothyroidism", ""),
    ("group Essential (primary) hypertension", "rule hypertension", ""),
    ("advice hypertension", "rule hypertension", ""),
    ("group Atrial fibrillation and flutter", "advice atrial-fibrillation", ""),
    ("group Nonrheumatic aortic (valve) stenosis", "rule aortic stenosis", ""),
    ("rule aortic stenosis", "advice aortic-stenosis", ""),
    ("advice aortic-stenosis", "rule aortic stenosis", ""),
    ("group Cardiogenic shock", "rule cardiogenic shock", ""),
    ("rule cardiogenic shock", "rule hypotension or shock", ""),
    ("group Septic shock", "rule hypotension or shock", ""),
    ("group Hypovolemic shock", "rule hypotension or shock", ""),
    ("group Hypotension", "rule hypotension or shock", ""),
    ("group Enterocolitis due to Clostridium difficile", "rule colitis by Clostridioides difficile, or ulcerative", ""),
    ("group Dementia and Alzheimer's disease", "rule dementia", ""),
    ("group Pulmonary embolism", "rule venous thromboembolism", ""),
    ("group Acute pancreatitis", "rule acute pancreatitis", ""),
    ("group Malignant neoplasm of prostate", "rule cancer of the prostate or of the male breast", ""),
    ("advice gout", "rule gout", ""),
    ("rule gout", "advice gout", ""),
    ("rule systemic lupus erythematosus", "advice lupus", ""),
    ("rule hemochromatosis", "advice iron-overload", ""),
    ("rule adrenal insufficiency", "advice salt-losing", ""),
    ("group Suicidal ideation", "advice suicidality", ""),
]  # fmt: skip
# Codes that name a disease and do not mean it: in remission, without it, another one below it, or what is left of an injury.
# `!` stands before those that mean it, to hold the others against.
OTHERWISE = {
    "group Hemorrhage or hematoma complicating a procedure": "998.13 I97.622 I97.640 I97.641 !998.11 !998.12 !I97.630 !I97.610",
    "group Other and unspecified malignant lymphoma (non-Hodgkin)": "C85.9A C85.1A !C85.90",
    "group Diabetes mellitus": "E11.A E10.A1 !E11.9 !E10.9",
    "group Chronic ischemic heart disease": "414.10 414.11 414.12 I25.3 I25.42 !I25.2 !414.00 !I25.10",
    "group Interstitial and other alveolar pulmonary diseases": "516.4 J84.81 516.63 J84.83 !516.31 !J84.112",
    "group Peritonitis": "567.82 K65.4 !567.9 !K65.9",
    "group Fever": "780.66 R50.84 !780.60 !R50.9",
    "group Traumatic subdural hemorrhage": "S06.5X0S S065X9S !S06.5X0A !S06.5X0D",
    "group Poisoning by acetaminophen (4-aminophenol derivatives)": "T39.1X5A T39.1X1S !T39.1X2A",
    "rule stroke or transient ischemic attack": "G45.4 433.10 433.00 434.90 I65.29 !433.11 !434.91 !G45.9 !438.20 !I69.351",
    "rule arterial thromboembolism or stroke": "G45.4 433.10 434.90 !433.11 !434.91 !G45.9 !438.20",
    "rule coronary artery disease": "I25.3 414.10 !I25.10 !414.01",
    "rule depression": "F32.81 !F32.89 !F32.9",
    "rule opioid dependence": "F11.21 304.03 !F11.20 !304.00 !F11.23",
    "rule bleeding within the skull": "S06.5X0S !S06.5X0A",
    "rule hypotension or shock": "T79.4XXS !T79.4XXA",
    "rule cirrhosis, portal hypertension or liver failure": "K74.00 K74.01 K74.1 !K74.60",
    "rule cancer of the prostate or of the male breast": "C50.911 C50.411 !C50.921 !C50.429 !175.9 !C61",
    "rule disease or injury of muscle or motor nerve, or burns": "!S14.109S !S14.109A",
    "advice tobacco": "F17.201 F17.211 F17.221 F17.291 Z87.891 !F17.210 !Z72.0",
    "advice copd": "J44.81 !J44.9 !J44.89 !J43.9",
    "advice depression": "F32.81 !F32.89 !F32.9",
    "advice stroke": "G45.4 I65.29 !G45.9 !Z86.73",
    "advice obesity": "E66.3 !E66.9 !E66.811",
    "advice fatty-liver": "K75.89 !K75.81 !K75.8",
    "advice migraine": "G43.A0 G43.C0 !G43.909 !G43.D0",
    "advice coronary-disease": "I25.3 !I25.2",
    "advice diabetes": "E10.A1 !E10.9 !E11.A",
    "advice suicidality": "T39.1X1A T39.1X2S T39.1X5A T58.01XA X78.9XXS Z91.51 T71.111A !T39.1X2A !T391X2A !T42.4X2A !T58.02XA"
    " !T63.442A !T65.92XA !T71.162A !T50.902A !X78.9XXA",
    "advice digestive-bleeding-disease": "K57.30 K29.00 K31.819 !K57.31 !K29.01 !K62.5 !K31.811 !I85.01",
}  # fmt: skip
# Suspected and not found, screened for, in the family, or in the past: no table counts these as a disease that is there.
NEVER = (
    "Z03.89 Z03.6 Z04.1 Z05.1 Z11.59 Z12.11 Z13.1 Z80.0 Z82.3 Z82.49 Z83.3 Z81.1 Z87.11 Z87.19 Z87.891 V71.7 V71.09 V17.1 V18.0"
    " V77.1 V76.51 V16.0 Z32.02 Z30.9"
)


@cache
def columns() -> Columns:
    field = CodesField.model_validate(
        {"name": "diagnoses", "title": "Diagnoses", "type": "codes", "file": GROUPS.name, "category": 3}
    )
    return field.columns(lambda _: GROUPS.read_bytes())


@cache
def groups() -> dict[str, dict[str, str]]:
    with GROUPS.open(encoding="utf-8", newline="") as file:
        return {row["display"]: row for row in csv.DictReader(file)}


def cells(text: str) -> list[str]:
    return [each for each in (part.strip() for part in text.split(";")) if each and "|" not in each]


def rows(diagnosis: str) -> list[Line]:
    found = [line for line in LINES if line["diagnosis"] == diagnosis]
    assert found, f"no row on {diagnosis}"
    return found


def without(line: Line) -> list[str]:
    return [each for each in line.listed("except") if each != SEQUELAE]


def listed(disease: str) -> Iterator[str]:
    """The codes that a table lists for a disease, and those that it excepts."""
    kind, _, name = disease.partition(" ")
    if kind == "group":
        row = groups()[name]
        yield from cells(f"{row['group']};{row['codes']};{row['except']}")
    elif kind == "rule":
        for line in rows(name):
            yield from (*line.listed("codes"), *without(line))
    else:
        group = ADVICE.table.groups[name]
        yield from (each.replace(ANY, "0") for each in (*group.icd10, *group.except_icd10))


def means(disease: str, code: str) -> bool:
    """Whether a table takes a code for the disease."""
    kind, _, name = disease.partition(" ")
    if kind == "group":
        return name in {fact.display for fact in columns().facts([code])}
    if kind == "advice":
        return name in ADVICE.groups_of(code)
    read = read_code(code)
    assert read is not None
    found = {_holds(line, read.key, is_sequela=read.is_sequela) for line in rows(name)}
    assert len(found) == 1, f"rows on {name} differ on {code}"
    return found.pop()


def _holds(line: Line, key: str, *, is_sequela: bool) -> bool:
    if is_sequela and SEQUELAE in line.listed("except"):
        return False
    keys = [
        tuple(found.key for each in some if (found := read_code(each)))
        for some in (line.listed("codes"), without(line))
    ]
    return key.startswith(keys[0]) and not key.startswith(keys[1])


def of_icd_10(code: str) -> bool:
    read = read_code(code)
    return read is not None and read.system is System.ICD_10


@pytest.mark.parametrize(("part", "whole", "but"), WITHIN, ids=[f"{each[0]} in {each[1]}" for each in WITHIN])
def test_what_one_table_takes_for_a_disease_another_does_too(part: str, whole: str, but: str) -> None:
    codes = dict.fromkeys((*listed(part), *listed(whole)))
    asked = [code for code in codes if of_icd_10(code) or "advice" not in f"{part[:6]} {whole[:6]}"]
    assert asked
    lacking = [code for code in asked if means(part, code) and not means(whole, code)]
    assert [code for code in lacking if code not in but.split()] == []


@pytest.mark.parametrize("disease", OTHERWISE)
def test_a_code_that_means_otherwise_is_not_taken_for_the_disease_above_it(disease: str) -> None:
    codes = OTHERWISE[disease].split()
    found = {code.removeprefix("!"): means(disease, code.removeprefix("!")) for code in codes}
    assert found == {code.removeprefix("!"): code.startswith("!") for code in codes}


@pytest.mark.parametrize("diagnosis", sorted({line["diagnosis"] for line in LINES}))
def test_the_rows_of_the_rule_on_one_diagnosis_have_the_same_codes(diagnosis: str) -> None:
    found = {(frozenset(line.listed("codes")), frozenset(line.listed("except"))) for line in rows(diagnosis)}
    assert len(found) == 1


@pytest.mark.parametrize("code", NEVER.split())
def test_what_was_suspected_or_runs_in_the_family_is_no_disease(code: str) -> None:
    read = read_code(code)
    assert read is not None
    assert columns().facts([code]) == []
    assert ADVICE.groups_of(code) == []
    assert [line["diagnosis"] for line in LINES if _holds(line, read.key, is_sequela=False)] == []
    assert (stage_of(read), says_pregnant(read), says_of_potassium(read)) == (None, False, None)


PREGNANT_OR_NOT = "Z32.01 Z32.1 Z36.9 Z36.89 Z03.71 Z64.0 O60.02 Z32.02 O60.10X0"


@pytest.mark.parametrize("code", sorted({*listed("advice pregnancy"), *PREGNANT_OR_NOT.split()}))
def test_advice_and_the_rule_agree_on_who_is_pregnant(code: str) -> None:
    read = read_code(code)
    assert read is not None
    assert ("pregnancy" in ADVICE.groups_of(code)) is says_pregnant(read)


@pytest.mark.parametrize(
    "code", [*listed("advice chronic-kidney-disease"), *listed("advice dialysis"), "E11.21", "I12", "N18"]
)
def test_advice_and_the_rule_agree_on_whose_kidneys_are_ill(code: str) -> None:
    read = read_code(code)
    assert read is not None
    assert (stage_of(read) is not None) is ("chronic-kidney-disease" in ADVICE.groups_of(code))
    assert not means("advice dialysis", code) or stage_of(read) == (0, 15)
