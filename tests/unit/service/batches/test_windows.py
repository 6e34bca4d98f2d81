"""Windows of the night: when they open and close, also on the nights when clocks change."""

from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.batches import intake
from service.api.batches.schemas import WindowRequest
from service.batches.windows import Opening, Window, end_of_work, iana_zone, instant_of, opening_of
from service.errors import WindowInvalid

BERLIN, NEW_YORK, KOLKATA = "Europe/Berlin", "America/New_York", "Asia/Kolkata"
# Zones with a change at midnight, by half an hour, without any, at odd offsets; and one that skipped a whole day.
ZONES = (
    *(
        BERLIN,
        NEW_YORK,
        KOLKATA,
        "UTC",
        "Australia/Lord_Howe",
        "Asia/Beirut",
        "America/Havana",
        "Africa/Casablanca",
    ),
    *("Pacific/Apia", "Pacific/Chatham", "America/St_Johns"),
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# hours, zone, an instant, when the window opens that holds it or comes next, when that closes; all in UTC
TABLE = [
    ("22:00-06:00", BERLIN, "2026-07-01 12:00", "2026-07-01 20:00", "2026-07-02 04:00"),
    ("22:00-06:00", BERLIN, "2026-07-01 20:00", "2026-07-01 20:00", "2026-07-02 04:00"),
    ("22:00-06:00", BERLIN, "2026-07-02 03:59", "2026-07-01 20:00", "2026-07-02 04:00"),
    ("22:00-06:00", BERLIN, "2026-07-02 04:00", "2026-07-02 20:00", "2026-07-03 04:00"),
    ("22:00-06:00", BERLIN, "2026-12-31 23:30", "2026-12-31 21:00", "2027-01-01 05:00"),
    ("09:00-17:00", BERLIN, "2026-07-01 12:00", "2026-07-01 07:00", "2026-07-01 15:00"),
    # Clocks go back at 01:00 UTC, from 03:00 to 02:00: the night has an hour more.
    ("22:00-06:00", BERLIN, "2026-10-25 00:30", "2026-10-24 20:00", "2026-10-25 05:00"),
    ("22:00-02:30", BERLIN, "2026-10-25 00:15", "2026-10-24 20:00", "2026-10-25 00:30"),
    ("22:00-02:30", BERLIN, "2026-10-25 01:15", "2026-10-25 21:00", "2026-10-26 01:30"),
    ("02:30-06:00", BERLIN, "2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 05:00"),
    ("02:15-02:45", BERLIN, "2026-10-24 22:00", "2026-10-25 00:15", "2026-10-25 00:45"),
    ("02:15-02:45", BERLIN, "2026-10-25 01:20", "2026-10-26 01:15", "2026-10-26 01:45"),
    # Clocks go forward at 01:00 UTC, from 02:00 to 03:00: the night has an hour less.
    ("22:00-06:00", BERLIN, "2027-03-28 00:30", "2027-03-27 21:00", "2027-03-28 04:00"),
    ("22:00-02:30", BERLIN, "2027-03-28 00:59", "2027-03-27 21:00", "2027-03-28 01:00"),
    ("02:30-06:00", BERLIN, "2027-03-28 00:30", "2027-03-28 01:00", "2027-03-28 04:00"),
    ("02:15-02:45", BERLIN, "2027-03-27 12:00", "2027-03-29 00:15", "2027-03-29 00:45"),
    ("01:30-02:30", BERLIN, "2027-03-28 00:45", "2027-03-28 00:30", "2027-03-28 01:00"),
    # New York: back on 2026-11-01 at 06:00 UTC, forward on 2027-03-14 at 07:00 UTC.
    ("22:00-06:00", NEW_YORK, "2026-11-01 06:30", "2026-11-01 02:00", "2026-11-01 11:00"),
    ("22:00-06:00", NEW_YORK, "2027-03-14 07:30", "2027-03-14 03:00", "2027-03-14 10:00"),
    ("01:30-05:00", NEW_YORK, "2026-11-01 04:00", "2026-11-01 05:30", "2026-11-01 10:00"),
    ("02:30-05:00", NEW_YORK, "2027-03-14 04:00", "2027-03-14 07:00", "2027-03-14 09:00"),
    # No clock changes.
    ("22:00-06:00", KOLKATA, "2026-10-25 12:00", "2026-10-25 16:30", "2026-10-26 00:30"),
    # The 30th of December 2011 did not exist in Samoa; of the night before only two hours did.
    ("22:00-06:00", "Pacific/Apia", "2011-12-30 09:00", "2011-12-30 08:00", "2011-12-30 10:00"),
    ("09:00-17:00", "Pacific/Apia", "2011-12-30 09:00", "2011-12-30 19:00", "2011-12-31 03:00"),
]


@pytest.mark.parametrize(("hours", "zone", "now", "opens", "closes"), TABLE)
def test_the_opening_at_or_after_an_instant(hours: str, zone: str, now: str, opens: str, closes: str) -> None:
    assert Window.parsed(hours, zone).opening(utc(now)) == Opening(utc(opens), utc(closes))


def test_the_night_when_clocks_go_back_is_an_hour_longer_and_the_other_an_hour_shorter() -> None:
    window = Window.parsed("22:00-06:00", BERLIN)
    lengths = []
    for night in ("2026-10-24 22:30", "2027-03-27 22:30", "2026-07-01 22:30"):
        opening = window.opening(utc(night))
        assert opening.closes_at is not None
        lengths.append((opening.closes_at - opening.opens_at) / timedelta(hours=1))
    assert lengths == [9, 7, 8]


NO_HOURS = ["22:00", "24:00-06:00", "22:60-06:00", "22-06", " 22:00-06:00", "", "2:00-6:00"]


@pytest.mark.parametrize("hours", NO_HOURS)
def test_hours_that_are_no_window_are_refused_with_advice(hours: str) -> None:
    with pytest.raises(WindowInvalid, match="is written HH:MM-HH:MM, such as 22:00-06:00"):
        Window.parsed(hours, BERLIN)


def test_a_window_that_closes_when_it_opens_is_refused_with_advice() -> None:
    with pytest.raises(WindowInvalid, match="omit the window for all day"):
        Window.parsed("22:00-22:00", BERLIN)


@pytest.mark.parametrize(
    "zone", ["Europe/Nowhere", "", "../etc/passwd", "Europe", "/etc/localtime", "CEST+2"]
)
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(WindowInvalid, match="Use an IANA name"):
        Window.parsed("22:00-06:00", zone)
    with pytest.raises(WindowInvalid, match="Use an IANA name"):
        iana_zone(zone)


@pytest.mark.parametrize(
    "zone", ["localtime", "posixrules", "Factory", "posix/Europe/Berlin", "right/Europe/Berlin"]
)
def test_a_zone_that_is_the_machines_own_is_refused_to_callers(zone: str) -> None:
    with pytest.raises(WindowInvalid):
        iana_zone(zone)


def test_a_zone_of_a_caller_may_be_any_iana_name() -> None:
    for zone in ("Europe/Berlin", "US/Eastern", "UTC", "Etc/GMT+5", "America/Argentina/Ushuaia"):
        assert iana_zone(zone).key == zone


def test_hours_are_written_as_they_were_read() -> None:
    assert Window.parsed("22:05-06:00", BERLIN).hours == "22:05-06:00"


clock_times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
instants = st.datetimes(
    utc("2000-01-01").replace(tzinfo=None), utc("2037-12-31").replace(tzinfo=None), timezones=st.just(UTC)
)
windows = (
    st.tuples(clock_times, clock_times, st.sampled_from(ZONES))
    .filter(lambda w: w[0] != w[1])
    .map(lambda w: Window(w[0], w[1], ZoneInfo(w[2])))
)


@given(windows, instants)
def test_openings_follow_each_other_without_overlap(window: Window, now: datetime) -> None:
    openings = list(islice(window.openings(now), 12))
    for before, after in pairwise(openings):
        assert before.closes_at is not None
        assert before.opens_at < before.closes_at <= after.opens_at


@given(windows, instants)
def test_every_instant_is_in_its_opening_or_between_that_and_the_one_before(
    window: Window, now: datetime
) -> None:
    found = window.opening(now)
    assert found.closes_at is not None
    assert now < found.closes_at
    earlier = [o for o in islice(window.openings(now), 12) if o.opens_at < found.opens_at]
    assert earlier
    assert all(opening.closes_at is not None and opening.closes_at <= now for opening in earlier)


@given(windows, instants)
def test_what_is_asked_at_the_end_of_an_opening_is_the_next(window: Window, now: datetime) -> None:
    first = window.opening(now)
    assert first.closes_at is not None
    assert window.opening(first.opens_at) == first
    second = window.opening(first.closes_at)
    assert second.opens_at >= first.closes_at


@given(instants, st.sampled_from(ZONES))
def test_a_local_time_that_exists_is_that_instant_or_the_same_time_an_earlier_time_round(
    instant: datetime, zone: str
) -> None:
    local = instant.astimezone(ZoneInfo(zone))
    found = instant_of(local.replace(tzinfo=None), ZoneInfo(zone))
    assert found <= instant
    assert found.tzinfo is UTC
    assert found.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("zone", "jump", "lasts"),
    [
        (BERLIN, "2027-03-28 02:00", timedelta(hours=1)),
        ("America/Havana", "2026-03-08 00:00", timedelta(hours=1)),
        ("Australia/Lord_Howe", "2026-10-04 02:00", timedelta(minutes=30)),
        ("America/St_Johns", "2007-03-11 00:01", timedelta(hours=1)),
        ("Pacific/Apia", "2011-12-30 00:00", timedelta(days=1)),
        ("Africa/Monrovia", "1972-01-07 00:00", timedelta(seconds=2670)),
    ],
)
def test_every_time_that_the_clocks_jump_over_is_the_moment_of_the_jump(
    zone: str, jump: str, lasts: timedelta
) -> None:
    left_out = datetime.fromisoformat(jump)
    before = (left_out - timedelta(seconds=1)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    for past in (timedelta(), timedelta(seconds=1), lasts / 3, lasts / 2, lasts - timedelta(seconds=1)):
        assert instant_of(left_out + past, ZoneInfo(zone)) == before + timedelta(seconds=1)


@given(instants, st.sampled_from(ZONES), st.integers(0, 180))
def test_later_on_the_clock_is_never_earlier_in_time(instant: datetime, zone: str, minutes: int) -> None:
    local = instant.replace(tzinfo=None)
    later = local + timedelta(minutes=minutes)
    assert instant_of(local, ZoneInfo(zone)) <= instant_of(later, ZoneInfo(zone))


NOW = utc("2026-07-01 12:00")
NIGHT = Window.parsed("22:00-06:00", BERLIN)


@pytest.mark.parametrize(
    ("window", "not_before", "deadline", "expected"),
    [
        (None, None, None, Opening(NOW)),
        (None, "2026-07-01 15:00", None, Opening(utc("2026-07-01 15:00"))),
        (None, "2026-07-01 09:00", None, Opening(NOW)),
        (None, None, "2026-07-01 15:00", Opening(NOW, utc("2026-07-01 15:00"))),
        (NIGHT, None, None, Opening(utc("2026-07-01 20:00"), utc("2026-07-02 04:00"))),
        (NIGHT, "2026-07-02 01:00", None, Opening(utc("2026-07-02 01:00"), utc("2026-07-02 04:00"))),
        (NIGHT, "2026-07-02 09:00", None, Opening(utc("2026-07-02 20:00"), utc("2026-07-03 04:00"))),
        (NIGHT, None, "2026-07-02 01:00", Opening(utc("2026-07-01 20:00"), utc("2026-07-02 01:00"))),
        (NIGHT, None, "2026-07-01 19:00", Opening(utc("2026-07-01 20:00"), utc("2026-07-01 20:00"))),
        (
            None,
            "2026-07-01 15:00",
            "2026-07-01 14:00",
            Opening(utc("2026-07-01 15:00"), utc("2026-07-01 15:00")),
        ),
    ],
)
def test_window_earliest_start_and_deadline_together(
    window: Window | None, not_before: str | None, deadline: str | None, expected: Opening
) -> None:
    given_start, given_end = (utc(text) if text else None for text in (not_before, deadline))
    found = opening_of(window, NOW, not_before=given_start, deadline=given_end)
    assert max(found.opens_at, NOW) == max(expected.opens_at, NOW)
    assert found.closes_at == expected.closes_at


@pytest.mark.parametrize(
    ("hours", "end"),
    [
        (0, "2026-10-24 20:00"),
        (9, "2026-10-25 05:00"),
        (10, "2026-10-25 22:00"),
        (17, "2026-10-26 05:00"),
        (18, "2026-10-26 22:00"),
    ],
)
def test_work_ends_in_the_opening_in_which_there_is_time_left_for_it(hours: float, end: str) -> None:
    now = utc("2026-10-24 12:00")
    assert end_of_work(NIGHT, NIGHT.opening(now), now, hours * 3600) == utc(end)


def test_work_goes_on_in_a_window_that_opens_as_the_clocks_spring_over_its_pause() -> None:
    now, window = utc("2027-03-28 00:30"), Window.parsed("02:45-02:15", BERLIN)
    assert end_of_work(window, window.opening(now), now, 3600) == utc("2027-03-28 01:30")


@pytest.mark.parametrize("deadline", [None, NOW + timedelta(seconds=60)])
def test_without_a_window_work_ends_when_it_is_done_whatever_the_deadline(deadline: datetime | None) -> None:
    assert end_of_work(None, Opening(NOW, deadline), NOW, 90) == NOW + timedelta(seconds=90)


def test_work_that_would_never_end_is_said_to_end_in_ten_years() -> None:
    assert end_of_work(None, Opening(NOW), NOW, float("inf")) == NOW + timedelta(days=3650)


def test_a_request_for_a_window_in_the_machines_own_zone_is_refused_at_its_place() -> None:
    with pytest.raises(WindowInvalid) as refused:
        intake._window(WindowRequest(hours="22:00-06:00", zone="localtime"))
    assert [error.pointer for error in refused.value.errors] == ["/window"]
