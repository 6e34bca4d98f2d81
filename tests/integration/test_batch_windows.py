"""When chunks are claimed: windows of the night, clocks that change, ends that come too late."""

from datetime import UTC, datetime, timedelta

import pytest

from service.batches import sweeps
from service.batches.steps import StepKind
from service.batches.windows import Window, instant_of
from service.crypto import Keyring
from service.db import Database
from service.lifecycle import BatchState
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.nights import Nights


@pytest.fixture
def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


# Windows


def test_chunks_are_claimed_inside_the_window_only(nights: Nights) -> None:
    inside = nights.planned(1, window=Window.parsed(nights.hours_around_now(-60, 60), "UTC"))
    for around in ((10, 60), (-120, -60)):
        nights.planned(1, window=Window.parsed(nights.hours_around_now(*around), "UTC"))
    chunk = nights.claim()
    assert chunk is not None
    assert chunk.batch_id == inside
    assert nights.claim() is None


@pytest.mark.parametrize(
    ("values", "claimable"),
    [
        ({}, True),
        ({"not_before": timedelta(hours=1)}, False),
        ({"not_before": timedelta(hours=-1)}, True),
        ({"deadline": timedelta(hours=1)}, True),
    ],
)
def test_without_a_window_chunks_are_claimed_between_earliest_start_and_deadline(
    nights: Nights, values: dict[str, timedelta], claimable: bool
) -> None:
    nights.planned(1, **{name: nights.now() + delta for name, delta in values.items()})
    assert (nights.claim() is not None) is claimable


def test_after_the_deadline_nothing_is_claimed_even_before_the_sweep(nights: Nights) -> None:
    batch_id = nights.planned(2, deadline=nights.now() + timedelta(hours=1))
    nights.shift(batch_id, -60, 0)
    assert nights.claim() is None


def test_a_window_that_closes_stops_the_batch_until_the_next_night(nights: Nights) -> None:
    window = Window.parsed(nights.hours_around_now(-60, 60), "UTC")
    batch_id = nights.planned(3, window=window)
    nights.finish(nights.claimed())
    held = nights.claimed()
    nights.shift(batch_id, -60, 0)
    assert nights.claim() is None, "no chunk is begun behind the end, whatever the sweep does"
    nights.rows("UPDATE batch SET window_hours = %s", nights.hours_around_now(-120, -60))
    assert nights.sweep(sweeps.move_openings) == [batch_id]
    opening = nights.view(batch_id).opening
    assert opening.opens_at > nights.now()
    assert nights.state(batch_id) is BatchState.RUNNING, "a worker still has a chunk"
    assert nights.finish(held) == "scheduled"
    assert nights.claim() is None
    nights.shift(batch_id, 0, 3600)
    assert nights.finish(nights.claimed()) == "finalizing"
    assert nights.actions(batch_id).count("batch.started") == 1


def test_a_window_that_closes_between_chunks_makes_the_batch_wait(nights: Nights) -> None:
    batch_id = nights.planned(2, window=Window.parsed(nights.hours_around_now(-60, 60), "UTC"))
    nights.finish(nights.claimed())
    nights.shift(batch_id, -60, 0)
    nights.rows("UPDATE batch SET window_hours = %s", nights.hours_around_now(-120, -60))
    nights.sweep(sweeps.move_openings)
    assert nights.state(batch_id) is BatchState.SCHEDULED
    assert nights.sweep(sweeps.move_openings) == []


def test_what_is_resumed_after_its_window_waits_for_the_next(nights: Nights) -> None:
    batch_id = nights.planned(2, window=Window.parsed(nights.hours_around_now(-60, 60), "UTC"))
    nights.pause(batch_id)
    nights.shift(batch_id, -7200, -3600)
    assert nights.sweep(sweeps.move_openings) == []
    nights.resume(batch_id)
    assert nights.claim() is None
    assert nights.sweep(sweeps.move_openings) == [batch_id]
    assert nights.claim() is not None


NIGHTS_TO_COMPARE = [
    (zone, hours, day)
    for zone, days in {
        "Europe/Berlin": ("2026-10-25", "2027-03-28", "2026-07-01"),
        "America/New_York": ("2026-11-01", "2027-03-14"),
        "Asia/Kolkata": ("2026-10-25",),
        "Australia/Lord_Howe": ("2026-10-04", "2026-04-05"),
    }.items()
    for hours in ("22:00-06:00", "01:30-02:45", "02:15-02:45", "23:30-02:15", "09:00-17:00")
    for day in days
]
# What the clock on the wall in that zone shows, by Postgres.
ON_THE_WALL = """
SELECT instant, (instant AT TIME ZONE %s)::time FROM generate_series(
    %s::timestamptz, %s::timestamptz, interval '5 minutes') AS instant
"""


@pytest.mark.parametrize(("zone", "hours", "day"), NIGHTS_TO_COMPARE)
def test_postgres_and_the_windows_agree_on_what_the_clock_shows(
    database: Database, zone: str, hours: str, day: str
) -> None:
    """Open is when the zone's clock is between the hours, the second round of an hour that is repeated apart."""
    window = Window.parsed(hours, zone)
    noon = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=12)
    with database.statement() as work:
        clock = work.execute(ON_THE_WALL, (zone, noon, noon + timedelta(hours=48)))
    assert len(clock) == 577
    for instant, shown in clock:
        if instant_of(instant.astimezone(window.zone).replace(tzinfo=None), window.zone) != instant:
            continue
        if window.opens < window.closes:
            between = window.opens <= shown < window.closes
        else:
            between = shown >= window.opens or shown < window.closes
        assert (window.opening(instant).opens_at <= instant) is between, instant


@pytest.mark.parametrize("offset_s", [-90, -1, 1, 90])
def test_the_claim_and_the_windows_agree_on_the_edges(nights: Nights, offset_s: int) -> None:
    """The claim asks the database's clock for the opening that the window gave for that same clock's time."""
    opened = nights.open(window=Window.parsed(nights.hours_around_now(0, 600), "UTC"))
    nights.validate(nights.step(StepKind.VALIDATE), 1)
    nights.shift(opened.id, offset_s, 3600)
    assert (nights.claim() is not None) is (offset_s < 0)
    assert (nights.view(opened.id).opening.opens_at <= nights.now()) is (offset_s < 0)


# At risk


def at_risk(nights: Nights, *, done: int, gone_s: float, left_s: float) -> bool:
    """Whether there is an alarm about a batch of 10 chunks that has so many done, `gone_s` after it was opened."""
    batch_id = nights.planned(10)
    for _ in range(done):
        nights.finish(nights.claimed())
    nights.shift(batch_id, -gone_s, left_s)
    ago = nights.now() - timedelta(seconds=gone_s)
    nights.rows("UPDATE batch SET resumed_at = %s, scheduled_at = %s WHERE id = %s", ago, ago, batch_id)
    return nights.sweep(sweeps.tell_risks) == [batch_id]


@pytest.mark.parametrize(
    ("done", "gone_s", "left_s", "alarmed"),
    [
        (5, 100, 99, True),  # a second too late
        (5, 100, 102, False),
        (1, 59, 30, False),  # too early to tell
        (1, 61, 30, True),
        (0, 100, 99, True),  # half the time is over and nothing is done
        (0, 100, 102, False),
    ],
)
def test_an_end_that_comes_too_late_is_foreseen(
    nights: Nights, done: int, gone_s: float, left_s: float, alarmed: bool
) -> None:
    assert at_risk(nights, done=done, gone_s=gone_s, left_s=left_s) is alarmed


def test_each_opening_has_one_alarm(nights: Nights) -> None:
    assert at_risk(nights, done=5, gone_s=100, left_s=50)
    (view,) = nights.list()
    assert nights.sweep(sweeps.tell_risks) == []
    detail = nights.detail(view.id, "batch.at_risk")
    assert (detail["state"], detail["counts"]["remaining"]) == ("running", 50)
    assert datetime.fromisoformat(detail["expected_end"]) > datetime.fromisoformat(detail["open_until"])
    nights.rows("UPDATE batch SET open_until = now() + interval '40 s'")
    assert nights.sweep(sweeps.tell_risks) == [view.id], "the next night it is told of again"


def test_what_has_no_end_or_is_paused_is_at_no_risk(nights: Nights) -> None:
    endless = nights.planned(2)
    assert at_risk(nights, done=0, gone_s=3600, left_s=-1) is False
    paused = nights.planned(2)
    nights.pause(paused)
    nights.shift(paused, -3600, 60)
    assert nights.sweep(sweeps.tell_risks) == []
    assert nights.view(endless).opening.closes_at is None
