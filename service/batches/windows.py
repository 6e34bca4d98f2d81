"""Daily windows such as 22:00-06:00 in a time zone, as pure functions over instants without a database.

A window opens and closes once a day by the zone's clocks. When clocks change, a time that does not exist means the moment
of the jump over it, and a time that exists twice means the first of the two. So openings follow each other without
overlap; an opening that is entirely within a gap is left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from service.errors import WindowInvalid

HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
DAY = timedelta(days=1)
NO_ZONE = "There is no such time zone. Use an IANA name, such as Europe/Berlin."


@dataclass(frozen=True)
class Opening:
    """When work may be started: [`opens_at`, `closes_at`), in UTC. Without `closes_at` it stays open."""

    opens_at: datetime
    closes_at: datetime | None = None


@dataclass(frozen=True)
class Window:
    """Hours of the day in a time zone. If `closes` is before `opens`, the window extends past midnight."""

    opens: time
    closes: time
    zone: ZoneInfo

    @classmethod
    def parsed(cls, hours: str, zone: str) -> Self:
        """The window of `HH:MM-HH:MM` and an IANA time zone. Raises WindowInvalid."""
        found = HOURS.fullmatch(hours)
        if found is None:
            raise WindowInvalid("A window is written HH:MM-HH:MM, such as 22:00-06:00.")
        opens, closes = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
        if opens == closes:
            raise WindowInvalid("A window must not close when it opens; omit the window for all day.")
        return cls(opens, closes, zone_named(zone))

    @property
    def hours(self) -> str:
        """The hours as they are written."""
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"

    def opening(self, now: datetime) -> Opening:
        """The opening that contains the aware time `now`, or else the next one."""
        return next(
            opening for opening in self.openings(now) if opening.closes_at and now < opening.closes_at
        )

    def openings(self, now: datetime) -> Iterator[Opening]:
        """All openings in order, starting with one that closed before `now`; never ends."""
        day = now.astimezone(self.zone).date() - 2 * DAY
        while True:
            opens_at, closes_at = self._on(day)
            if opens_at < closes_at:
                yield Opening(opens_at, closes_at)
            day += DAY

    def _on(self, day: date) -> tuple[datetime, datetime]:
        """When the window of this day, in the zone's calendar, opens and closes."""
        last = day if self.opens < self.closes else day + DAY
        return instant_of(datetime.combine(day, self.opens), self.zone), instant_of(
            datetime.combine(last, self.closes), self.zone
        )


def opening_of(
    window: Window | None, now: datetime, *, not_before: datetime | None, deadline: datetime | None
) -> Opening:
    """When work may be started: the opening at or after `now` and `not_before`, cut off at `deadline`.

    The opening is empty (it closes when it opens) if the deadline comes first.
    """
    start = now if not_before is None else max(now, not_before)
    opening = Opening(start) if window is None else window.opening(start)
    opens_at = max(opening.opens_at, not_before) if not_before else opening.opens_at
    ends = [end for end in (opening.closes_at, deadline) if end is not None]
    return Opening(opens_at, max(min(ends), opens_at) if ends else None)


def end_of_work(window: Window | None, opening: Opening, now: datetime, work_s: float) -> datetime:
    """When `work_s` seconds of work will be done, in `opening` and in the window's later openings."""
    begins, left = max(now, opening.opens_at), timedelta(seconds=min(work_s, 10 * 365 * 86_400.0))
    if window is None or opening.closes_at is None or begins + left <= opening.closes_at:
        return begins + left
    left -= max(opening.closes_at - begins, timedelta())
    for later in window.openings(opening.closes_at):
        assert later.closes_at is not None
        if later.opens_at < opening.closes_at:
            continue
        if later.opens_at + left <= later.closes_at:
            return later.opens_at + left
        left -= later.closes_at - later.opens_at
    raise AssertionError("a window opens again and again")


def instant_of(local: datetime, zone: ZoneInfo) -> datetime:
    """The first instant, in UTC, at which the clocks of `zone` show the naive `local`, or the instant of the jump over it."""
    before, after = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return _jump(after, before, zone)  # only of a time that the clocks jump over is `after` the earlier


def _jump(early: datetime, late: datetime, zone: ZoneInfo) -> datetime:
    """The instant in (early, late] since which the zone has had the offset that it has at `late`; else `late`."""
    offset = late.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + timedelta(seconds=(late - early) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            late = middle
        else:
            early = middle
    return late


@cache
def zone_named(name: str) -> ZoneInfo:
    """The time zone of this name, as stored. Raises WindowInvalid."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise WindowInvalid(NO_ZONE) from error


def iana_zone(name: str) -> ZoneInfo:
    """The IANA time zone of this name, as given by a caller. Raises WindowInvalid.

    Names that mean a different zone on each machine, such as localtime, are refused.
    """
    if name not in _iana_names():
        raise WindowInvalid(NO_ZONE)
    return zone_named(name)


@cache
def _iana_names() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime", "posixrules", "Factory"}
