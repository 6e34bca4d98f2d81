"""Groups of diagnoses: their headings are true of each of their codes, and no code is evidence of another disease.

icd_titles.csv holds the titles of all codes of the groups: of ICD-9-CM (2015) and ICD-10-CM (2026), which are facts in the
public domain.
"""

import csv
import re
from pathlib import Path

import pytest

from models.bundle import ZOO
from models.pipelines.context_fields import CodesField, Columns
from models.training.stays import GROUPS

BUNDLES = ("medication-recommender", "care-service-recommender", "treatment-plan-recommender")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


TITLES = {row["code"]: row["title"] for row in rows(Path(__file__).with_name("icd_titles.csv"))}
WRITTEN = rows(GROUPS)


def columns(bundle: str) -> Columns:
    field = CodesField.model_validate(
        {"name": "diagnoses", "title": "Diagnoses", "type": "codes", "file": "diagnoses.csv", "category": 3}
    )
    return field.columns(lambda path: (ZOO / bundle / path).read_bytes())


def read_as(bundle: str, code: str) -> str | None:
    """The heading of the group that a code counts for."""
    return next((fact.display for fact in columns(bundle).facts([code])), None)


def words(text: str) -> set[str]:
    """The words of a title that say what it is about."""
    found = re.findall("[a-z]+", text.lower().replace("-", ""))
    return {word.rstrip("s") for word in found if len(word) > 3} - {
        "other",
        "unspecified",
        "with",
        "acute",
        "site",
    }


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row["group"])
def test_the_heading_of_a_group_shares_its_words_with_the_title_of_each_of_its_codes(
    row: dict[str, str],
) -> None:
    codes = [code.strip() for code in (row["group"] + ";" + row["codes"]).split(";")]
    for code in (code for code in codes if code and "|" not in code):
        assert words(TITLES[code]) & words(row["display"]), f"{code} is {TITLES[code]!r}"


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_bundle_has_the_written_groups_and_those_of_names_without_a_code(bundle: str) -> None:
    written = {row["group"]: row for row in WRITTEN}
    found = rows(ZOO / bundle / "diagnoses.csv")
    assert [row for row in found if "|" not in row["group"] and row != written.get(row["group"])] == []
    assert sum("|" not in row["group"] for row in found) > 90


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize(
    ("code", "heading"),
    [
        ("E87.5", "Hyperkalemia (hyperpotassemia)"),
        ("276.7", "Hyperkalemia (hyperpotassemia)"),
        ("2767", "Hyperkalemia (hyperpotassemia)"),
        ("E87.6", "Hypokalemia (hypopotassemia)"),
        ("E87.0", "Hyperosmolality and hypernatremia"),
        ("E87.1", "Hypo-osmolality and hyponatremia"),
        ("E87.2", "Acidosis"),
        ("E87.70", "Fluid overload"),
        ("R00.1", "Bradycardia and sinoatrial node dysfunction (sick sinus syndrome)"),
        ("R00.0", "Tachycardia, unspecified"),
        ("R57.0", "Cardiogenic shock"),
        ("I46.9", "Cardiac arrest"),
        ("I47.1", "Supraventricular tachycardia"),
        ("E10.10", "Diabetes mellitus with ketoacidosis"),
        ("E11.9", "Diabetes mellitus"),
        ("http://hl7.org/fhir/sid/icd-10|I50.9", "Heart failure"),
        ("http://hl7.org/fhir/sid/icd-9-cm|428.0", "Heart failure"),
        *((code, None) for code in ("E83.52", "E87.8", "E87", "276.9", "K72", "K72.90", "570", "I47", "I33")),
        *((code, None) for code in ("I33.0", "421.0", "D68", "D68.59", "E11.649", "E1164", "I42.1", "I47.21")),
        *((code, None) for code in ("R68.0", "780.65", "T40.2X6A", "T402X6A", "F43.0", "N19", "E930.5")),
    ],
)  # fmt: skip
def test_a_code_counts_for_a_heading_that_is_true_of_it_or_for_none(
    bundle: str, code: str, heading: str | None
) -> None:
    assert read_as(bundle, code) == heading
    assert (columns(bundle).unknown([code]) == [code]) is (heading is None)
