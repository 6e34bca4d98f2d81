"""Schedules on real Postgres: each due run opens one batch, missed ones are made up for once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from service.batches import schedules
from service.batches.queries import BatchFilter
from service.batches.recurrence import latest_run, next_run
from service.batches.schedules import NewSchedule, ScheduleView
from service.batches.windows import Window
from service.catalog import PublishedModel
from service.crypto import Keyring
from service.db import Database
from service.errors import (
    DatabaseUnavailable,
    ModelNotFound,
    ScheduleInvalid,
    ScheduleNameTaken,
    ScheduleNotFound,
    WindowInvalid,
)
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.nights import Nights

CRON, BERLIN = "0 22 * * *", "Europe/Berlin"
REQUEST = {"uri": "s3://cases/cases-{date}.parquet", "format": "parquet"}


@pytest.fixture
def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


def create(nights: Nights, name: str = "nightly", **values: Any) -> UUID:
    ours: dict[str, Any] = {"cron": CRON, "zone": BERLIN, "model": nights.model.name, "request": REQUEST}
    with nights.database.transaction() as work:
        return schedules.create(work, nights.caller, NewSchedule(name=name, **ours | values))


def view(nights: Nights, schedule_id: UUID) -> ScheduleView:
    with nights.database.statement() as work:
        return schedules.get(work, nights.caller, schedule_id)


def miss(nights: Nights, schedule_id: UUID, days: float) -> None:
    """Let the next run have been so many days ago."""
    nights.rows(
        "UPDATE batch_schedule SET next_run_at = now() - make_interval(secs => %s) WHERE id = %s",
        *(days * 86_400, schedule_id),
    )


def run_due(nights: Nights, resolve: Any = None) -> list[UUID]:
    def ours(_: str) -> PublishedModel:
        return nights.model

    with nights.database.transaction() as work:
        found = schedules.run_due(work, cipher_of=lambda _: nights.caller.cipher, resolve=resolve or ours)
    return [opened.id for opened in found]


def test_a_schedule_is_stored_with_its_next_run(nights: Nights) -> None:
    found = view(nights, create(nights))
    assert (found.name, found.cron, found.zone, found.request) == ("nightly", CRON, BERLIN, REQUEST)
    assert found.next_run_at == next_run(CRON, ZoneInfo(BERLIN), nights.now())
    assert (found.last_run_at, found.last_batch_id, found.paused_at) == (None, None, None)
    assert run_due(nights) == []


def test_a_run_that_is_due_opens_a_batch_that_is_linked(nights: Nights) -> None:
    window = Window.parsed("22:00-06:00", BERLIN)
    schedule_id = create(nights, window=window, error_limit=5)
    miss(nights, schedule_id, 0.01)
    (batch_id,) = run_due(nights)
    run_at = latest_run(CRON, ZoneInfo(BERLIN), nights.now())
    batch, found = nights.view(batch_id), view(nights, schedule_id)
    assert (batch.schedule_id, batch.scheduled_for, batch.error_limit) == (schedule_id, run_at, 5)
    assert batch.window_hours == "22:00-06:00"
    date = run_at.astimezone(ZoneInfo(BERLIN)).date()
    assert batch.request == {
        "uri": f"s3://cases/cases-{date}.parquet",
        "format": "parquet",
    }
    assert (found.last_run_at, found.last_batch_id, found.last_problem) == (run_at, batch_id, None)
    assert nights.list(BatchFilter(schedule_id=schedule_id))[0].id == batch_id
    assert run_due(nights) == []


@pytest.mark.parametrize("days", [0.01, 1, 5, 40])
def test_nights_that_were_missed_are_made_up_for_once(nights: Nights, days: float) -> None:
    schedule_id = create(nights)
    miss(nights, schedule_id, days)
    assert len(run_due(nights)) == 1
    assert run_due(nights) == []
    assert view(nights, schedule_id).next_run_at > nights.now()


def test_schedulers_side_by_side_open_one_batch(nights: Nights) -> None:
    for number in range(5):
        schedule_id = create(nights, f"nightly-{number}")
        miss(nights, schedule_id, 1)
        with ThreadPoolExecutor(3) as pool:
            opened = [batch for found in pool.map(run_due, [nights] * 3) for batch in found]
        assert len(opened) == 1


def test_the_same_run_is_never_opened_twice(nights: Nights) -> None:
    schedule_id = create(nights)
    miss(nights, schedule_id, 1)
    run_due(nights)
    miss(nights, schedule_id, 1)
    assert run_due(nights) == []
    assert len(nights.list()) == 1


def test_a_paused_schedule_opens_nothing_and_makes_up_once_resumed(nights: Nights) -> None:
    schedule_id = create(nights)
    with nights.database.transaction() as work:
        schedules.pause(work, nights.caller, schedule_id)
    miss(nights, schedule_id, 3)
    assert run_due(nights) == []
    assert view(nights, schedule_id).paused_at is not None
    with nights.database.transaction() as work:
        schedules.resume(work, nights.caller, schedule_id)
    assert len(run_due(nights)) == 1


def test_a_deleted_schedule_is_gone_and_its_batches_stay(nights: Nights) -> None:
    schedule_id = create(nights)
    miss(nights, schedule_id, 1)
    (batch_id,) = run_due(nights)
    with pytest.raises(ScheduleNameTaken):
        create(nights)
    with nights.database.transaction() as work:
        schedules.delete(work, nights.caller, schedule_id)
    miss(nights, schedule_id, 1)
    assert run_due(nights) == []
    with pytest.raises(ScheduleNotFound):
        view(nights, schedule_id)
    assert nights.view(batch_id).schedule_id == schedule_id
    create(nights)


def test_a_run_whose_model_is_gone_is_recorded_and_the_next_is_set(nights: Nights) -> None:
    def gone(_: str) -> PublishedModel:
        raise ModelNotFound

    schedule_id, fine = create(nights), create(nights, "fine", model="fine")
    for each in (schedule_id, fine):
        miss(nights, each, 1)
    opened = run_due(nights, lambda name: nights.model if name == "fine" else gone(name))
    assert len(opened) == 1
    found = view(nights, schedule_id)
    assert found.last_problem is not None
    assert found.last_problem["code"] == "model_not_found"
    assert found.next_run_at > nights.now()
    assert nights.rows("SELECT count(*) FROM audit_event WHERE action = 'schedule.run_failed'") == [(1,)]


def test_a_run_that_postgres_interrupts_is_tried_again(nights: Nights) -> None:
    def away(_: str) -> PublishedModel:
        raise DatabaseUnavailable

    schedule_id = create(nights)
    miss(nights, schedule_id, 1)
    with pytest.raises(DatabaseUnavailable):
        run_due(nights, away)
    assert len(run_due(nights)) == 1


def test_a_deadline_is_counted_from_the_run(nights: Nights) -> None:
    schedule_id = create(nights, deadline_after_s=86_400 * 2)
    miss(nights, schedule_id, 0.01)
    (batch_id,) = run_due(nights)
    batch = nights.view(batch_id)
    assert batch.scheduled_for is not None
    assert batch.deadline == batch.scheduled_for + timedelta(days=2)


def test_a_run_that_was_missed_past_its_deadline_opens_nothing(nights: Nights) -> None:
    schedule_id = create(nights, cron="0 0 1 1 *", deadline_after_s=1)
    miss(nights, schedule_id, 0.01)
    assert run_due(nights) == []
    found = view(nights, schedule_id)
    assert found.last_problem is not None
    assert found.last_problem["code"] == "deadline_passed"


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"cron": "0 25 * * *"}, ScheduleInvalid),
        ({"zone": "Europe/Nowhere"}, WindowInvalid),
        ({"request": {"uri": "{time}"}}, ScheduleInvalid),
    ],
)
def test_what_could_never_run_is_refused(nights: Nights, values: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        create(nights, **values)


def test_schedules_are_sealed_and_another_tenants_are_not_there(nights: Nights) -> None:
    schedule_id, stranger = create(nights), nights.of_other_tenant()
    ((stored,),) = nights.rows("SELECT request FROM batch_schedule")
    assert b"cases" not in stored
    with pytest.raises(ScheduleNotFound), nights.database.statement() as work:
        schedules.get(work, stranger.caller, schedule_id)
    for change in (schedules.pause, schedules.resume, schedules.delete):
        with pytest.raises(ScheduleNotFound), nights.database.transaction() as work:
            change(work, stranger.caller, schedule_id)
    with nights.database.statement() as work:
        assert schedules.newest(work, stranger.caller, before=None, limit=10) == []
    with nights.database.statement() as work:
        assert [each.id for each in schedules.newest(work, nights.caller, before=None, limit=10)] == [
            schedule_id
        ]


def test_changes_of_a_schedule_are_in_the_trail(nights: Nights) -> None:
    schedule_id = create(nights)
    for change in (schedules.pause, schedules.resume, schedules.delete):
        with nights.database.transaction() as work:
            change(work, nights.caller, schedule_id)
    query = "SELECT action FROM audit_event WHERE object = %s ORDER BY id"
    assert [row[0] for row in nights.rows(query, f"batch-schedule:{schedule_id}")] == [
        *("schedule.created", "schedule.changed", "schedule.changed", "schedule.deleted"),
    ]


def test_a_run_waits_for_its_source_as_long_as_its_schedule_says(nights: Nights) -> None:
    schedule_id = create(nights, wait_for_source_s=1800)
    assert view(nights, schedule_id).wait_for_source_s == 1800
    miss(nights, schedule_id, 0.01)
    (batch_id,) = run_due(nights)
    scheduled_for, source_by = nights.rows(
        "SELECT scheduled_for, source_by FROM batch WHERE id = %s", batch_id
    )[0]
    assert source_by - scheduled_for == timedelta(minutes=30)
    other = create(nights, "without")
    miss(nights, other, 0.01)
    (batch_id,) = run_due(nights)
    assert nights.rows("SELECT source_by FROM batch WHERE id = %s", batch_id) == [(None,)]
