"""Dates in a typed input, in typed options, and in a typed result."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from models.pipelines import Case, GraphSpec, Run
from models.pipelines.side_files import no_files
from models.pipelines.typed import TypedInput, TypedOptions, TypedPipeline, TypedResult
from tests.unit.models.test_typed import Echo, Input, Parameters, faults, manifest, no_run


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


class Seen(TypedResult):
    type: Literal["seen"] = "seen"
    at: datetime


class Watching:
    def __init__(self, folder: Path) -> None:
        self.at = datetime.fromisoformat((folder / "at.txt").read_text())

    def score(self, run: Run, cases: Sequence[Any]) -> list[Seen]:
        return [Seen(at=self.at) for _ in cases]


class Chosen(TypedOptions):
    since: date | None = None


class Watch(TypedPipeline[Parameters, Input, Seen, Chosen]):
    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        return {}

    def open_bundle(self, folder: Path) -> Watching:
        return Watching(folder)


def test_dates_in_a_result_are_written_as_text(tmp_path: Path) -> None:
    (tmp_path / "at.txt").write_text("2026-03-01T12:00:00+00:00")
    watch = Watch.load(manifest(), no_files)
    [answer] = watch.open(tmp_path).score(no_run, [Case(watch.encode({"text": "x"}))])
    assert answer.result == {"type": "seen", "at": "2026-03-01T12:00:00Z"}


def test_dates_in_options_are_stored_as_text_and_read_back() -> None:
    watch = Watch.load(manifest(), no_files)
    stored = watch.check_options({"since": "2026-03-01"})
    assert stored == {"since": "2026-03-01"}
    assert watch.read_options(stored).since == date(2026, 3, 1)
