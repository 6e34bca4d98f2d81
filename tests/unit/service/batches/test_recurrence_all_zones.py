"""When schedules run, in every zone and over five years, against a reckoning that shares nothing with the product's.

The reckoning writes down what the clock on the wall shows at every minute around a change of the clocks, and reads from that
list when cron runs. The gate looks at zones of every kind; `--all-zones` looks at all of them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import pairwise, product
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.recurrence import filled, latest_run, next_run, scheduled_time
from service.errors import ScheduleInvalid

FIRST, LAST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
# A change by an hour at night, by half an hour, at midnight, before midnight into the next day, in summer, for Ramadan, none.
TELLING = (
    "Europe/Berlin",
    "Europe/Dublin",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "Africa/Cairo",
    "America/Havana",
    "America/Santiago",
    "America/Scoresbysund",
    "America/Nuuk",
    "America/New_York",
    "America/St_Johns",
    "Africa/Casablanca",
    "Pacific/Chatham",
    "Pacific/Apia",
    "Antarctica/Troll",
    "Asia/Kolkata",
)
# Zones whose changes are gone, with the day of one: over the date line either way, by a quarter and by 24 hours.
GONE = (
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Pacific/Kwajalein", datetime(1993, 8, 21, 12, tzinfo=UTC)),
    ("Antarctica/Casey", datetime(2010, 3, 4, 15, tzinfo=UTC)),
    ("Asia/Pyongyang", datetime(2018, 5, 4, 15, tzinfo=UTC)),
    ("America/Caracas", datetime(2016, 5, 1, 7, tzinfo=UTC)),
)
CRONS = (
    "30 2 * * *",
    "0 0 * * *",
    "30 23 * * *",
    "0,15,45 1-3 * * *",
    "15 0,2,4,23 * * *",
    "*/20 * * * *",
    "10 * * * *",
    "*/25 2 * * *",
    "5 */2 * * *",
    "45 1 * * 0",
    "30 2 * * 7L",
    "0 3 * * SUN#5",
    "20 2 L * *",
    "20 0 LW * *",
)


@cache
def _field(text: str, numbers: range) -> set[int]:
    """Numbers of a field of the crons above: lists of numbers, ranges and stars, with a step."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        chosen = numbers if span == "*" else range(int(first), int(last or first) + 1)
        found |= set(chosen[:: int(step or 1)])
    return found


def _of_day(cron: str, day: datetime) -> bool:
    """Whether a cron above runs on this day; none of them restricts both the day of the month and that of the week."""
    _, _, of_month, _, of_week = cron.split()
    month_ends = (day + DAY).month != day.month
    if of_month == "L":
        return month_ends
    if of_month == "LW":
        return day.weekday() < 5 and all(
            (later := day + DAY * ahead).month != day.month or later.weekday() >= 5 for ahead in range(1, 4)
        )
    if of_week == "7L":
        return day.weekday() == 6 and (day + 7 * DAY).month != day.month
    if of_week == "SUN#5":
        return day.weekday() == 6 and (day.day - 1) // 7 == 4
    return of_week == "*" or day.isoweekday() % 7 in _field(of_week, range(7))


def _matches(cron: str, shown: datetime) -> bool:
    minutes, hours = _times(cron)
    return shown.hour in hours and shown.minute in minutes and _of_day(cron, shown)


@cache
def _times(cron: str) -> tuple[set[int], set[int]]:
    minutes, hours, *_ = cron.split()
    return _field(minutes, range(60)), _field(hours, range(24))


@lru_cache(maxsize=1)
def _wall(zone: ZoneInfo, first: datetime, last: datetime) -> list[tuple[datetime, datetime]]:
    """Each minute of [first, last) and what the clock on the wall shows then."""
    count = int((last - first) / MINUTE)
    instants = [first + MINUTE * number for number in range(count)]
    return [(instant, instant.astimezone(zone).replace(tzinfo=None, fold=0)) for instant in instants]


@lru_cache(maxsize=1)
def _first_shown(zone: ZoneInfo, first: datetime, last: datetime) -> dict[datetime, datetime]:
    """When the clock on the wall first shows each time that it shows in [first, last), by that time in order."""
    found: dict[datetime, datetime] = {}
    for instant, shown in _wall(zone, first, last):
        found.setdefault(shown, instant)
    return dict(sorted(found.items()))


def _reckoned(cron: str, zone: ZoneInfo, first: datetime, last: datetime) -> list[datetime]:
    """When cron runs in [first, last), read off the wall."""
    if cron.startswith("*") or cron.split()[1].startswith("*"):
        return [instant for instant, shown in _wall(zone, first, last) if _matches(cron, shown)]
    first_shown = _first_shown(zone, first, last)
    days = {shown.date() for shown in first_shown}
    runs = set()
    for before, after in pairwise(first_shown):
        if _matches(cron, before):
            runs.add(first_shown[before])
        if after - before > MINUTE:
            left_out = [before + MINUTE * step for step in range(1, int((after - before) / MINUTE))]
            if any(_matches(cron, shown) and shown.date() in days for shown in left_out):
                runs.add(first_shown[after])
    return sorted(runs)


@lru_cache(maxsize=1)
def _jump(zone: ZoneInfo, first: datetime, last: datetime) -> datetime:
    """When the clock on the wall of [first, last) is changed; the middle of it if it is not."""
    for (_, shown), (instant, shown_then) in pairwise(_wall(zone, first, last)):
        if shown_then - shown != MINUTE:
            return instant
    return first + (last - first) / 2


def _changes(zone: ZoneInfo, first: datetime, last: datetime) -> Iterator[datetime]:
    """A day on which the clocks of a zone change, for each such day."""
    day = first
    while day < last:
        if day.astimezone(zone).utcoffset() != (day + DAY).astimezone(zone).utcoffset():
            yield day
        day += DAY


def assert_as_reckoned(zone: ZoneInfo, change: datetime, *, cron: str) -> None:
    """Both functions against the list: all runs of three days, and the latest run at moments of 36 hours.

    What the latest run is changes at runs alone: it is asked for at each and a minute before, and each quarter of an hour
    from two hours before the clocks change to six after.
    """
    first, last = change - 2 * DAY, change + 3 * DAY
    expected = [run for run in _reckoned(cron, zone, first, last) if first + DAY <= run < last - DAY]
    run, found = first + DAY - MINUTE, []
    while expected and (run := next_run(cron, zone, run)) < last - DAY:
        found.append(run)
    assert found == expected, (zone.key, cron)
    moments = {_jump(zone, first, last) + 15 * MINUTE * number for number in range(-8, 25)}
    near = [run for run in expected if change - DAY / 4 <= run < change + 5 * DAY / 4]
    moments |= {moment for run in near[:: len(near) // 24 + 1] for moment in (run - MINUTE, run)}
    for now in sorted(moments):
        passed = [run for run in expected if run <= now]
        if passed:
            assert latest_run(cron, zone, now) == passed[-1], (zone.key, cron, now)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Zones of every kind, or all with `--all-zones`."""
    if "name" in metafunc.fixturenames:
        every = metafunc.config.getoption("--all-zones")
        metafunc.parametrize("name", sorted(available_timezones()) if every else TELLING)


@pytest.mark.timeout(600)
def test_runs_are_those_that_the_clock_on_the_wall_shows(name: str, request: pytest.FixtureRequest) -> None:
    zone = ZoneInfo(name)
    changes = list(_changes(zone, FIRST, LAST)) or [FIRST + 40 * DAY]
    if not request.config.getoption("--all-zones"):
        # In the gate one change of each kind: later years bring the same again, but for Ramadan.
        changes = changes[:4:3] + changes[1:2]
    for change, cron in product(changes, CRONS):
        assert_as_reckoned(zone, change, cron=cron)


@pytest.mark.parametrize(("zone", "near"), GONE)
def test_changes_of_the_past_hold_too(zone: str, near: datetime) -> None:
    for cron in CRONS:
        assert_as_reckoned(ZoneInfo(zone), near, cron=cron)


def test_a_late_scheduler_in_the_repeated_hour_opens_todays_run_and_not_yesterdays() -> None:
    late = datetime(2026, 10, 25, 1, 5, tzinfo=UTC)
    assert latest_run("30 2 * * *", ZoneInfo("Europe/Berlin"), late) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("zone", "cron"), [("America/Scoresbysund", "30 23 * * *"), ("Asia/Beirut", "30 0 * * *")]
)
def test_the_date_of_each_run_is_another_day_though_the_clock_jumps_over_its_time(
    zone: str, cron: str
) -> None:
    """Scoresbysund's clock jumps from 23:00 to the next day, so that this run falls on the day of the next."""
    place = ZoneInfo(zone)
    run = datetime(2027, 3, 20, tzinfo=UTC)
    dates = []
    for _ in range(14):
        run = next_run(cron, place, run)
        dates.append(filled("{date}", scheduled_time(cron, place, run), place))
    days = [datetime.fromisoformat(day) for day in dates]
    assert [later - earlier for earlier, later in pairwise(days)] == [DAY] * 13


fields = st.text("0123456789*,-/#LWMONSUJAX²", min_size=1, max_size=8)


@given(
    st.lists(fields, min_size=5, max_size=5), st.sampled_from(TELLING), st.datetimes(timezones=st.just(UTC))
)
def test_any_text_is_a_schedule_or_is_refused_as_none(parts: list[str], zone: str, near: datetime) -> None:
    now = near.replace(year=2026 + near.year % 5, day=min(near.day, 28))
    try:
        following = next_run(" ".join(parts), ZoneInfo(zone), now)
    except ScheduleInvalid:
        return
    assert following > now
    assert latest_run(" ".join(parts), ZoneInfo(zone), following) == following
