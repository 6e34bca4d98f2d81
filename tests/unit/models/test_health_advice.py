"""The bundled catalogue of advice: every item reachable, nothing contraindicated ever shown, whatever the order and company."""

import random
from typing import Any

import pytest

from models.bundle import read_bundle, side_files
from models.drug_safety import Patient as DrugPatient
from models.pipelines import Case, Pipeline, Run, load_pipeline
from models.pipelines.contract import InputRejected
from models.pipelines.pregnancy import cannot_be_pregnant
from tests.unit.models.advice_reading import FOLDER, RANGES, People, Person, Reader, catalogue, named_tests
from tests.unit.models.drug_tables import bundled

TABLE = catalogue()
ITEMS: dict[str, dict[str, Any]] = {item["id"]: item for item in TABLE["items"]}
DRAWN = 3_000
SEED = 20261129


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(read_bundle(FOLDER).manifest, side_files(FOLDER))


def no_run(*_: object, **__: object) -> Any:
    raise AssertionError("written rules run no graph")


RUN: Run = no_run


def answers(pipeline: Pipeline, *people: Person, **options: object) -> list[dict[str, Any]]:
    checked = pipeline.check_options(options)
    cases = [Case(pipeline.encode(person), checked) for person in people]
    return [dict(answer.result) for answer in pipeline.open(FOLDER).score(RUN, cases)]


def shown(result: dict[str, Any]) -> set[str]:
    return {item["id"] for item in result["items"]}


def test_exactly_what_an_independent_reading_allows_is_shown_to_thousands_of_people(
    pipeline: Pipeline,
) -> None:
    people, reader = People(TABLE, SEED), Reader(TABLE)
    drawn = [people.draw() for _ in range(DRAWN)]
    contradicted = told = 0
    for person, result in zip(drawn, answers(pipeline, *drawn), strict=True):
        allowed = {name for name, item in ITEMS.items() if reader.is_shown(item, person)}
        assert not any(reader.contradicted(ITEMS[name], person) for name in shown(result)), person
        assert shown(result) == (set() if result["abstained"] else allowed), person
        assert {each["id"] for each in result["withheld"]}.isdisjoint(shown(result))
        contradicted += len({each["id"] for each in result["withheld"]})
        told += len(allowed)
    assert contradicted > DRAWN  # the people are such that contraindications matter
    assert told > DRAWN


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_is_shown_to_somebody(pipeline: Pipeline, name: str) -> None:
    people, likely = People(TABLE, SEED), named_tests(ITEMS[name]["when"])
    tried = (people.draw(random.Random(at).sample(likely, len(likely))) for at in range(3000))
    found = next(
        (person for person in tried if Reader(TABLE).is_shown(ITEMS[name], person) and person["age"] >= 18),
        None,
    )
    assert found is not None
    [result] = answers(pipeline, found)
    assert name in shown(result)


def test_every_flag_is_raised_by_somebody_and_withholds_its_categories(pipeline: Pipeline) -> None:
    people, raised = People(TABLE, SEED), set[str]()
    for flag in TABLE["flags"]:
        drawn = [people.draw(named_tests(flag["when"])) for _ in range(15)]
        for result in answers(pipeline, *drawn):
            now = {each["id"] for each in result["seek_care"]}
            raised |= now
            held = {each["id"]: each.get("withholds", []) for each in TABLE["flags"]}
            withheld = {category for name in now for category in held[name]}
            assert not withheld & {item["category"] for item in result["items"]}
    assert raised == {flag["id"] for flag in TABLE["flags"]}


def test_neither_the_order_of_conditions_nor_their_spelling_changes_the_answer(pipeline: Pipeline) -> None:
    people, chance = People(TABLE, SEED + 1), random.Random(SEED)
    for _ in range(200):
        person = people.draw()
        mixed = [code.lower() for code in (*person["conditions"], *person["conditions"][:1])]
        chance.shuffle(mixed)
        one, other = answers(pipeline, person, person | {"conditions": mixed})
        assert one == other


def test_people_in_one_batch_are_answered_as_alone(pipeline: Pipeline) -> None:
    people = People(TABLE, SEED + 2)
    drawn = [people.draw() for _ in range(100)]
    assert answers(pipeline, *drawn) == [answers(pipeline, person)[0] for person in drawn]


def test_both_languages_say_the_same_items(pipeline: Pipeline) -> None:
    people = People(TABLE, SEED + 3)
    for person in (people.draw() for _ in range(100)):
        [english], [chinese] = answers(pipeline, person), answers(pipeline, person, language="zh")
        assert [item["id"] for item in english["items"]] == [item["id"] for item in chinese["items"]]
        assert all(
            any("\u4e00" <= letter <= "\u9fff" for letter in item["text"]) for item in chinese["items"]
        )
        assert not any("\u4e00" <= letter <= "\u9fff" for item in english["items"] for letter in item["text"])


def test_every_answer_says_that_rules_gave_it_and_nobody_reviewed_them(pipeline: Pipeline) -> None:
    [result] = answers(pipeline, {"age": 50.0, "conditions": ["I10"]})
    assert (result["method"], result["reviewed_by"]) == ("rules", None)
    assert all(item["url"].startswith("http") and item["year"] >= 1990 for item in result["items"])


def test_hypertension_with_kidney_disease_is_told_to_eat_less_salt_but_not_more_potassium(
    pipeline: Pipeline,
) -> None:
    person = {
        "age": 66.0,
        "sex": "male",
        "conditions": ["I10", "N18.3"],
        "egfr": 41.0,
        "potassium": 4.4,
        "systolic": 142.0,
    }
    [result] = answers(pipeline, person)
    assert {"hypertension-less-salt", "no-salt-substitutes", "kidney-avoid-nsaids"} <= shown(result)
    [withheld] = [each for each in result["withheld"] if each["id"] == "hypertension-potassium"]
    assert withheld["reason"] == "Diseased kidneys cannot excrete potassium."
    assert [reason["value"] for reason in withheld["because"]] == ["N18.3", "41 mL/min/{1.73_m2}"]


def test_without_laboratory_values_more_potassium_is_neither_advised_nor_excluded(pipeline: Pipeline) -> None:
    [result] = answers(pipeline, {"age": 66.0, "sex": "male", "conditions": ["I10"]})
    assert "hypertension-potassium" not in shown(result)
    missing = {each["id"]: each["missing"] for each in result["undetermined"]}
    assert missing["hypertension-potassium"] == ["egfr", "potassium"]


def test_chest_pain_comes_first_and_stops_exercise(pipeline: Pipeline) -> None:
    person = {
        "age": 58.0,
        "sex": "male",
        "conditions": ["I25.1"],
        "symptoms": ["chest_pain"],
        "activity": 20.0,
    }
    [result] = answers(pipeline, person)
    assert [(each["id"], each["urgency"]) for each in result["seek_care"]] == [("chest-pain", "emergency")]
    assert not [item for item in result["items"] if item["category"] == "activity"]
    assert "coronary-rehabilitation" in {each["id"] for each in result["withheld"]}


@pytest.mark.parametrize(
    ("vital", "value", "flag"),
    [
        ("systolic", 180.0, "blood-pressure-very-high"), ("diastolic", 120.0, "blood-pressure-very-high"),
        ("glucose", 53.0, "glucose-very-low"), ("glucose", 300.0, "glucose-very-high"),
        ("oxygen_saturation", 89.0, "oxygen-low"), ("potassium", 6.0, "potassium-very-high"),
    ],
)  # fmt: skip
def test_dangerous_vitals_send_to_a_doctor_and_stop_exercise(
    pipeline: Pipeline, vital: str, value: float, flag: str
) -> None:
    person = {"age": 50.0, "sex": "male", "conditions": ["M17"], "activity": 10.0}
    [well], [ill] = answers(pipeline, person), answers(pipeline, person | {vital: value})
    assert {"osteoarthritis-exercise", "activity-for-adults"} <= shown(well)
    assert [each["id"] for each in ill["seek_care"]] == [flag]
    assert not [item for item in ill["items"] if item["category"] == "activity"]


@pytest.mark.parametrize(
    ("vital", "least", "most"),
    [
        ("systolic", 90.0, 180.0), ("heart_rate", 40.0, 131.0), ("oxygen_saturation", 83.0, None), ("temperature", 35.0, 39.1),
        ("glucose", 53.9, 600.0), ("potassium", 2.4, 6.5), ("sodium", 124.9, 155.0), ("bmi", 12.9, None),
        ("diastolic", None, 120.0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("extreme", [False, True])
def test_values_at_the_danger_of_life_on_either_side_are_a_red_flag(
    pipeline: Pipeline, vital: str, least: float | None, most: float | None, extreme: bool
) -> None:
    lowest, highest = RANGES[vital]
    values = [lowest if extreme else least] * (least is not None)
    values += [highest if extreme else most] * (most is not None)
    for value in values:
        person = {"age": 50.0, "sex": "male", "conditions": ["M17"], "activity": 10.0, vital: value}
        [result] = answers(pipeline, person)
        assert result["seek_care"], value
        assert not [item for item in result["items"] if item["category"] == "activity"]


def test_a_low_sodium_forbids_less_salt(pipeline: Pipeline) -> None:
    person = {"age": 66.0, "sex": "male", "conditions": ["I10"], "sodium": 131.0}
    [low], [usual] = answers(pipeline, person), answers(pipeline, person | {"sodium": 140.0})
    assert "hypertension-less-salt" in shown(usual)
    assert not {"hypertension-less-salt", "salt-for-adults"} & shown(low)


def test_codes_that_the_catalogue_does_not_know_are_named(pipeline: Pipeline) -> None:
    [result] = answers(pipeline, {"age": 40.0, "conditions": ["Z99.9", "I10", "999999990"]})
    assert [each["code"] for each in result["unknown"]] == ["999999990", "Z99.9"]


def test_it_abstains_of_whom_nothing_is_known_and_of_children_but_tells_red_flags(pipeline: Pipeline) -> None:
    nothing, child = answers(
        pipeline, {"age": 40.0, "sex": "female"}, {"age": 9.0, "conditions": ["J45"], "glucose": 50.0}
    )
    assert (nothing["abstained"], nothing["items"]) == (True, [])
    assert (child["abstained"], child["items"]) == (True, [])
    assert [each["id"] for each in child["seek_care"]] == ["glucose-very-low"]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"bmi": 3.0}, "/bmi"), ({"age": 200.0}, "/age"), ({"systolic": 80.0, "diastolic": 120.0}, "/diastolic"),
        ({"systolic": 120.0, "diastolic": 120.0}, "/diastolic"), ({"pregnant": True, "sex": "male"}, "/pregnant"),
        ({"pregnant": True, "age": 75.0}, "/pregnant"), ({"conditions": ["hypertension"]}, "/conditions/0"),
        ({"conditions": ["I10"] * 201}, "/conditions"), ({"smoking": "sometimes"}, "/smoking"),
        ({"sleep": 25.0}, "/sleep"), ({"symptoms": ["cough"]}, "/symptoms/0"), ({"hba1c": 7.0}, "/hba1c"),
        ({"temperature": 98.6}, "/temperature"), ({"oxygen_saturation": 0.97}, "/oxygen_saturation"),
    ],
)  # fmt: skip
def test_absurd_and_foreign_values_are_refused(
    pipeline: Pipeline, wrong: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InputRejected) as refused:
        pipeline.encode({"age": 40.0, "conditions": ["I10"]} | wrong)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


@pytest.mark.parametrize(
    ("field", "value", "factor"),
    [
        ("glucose", 18.0, "18.02"),
        ("glucose", 33.3, "18.02"),
        ("ldl", 5.0, "38.67"),
        ("ldl", 13, "38.67"),
        ("egfr", 1.5, "60"),
    ],
)
def test_a_value_in_another_unit_is_refused_with_both_units_and_the_factor(
    pipeline: Pipeline, field: str, value: float, factor: str
) -> None:
    with pytest.raises(InputRejected) as refused:
        pipeline.encode({"age": 50.0, "conditions": ["I10"], field: value})
    [fault] = refused.value.faults
    assert (fault.pointer, str(fault.code)) == (f"/{field}", "out_of_range")
    assert factor in fault.detail
    assert any(unit in fault.detail for unit in ("mg/dL: multiply mmol/L", "m2}: multiply mL/s"))


@pytest.mark.parametrize(
    ("field", "value"), [("temperature", 98.6), ("systolic", 16.0), ("oxygen_saturation", 0.95)]
)
def test_degrees_fahrenheit_kilopascals_and_fractions_are_out_of_range(
    pipeline: Pipeline, field: str, value: float
) -> None:
    with pytest.raises(InputRejected):
        pipeline.encode({"age": 50.0, "conditions": ["I10"], field: value})


def test_advice_in_place_of_other_advice_is_named_only_where_it_is_shown(pipeline: Pipeline) -> None:
    woman = {"age": 60.0, "sex": "female", "conditions": ["I10"]}
    unknown, denied, pregnant, older = answers(
        pipeline,
        woman,
        woman | {"pregnant": False},
        woman | {"age": 35.0, "pregnant": True},
        woman | {"age": 61.0},
    )
    missing = {each["id"]: each["missing"] for each in unknown["undetermined"]}
    assert missing["salt-for-adults"] == missing["hypertension-less-salt"] == ["pregnant"]
    for result in (denied, older):
        assert "hypertension-less-salt" in shown(result)
        assert "salt-for-adults" in {each["id"] for each in result["withheld"]}
    reasons = {each["id"]: each["reason"] for each in pregnant["withheld"]}
    assert reasons["salt-for-adults"] == reasons["hypertension-less-salt"]
    people = People(TABLE, SEED + 4)
    instead = {reason["en"]: {*reason["instead"]} for item in ITEMS.values()
               for reason in item.get("unless", ()) if "instead" in reason}  # fmt: skip
    assert instead
    for result in answers(pipeline, *(people.draw() for _ in range(500))):
        told = {each["id"]: each["reason"] for each in result["withheld"] if each["reason"] in instead}
        for name in told:
            stands = {other for reason in ITEMS[name]["unless"] for other in reason.get("instead", ())}
            assert stands & shown(result)


def test_no_text_sends_people_to_advice_that_may_not_be_shown() -> None:
    texts = [
        reason["en"]
        for item in ITEMS.values()
        for reason in item.get("unless", ())
        if "instead" not in reason
    ]
    assert [text for text in texts if "see the advice" in text or "advice for" in text] == []


@pytest.mark.parametrize(
    "code",
    [
        "http://hl7.org/fhir/sid/icd-10|I10",
        "http://hl7.org/fhir/sid/icd-10-cm|i10",
        "http://snomed.info/sct|38341003",
    ],
)
def test_a_condition_may_stand_behind_the_address_of_its_system(pipeline: Pipeline, code: str) -> None:
    [plain], [addressed] = (
        answers(pipeline, {"age": 50.0, "sex": "male", "conditions": [each]}) for each in ("I10", code)
    )
    assert shown(addressed) == shown(plain)
    assert addressed["unknown"] == []


@pytest.mark.parametrize("code", ["I10-", "hypertension", "http://example.org|I10", "I10, E11.9", ""])
def test_what_is_no_code_is_refused_with_what_to_write(pipeline: Pipeline, code: str) -> None:
    with pytest.raises(InputRejected) as refused:
        pipeline.encode({"age": 50.0, "conditions": ["E11.9", code]})
    [fault] = refused.value.faults
    assert (fault.pointer, str(fault.code)) == ("/conditions/1", "wrong_format")
    assert "such as I10 or E11.9" in fault.detail
    assert "^" not in fault.detail


@pytest.mark.parametrize(("age", "asked"), [(9.9, False), (10.0, True), (60.0, True), (60.1, False)])
def test_advice_and_drugs_ask_about_pregnancy_at_the_same_ages(age: float, asked: bool) -> None:
    assert cannot_be_pregnant("female", age) is not asked
    review = bundled().review(DrugPatient(allergies=(), sex="female", age_years=age), [], ["enalapril"])
    assert ("pregnancy-unknown" in {each.reason for each in review.unchecked}) is asked


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"conditions": ["N18.6"], "egfr": 90.0}, ["N18.6"]),
        ({"conditions": ["Z99.2", "I10"], "egfr": 60.0}, ["Z99.2"]),
        ({"conditions": ["E87.6"], "potassium": 5.6}, ["E87.6"]),
        ({"conditions": ["N18.6"], "egfr": 8.0}, []),
        ({"conditions": ["N18.6", "38341003"]}, []),
    ],
)
def test_a_code_that_a_measured_value_contradicts_is_told(
    pipeline: Pipeline, facts: dict[str, Any], told: list[str]
) -> None:
    [result] = answers(pipeline, {"age": 66.0, **facts})
    assert [each["subject"] for each in result["unchecked"]] == told
    assert all(
        (each["reason"], bool(each["detail"])) == ("contradicted", True) for each in result["unchecked"]
    )


LESS_SALT = {"hypertension-less-salt", "heart-failure-salt", "stroke-diet", "kidney-salt", "salt-for-adults"}


@pytest.mark.parametrize("code", ["E27.1", "E27.2", "E84.0", "E26.81", "E22.2", "I95.1"])
@pytest.mark.parametrize("beside", ["M17.9", "I10", "I50.9", "I69.3", "N18.3"])
def test_less_salt_is_not_advised_to_who_loses_it(pipeline: Pipeline, code: str, beside: str) -> None:
    without, result = answers(
        pipeline,
        *(
            {"age": 50.0, "sex": "male", "conditions": codes, "sodium": 140.0}
            for codes in ([beside], [beside, code])
        ),
    )
    assert shown(without) & LESS_SALT
    assert not shown(result) & LESS_SALT
    assert {each["id"] for each in result["withheld"]} & LESS_SALT


@pytest.mark.parametrize(
    "code",
    [
        "E10.10", "E11.10", "E13.10", "O14.10", "O15.0", "I63.9", "I60.9", "I61.9", "G41", "G40.901", "J46", "J45.902",
        "F10.231", "R45.851", "K92.2", "O00.1", "I49.01", "I16.1",
    ],
)  # fmt: skip
def test_a_code_of_an_emergency_is_one_and_withholds_activity(pipeline: Pipeline, code: str) -> None:
    [result] = answers(
        pipeline, {"age": 40.0, "sex": "female", "conditions": [code, "I10"], "systolic": 130.0}
    )
    assert "emergency" in {each["urgency"] for each in result["seek_care"]}
    if code != "R45.851":
        assert "activity" not in {each["category"] for each in result["items"]}
