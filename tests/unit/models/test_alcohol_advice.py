"""The bundled catalogue of advice about alcohol: who drinks nothing is not warned of stopping, and cirrhosis forbids it."""

from typing import Any

import pytest

from models.pipelines import Pipeline
from tests.unit.models.test_health_advice import answers, pipeline, shown

__all__ = ["pipeline"]
SUDDENLY = "alcohol-do-not-stop-suddenly"
NONE_AT_ALL = "cirrhosis-no-alcohol"
DEPENDENCE = ["F10", "F10.1", "F10.10", "F10.2", "F10.20", "F10.24", "F10.3", "7200002"]
REMISSION = ["F10.11", "F10.21", "F1021", "F10.91"]


def told(pipeline: Pipeline, *conditions: str, **values: Any) -> set[str]:
    """The advice for a man with cirrhosis."""
    person = {"age": 55.0, "sex": "male", "conditions": ["K70.3", *conditions]} | values
    [result] = answers(pipeline, person)
    return shown(result)


@pytest.mark.parametrize("code", [*DEPENDENCE, *REMISSION])
def test_who_drinks_nothing_is_told_to_go_on_so_and_not_warned_of_stopping(
    pipeline: Pipeline, code: str
) -> None:
    found = told(pipeline, code, alcohol=0.0)
    assert NONE_AT_ALL in found
    assert SUDDENLY not in found


@pytest.mark.parametrize("code", REMISSION)
def test_a_disorder_in_remission_is_no_heavy_drinking(pipeline: Pipeline, code: str) -> None:
    found = told(pipeline, code)
    assert NONE_AT_ALL in found
    assert SUDDENLY not in found


@pytest.mark.parametrize("code", DEPENDENCE)
@pytest.mark.parametrize("values", [{}, {"alcohol": 40.0}, {"alcohol": 700.0}], ids=str)
def test_a_disorder_is_warned_of_stopping_suddenly(
    pipeline: Pipeline, code: str, values: dict[str, float]
) -> None:
    assert {SUDDENLY, NONE_AT_ALL} <= told(pipeline, code, **values)


@pytest.mark.parametrize("codes", [[], *([code] for code in REMISSION)], ids=str)
def test_heavy_drinking_is_warned_of_stopping_suddenly_whatever_the_codes(
    pipeline: Pipeline, codes: list[str]
) -> None:
    assert {SUDDENLY, NONE_AT_ALL} <= told(pipeline, *codes, alcohol=700.0)
    assert SUDDENLY not in told(pipeline, *codes, alcohol=100.0)


def test_advice_to_drink_less_is_withheld_of_a_disorder_only_while_somebody_drinks(
    pipeline: Pipeline,
) -> None:
    def about(alcohol: float) -> set[str]:
        return told(pipeline, "F10.2", "I48", "M10", alcohol=alcohol)

    assert "fibrillation-alcohol" in about(0.0)
    assert not {"fibrillation-alcohol", "gout-alcohol"} & about(200.0)
