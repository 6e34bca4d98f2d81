"""Re-runs from a mended file, and sources that come late, for which a batch waits up to a limit."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from service.batches.files.layouts import BatchFormat
from service.batches.output import OutputKind
from service.batches.requests import BatchRequest, RerunRows
from service.crypto import Keyring
from service.db import Database
from service.errors import TransitionRefused
from service.lifecycle import BatchState
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import shifts
from tests.integration.hooks import Hooks
from tests.integration.shifts import Shift, csv_of, rows_of

BAD = (3, 64, 65, 130, 200)


@pytest.fixture
def shift(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue, tmp_path: Path
) -> Iterator[Shift]:
    with shifts.shift(database, blobs, keyring, queue, tmp_path) as made:
        yield made


@pytest.fixture
def first(shift: Shift) -> UUID:
    """A batch of 200 rows of which five failed."""
    shift.chunks_of(64)
    return shift.run(shift.file("cases.csv", csv_of(rows_of(200, BAD))))


def mended(shift: Shift, rows: int = 200, bad: tuple[int, ...] = ()) -> dict[str, str]:
    """A file of its own, in which only `bad` rows are bad still."""
    return {"uri": shift.file("mended.csv", csv_of(rows_of(rows, bad)))}


def accounted(shift: Shift, batch_id: UUID) -> tuple[BatchState, int | None, int, int]:
    view = shift.nights.view(batch_id)
    return view.state, view.rows_total, view.rows_succeeded, view.rows_failed


def test_the_failed_rows_are_scored_from_a_mended_file(shift: Shift, first: UUID) -> None:
    again = shift.nights.rerun(first, source=mended(shift)).id
    shift.work()
    assert accounted(shift, again) == (BatchState.COMPLETED, 5, 5, 0)
    lines = shift.lines(again)
    assert [(line["row"], line["id"]) for line in lines] == [(row, f"case-{row}") for row in BAD]
    whole = shift.lines(shift.run(mended(shift)["uri"]))
    assert lines == [line for line in whole if line["row"] in BAD], "as in a batch of the whole mended file"
    assert shift.nights.view(again).rerun_of == first
    assert accounted(shift, first) == (BatchState.COMPLETED, 200, 195, 5), "the first stays as it is"


def test_a_rerun_can_be_mended_again_and_again(shift: Shift, first: UUID) -> None:
    second = shift.nights.rerun(first, source=mended(shift, bad=(3, 65))).id
    shift.work()
    assert accounted(shift, second) == (BatchState.COMPLETED, 5, 3, 2)
    third = shift.nights.rerun(second, source=mended(shift, bad=(65,))).id
    shift.work()
    assert [line["row"] for line in shift.lines(third)] == [3]
    fourth = shift.nights.rerun(third).id
    shift.work()
    assert [line["row"] for line in shift.lines(fourth, OutputKind.ERRORS)] == [65]


@pytest.mark.parametrize("rows", [199, 201, 5])
def test_a_mended_file_with_another_number_of_rows_is_refused(shift: Shift, first: UUID, rows: int) -> None:
    """Its rows would be other cases than those that failed."""
    again = shift.nights.rerun(first, source=mended(shift, rows)).id
    shift.work()
    assert shift.code(again) == "source_changed"
    problem = shift.nights.view(again).problem
    assert problem is not None
    assert "different numbers of rows" in problem["detail"]


def test_all_rows_of_another_file_can_be_asked_for(shift: Shift, first: UUID) -> None:
    again = shift.nights.rerun(first, source=mended(shift, 70), rows=RerunRows.ALL).id
    shift.work()
    assert accounted(shift, again) == (BatchState.COMPLETED, 70, 70, 0)


def test_all_rows_of_the_same_file_are_read_anew(shift: Shift, first: UUID) -> None:
    shift.file("cases.csv", csv_of(rows_of(80, (7,))))
    again = shift.nights.rerun(first, rows=RerunRows.ALL).id
    shift.work()
    assert accounted(shift, again) == (BatchState.COMPLETED, 80, 79, 1)
    third = shift.nights.rerun(again, source=mended(shift, 80)).id
    shift.work()
    assert [line["row"] for line in shift.lines(third)] == [7]


def test_a_batch_that_failed_in_validation_can_be_run_from_a_mended_file(shift: Shift) -> None:
    broken = shift.run(shift.file("cases.csv", b"id,nothing\n1,2\n"))
    assert shift.nights.state(broken) is BatchState.FAILED
    with pytest.raises(TransitionRefused, match="all rows"):
        shift.nights.rerun(broken, source=mended(shift))
    again = shift.nights.rerun(broken, source=mended(shift, 10), rows=RerunRows.ALL).id
    shift.work()
    assert accounted(shift, again) == (BatchState.COMPLETED, 10, 10, 0)


def test_a_batch_that_is_under_way_is_not_run_again(shift: Shift) -> None:
    running = shift.open(shift.file("cases.csv", csv_of(rows_of(3))))
    with pytest.raises(TransitionRefused, match="ended"):
        shift.nights.rerun(running, rows=RerunRows.ALL)


# Sources that come late


def awaited(shift: Shift, *, wait_s: float, name: str = "late.csv") -> UUID:
    """A batch that waits for a missing file."""
    request = BatchRequest(format=BatchFormat.CSV, uri=(shift.folder / "in" / name).as_uri(), id_column="id")
    by = shift.nights.now() + timedelta(seconds=wait_s)
    return shift.nights.open(request=request.as_json(), source_by=by).id


def test_a_source_that_comes_late_is_waited_for_and_scored(shift: Shift) -> None:
    batch_id = awaited(shift, wait_s=3600)
    for _ in range(12):  # more often than a fault is tried again
        shift.work()
        shift.make_due()
    view = shift.nights.view(batch_id)
    assert (view.state, view.problem) == (BatchState.VALIDATING, None)
    assert view.retrying is not None
    assert view.retrying.code == "source_awaited"
    assert "The batch waits for it until 2" in view.retrying.detail
    assert shift.nights.actions(batch_id) == ["batch.opened", "batch.source_awaited"], (
        "the trail says so once"
    )
    shift.file("late.csv", csv_of(rows_of(20)))
    shift.make_due()
    shift.work()
    assert accounted(shift, batch_id) == (BatchState.COMPLETED, 20, 20, 0)
    assert shift.nights.view(batch_id).retrying is None


def test_a_source_that_never_comes_fails_the_batch_with_its_event(shift: Shift) -> None:
    nights = shift.nights
    hooks = Hooks(nights.database, nights.keyring, nights.queue, nights.model, nights.caller)
    told = hooks.endpoint("batch.failed")
    batch_id = awaited(shift, wait_s=3600)
    shift.work()
    assert hooks.told() == []
    nights.rows("UPDATE batch SET source_by = now() WHERE id = %s", batch_id)
    shift.make_due()
    shift.work()
    assert (nights.state(batch_id), shift.code(batch_id)) == (BatchState.FAILED, "source_gone")
    assert hooks.told() == [(told, "batch.failed")]


def test_the_last_look_is_at_the_end_of_the_wait(shift: Shift) -> None:
    batch_id = awaited(shift, wait_s=3)
    shift.work()
    left = shift.nights.rows(
        "SELECT batch.source_by = step.available_at FROM batch_step AS step"
        " JOIN batch ON batch.id = step.batch_id WHERE batch.id = %s",
        batch_id,
    )
    assert left == [(True,)]


def test_what_is_wrong_with_a_source_that_is_there_is_not_waited_out(shift: Shift) -> None:
    shift.file("late.csv", b"")
    batch_id = awaited(shift, wait_s=3600)
    shift.work()
    assert shift.code(batch_id) == "file_empty"


def test_without_a_wait_a_missing_source_is_final_at_once(shift: Shift) -> None:
    batch_id = shift.run((shift.folder / "in" / "never.csv").as_uri())
    assert shift.code(batch_id) == "source_gone"
