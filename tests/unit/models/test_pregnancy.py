"""Codes that say that somebody is pregnant, and inputs that contradict them, alike in every pipeline."""

from typing import Any

import pytest

from models.bundle import ZOO, read_bundle, side_files
from models.drug_safety.coded_facts import says_pregnant
from models.drug_safety.codes import read_code
from models.pipelines import load_pipeline
from models.pipelines.contract import InputRejected


@pytest.mark.parametrize(
    "code",
    ["O24.4", "O24.410", "o26.821", "Z33.1", "Z3A.20", "Z34", "O09.1", "O10.011", "O11", "O12.01", "O14.0", "O15.0", "O44",
     "O16.1", "O26.61", "648.83", "V22.1", "77386006"],
)  # fmt: skip
def test_a_code_of_pregnancy_says_so(code: str) -> None:
    read = read_code(code)
    assert read is not None
    assert says_pregnant(read)


@pytest.mark.parametrize(
    "code",
    ["O10.03", "O24.42", "O24.430", "O26.63", "O11.5", "O12.05", "O14.05", "O15.2", "O25.3", "O80", "O85", "Z87.5", "648.84",
     "650", "I10", "38341003"],
)  # fmt: skip
def test_childbirth_the_puerperium_and_other_codes_do_not(code: str) -> None:
    read = read_code(code)
    assert read is not None
    assert not says_pregnant(read)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("health-advice-recommender", "conditions"),
        ("medication-recommender", "diagnoses"),
        ("treatment-plan-recommender", "diagnoses"),
    ],
)
@pytest.mark.parametrize(
    ("told", "refused_at"),
    [
        ({"sex": "male"}, "code"),
        ({"sex": "female", "pregnant": False}, "code"),
        ({"age": 75.0}, "code"),
        ({"sex": "female", "pregnant": True}, None),
        ({}, None),
    ],
)
def test_a_pregnancy_that_cannot_be_is_refused_where_its_code_stands(
    name: str, field: str, told: dict[str, Any], refused_at: str | None
) -> None:
    pipeline = load_pipeline(read_bundle(ZOO / name).manifest, side_files(ZOO / name))
    sent = {"age": 30.0, field: ["I10", "O24.4"], **told}
    if refused_at is None:
        assert pipeline.encode(sent)
        return
    with pytest.raises(InputRejected) as refused:
        pipeline.encode(sent)
    assert [(each.pointer, str(each.code)) for each in refused.value.faults] == [
        (f"/{field}/1", "invalid_value")
    ]


@pytest.mark.parametrize(
    "name", ["health-advice-recommender", "medication-recommender", "treatment-plan-recommender"]
)
@pytest.mark.parametrize("field", ["pregnant", "breastfeeding"])
def test_a_man_who_is_pregnant_or_breastfeeds_is_refused_with_both_fields(name: str, field: str) -> None:
    told = {"age": 30.0, "sex": "male", "conditions" if name.startswith("health") else "diagnoses": ["I10"]}
    pipeline = load_pipeline(read_bundle(ZOO / name).manifest, side_files(ZOO / name))
    assert pipeline.encode({**told, field: False})
    assert pipeline.encode({**told, "sex": "female", field: True})
    with pytest.raises(InputRejected) as refused:
        pipeline.encode({**told, field: True})
    [fault] = refused.value.faults
    assert (fault.pointer, str(fault.code)) == (f"/{field}", "invalid_value")
    assert f"`{field}`" in fault.detail
    assert "`sex`" in fault.detail


def test_a_child_who_breastfeeds_is_refused_with_both_fields() -> None:
    folder = ZOO / "health-advice-recommender"
    pipeline = load_pipeline(read_bundle(folder).manifest, side_files(folder))
    with pytest.raises(InputRejected) as refused:
        pipeline.encode({"age": 4.0, "conditions": ["I10"], "breastfeeding": True})
    [fault] = refused.value.faults
    assert fault.pointer == "/breastfeeding"
    assert "`breastfeeding` is true and `age` is below 10" in fault.detail
