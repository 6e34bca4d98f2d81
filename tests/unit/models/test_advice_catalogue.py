"""Catalogues of advice: what is refused as they are read, and how absent values are judged."""

from collections.abc import Mapping
from typing import Any

import pytest

from models.manifest import BundleRefused
from models.pipelines.advice import Adviser
from models.pipelines.advice_catalogue import Catalogue
from models.pipelines.advice_patient import Person
from models.pipelines.advice_results import AdviceResult
from tests.unit.models.example_bundles import told

HEAD = """
title = "Made up for tests"
date = "2026-11-29"
[sources.book]
name = "A book"
publisher = "Nobody"
year = 2020
url = "https://example.org/book"
[groups.fever]
en = "Fever"
zh = "发热"
icd10 = ["R50"]
[groups.tropical-fever]
en = "Tropical fever"
zh = "热带热"
icd10 = ["R50.2", "A90"]
snomed = ["38362002"]
"""
FLAG = """
[[flags]]
id = "hot"
urgency = "urgent"
en = "Very hot."
zh = "高热。"
when = ["temperature > 41"]
source = "book"
withholds = ["activity"]
"""
ITEM = """
[[items]]
id = "walk"
category = "activity"
en = "Walk."
zh = "步行。"
source = "book"
when = ["fever", ["bmi >= 25", "activity < 60"]]
unless = [
  { when = ["tropical-fever"], en = "Not in the tropics.", zh = "热带不宜。" },
  { when = ["systolic < 100"], en = "Pressure is low.", zh = "血压低。" },
  { when = ["glucose < 70"], if_known = true, en = "Glucose is low.", zh = "血糖低。" },
]
"""
GOOD = HEAD + FLAG + ITEM
FITS: dict[str, Any] = {"age": 40.0, "conditions": ["R50.9"], "bmi": 27.0, "systolic": 120.0, "glucose": 90.0}


def read(text: str) -> Catalogue:
    return Catalogue.read(text.encode(), "catalogue.toml")


def faults(text: str) -> set[tuple[str, str]]:
    with pytest.raises(BundleRefused) as refused:
        read(text)
    return {(place.removeprefix("catalogue.toml: "), code) for place, code in told(refused.value.faults)}


def advice(person: Mapping[str, Any], text: str = GOOD) -> AdviceResult:
    return Adviser(read(text)).advise(Person.model_validate(person), "en")


def places(result: AdviceResult) -> tuple[list[str], list[str], list[list[str]]]:
    """What is shown, what is withheld and why, and what is missing."""
    return (
        [each.id for each in result.items],
        [each.reason for each in result.withheld],
        [each.missing for each in result.undetermined],
    )


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('"fever", [', '"feever", [', "items[0].when"),
        ("bmi >= 25", "weight >= 25", "items[0].when"),
        ("bmi >= 25", "bmi => 25", "items[0].when"),
        ("bmi >= 25", "bmi is high", "items[0].when"),
        ("bmi >= 25", "bmi >= 9", "items[0].when"),
        ("bmi >= 25", "bmi >= 121", "items[0].when"),
        ("bmi >= 25", "smoking >= 1", "items[0].when"),
        ("bmi >= 25", "smoking is sometimes", "items[0].when"),
        ("bmi >= 25", "pregnant is 1", "items[0].when"),
        ("systolic < 100", "systolic <= 300", "items[0].unless[1].when"),
        ("temperature > 41", "temperature > 44", "flags[0].when"),
        ('source = "book"\nwhen = ["fever"', 'source = "leaflet"\nwhen = ["fever"', "items[0].source"),
        ('id = "walk"', 'id = "hot"', "items"),
        ('icd10 = ["R50"]', "icd10 = []", "groups.fever"),
        ('icd10 = ["R50"]', 'icd10 = ["R"]', "groups.fever.icd10[0]"),
        ('icd10 = ["R50"]', 'icd10 = ["R50"]\nexcept_icd10 = ["R51.1"]', "groups.fever.except_icd10"),
        ('icd10 = ["R50"]', 'icd10 = ["R50"]\nexcept_icd10 = ["R50"]', "groups.fever.except_icd10"),
        ('category = "activity"', 'category = "dance"', "items[0].category"),
        ('en = "Walk."', 'en = "Walk."\nmood = "good"', "items[0].mood"),
        ('zh = "步行。"\n', "", "items[0].zh"),
        ("year = 2020", "year = 20", "sources.book.year"),
    ],
)
def test_a_rule_or_key_that_means_nothing_is_refused_where_it_stands(old: str, new: str, place: str) -> None:
    assert GOOD.count(old) == 1
    assert (place, "catalogue_invalid") in faults(GOOD.replace(old, new))


def test_groups_and_sources_that_nothing_uses_are_refused() -> None:
    more = '[sources.other]\nname = "B"\npublisher = "B"\nyear = 2020\nurl = "https://example.org"\n'
    group = '[groups.cough]\nen = "Cough"\nzh = "咳嗽"\nicd10 = ["R05"]\n'
    assert faults(HEAD + more + group + FLAG + ITEM) == {
        ("sources.other", "catalogue_invalid"),
        ("groups.cough", "catalogue_invalid"),
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('["bmi >= 25", "activity < 60"]', '"bmi >= 25", "bmi < 20"'),  # contradicts itself
        ('["bmi >= 25", "activity < 60"]', '"age < 18"'),  # is below the least age
        ('["bmi >= 25", "activity < 60"]', '"temperature > 42"'),  # has the red flag that withholds it
        ('["bmi >= 25", "activity < 60"]', '"systolic < 90"'),  # is contraindicated
        ('["bmi >= 25", "activity < 60"]', '"tropical-fever"'),
        ('["bmi >= 25", "activity < 60"]', '"pregnant is true", "sex is male"'),
        ('["bmi >= 25", "activity < 60"]', '"pregnant is true", "age >= 70"'),
        ('["bmi >= 25", "activity < 60"]', '"diastolic > 150", "systolic < 140"'),
        ('["bmi >= 25", "activity < 60"]', '"smoking is never", "smoking is current"'),
    ],
)
def test_an_item_that_nobody_could_be_shown_is_refused(old: str, new: str) -> None:
    assert faults(GOOD.replace(old, new)) == {("items[0].when", "item_unreachable")}


def test_a_flag_that_nobody_could_have_is_refused() -> None:
    text = GOOD.replace('["temperature > 41"]', '["temperature > 41", "temperature < 40"]')
    assert faults(text) == {("flags[0].when", "item_unreachable")}


def test_every_fault_of_a_file_is_told_at_once() -> None:
    text = GOOD.replace("bmi >= 25", "weight >= 25").replace("systolic < 100", "systolic < 10")
    assert {place for place, _ in faults(text)} == {"items[0].when", "items[0].unless[1].when"}


@pytest.mark.parametrize("content", [b"\xff", b"title = ", b"title = 1"])
def test_a_file_that_is_no_catalogue_is_refused(content: bytes) -> None:
    with pytest.raises(BundleRefused) as refused:
        Catalogue.read(content, "catalogue.toml")
    assert all(fault.place.startswith("catalogue.toml") for fault in refused.value.faults)


def test_an_item_is_shown_with_what_made_it_fit() -> None:
    [item] = advice(FITS).items
    assert [(each.field, each.value, each.display) for each in item.because] == [
        ("conditions", "R50.9", "Fever"),
        ("bmi", "27 kg/m2", "Body mass index"),
    ]
    assert (item.source, item.year, item.unchecked) == ("Nobody: A book", 2020, [])


def test_an_absent_value_is_never_taken_for_normal() -> None:
    unknown = FITS | {"bmi": None}
    assert places(advice(unknown)) == ([], [], [["bmi", "activity"]])
    assert places(advice(unknown | {"activity": 10.0})) == (["walk"], [], [])
    assert places(advice(unknown | {"activity": 90.0})) == ([], [], [["bmi"]])
    assert places(advice(FITS | {"systolic": None})) == ([], [], [["systolic"]])


def test_a_contraindication_decides_though_another_value_is_absent() -> None:
    person = FITS | {"systolic": None, "conditions": ["R50.2"]}
    assert places(advice(person)) == ([], ["Not in the tropics."], [])
    assert places(advice(person | {"bmi": None})) == ([], [], [])  # whether it would fit is not known


def test_what_counts_only_if_known_does_not_hide_an_item_but_is_named() -> None:
    [item] = advice(FITS | {"glucose": None}).items
    assert item.unchecked == ["glucose"]
    assert places(advice(FITS | {"glucose": 60.0})) == ([], ["Glucose is low."], [])


def test_a_red_flag_comes_first_and_one_that_cannot_be_checked_is_told() -> None:
    result = advice(FITS | {"temperature": 42.0})
    assert [each.id for each in result.seek_care] == ["hot"]
    assert places(result) == ([], ["first: Very hot."], [])
    assert [(each.id, each.missing) for each in advice(FITS).unchecked_flags] == [("hot", ["temperature"])]


def test_a_code_belongs_to_every_group_whose_prefix_or_concept_it_is() -> None:
    catalogue = read(GOOD)
    assert catalogue.groups_of("r50.2") == ["fever", "tropical-fever"]
    assert catalogue.groups_of("R5020") == ["fever", "tropical-fever"]
    assert catalogue.groups_of("R50") == ["fever"]
    assert catalogue.groups_of("38362002") == ["tropical-fever"]
    assert catalogue.groups_of("383620021") == []
    assert catalogue.groups_of("R51") == []
