"""The demo's parts: what it takes from the caller's environment, and what it demands of an answer."""

import pytest

from service.cli.demo.cases import KnownCase, bundled_models, known_cases
from service.cli.demo.errors import DemoFailed
from service.cli.demo.stack import environment
from tests.factories import BREAST_CANCER

CASE = KnownCase("m", "row 1", {}, {"label": "benign", "probabilities": {"benign": 0.9}}, 1e-4)


def job(state: str = "succeeded", label: str = "benign", probability: float = 0.9) -> dict[str, object]:
    return {"id": "j", "state": state, "result": {"label": label, "probabilities": {"benign": probability}}}


def test_no_setting_of_the_caller_reaches_the_demo_but_those_of_the_gpu() -> None:
    given = {"PATH": "/bin", "MEDQUEUE_DATABASE_URL": "postgresql://theirs", "MEDQUEUE_PROVIDER": "cuda"}
    assert environment(given) == {"PATH": "/bin", "MEDQUEUE_PROVIDER": "cuda"}


def test_the_known_answer_is_accepted_within_what_a_gpu_may_differ() -> None:
    CASE.verify(job(probability=0.9009))


@pytest.mark.parametrize(
    "answer", [job("failed"), job("queued"), job(label="malignant"), job(probability=0.95)], ids=str
)
def test_any_other_answer_ends_the_demo(answer: dict[str, object]) -> None:
    with pytest.raises(DemoFailed):
        CASE.verify(answer)


def test_each_bundled_model_has_known_cases() -> None:
    assert BREAST_CANCER in bundled_models()
    assert all(case.expected for name in bundled_models() for case in known_cases(name))


def test_a_model_that_does_not_come_along_ends_the_demo() -> None:
    with pytest.raises(DemoFailed, match="nonsense"):
        known_cases("nonsense")
