"""Bulk submits: what keeps one case out is told of that case, what keeps all of them out is the answer's."""

from typing import Any

import pytest

from service.api.jobs import intake, routes
from service.api.jobs.schemas import SubmitRequest
from service.errors import DatabaseUnavailable, ModelNotFound, ServiceError

ANY: Any = None
CASE = SubmitRequest.model_validate({"model": "m", "input": {}})


def checked_with(monkeypatch: pytest.MonkeyPatch, error: ServiceError) -> object:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(intake, "checked", refuse)
    return routes._checked_item(ANY, ANY, CASE, intake.Submission(), 0)


def test_a_case_at_fault_is_told_so_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = checked_with(monkeypatch, ModelNotFound())
    assert isinstance(problem, dict)
    assert problem["code"] == "model_not_found"


def test_a_postgres_that_is_away_is_no_fault_of_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatabaseUnavailable):
        checked_with(monkeypatch, DatabaseUnavailable())
