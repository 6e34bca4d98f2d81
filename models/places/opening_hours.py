"""Opening hours in the common part of OpenStreetMap's syntax, such as "Mo-Fr 08:00-18:00; Sa 09:00-12:00" or "24/7".

Rules are separated by semicolons, and a later one replaces an earlier one on its days. Public and school holidays are read
over, as nobody tells when they are. Months, weeks, sunrise and comments are not understood: such hours count as unknown.
Days without a rule are closed beside others with hours. The specification does not say so; rules that only close some days, as
"Mo off" alone, suggest hours on the others that are not told, so they count as unknown too.
Source: the specification at https://wiki.openstreetmap.org/wiki/Key:opening_hours/specification.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAY: Final = 24 * 60
WEEK: Final = 7 * DAY
_SHORT: Final = tuple(day[:2] for day in DAYS)
_HOLIDAYS: Final = frozenset(("PH", "SH"))
_RULE: Final = re.compile(
    r"^(?P<days>[A-Z][a-zH](?:\s*[-,]\s*[A-Z][a-zH])*)?\s*:?\s*(?P<times>[0-9].*|off|closed|)$"
)
_TIMES: Final = re.compile(r"^(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})$")
Span = tuple[int, int]  # minutes


@dataclass(frozen=True)
class Schedule:
    """When a place is open: spans of minutes of the week, from Monday 00:00, sorted, apart; all within [0, WEEK)."""

    spans: tuple[Span, ...]

    def is_open(self, minute: int) -> bool:
        """Whether it is open in this minute of the week."""
        return any(start <= minute < end for start, end in self.spans)

    def words(self, minute: int) -> str:
        """Such as "open until 18:00" or "closed, opens Monday 08:00", in this minute of the week."""
        if self.spans == ((0, WEEK),):
            return "open at all hours"
        if not self.spans:
            return "closed on all days"
        for start, end in self.spans:
            if start <= minute < end:
                return f"open until {_clock(self._end(end), minute)}"
        opens = next((start for start, _ in self.spans if start > minute), self.spans[0][0])
        return f"closed, opens {_clock(opens, minute)}"

    def _end(self, end: int) -> int:
        """The end of a span, which goes on after Sunday's midnight if one begins there."""
        return self.spans[0][1] if end == WEEK and self.spans[0][0] == 0 else end


def minute_of_week(local: datetime) -> int:
    """The minute of the week of a local time, from Monday 00:00."""
    return local.weekday() * DAY + local.hour * 60 + local.minute


def read_hours(text: str) -> Schedule | None:
    """The schedule of a text; None if it is not understood, or not whole."""
    days: list[list[Span]] = [[] for _ in DAYS]
    told: set[int] = set()
    for rule in filter(None, (part.strip() for part in text.split(";"))):
        found = _read_rule(rule)
        if found is None:
            return None
        chosen, spans = found
        told.update(chosen)
        for day in chosen:
            days[day] = [(day * DAY + start, day * DAY + end) for start, end in spans]
    whole = _joined([span for spans in days for span in spans])
    return Schedule(whole) if whole or len(told) == len(DAYS) else None


def _read_rule(rule: str) -> tuple[list[int], list[Span]] | None:
    """The days of a rule, from 0 for Monday, and its spans of minutes of a day; those that pass midnight end after DAY."""
    if rule == "24/7":
        return list(range(7)), [(0, DAY)]
    matched = _RULE.match(rule)
    if matched is None or not (matched["days"] or matched["times"]):
        return None
    days = _days(matched["days"]) if matched["days"] else list(range(7))
    spans = [(0, DAY)] if not matched["times"] else _spans(matched["times"])
    return None if days is None or spans is None else (days, spans)


def _days(text: str) -> list[int] | None:
    found: list[int] = []
    for part in re.split(r"\s*,\s*", text):
        if part in _HOLIDAYS:
            continue
        first, _, last = (each.strip() for each in part.partition("-"))
        if first not in _SHORT or (last and last not in _SHORT):
            return None
        start, end = _SHORT.index(first), _SHORT.index(last or first)
        found += [day % 7 for day in range(start, end + 1 if end >= start else end + 8)]
    return found


def _spans(text: str) -> list[Span] | None:
    if text in {"off", "closed"}:
        return []
    found: list[Span] = []
    for part in text.split(","):
        matched = _TIMES.match(part.strip())
        if matched is None:
            return None
        hours, minutes, last_hours, last_minutes = map(int, matched.groups())
        start, end = hours * 60 + minutes, last_hours * 60 + last_minutes
        if minutes > 59 or last_minutes > 59 or start >= DAY or end > 2 * DAY or start == end:
            return None
        found.append((start, end if end > start else end + DAY))
    return found


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The spans within one week, those that touch or overlap as one."""
    found: list[Span] = []
    parts = [
        part
        for start, end in spans
        for part in ((start, min(end, WEEK)), (0, end - WEEK))
        if part[1] > part[0]
    ]
    for start, end in sorted(parts):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def _clock(minute: int, now: int) -> str:
    """A time of the week, with its day unless it is in the day of `now`; the midnight that ends a day is its 24:00."""
    today = now // DAY
    if minute == (today + 1) * DAY:
        return "24:00"
    day, rest = divmod(minute % WEEK, DAY)
    time = f"{rest // 60:02}:{rest % 60:02}"
    return time if day == today and minute > now else f"{DAYS[day]} {time}"
