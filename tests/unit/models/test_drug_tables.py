"""Damaged tables of the drug safety rule are refused, with the row and what to change."""

import csv
import io

import pytest

from models.drug_safety import FILES, TableUnusable
from models.drug_safety.build import ends_without_substance, interactions, substances
from models.drug_safety.tables import read_table
from tests.unit.models.drug_tables import PACKAGE, changed

TABLES = PACKAGE / "tables"


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("interactions.csv", "not recommended", "dangerous", "row 2: level must be one of: contraindicated"),
        ("interactions.csv", "ABATACEPT,", "ABATACEPTE,", "'ABATACEPTE' is no substance or class"),
        ("interactions.csv", "first,second", "first,then", "its first line must name the columns"),
        ("interactions.csv", "2020-10", "", "fill in date"),
        ("interactions.csv", "2020-10", "2020-10,,", "row 2: it has 10 cells in place of 8"),
        ("ingredients.csv", "ingredient,", "ingredient,ingredient,", "its first line must name the columns"),
        ("ingredients.csv", "acetylsalicylic acid;", "acetaminophen;", "a name means one thing"),
        ("ingredients.csv", "acide acetylsalicylique,yes", "acide acetylsalicylic,yes", "has no substance"),
        ("ingredients.csv", "acide acetylsalicylique,yes", "acide acetylsalicylique,oui", "active must be yes or no"),
        ("ingredients.csv", "acide acetylsalicylique,yes", ",yes", "no ingredient names the substance"),
        ("products.csv", "albuterol; ipratropium", "albuterol; ipratropum", "no ingredient 'ipratropum'"),
        ("allergy_classes.csv", "amoxicillin", "amoxicilin", "no ingredient 'amoxicilin'"),
        ("allergy_classes.csv", "contraindicated,contraindicated", "severe,contraindicated", "if_class must be one of"),
        ("allergy_classes.csv", "statins,statin;", "statins,pcn;", "a name means one class"),
        ("allergy_cross.csv", "cephalosporins,", "cephalosporin,", "has no class 'cephalosporin'"),
        ("duplicates.csv", "*,", "all,", "add a row of the group *"),
        ("duplicates.csv", "not recommended,", ",", "give a level"),
        ("pregnancy.csv", "misoprostol,contraindicated", "misoprostol,forbidden", "level must be one of"),
        ("renal.csv", "30,contraindicated", "-30,contraindicated", "below_ml_min must be a number of at least 0"),
        ("renal.csv", "30,contraindicated", ",contraindicated", "give a limit"),
        ("age.csv", "12,18", "18,12", "from_years must be less than below_years"),
        ("assigned_classes.csv", "dérivés nitrés", "dérivés nitreux", "has no class 'dérivés nitreux et apparentés'"),
        ("assigned_classes.csv", "isosorbide mononitrate", "isosorbide monoxide", "no ingredient 'isosorbide monoxide'"),
        ("codes.csv", "1866,acetaminophen", "1866,acetaminofen", "no ingredient 'acetaminofen'"),
        ("codes.csv", "hicl,83,", "hicl,57,", "a name means one thing"),
        ("substances.csv", "abatacept,", "abciximab (c 7e3b fab),", "merge both rows"),
    ],
)  # fmt: skip
def test_a_damaged_table_is_refused(file: str, old: str, new: str, says: str) -> None:
    with pytest.raises(TableUnusable, match=f"tables/{file}") as refused:
        changed(file, old, new)
    assert says in refused.value.detail


@pytest.mark.parametrize("file", FILES)
def test_a_repeated_row_is_refused(file: str) -> None:
    row = (TABLES / file).read_text(encoding="utf-8").splitlines()[1] + "\n"
    with pytest.raises(TableUnusable, match=r"delete one|merge both"):
        changed(file, row, row + row)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"", b'"', b"a,source,date", b"b,source,date\n1,2,3", b"a,source,date\n1,2"]
)
def test_what_is_no_table_is_refused(content: bytes) -> None:
    with pytest.raises(TableUnusable, match=r"some\.csv"):
        read_table(lambda path: content, "some.csv", ("a", "source", "date"), ["a"])


def test_a_table_may_be_replaced() -> None:
    pair = "PIPÉRACILLINE/TAZOBACTAM,VANCOMYCINE"
    safety = changed("interactions.csv", f"{pair},not recommended", f"{pair},precaution")
    assert [each.level for each in safety.between("zosyn", "vancomycin")] == ["precaution"]


def published(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_reference_is_converted_into_one_row_per_published_row() -> None:
    rows = published(
        "main,with,level,condition,mechanism\n"
        "A,B,contraindicated,: - avec x,why\n"
        "B,A,contraindicated,: - avec x,why\n"
        "A,B,precaution,,why\n"
        "A,C,il convient de prendre en compte,,why\n"
    )
    found = interactions(rows, [])
    assert [(row["first"], row["second"], row["level"], row["condition"]) for row in found] == [
        ("A", "B", "contraindicated", "avec x"),
        ("A", "B", "precaution", ""),
        ("A", "C", "take into account", ""),
    ]


def test_a_published_row_is_narrowed_in_whichever_direction_it_stands() -> None:
    rows = published("main,with,level,condition,mechanism\nB,CLASS,contraindicated,avec x,why\n")
    narrowed = published("main,with,level,main_only,with_only,as_level\nCLASS,B,contraindicated,x; y,,\n")
    found = interactions(rows, narrowed)
    assert [(row["first"], row["second"], row["rule"]) for row in found] == [
        ("x", "B", "B with CLASS"),
        ("y", "B", "B with CLASS"),
    ]


def test_a_narrowed_row_must_exist() -> None:
    narrowed = published("main,with,level,main_only,with_only,as_level\nA,B,contraindicated,x,,\n")
    with pytest.raises(ValueError, match="A with B"):
        interactions([], narrowed)


def test_substances_listed_twice_are_merged() -> None:
    rows = published(
        "substance_fr,rxnorm,wikidata,classes_fr\npiperacilline,1,,a; b\npipéracilline,1,,b; c\ncafé,,,\n"
    )
    found = substances(rows)
    assert [(row["substance"], row["classes"]) for row in found] == [
        ("piperacilline", "a; b; c"),
        ("café", ""),
    ]


def test_what_interacts_but_is_no_substance_becomes_one() -> None:
    rows = interactions(published("main,with,level,condition,mechanism\nA,PAMPLEMOUSSE,precaution,,w\n"), [])
    known = substances(published("substance_fr,rxnorm,wikidata,classes_fr\na,1,,\n"))
    assert [row["substance"] for row in ends_without_substance(rows, known)] == ["PAMPLEMOUSSE"]
