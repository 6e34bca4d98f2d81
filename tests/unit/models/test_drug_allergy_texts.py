"""Recorded allergies that deny, ask, or are written in French or Chinese, and what is told of them."""

import pytest

from models.drug_safety import Patient, Reason
from models.drug_safety.chinese import NAMES as CHINESE
from tests.unit.models.drug_reviews import against, review, told
from tests.unit.models.drug_tables import bundled


@pytest.mark.parametrize(
    "recorded",
    ["no allergy to penicillin", "no known allergies to PCN", "Denies penicillin allergy", "denies any allergy to PCN",
     "patient is not allergic to penicillin", "no penicillin allergy", "vancomycin; tolerates penicillin",
     "tolerated PCN well", "no allergy to aspirin or penicillin", "no allergy to aspirin, sulfa or penicillin",
     "denies allergy to aspirin and penicillin", "no aspirin or penicillin allergy", "no hx of penicillin allergy",
     "no h/o penicillin allergy", "no known history of an allergic reaction to penicillin",
     "not allergic to aspirin/penicillin",
     "Allergic to vancomycin. No allergy to penicillin", "pas d'allergie a la penicilline", "Pas d'allergie à la pénicilline",
     "aucune allergie connue à l'aspirine ni à la pénicilline", "n'est pas allergique à la pénicilline",
     "对青霉素不过敏", "无青霉素过敏史", "否认青霉素、头孢过敏史", "青霉素无过敏"],
)  # fmt: skip
def test_what_is_plainly_denied_is_no_allergy_and_is_told(recorded: str) -> None:
    assert against(recorded, "ampicillin") is None
    assert against(recorded, "piperacillin/tazobactam") is None
    assert [reason for _, reason in told(recorded)] == [Reason.ALLERGY_DENIED]


@pytest.mark.parametrize(
    ("recorded", "drugs"),
    [
        ("tolerates cefazolin penicillin", ["cefazolin", "ampicillin"]),
        ("no allergy to aspirin, penicillin", ["ampicillin"]),
        ("no allergy to aspirin or penicillin (hives)", ["aspirin", "ampicillin"]),
        ("no allergy to aspirin and penicillin rash", ["ampicillin"]),
        ("no allergy to aspirin. Penicillin", ["ampicillin"]),
        ("no aspirin or penicillin", ["aspirin", "ampicillin"]),
        ("No aspirin allergy, allergic to penicillin", ["ampicillin"]),
        ("pas d'allergie à l'aspirine, pénicilline", ["ampicillin"]),
        ("allergie à la pénicilline", ["ampicillin"]),
        ("青霉素不过敏\uff1f", ["ampicillin"]),
        ("不是对青霉素不过敏", ["ampicillin"]),
    ],
)
def test_what_stands_beside_a_denial_counts(recorded: str, drugs: list[str]) -> None:
    assert [drug for drug in drugs if against(recorded, drug) is None] == []


@pytest.mark.parametrize(
    ("recorded", "denial"),
    [
        ("No penicillin allergy, allergic to sulfa", "No penicillin allergy"),
        ("not allergic to penicillin, allergic to aspirin", "not allergic to penicillin"),
        ("NKA, tolerates penicillin", "tolerates penicillin"),
    ],
)
def test_a_denial_between_commas_is_of_what_it_names_alone(recorded: str, denial: str) -> None:
    assert against(recorded, "ampicillin") is None
    assert told(recorded) == [(denial, Reason.ALLERGY_DENIED)]


@pytest.mark.parametrize(
    ("recorded", "drug"),
    [
        ("青霉素过敏", "ampicillin"),
        ("对磺胺类过敏", "Bactrim"),
        ("头孢曲松过敏\uff08皮疹\uff09", "ceftriaxone"),
        ("对乙酰氨基酚过敏", "acetaminophen"),
        ("青霉素、阿司匹林过敏", "aspirin"),
        ("青霉素过敏\uff0c无其他药物过敏史", "ampicillin"),
        ("碘造影剂过敏", "iohexol"),
        ("青霉素皮试阳性", "ampicillin"),
    ],
)
def test_common_chinese_texts_are_understood(recorded: str, drug: str) -> None:
    assert against(recorded, drug) is not None
    assert told(recorded) == []


@pytest.mark.parametrize(
    "recorded",
    [
        "无药物过敏史",
        "否认药物过敏史",
        "否认食物、药物过敏史",
        "无已知药物过敏",
        "药物过敏史\uff1a无",
        "none known",
        "无",
        "Pas d'allergie connue",
        "no allergies",
    ],
)
def test_a_text_that_there_are_none_is_understood(recorded: str) -> None:
    assert told(recorded) == []
    assert told(recorded, "penicillin") == [(recorded, Reason.ALLERGY_DOUBTED)]


@pytest.mark.parametrize("recorded", ["否认食物过敏史", "芒果过敏", "乙肝阴性", "无花果", "无青霉"])
def test_a_chinese_text_that_is_not_in_the_table_is_not_understood(recorded: str) -> None:
    assert told(recorded) in (
        [(recorded, Reason.ALLERGY_NOT_UNDERSTOOD)],
        [(recorded, Reason.ALLERGY_DOUBTED)],
    )


def test_every_chinese_name_is_one_that_the_tables_have() -> None:
    for chinese, english in CHINESE.items():
        assert told(f"{chinese}过敏") == told(english) == [], chinese


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [
        ("penicillin rash, no anaphylaxis", Reason.ALLERGY_NOT_UNDERSTOOD),
        ("penicillin - no anaphylaxis", Reason.ALLERGY_DOUBTED),
        ("no penicillin", Reason.ALLERGY_DOUBTED),
        ("penicillin?", Reason.ALLERGY_DOUBTED),
        ("tolerates penicillin (hives)", Reason.ALLERGY_DOUBTED),
        ("mango", Reason.ALLERGY_NOT_UNDERSTOOD),
        ("no allergy to penicillin", Reason.ALLERGY_DENIED),
    ],
)
def test_denied_and_doubted_allergies_have_reasons_of_their_own(recorded: str, reason: Reason) -> None:
    assert [each for _, each in told(recorded)] == [reason]


def test_allergies_that_were_not_read_stand_first_with_names_that_are_near() -> None:
    patient = Patient(allergies=("azithromycn", "no latex"), diagnoses=("I10",))
    found = bundled().review(patient, ["aspirrin"], ["abatacept"]).unchecked
    first = [Reason.ALLERGY_NOT_UNDERSTOOD, Reason.UNKNOWN_NAME, Reason.ALLERGY_DOUBTED]
    assert [each.reason for each in found[:3]] == first
    assert found[0].detail.endswith("did you mean azithromycin?")
    [unknown] = [each.detail for each in found if each.reason is Reason.UNKNOWN_NAME]
    assert unknown.endswith("did you mean aspirin?")


@pytest.mark.parametrize(
    "recorded", ["青霉素皮试阴性", "青霉素(阴性)", "青霉素皮试:阴性", "对青霉素皮试阴性", "青霉素皮试(-)"]
)
def test_a_negative_entry_in_chinese_denies_the_allergy(recorded: str) -> None:
    assert told(recorded) == [(recorded, Reason.ALLERGY_DENIED)]
    assert review(recorded, "amoxicillin").kept == ("amoxicillin",)


@pytest.mark.parametrize(
    "recorded",
    [
        "无青霉素皮试阴性",
        "青霉素非阴性",
        "青霉素阴性?",
        "青霉素皮试阴性后出现皮疹",
        "青霉素过敏,皮试阴性",
        "青霉素过敏 阴性",
    ],
)
def test_a_negative_word_beside_another_denial_or_an_allergy_leaves_it_in_doubt(recorded: str) -> None:
    assert review(recorded, "amoxicillin").kept == ()
    assert told(recorded) != []


def test_nothing_is_suggested_for_what_is_far_from_every_name() -> None:
    found = bundled().review(Patient(allergies=("see cerner",)), [], ["heparin"]).unchecked
    assert "did you mean" not in found[0].detail


@pytest.mark.parametrize(
    ("recorded", "drug"),
    [
        ("sulfamides", "sulfamethoxazole"),
        ("bêta-lactamines", "amoxicillin"),
        ("produits de contraste iodés", "iohexol"),
        ("aminosides", "gentamicin"),
        ("cyclines", "doxycycline"),
        ("héparine", "enoxaparin"),
        ("Clamoxyl", "ampicillin"),
        ("amoxicillin", "cefprozil"),
        ("amoxicillin", "cefadroxil"),
        ("cephalexin", "cefadroxil"),
    ],
)
def test_french_allergens_and_shared_side_chains_remove_a_drug(recorded: str, drug: str) -> None:
    assert review(recorded, drug).kept == ()
    assert told(recorded) == []


@pytest.mark.parametrize("recorded", ["aucune", "néant"])
def test_french_words_for_none_say_that_there_are_no_allergies(recorded: str) -> None:
    assert told(recorded) == []
    assert review(recorded, "amoxicillin").kept == ("amoxicillin",)


@pytest.mark.parametrize(
    "recorded",
    ["青霉素(-)", "青霉素\uff08-\uff09", "penicillin (-)", "penicillin allergy ruled out"],
)
def test_a_negative_test_or_an_allergy_that_was_ruled_out_is_a_denial(recorded: str) -> None:
    assert review(recorded, "amoxicillin").kept == ("amoxicillin",)
    assert told(recorded) == [(recorded, Reason.ALLERGY_DENIED)]


@pytest.mark.parametrize(
    "recorded",
    [
        "mother allergic to penicillin",
        "family history of penicillin allergy",
        "mère allergique à la pénicilline",
        "penicillin (-)?",
    ],
)
def test_an_allergy_of_another_person_or_in_question_is_doubted(recorded: str) -> None:
    assert Reason.ALLERGY_DOUBTED in [reason for _, reason in told(recorded)]
