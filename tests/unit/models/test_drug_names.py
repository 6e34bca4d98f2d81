"""What the drug safety rule understands by a name."""

import csv
import io

import pytest

from models.drug_safety import Patient, Reason
from models.drug_safety.ingredients import Ingredients
from models.drug_safety.words import key
from tests.unit.models.drug_tables import PACKAGE, bundled, changed


def ingredients(name: str) -> list[str]:
    return [each.name for each in bundled().ingredients.named(name)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aspirin", ["aspirin"]),
        ("  ASPIRIN ", ["aspirin"]),
        ("acide acétylsalicylique", ["aspirin"]),
        ("ACIDE ACETYLSALICYLIQUE", ["aspirin"]),
        ("paracétamol", ["acetaminophen"]),
        ("Salbutamol", ["albuterol"]),
        ("noradrénaline", ["norepinephrine"]),
        ("1191", ["aspirin"]),
        ("rxnorm:161", ["acetaminophen"]),
        ("losartan potassium", ["losartan"]),
        ("METOPROLOL TARTRATE", ["metoprolol"]),
        ("Tylenol", ["acetaminophen"]),
        ("lisinopril/hydrochlorothiazide", ["lisinopril", "hydrochlorothiazide"]),
        ("HYDROCODONE BIT/ACETAMINOPHEN", ["hydrocodone", "acetaminophen"]),
        ("DuoNeb", ["albuterol", "ipratropium"]),
        ("potassium chloride", ["potassium"]),
        ("sodium chloride", ["sodium chloride"]),
        ("potassium phosphate", ["potassium phosphate"]),
        ("quetiapine fumarate", ["quetiapine"]),
        ("amlodipine maleate monohydrate", ["amlodipine"]),
        ("penicilina", ["penicillin g"]),
        ("amoxycillin 500 mg tid", ["amoxicillin"]),
        ("NPH", ["insulin isophane"]),
        ("UFH", ["heparin"]),
        ("norepi", ["norepinephrine"]),
        ("baby aspirin", ["aspirin"]),
        ("Pepto-Bismol", ["bismuth subsalicylate"]),
        ("flucloxacillin", ["flucloxacillin"]),
        ("chloramphenicol", ["chloramphenicol"]),
        ("Veklury", ["remdesivir"]),
        ("tofacitinib", ["tofacitinib"]),
        ("finerenone", ["finerenone"]),
        ("hicl:1866", ["acetaminophen"]),
        ("HICL:1730", ["hydrocodone", "acetaminophen"]),
    ],
)
def test_a_name_means_its_ingredients(name: str, expected: list[str]) -> None:
    assert ingredients(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "/",
        "-",
        "sodium",
        "lisinoprl",
        "aspirin/mystery",
        "rxnorm:",
        "253 182",
        "rxnorm:0",
        "hicl:0",
        "hicl",
        "or",
    ],
)
def test_a_name_that_is_not_in_the_tables_means_nothing(name: str) -> None:
    assert ingredients(name) == []


def test_a_code_that_several_kinds_share_means_the_one_that_claims_it() -> None:
    assert ingredients("253182") == ["insulin regular"]
    assert changed("ingredients.csv", ",253182,", ",,").ingredients.named("253182") == ()


def test_every_ingredient_and_every_substance_is_found_by_its_name() -> None:
    assert [each.name for each in bundled().ingredients.all if ingredients(each.name) != [each.name]] == []


@pytest.mark.parametrize(
    "text", ["a" * 10**5, "999999999", "\ud800", "\x00", "\u0130", "ﬁ", "ⅷ", "🩺", "a\u0301"]
)
def test_any_text_has_a_key(text: str) -> None:
    assert ingredients(text) == []
    assert key(text) == key(key(text))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Pen VK", ["penicillin v"]), ("gentamycin", ["gentamicin"]), ("a.s.a.", ["aspirin"]), ("A.S.A", ["aspirin"]),
        ("Septra DS", ["sulfamethoxazole", "trimethoprim"]), ("Cialis", ["tadalafil"]), ("Norvir", ["ritonavir"]),
        ("Paxlovid", ["nirmatrelvir", "ritonavir"]), ("MTX", ["methotrexate"]), ("Trexall", ["methotrexate"]),
        ("Imuran", ["azathioprine"]), ("Lithobid", ["lithium"]), ("Cardizem LA", ["diltiazem"]), ("Paxil CR", ["paroxetine"]),
        ("Bactrim-DS", ["sulfamethoxazole", "trimethoprim"]), ("Toprol-XL", ["metoprolol"]), ("K.C.l.", ["potassium"]),
        ("Depakote ER", ["valproic acid"]), ("Wellbutrin SR", ["bupropion"]), ("quetiapine fumarate XR", ["quetiapine"]),
        ("P\u00e9nicilline", ["penicillin g", "penicillin v"]),
    ],
)  # fmt: skip
def test_brands_abbreviations_and_forms_in_common_use_are_known(name: str, expected: list[str]) -> None:
    assert ingredients(name) == expected


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Diovan HCT", "Diovan"),
        ("Mucinex D", "Mucinex"),
        ("Tylenol PM", "Tylenol"),
        ("Claritin-D", "Claritin"),
    ],
)
def test_an_ending_that_names_another_ingredient_is_not_dropped(name: str, other: str) -> None:
    assert set(ingredients(name)) > set(ingredients(other))


@pytest.mark.parametrize(
    "name", ["Nexium D", "Motrin AC", "MS", "T3", "PCA", "CPZ", "XR", "a.s.a.x", "warfarin HCT"]
)
def test_what_may_be_several_drugs_or_adds_one_is_not_guessed(name: str) -> None:
    assert ingredients(name) == []


def test_an_abbreviation_that_is_error_prone_is_understood_and_told() -> None:
    known = bundled().ingredients
    assert known.cautions("aspirin/MTX") == {"mtx": "an error-prone abbreviation: mistaken as mitoxantrone"}
    assert known.cautions("methotrexate") == known.cautions("MTX mystery") == {}
    for name in ("MgSO4", "MSO4", "AZT", "PTU", "tPA", "TNK", "5-ASA", "6-MP", "HCTZ", "APAP"):
        assert ingredients(name), name
        assert known.cautions(name), name


def test_tables_of_earlier_bundles_without_cautions_are_read() -> None:
    text = (PACKAGE / "tables" / "products.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    old = io.StringIO()
    writer = csv.DictWriter(old, ("product", "ingredients", "source", "date"), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)

    def read(path: str) -> bytes:
        return old.getvalue().encode() if path.endswith("products.csv") else (PACKAGE / path).read_bytes()

    known = Ingredients.read(read, "tables")
    assert [each.name for each in known.named("MTX")] == ["methotrexate"]
    assert known.cautions("MTX") == {}


# Drugs that are often prescribed in the United States, by brand, written apart from the tables.
COMMON = """
    Lipitor; Synthroid; Glucophage XR; Zestril; Norvasc; Toprol-XL; Ventolin HFA; Prilosec; Cozaar; Neurontin; Zocor;
    Zoloft; Singulair; Lasix; Flonase; Lexapro; Adderall XR; Wellbutrin XL; Crestor; Protonix; Flomax; Desyrel;
    Xarelto; Eliquis; Coumadin; Plavix; Cymbalta; Effexor XR; Prozac; Celexa; Ambien CR; Xanax XR; Klonopin; Ativan;
    Valium; Ultram ER; Percocet; Vicodin ES; Norco; OxyContin; MS Contin; Duragesic; Suboxone; Lantus; Humalog;
    NovoLog; Januvia; Janumet XR; Jardiance; Farxiga; Victoza; Amaryl; Glucotrol XL; Actos; Lovenox; Heparin; Keflex;
    Augmentin XR; Zithromax; Biaxin XL; Cipro; Levaquin; Bactrim DS; Septra DS; Flagyl ER; Vancocin; Zosyn; Rocephin;
    Maxipime; Merrem; Invanz; Diflucan; Valtrex; Tamiflu; Paxlovid; Truvada; Biktarvy; Norvir; Imuran; CellCept;
    Prograf; Neoral; Trexall; Plaquenil; Humira; Enbrel; Remicade; Deltasone; Medrol; Decadron; Aricept; Namenda XR;
    Sinemet CR; Requip XL; Mirapex; Keppra XR; Depakote ER; Dilantin; Tegretol XR; Lamictal; Topamax; Lyrica;
    Lithobid; Abilify; Seroquel XR; Zyprexa; Risperdal; Geodon; Haldol; Cardizem CD; Cardizem LA; Calan SR; Procardia
    XL; Adalat CC; Inderal LA; Coreg CR; Tenormin; Diovan HCT; Benicar HCT; Hyzaar; Entresto; Aldactone; Zaroxolyn;
    Bumex; Demadex; Imdur; Nitrostat; Ranexa; Lanoxin; Multaq; Cordarone; Betapace AF; Cialis; Viagra; Proscar;
    Avodart; Detrol LA; Ditropan XL; Vesicare; Myrbetriq; Advair Diskus; Symbicort; Spiriva; Breo; Trelegy; Dulera;
    Fosamax; Prolia; Boniva; Zofran ODT; Reglan; Pepcid; Colace; Miralax; Zyrtec-D; Claritin-D; Benadryl; Mucinex DM;
    Excedrin; Aleve; Advil
"""


def test_nearly_all_common_brands_are_known() -> None:
    names = [each.strip() for each in COMMON.split(";")]
    known = [name for name in names if ingredients(name)]
    assert len(names) > 150
    assert len(known) / len(names) >= 0.98, sorted(set(names) - set(known))


@pytest.mark.parametrize(
    ("order", "meant"),
    [
        ("héparine", ["heparin"]),
        ("heparin 5000 u sq tid", ["heparin"]),
        ("heparin 5,000 U sq tid", ["heparin"]),
        ("cefadroxil 500 mg cap", ["cefadroxil"]),
        ("telavancin 750 mg iv", ["telavancin"]),
        ("华法林钠片", ["warfarin"]),
        ("硫酸氢氯吡格雷片", ["clopidogrel"]),
        ("盐酸二甲双胍片 0.5g", ["metformin"]),
        ("注射用头孢曲松钠", ["ceftriaxone"]),
        ("氯化钾缓释片", ["potassium"]),
        ("利伐沙班", ["rivaroxaban"]),
        ("去甲肾上腺素", ["norepinephrine"]),
        ("肾上腺素", ["epinephrine"]),
        ("停华法林钠片", []),
    ],
)
def test_salts_units_and_names_of_other_languages_are_read(order: str, meant: list[str]) -> None:
    assert [each.name for each in bundled().ingredients.named(order)] == meant


def test_the_name_of_a_class_is_read_as_its_commonest_drug_and_told() -> None:
    found = bundled().review(Patient(), ["低分子肝素"], ["ketorolac"])
    assert "低分子肝素" in [each.with_ for each in found.removed + found.flagged]
    assert Reason.ERROR_PRONE_NAME in [each.reason for each in found.unchecked]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lisinopril (Lipitor)", ["its brackets name atorvastatin"]),
        ("lisinopril (Zestril) 10 mg", []),
        ("hydrocodone (Vicodin)", []),
        ("aspirin (81)", []),
        ("cefazolin (in dextrose)", []),
    ],
)
def test_a_brand_in_brackets_that_is_another_drug_is_told(name: str, told: list[str]) -> None:
    listed = bundled().review(Patient(), [], [name]).unchecked
    assert [each.detail.split(",")[0] for each in listed if each.reason is Reason.NAMES_DISAGREE] == told
