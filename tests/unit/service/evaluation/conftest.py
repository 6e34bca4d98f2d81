"""Intervals of few resamples: what they are is tested elsewhere."""

import pytest


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.figures.RESAMPLES", 50)
