"""When a schedule runs and which source it reads, as pure functions without a database.

cronsim parses the expressions and finds the matching times of a clock that is never changed. How they map to a time zone
is decided here, as in Debian's cron when clocks change:

* An expression of fixed times (neither minutes nor hours begin with `*`) runs once for each of them: at the first
  occurrence of a time that the clock shows twice, at the jump if the clock skips the time. A day that the zone skips has
  no runs.
* An expression with minutes or hours that begin with `*` runs whenever the clock shows a matching time: twice in an hour
  that is repeated, never in one that is skipped.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from service.batches.windows import instant_of
from service.errors import ScheduleInvalid

DATE = "{date}"
LONGEST = 100
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def next_run(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first time of a cron expression of five fields after the aware `after`, in UTC. Raises ScheduleInvalid."""
    set_back = _set_back(zone, after, after + DAY)
    runs = _instants(cron, zone)
    best: datetime | None = None
    for wall_time in _clock_times(cron, _clock(zone, after) - set_back, reverse=False):
        found = [instant for instant in runs(wall_time) if instant > after]
        best = min([*found, best] if best else found, default=None)
        if best and wall_time >= _clock(zone, best) + set_back:
            return best
    raise ScheduleInvalid


def latest_run(cron: str, zone: ZoneInfo, now: datetime) -> datetime:
    """The last time of a cron expression at or before the aware `now`, in UTC. Raises ScheduleInvalid."""
    set_back = _set_back(zone, now - DAY, now)
    runs = _instants(cron, zone)
    best: datetime | None = None
    for wall_time in _clock_times(cron, _clock(zone, now) + set_back + SECOND, reverse=True):
        found = [instant for instant in runs(wall_time) if instant <= now]
        best = max([*found, best] if best else found, default=None)
        if best and wall_time <= _clock(zone, best) - set_back:
            return best
    raise ScheduleInvalid


def scheduled_time(cron: str, zone: ZoneInfo, run_at: datetime) -> datetime:
    """The local time in `zone` that the expression gives for the run at `run_at`; the clock may have skipped it."""
    runs = _instants(cron, zone)
    local = _clock(zone, run_at)
    candidates = takewhile(
        lambda wall_time: wall_time > local - 2 * DAY, _clock_times(cron, local + SECOND, reverse=True)
    )
    meant = next((wall_time for wall_time in candidates if run_at in runs(wall_time)), local)
    return meant.replace(tzinfo=zone)


def filled(pattern: str, run_at: datetime, zone: ZoneInfo) -> str:
    """Fill in a source pattern: `{date}` is the zone's date (YYYY-MM-DD) of the run. Raises ScheduleInvalid on other braces."""
    plain = pattern.replace(DATE, "")
    if "{" in plain or "}" in plain:
        raise ScheduleInvalid("A source pattern may contain {date} and no other braces.")
    return pattern.replace(DATE, run_at.astimezone(zone).date().isoformat())


def _clock_times(cron: str, start: datetime, *, reverse: bool) -> Iterator[datetime]:
    """The times of an expression after the naive `start`, or before it, on a clock that is never changed."""
    if len(cron) > LONGEST or len(cron.split()) != 5:
        raise ScheduleInvalid
    try:
        yield from CronSim(cron, start, reverse=reverse)
    except (CronSimError, OverflowError) as error:
        raise ScheduleInvalid from error


def _instants(cron: str, zone: ZoneInfo) -> Callable[[datetime], tuple[datetime, ...]]:
    """A function from a wall time to the instants in UTC (up to two) at which an expression runs for it."""
    minutes, hours, *_ = [*cron.split(), "", ""]
    at_every = minutes.startswith("*") or hours.startswith("*")
    return lambda wall_time: _whenever(wall_time, zone) if at_every else _once(wall_time, zone)


def _whenever(wall_time: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    both = {wall_time.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return tuple(instant for instant in both if _clock(zone, instant) == wall_time)


def _once(wall_time: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    return () if _is_left_out(wall_time, zone) else (instant_of(wall_time, zone),)


def _is_left_out(wall_time: datetime, zone: ZoneInfo) -> bool:
    """Whether the zone skips this day, as Pacific/Apia skipped 30 December 2011."""
    midnight = datetime.combine(wall_time.date(), time())
    return instant_of(midnight, zone) == instant_of(midnight + DAY, zone)


def _set_back(zone: ZoneInfo, since: datetime, until: datetime) -> timedelta:
    """By how much clocks were set back in between."""
    offsets = [instant.astimezone(zone).utcoffset() or timedelta() for instant in (since, until)]
    return max(offsets[0] - offsets[1], timedelta())


def _clock(zone: ZoneInfo, instant: datetime) -> datetime:
    """The local time in a zone, naive, to the second."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0, microsecond=0)
