"""Dates in a typed input."""

from datetime import datetime
from typing import Any

from models.pipelines.side_files import no_files
from models.pipelines.typed import TypedInput
from tests.unit.models.test_typed import Echo, faults, manifest


def test_dates_are_checked_and_read_back() -> None:
    class Dated(TypedInput):
        at: datetime

    class Diary(Echo):
        input_type = Dated  # type: ignore[assignment]

        def check(self, value: Any) -> None:
            pass

    diary = Diary.load(manifest(), no_files)
    assert diary.decode(diary.encode({"at": "2026-03-01T12:00:00Z"})) == {"at": "2026-03-01T12:00:00Z"}
    [found] = faults({"at": "yesterday"}, diary)
    assert (found.code, found.detail) == (
        "wrong_format",
        "at must be a date and time such as 2026-03-01T12:00:00Z.",
    )
