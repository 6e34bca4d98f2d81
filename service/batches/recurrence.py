"""When a schedule runs and which source it means, as pure functions. Knows no database.

Cron expressions are read by cronsim, which follows Debian's cron on the nights when clocks change: a run whose time does
not exist comes right after the jump, one whose time exists twice comes once. (croniter runs the latter twice.)
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from service.errors import ScheduleInvalid

DATE = "{date}"
LONGEST = 100


def next_run(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first time of a cron expression of five fields behind the aware `after`, in UTC. Raises ScheduleInvalid."""
    return _step(cron, after.astimezone(zone), reverse=False)


def latest_run(cron: str, zone: ZoneInfo, now: datetime) -> datetime:
    """The last time of a cron expression at or before the aware `now`, in UTC. Raises ScheduleInvalid."""
    following = next_run(cron, zone, now)
    return _step(cron, following.astimezone(zone), reverse=True)


def _step(cron: str, start: datetime, *, reverse: bool) -> datetime:
    if len(cron) > LONGEST or len(cron.split()) != 5:
        raise ScheduleInvalid
    try:
        return next(CronSim(cron, start, reverse=reverse)).astimezone(UTC)
    except (CronSimError, StopIteration) as error:
        raise ScheduleInvalid from error


def filled(pattern: str, run_at: datetime, zone: ZoneInfo) -> str:
    """A source pattern with `{date}` as the zone's date (YYYY-MM-DD) of the run. Raises ScheduleInvalid on other braces."""
    plain = pattern.replace(DATE, "")
    if "{" in plain or "}" in plain:
        raise ScheduleInvalid("A source pattern may hold {date} and no other braces.")
    return pattern.replace(DATE, run_at.astimezone(zone).date().isoformat())
