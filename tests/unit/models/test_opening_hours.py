"""Opening hours: what is understood, what is said of them, and what counts as unknown."""

from datetime import datetime

import pytest

from models.places.opening_hours import DAY, WEEK, Schedule, minute_of_week, read_hours


def at(text: str) -> int:
    """Such as "Mo 08:00"."""
    days = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
    hours, minutes = text[3:].split(":")
    return days.index(text[:2]) * DAY + int(hours) * 60 + int(minutes)


def words(hours: str, time: str) -> str:
    schedule = read_hours(hours)
    assert schedule is not None
    return schedule.words(at(time))


@pytest.mark.parametrize(
    ("hours", "open_at", "closed_at"),
    [
        ("Mo-Fr 08:00-18:00", ["Mo 08:00", "Fr 17:59"], ["Mo 07:59", "Fr 18:00", "Sa 12:00"]),
        ("Mo-Fr 08:00-12:00,13:00-17:00", ["We 11:59", "We 13:00"], ["We 12:30"]),
        ("Mo,We 09:00-10:00; Th off", ["We 09:30"], ["Tu 09:30", "Th 09:30"]),
        ("Mo-Su 08:00-20:00; Su 10:00-12:00", ["Su 11:00"], ["Su 09:00", "Su 13:00"]),
        ("24/7", ["Mo 00:00", "Su 23:59"], []),
        ("00:00-24:00", ["Mo 00:00", "Su 23:59"], []),
        ("Mo-Fr", ["Mo 00:00", "Fr 23:59"], ["Sa 00:00"]),
        ("Fr-Mo 20:00-02:00", ["Fr 23:00", "Sa 01:59", "Tu 01:00", "Mo 01:00"], ["Fr 01:00", "We 21:00"]),
        ("Su 22:00-06:00", ["Su 23:00", "Mo 05:59"], ["Mo 06:00", "Sa 23:00"]),
        ("Mo 20:00-26:00", ["Tu 01:59"], ["Tu 02:00"]),
        ("Mo-Fr 09:00-17:00; PH off", ["Mo 10:00"], ["Su 10:00"]),
        ("Mo-Fr,PH 09:00-17:00", ["Mo 10:00"], ["Su 10:00"]),
        ("off", [], ["Mo 10:00"]),
        ("Mo-Su closed", [], ["Mo 10:00"]),
        ("Sa-Su off; Mo-Fr closed", [], ["Mo 10:00"]),
    ],
)
def test_hours_are_read_as_openstreetmap_means_them(
    hours: str, open_at: list[str], closed_at: list[str]
) -> None:
    schedule = read_hours(hours)
    assert schedule is not None
    assert [time for time in open_at if not schedule.is_open(at(time))] == []
    assert [time for time in closed_at if schedule.is_open(at(time))] == []


@pytest.mark.parametrize(
    "hours",
    [
        "", "on request", "Apr-Sep Mo-Fr 08:00-18:00", "sunrise-sunset", "Mo-Fr 08:00+", "Mo 25:00-26:00", "Mo 08:00-08:00",
        "Mo 08:00-12:61", "Mo-Xx 08:00-12:00", "PH off", "week 1-9 Mo 08:00-10:00", 'Mo 08:00-12:00 "by appointment"',
        "Mo 08:00-12:00, Tu 09:00-10:00", "Mo 08:00 - 49:00", ";", "Mo off", "Mo-Fr closed; Su off", "Su off; PH off",
    ],
)  # fmt: skip
def test_what_is_not_understood_whole_counts_as_unknown(hours: str) -> None:
    assert read_hours(hours) is None


def test_it_is_said_until_when_it_is_open_and_when_it_opens() -> None:
    weekdays = "Mo-Fr 08:00-18:00; Sa 09:00-12:00"
    assert words(weekdays, "Mo 10:30") == "open until 18:00"
    assert words(weekdays, "Mo 07:00") == "closed, opens 08:00"
    assert words(weekdays, "Mo 18:00") == "closed, opens Tuesday 08:00"
    assert words(weekdays, "Sa 12:00") == "closed, opens Monday 08:00"
    assert words("Su 22:00-06:00", "Su 23:00") == "open until Monday 06:00"
    assert words("Su 22:00-06:00", "Mo 01:00") == "open until 06:00"
    assert words("Mo 08:00-24:00", "Mo 10:00") == "open until 24:00"
    assert words("Mo 08:00-24:00", "Mo 07:00") == "closed, opens 08:00"
    assert words("Mo 08:00-09:00", "Mo 10:00") == "closed, opens Monday 08:00"
    assert words("24/7", "We 03:00") == "open at all hours"
    assert words("off", "We 03:00") == "closed on all days"


def test_spans_that_touch_are_one_and_lie_within_the_week() -> None:
    assert read_hours("Mo-Su 00:00-24:00") == Schedule(((0, WEEK),))
    assert read_hours("Mo 08:00-12:00,12:00-14:00,13:00-15:00") == Schedule(((480, 900),))


def test_the_week_begins_on_monday() -> None:
    assert minute_of_week(datetime(2026, 11, 30, 0, 1)) == 1  # noqa: DTZ001 - the local time of a place
    assert minute_of_week(datetime(2026, 12, 6, 23, 59)) == WEEK - 1  # noqa: DTZ001
