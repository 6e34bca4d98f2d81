"""When schedules run: each night once, also when clocks change, and the last of those that were missed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.recurrence import filled, latest_run, next_run, scheduled_time
from service.errors import ScheduleInvalid

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def runs(cron: str, start: str, count: int) -> list[datetime]:
    found = [utc(start)]
    for _ in range(count):
        found.append(next_run(cron, BERLIN, found[-1]))
    return found[1:]


@pytest.mark.parametrize(
    ("cron", "start", "expected"),
    [
        ("0 22 * * *", "2026-10-23 22:00", ["2026-10-24 20:00", "2026-10-25 21:00"]),
        ("0 22 * * *", "2027-03-26 22:00", ["2027-03-27 21:00", "2027-03-28 20:00"]),
        ("30 2 * * *", "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),  # exists twice: once
        (
            "30 2 * * *",
            "2027-03-27 12:00",
            ["2027-03-28 01:00", "2027-03-29 00:30"],
        ),  # does not exist: at the jump
        ("0 1 * * MON", "2026-10-24 12:00", ["2026-10-26 00:00", "2026-11-02 00:00"]),
    ],
)
def test_each_night_has_one_run(cron: str, start: str, expected: list[str]) -> None:
    assert runs(cron, start, len(expected)) == [utc(text) for text in expected]


@pytest.mark.parametrize("cron", ["*/30 * * * *", "0 22 * * *"])
def test_runs_are_in_utc(cron: str) -> None:
    now = utc("2026-07-01 12:10").astimezone(ZoneInfo("Asia/Kolkata"))
    assert next_run(cron, BERLIN, now).tzinfo is UTC
    assert latest_run(cron, BERLIN, now).tzinfo is UTC


def test_of_the_runs_that_were_missed_the_last_is_found() -> None:
    assert latest_run("0 22 * * *", BERLIN, utc("2026-07-04 19:59")) == utc("2026-07-03 20:00")
    assert latest_run("0 22 * * *", BERLIN, utc("2026-07-04 20:00")) == utc("2026-07-04 20:00")


@pytest.mark.parametrize(
    ("cron", "zone", "now", "last", "following"),
    [
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25 00:10", "2026-10-25 00:00", "2026-10-25 00:30"),  # 02:10
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25 00:40", "2026-10-25 00:30", "2026-10-25 01:00"),
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25 01:10", "2026-10-25 01:00", "2026-10-25 01:30"),  # 02:10 again
        ("15 * * * *", "Europe/Berlin", "2026-10-25 00:40", "2026-10-25 00:15", "2026-10-25 01:15"),
        ("45 * * * *", "Europe/Berlin", "2026-10-25 01:10", "2026-10-25 00:45", "2026-10-25 01:45"),
        ("*/30 * * * *", "America/New_York", "2026-11-01 05:40", "2026-11-01 05:30", "2026-11-01 06:00"),
        ("*/30 * * * *", "America/New_York", "2026-11-01 06:10", "2026-11-01 06:00", "2026-11-01 06:30"),
        ("45 * * * *", "America/New_York", "2026-11-01 06:10", "2026-11-01 05:45", "2026-11-01 06:45"),
    ],
)  # fmt: skip
def test_in_an_hour_that_is_repeated_runs_follow_each_other_in_time(
    cron: str, zone: str, now: str, last: str, following: str
) -> None:
    assert latest_run(cron, ZoneInfo(zone), utc(now)) == utc(last)
    assert next_run(cron, ZoneInfo(zone), utc(now)) == utc(following)


def test_a_day_that_a_zone_skips_has_no_run() -> None:
    """Samoa went from 29 to 31 December 2011, from UTC-10 to UTC+14, at 10:00 UTC on the 30th."""
    apia = ZoneInfo("Pacific/Apia")
    before, after = utc("2011-12-30 08:00"), utc("2011-12-31 08:00")  # 22:00 on the 29th and the 31st
    assert next_run("0 22 * * *", apia, before) == after
    assert latest_run("0 22 * * *", apia, after - timedelta(hours=1)) == before
    assert next_run("0 3 * * *", apia, before) == utc("2011-12-30 13:00")  # 03:00 on the 31st


crons = st.sampled_from(
    [
        "0 22 * * *",
        "30 2 * * *",
        "0 3 * * *",
        "59 1 * * *",
        "15 2 * * SUN",
        "0 0 1 * *",
        "0 */6 * * *",
        "0 23 * * 1-5",
    ]
)
zones = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Asia/Beirut"]
)
instants = st.datetimes(
    utc("2015-01-01").replace(tzinfo=None), utc("2036-01-01").replace(tzinfo=None), timezones=st.just(UTC)
)


@given(crons, zones, instants)
def test_now_is_between_the_latest_run_and_the_next(cron: str, zone: str, now: datetime) -> None:
    now = now.replace(microsecond=0)
    last, following = latest_run(cron, ZoneInfo(zone), now), next_run(cron, ZoneInfo(zone), now)
    assert last <= now < following
    assert next_run(cron, ZoneInfo(zone), last - timedelta(seconds=1)) in {last, following}


NO_CRON = ["", "x", "0 22 * *", "0 22 * * * *", "61 22 * * *", "0 0 30 2 *", "* * * * *" * 30, "@daily"]


@pytest.mark.parametrize("cron", NO_CRON)
def test_what_is_no_cron_expression_of_five_fields_is_refused(cron: str) -> None:
    with pytest.raises(ScheduleInvalid):
        next_run(cron, BERLIN, utc("2026-01-01 00:00"))


def test_an_expression_may_have_a_hundred_characters() -> None:
    longest = "0" + ",0" * 45 + " 22 * * *"
    assert next_run(longest, BERLIN, utc("2026-07-01 12:00")) == utc("2026-07-01 20:00")
    with pytest.raises(ScheduleInvalid):
        next_run(f"{longest} ", BERLIN, utc("2026-07-01 12:00"))


@pytest.mark.parametrize(
    ("cron", "zone", "run_at", "meant"),
    [
        ("0 22 * * *", "Europe/Berlin", "2026-07-01 20:00", "2026-07-01 22:00"),
        ("30 2 * * *", "Europe/Berlin", "2027-03-28 01:00", "2027-03-28 02:30"),  # the clock jumped over it
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:30", "2026-10-25 02:30"),
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25 01:30", "2026-10-25 02:30"),  # the second time round
        ("0 22 * * *", "Europe/Berlin", "2026-07-01 10:07", "2026-07-01 12:07"),  # it meant another one then
        ("0 0 * * *", "Asia/Beirut", "2026-03-28 22:00", "2026-03-29 00:00"),
        (
            "0,30 2,3 * * *",
            "Europe/Berlin",
            "2027-03-28 01:00",
            "2027-03-28 03:00",
        ),  # the last of three at the jump
    ],
)
def test_a_run_is_called_by_the_time_that_its_expression_means(
    cron: str, zone: str, run_at: str, meant: str
) -> None:
    found = scheduled_time(cron, ZoneInfo(zone), utc(run_at))
    assert found.replace(tzinfo=None) == datetime.fromisoformat(meant)
    assert found.tzinfo == ZoneInfo(zone)


def test_the_date_of_a_run_is_that_of_its_zone() -> None:
    run_at = utc("2026-07-01 22:30")
    assert filled("cases-{date}.parquet", run_at, BERLIN) == "cases-2026-07-02.parquet"
    assert filled("{date}/{date}.csv", run_at, ZoneInfo("UTC")) == "2026-07-01/2026-07-01.csv"


@pytest.mark.parametrize("pattern", ["{time}", "{date", "{date!r}", "{0}", "a}b"])
def test_other_braces_are_refused(pattern: str) -> None:
    with pytest.raises(ScheduleInvalid, match="no other braces"):
        filled(pattern, utc("2026-07-01 22:30"), BERLIN)
