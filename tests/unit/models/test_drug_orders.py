"""What the drug safety rule understands by an order, which has strengths, forms and routes around the names."""

import random

import pytest

from models.drug_safety import Patient, Reason
from models.drug_safety.order_words import BEHIND_A_STRENGTH, REASONS, WORDS
from tests.unit.models.drug_tables import bundled

STRENGTHS = (
    "40mg",
    "5 mg",
    "0.25 mg",
    "12.5-25 mg",
    "1,000 mcg",
    "10%",
    "100 units/ml",
    "2 mg/2 ml",
    "25 mcg/hr",
)
FORMS = (
    "tab",
    "tablets",
    "er capsule",
    "po tbec",
    "iv soln",
    "patch",
    "ophthalmic drops",
    "cream",
    "oral susp",
    "10 ml vial",
)
ROUTES = (
    "",
    "po daily",
    "by mouth twice a day",
    "iv q6h prn",
    "sl prn pain",
    "bid with meals",
    "every 8 hours",
    "topically qhs",
)


def ingredients(name: str) -> list[str]:
    return [each.name for each in bundled().ingredients.named(name)]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("augmentin 875 mg bid x 10 d", ["amoxicillin", "clavulanic acid"]), ("simvastatin 40 mg #30", ["simvastatin"]),
        ("fentanyl 50 µg iv", ["fentanyl"]), ("Lipitor® 20 mg", ["atorvastatin"]), ("华法林片 3mg 口服", ["warfarin"]),
        ("阿司匹林肠溶片100mg", ["aspirin"]), ("simvastatine 40 mg comprimé", ["simvastatin"]),
        ("timolol 0.5% ou bid", ["timolol"]), ("nitroglycerin 0.4 mg sl prn chest pain", ["nitroglycerin"]),
        ("simvastatin 40mg", ["simvastatin"]), ("warfarin tab", ["warfarin"]), ("coumadin 5 mg po daily", ["warfarin"]),
        ("nitroglycerin patch", ["nitroglycerin"]), ("metoprolol succ er 50 mg tablet", ["metoprolol"]),
        ("insulin glargine 100 units/ml", ["insulin glargine"]), ("WARFARIN SODIUM 5 MG PO TABS", ["warfarin"]),
        ("5 ML VIAL : DILTIAZEM HCL 25 MG/5ML IV SOLN", ["diltiazem"]),
        ("Hydrocortisone Na Succ. 100mg/2mL Vial IV", ["hydrocortisone"]),
        ("HYDROCODONE-ACETAMINOPHEN 5-325 MG PO TABS", ["hydrocodone", "acetaminophen"]),
        ("PERCOCET 5/325 TAB", ["oxycodone", "acetaminophen"]),
        ("3 ML PLAS CONT: IPRATROPIUM-ALBUTEROL 0.5-2.5 (3) MG/3ML IN SOLN", ["ipratropium", "albuterol"]),
        ("1 ML VIAL : DEXAMETHASONE SODIUM PHOSPHATE 4 MG/ML IJ SOLN", ["dexamethasone"]), ("aspirin 81", ["aspirin"]),
        ("furosemide 20 mg, potassium chloride 10 meq", ["furosemide", "potassium"]),
        ("HYDROmorphone (Dilaudid) 1mg/1mL Syringe IV", ["hydromorphone"]),
        ("acetaminophen 650 mg po q6h prn pain or fever", ["acetaminophen"]), ("Tylenol #3", ["acetaminophen", "codeine"]),
        ("tylenol 3 tabs", ["acetaminophen", "codeine"]), ("INH 300 mg daily", ["isoniazid"]),
        ("ALBUTEROL 2.5 MG/3 ML UD INH SOLN", ["albuterol"]), ("losartan potassium 50 mg", ["losartan"]),
        ("LIDOCAINE 2%-EPINEPHRINE 1:100,000 INJ", ["lidocaine", "epinephrine"]),
    ],
)  # fmt: skip
def test_an_order_means_the_ingredients_that_it_names(order: str, expected: list[str]) -> None:
    assert ingredients(order) == expected


@pytest.mark.parametrize(
    "order",
    [
        "停用 warfarin 5 mg", "нет warfarin 5 mg", "停用华法林 5mg", "augmentin 10 d", "no aspirin 81 mg",
        "hold warfarin 5 mg", "stop warfarin", "allergic to penicillin 500 mg", "aspirin or clopidogrel 75 mg",
        "aspirin 81 mg/mystery 5 mg", "warfarin HCT 5 mg", "Motrin AC 200 mg", "Nexium 20 mg D", "lisinopril PM 10 mg",
        "insulin syringe", "insulin pen needle", "insulin syringe 1 ml", "simvastatn 40 mg", "40 mg tablet", "po daily",
        "5", "warfarin 3", "warfarin # 3", "Tylenol sinus 500 mg", "non-aspirin 325 mg", "aspirin-free 500 mg tab",
        "povidone-iodine 131", "vancomycin consult",
    ],
)  # fmt: skip
def test_an_order_with_a_word_that_is_not_understood_means_nothing(order: str) -> None:
    assert ingredients(order) == []


def test_every_ingredient_is_the_same_with_any_strength_form_and_route() -> None:
    chance = random.Random(15)
    wrong = []
    for each in bundled().ingredients.all:
        for _ in range(4):
            strength, form, route = (chance.choice(some) for some in (STRENGTHS, FORMS, ROUTES))
            for order in (
                f"{each.name} {strength} {form} {route}",
                f"{strength} {form}: {each.name.upper()} {route}",
            ):
                wrong += [order] * (ingredients(order) != [each.name])
    assert wrong == []


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("hold warfarin 5 mg", "warfarin"),
        ("no ibuprofen, asa or warfarin", "ibuprofen and warfarin"),
        ("华法林 禁用", "warfarin"),
        ("potassium chloride on hold", "potassium chloride"),
    ],
)
def test_an_order_that_is_not_understood_is_told_with_the_names_in_it(order: str, names: str) -> None:
    [told] = bundled().review(Patient(), [order], []).unchecked[:1]
    assert (told.subject, told.reason) == (order, Reason.UNKNOWN_NAME)
    assert f"; it names {names} beside what is not understood: send names alone" in told.detail


def test_a_word_that_no_one_understands_makes_any_order_unknown() -> None:
    chance = random.Random(16)
    for each in chance.sample(bundled().ingredients.all, 200):
        words = [each.name, chance.choice(STRENGTHS), chance.choice(FORMS)]
        words.insert(chance.randrange(4), "unheardof")
        assert ingredients(" ".join(words)) == []


def test_no_word_around_names_is_itself_a_name() -> None:
    known = bundled().ingredients
    assert [word for word in {*WORDS, *BEHIND_A_STRENGTH, *REASONS} if known.exact(word)] == []


def test_an_interaction_of_an_order_is_found() -> None:
    review = bundled().review(Patient(allergies=()), ["simvastatin 40 mg tab po qhs"], ["itraconazole"])
    assert [(each.drug, each.with_) for each in review.removed] == [
        ("itraconazole", "simvastatin 40 mg tab po qhs")
    ]


def test_a_drug_that_is_given_locally_is_checked_and_that_is_told() -> None:
    order = "timolol 0.5% ophthalmic drops"
    review = bundled().review(Patient(allergies=()), [order, "timolol"], ["verapamil"])
    assert {each.with_ for each in (*review.removed, *review.flagged)} == {f"timolol, {order}"}
    assert [each.subject for each in review.unchecked if each.reason is Reason.LOCAL_ROUTE] == [order]


def test_an_error_prone_abbreviation_in_an_order_is_told() -> None:
    assert bundled().ingredients.cautions("MTX 2.5 mg tab weekly") == {
        "mtx": "an error-prone abbreviation: mistaken as mitoxantrone"
    }
