"""The rule that ranks places, in whole metres: the distance, more for what is closed or unknown, less for earlier visits.

Where two places are equal, the first of the file comes first. Exact for any number of places: the chords through the Earth,
which are quick to compute and nearly as long, choose those whose distances are computed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from models.lazy import np
from models.places.distance import chords_m, metres_from, on_sphere
from models.places.files import Place
from models.places.opening_hours import Schedule, read_hours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

FARTHEST_KM: Final = 200.0
_SHORTER: Final = 10.0  # metres: a chord of FARTHEST_KM is less than this shorter than the way over ground, rounding included
_LONGER: Final = 1.0  # metres: what rounding makes of a short one


class Urgency(StrEnum):
    """How soon somebody must be seen."""

    ROUTINE = "routine"
    URGENT = "urgent"
    EMERGENCY = "emergency"


@dataclass(frozen=True)
class Weights:
    """What the rule adds to a distance, in metres."""

    closed: int = 5_000
    closed_urgent: int = 20_000
    hours_unknown: int = 2_000
    visit: int = 1_000  # taken off for each of at most `most_visits` earlier visits
    most_visits: int = 3
    emergency_unknown: int = 30_000


@dataclass(frozen=True)
class Wanted:
    """What is looked for. `minute` is that of the week, local; None if the time is not known. `visits` by id of the place.

    Places that are `only` for one of `not_for` are not for the patient.
    """

    kind: str
    service: str
    latitude: float
    longitude: float
    urgency: Urgency = Urgency.ROUTINE
    minute: int | None = None
    visits: Mapping[str, int] = field(default_factory=dict)
    not_for: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ranked:
    """A place, how far it is, and what it is ranked by."""

    place: Place
    metres: int
    cost: int
    schedule: Schedule | None


@dataclass(frozen=True)
class Found:
    """The first places, and how many of the kind lie within the distance at all, also those that were ruled out."""

    ranked: tuple[Ranked, ...]
    within: int


class Places:
    """Places by kind, ready to be ranked. Immutable."""

    def __init__(self, places: Sequence[Place], weights: Weights, within_km: float) -> None:
        if not 0 < within_km <= FARTHEST_KM:
            raise ValueError(f"within_km must be above 0 and at most {FARTHEST_KM:g}")
        self.by_id: Final = {place.id: place for place in places}
        self.weights: Final = weights
        self.within_m: Final = round(within_km * 1000)
        of_kind: dict[str | None, list[Place]] = {}
        for place in places:
            of_kind.setdefault(place.kind, []).append(place)
        self._of_kind = {kind: _Group(each) for kind, each in of_kind.items()}

    def find(self, wanted: Wanted, most: int) -> Found:
        """At most `most` places, the best first."""
        group = self._of_kind.get(wanted.kind)
        if group is None:
            return Found((), 0)
        return group.find(wanted, most, self.weights, self.within_m)

    def number(self, kind: str) -> int:
        """How many places of a kind there are anywhere."""
        group = self._of_kind.get(kind)
        return 0 if group is None else len(group)

    def number_within(self, kind: str | None, latitude: float, longitude: float) -> int:
        """How many places of a kind lie within the distance; those of None have an unknown one."""
        group = self._of_kind.get(kind)
        return 0 if group is None else len(group.within(latitude, longitude, self.within_m)[0])


class _Group:
    """The places of one kind, as columns."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._row = {place.id: row for row, place in enumerate(places)}
        self._latitudes = np.array([place.latitude for place in places], np.float64)
        self._longitudes = np.array([place.longitude for place in places], np.float64)
        self._points = on_sphere(self._latitudes, self._longitudes)
        self._emergency = np.array([_as_number(place.emergency) for place in places], np.int8)
        texts, self._schedule_of = _numbered([place.opening_hours for place in places])
        self._schedules = [None if text is None else read_hours(text) for text in texts]
        self._hours = _Hours(self._schedules)
        self._services, self._services_of = _numbered([place.services for place in places])
        self._only, self._only_of = _numbered([place.only for place in places])

    def __len__(self) -> int:
        return len(self._places)

    def within(self, latitude: float, longitude: float, most_m: int) -> tuple[Ints, Floats]:
        """The rows of the places within a distance, and of a few behind it, and their chords."""
        chords = chords_m(self._points, on_sphere(latitude, longitude))
        rows = np.flatnonzero(chords <= most_m + _LONGER)
        far = rows[chords[rows] > most_m - _SHORTER]
        if len(far):  # at the border the chord does not decide
            beyond = far[self._metres(latitude, longitude, far) > most_m]
            rows = rows[~np.isin(rows, beyond)]
        return rows, chords[rows]

    def find(self, wanted: Wanted, most: int, weights: Weights, within_m: int) -> Found:
        """See Places."""
        rows, chords = self.within(wanted.latitude, wanted.longitude, within_m)
        kept = self._allowed(wanted, rows)
        number, rows, chords = len(rows), rows[kept], chords[kept]
        added = self._added(wanted, rows, weights)
        if len(rows) > most > 0:
            about = chords + added
            last = np.partition(about, most - 1)[most - 1]
            near = about <= last + _SHORTER + _LONGER
            rows, added = rows[near], added[near]
        metres = self._metres(wanted.latitude, wanted.longitude, rows)
        costs = metres + added
        best = np.lexsort((rows, costs))[:most].tolist()
        return Found(tuple(self._ranked(int(rows[i]), int(metres[i]), int(costs[i])) for i in best), number)

    def _metres(self, latitude: float, longitude: float, rows: Ints) -> Ints:
        return metres_from(latitude, longitude, self._latitudes[rows], self._longitudes[rows])

    def _allowed(self, wanted: Wanted, rows: Ints) -> NDArray[np.bool_]:
        """Which may be named: not those for others, nor known to lack the service or, in an emergency, the department."""
        allowed = np.array([each not in wanted.not_for for each in self._only], np.bool_)[self._only_of[rows]]
        if wanted.urgency is Urgency.EMERGENCY:
            allowed &= self._emergency[rows] != 0
        if wanted.service != wanted.kind:
            told = np.array([not each or wanted.service in each for each in self._services], np.bool_)
            allowed &= told[self._services_of[rows]]
        return allowed

    def _added(self, wanted: Wanted, rows: Ints, weights: Weights) -> Ints:
        """The metres that are added to the distance of each row."""
        if wanted.urgency is Urgency.EMERGENCY:
            return np.where(self._emergency[rows] < 0, weights.emergency_unknown, 0).astype(np.int64)
        added = np.zeros(len(rows), np.int64)
        if wanted.minute is not None:
            closed = weights.closed_urgent if wanted.urgency is Urgency.URGENT else weights.closed
            costs = np.where(self._hours.open_at(wanted.minute), 0, closed)
            added += np.where(self._hours.known, costs, weights.hours_unknown)[self._schedule_of[rows]]
        for place, visits in wanted.visits.items():
            if (row := self._row.get(place)) is not None:
                at = np.searchsorted(rows, row)
                if at < len(rows) and rows[at] == row:
                    added[at] -= weights.visit * min(visits, weights.most_visits)
        return added

    def _ranked(self, row: int, metres: int, cost: int) -> Ranked:
        return Ranked(self._places[row], metres, cost, self._schedules[self._schedule_of[row]])


class _Hours:
    """The spans of schedules as columns, so that many are looked up at once."""

    def __init__(self, schedules: Sequence[Schedule | None]) -> None:
        spans = [
            (row, *span) for row, each in enumerate(schedules) if each is not None for span in each.spans
        ]
        self._of, self._starts, self._ends = np.array(spans, np.int64).reshape(-1, 3).T
        self.known = np.array([each is not None for each in schedules], np.bool_)

    def open_at(self, minute: int) -> NDArray[np.bool_]:
        """Which are known to be open in this minute of the week, bool [schedules]."""
        found = np.zeros(len(self.known), np.bool_)
        found[self._of[(self._starts <= minute) & (minute < self._ends)]] = True
        return found


Value = TypeVar("Value", bound=Hashable)


def _numbered(values: Sequence[Value]) -> tuple[list[Value], Ints]:
    """The different values, and for each place the number of its own, int64 [N]."""
    numbers: dict[Value, int] = {}
    of = np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)
    return list(numbers), of


def _as_number(emergency: bool | None) -> int:
    return -1 if emergency is None else int(emergency)
