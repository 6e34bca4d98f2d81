"""Places for what a recommender of services ranks: `[parameters.places]`. See models.places for the rule that ranks them.

The file of places is read where cases are scored, and may have any size; that of services, which says what kind of place
has each of them, is read by the intake half, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from models.field_codes import FieldCode
from models.manifest import BundleRefused, Fault, ManifestTable, Text
from models.manifest_words import PATH
from models.pipelines.contract import FieldFault, ReadFile, pointer_to
from models.pipelines.item_catalogue import read_lines, unusable
from models.pipelines.place_types import PlacedInput, PlaceReason, PlaceSearchResult, RankedPlace
from models.pipelines.pregnancy import cannot_be_pregnant
from models.pipelines.side_files import SideFile
from models.places import FileUnusable, Found, Places, Ranked, Schedule, Urgency, Wanted, Weights, read_places
from models.places.opening_hours import minute_of_week
from models.places.ranking import FARTHEST_KM

_COLUMNS: Final = ("service", "display", "kind")
_YEARS: Final = range(2000, 2100)
_KM: Final = 1000
GROWN_UP: Final = 16.0  # years: up to his 16th birthday a patient is a child in the hospitals of both countries (NHS England)
_ONLY: Final = {"children": "children", "maternity": "births and women's diseases"}
Kilometres = Annotated[float, Field(ge=0, le=FARTHEST_KM)]


class PlaceWeights(ManifestTable):
    """The `[parameters.places.weights]` table: what the rule adds to a distance, or takes off."""

    closed_km: Kilometres = 5.0
    closed_urgent_km: Kilometres = 20.0
    hours_unknown_km: Kilometres = 2.0
    visit_km: Kilometres = 1.0
    most_visits: Annotated[int, Field(ge=0, le=100)] = 3
    emergency_unknown_km: Kilometres = 30.0

    def in_metres(self) -> Weights:
        """The same for the rule."""
        return Weights(
            closed=round(self.closed_km * _KM),
            closed_urgent=round(self.closed_urgent_km * _KM),
            hours_unknown=round(self.hours_unknown_km * _KM),
            visit=round(self.visit_km * _KM),
            most_visits=self.most_visits,
            emergency_unknown=round(self.emergency_unknown_km * _KM),
        )


class PlaceSearch(ManifestTable):
    """The `[parameters.places]` table."""

    file: str = Field("places.csv", pattern=PATH, description="the places")
    services: SideFile = "services.csv"
    time_zone: Text = Field(description="of the places, as the IANA database names it")
    within_km: float = Field(50.0, gt=0, le=FARTHEST_KM, description="how far a place may be")
    emergency: Text = Field(description="what to do first in an emergency")
    source: Text = Field(description="where the places are from, with the notice of their licence")
    listed: str = Field("", description="how many places of which kind the file has; callers are told")
    age: str | None = Field(None, description="the field of `context` with the age in years")
    sex: str | None = Field(None, description="the field of `context` with `female` and `male`")
    weights: PlaceWeights = Field(default_factory=PlaceWeights)

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("time_zone: write a name of the IANA database, such as Europe/London") from None
        return self

    def catalogue(self, read: ReadFile, items: Sequence[str]) -> Mapping[str, Service]:
        """The services by id, which must include all `items`. Raises SideFileUnusable."""
        found: dict[str, Service] = {}
        for number, line in read_lines(read(self.services), self.services, _COLUMNS, _COLUMNS):
            if line["service"] in found:
                raise unusable(self.services, f"line {number}: another line has this service")
            found[line["service"]] = Service(line["service"], line["display"], line["kind"])
        if lacking := [item for item in items if item not in found]:
            raise unusable(self.services, f"it lacks {', '.join(lacking[:5])}: add a line for each item")
        return found

    def service_field(self, services: Mapping[str, Service]) -> tuple[Any, Any]:
        """The type of the input's field for the service that is wanted, and its default."""
        words = "which places are wanted for; if omitted, the first recommended one"
        described = Field(title="Service", description=f"{words}. {self.listed}" if self.listed else words)
        return Annotated[Literal[tuple(services)] | None, described], None

    def faults(self, value: PlacedInput) -> Iterator[FieldFault]:
        """What is wrong with where, when and the visits."""
        has = {"latitude": value.latitude is not None, "longitude": value.longitude is not None}
        needing = [name for name, each in (("service", value.service), ("visits", value.visits)) if each]
        for name in (name for name, given in has.items() if not given and (any(has.values()) or needing)):
            detail = f"Send latitude and longitude, both: without them {' and '.join(needing) or 'one of them'} cannot be used."
            yield FieldFault(pointer_to(name), FieldCode.MISSING_FIELD, detail)
        if value.at is None:
            if value.visits:
                detail = "Send the time: without it nobody can tell whether visits are past."
                yield FieldFault("/at", FieldCode.MISSING_FIELD, detail)
            return
        if value.at.year not in _YEARS:
            detail = f"Send a time between {_YEARS[0]} and {_YEARS[-1]}."
            yield FieldFault("/at", FieldCode.OUT_OF_RANGE, detail)
            return
        yield from self._of_visits(value, self.local(value.at))

    def _of_visits(self, value: PlacedInput, local: datetime) -> Iterator[FieldFault]:
        seen = set()
        for place, visit in enumerate(value.visits):
            pointer = pointer_to("visits", str(place))
            if visit.date > local.date():
                detail = "This visit is after the time in `at`: send past visits alone, or correct the date."
                yield FieldFault(f"{pointer}/date", FieldCode.OUT_OF_RANGE, detail)
            if (visit.place, visit.date) in seen:
                yield FieldFault(
                    pointer, FieldCode.DOUBLED, "This visit stands in visits twice: send it once."
                )
            seen.add((visit.place, visit.date))

    def local(self, at: datetime) -> datetime:
        """A time as the clocks of the places show it."""
        return at.astimezone(ZoneInfo(self.time_zone))

    def open(self, folder: Path, services: Mapping[str, Service]) -> PlaceFinder:
        """The places of a bundle. Raises BundleRefused."""
        try:
            places = read_places((folder / self.file).read_bytes())
        except OSError:
            detail = "the bundle lacks this file: add it and seal the bundle"
            raise BundleRefused(Fault(self.file, "side_file_unusable", detail)) from None
        except FileUnusable as wrong:
            raise BundleRefused(Fault(self.file, "side_file_unusable", str(wrong))) from None
        return PlaceFinder(self, Places(places, self.weights.in_metres(), self.within_km), services)


@dataclass(frozen=True)
class Service:
    """What may be wanted, and the kind of place that has it."""

    id: str
    display: str
    kind: str


class PlaceFinder:
    """Finds places, and says why. One instance serves all threads."""

    def __init__(self, table: PlaceSearch, places: Places, services: Mapping[str, Service]) -> None:
        self._table = table
        self._places = places
        self._services = services

    def find(
        self, value: PlacedInput, recommended: str | None, most: int
    ) -> tuple[list[RankedPlace], PlaceSearchResult]:
        """The places for the service that is wanted, or else for the recommended one."""
        if value.latitude is None or value.longitude is None:
            return [], self._told(value, None, 0, "no coordinates were sent: send latitude and longitude")
        name = value.service or recommended
        if name is None:
            return [], self._told(value, None, 0, "no service is wanted and none is recommended: send one")
        service, visits = self._wanted(name, value), _Visits(value)
        wanted = Wanted(
            service.kind, service.id, value.latitude, value.longitude, Urgency(value.urgency),
            None if value.at is None else minute_of_week(self._table.local(value.at)), visits.counts,
            self._not_for(value),
        )  # fmt: skip
        found = self._places.find(wanted, most)
        words = _Words(service, wanted, visits)
        ranked = [words.place(rank, each) for rank, each in enumerate(found.ranked, start=1)]
        unknown = self._places.number_within(None, wanted.latitude, wanted.longitude)
        reason = None if ranked else self._none_because(wanted, service, found, most)
        return ranked, self._told(value, service, unknown, reason)

    def _not_for(self, value: PlacedInput) -> frozenset[str]:
        """Of which places that are for some patients alone this one is none."""
        age, sex = (getattr(value, name) if name else None for name in (self._table.age, self._table.sex))
        found = {"children"} if age is not None and age >= GROWN_UP else set()
        return frozenset(found | ({"maternity"} if cannot_be_pregnant(sex, age) else set()))

    def _wanted(self, name: str, value: PlacedInput) -> Service:
        """The service of a name; in an emergency that nobody asked for one in, any place of its kind."""
        service = self._services[name]
        if value.service is not None or Urgency(value.urgency) is not Urgency.EMERGENCY:
            return service
        kind = service.kind
        return self._services.get(kind, Service(kind, kind, kind))

    def unknown_visits(self, value: PlacedInput) -> list[str]:
        """The ids of visited places that are not in the file."""
        return [
            each for each in dict.fromkeys(v.place for v in value.visits) if each not in self._places.by_id
        ]

    def _told(
        self, value: PlacedInput, service: Service | None, unknown: int, reason: str | None
    ) -> PlaceSearchResult:
        return PlaceSearchResult(
            service=service.id if service else None,
            kind=service.kind if service else None,
            within_km=self._table.within_km,
            none_because=reason,
            listed=self._places.number(service.kind) if service else None,
            kind_unknown=unknown,
            first=self._table.emergency if Urgency(value.urgency) is Urgency.EMERGENCY else None,
            source=self._table.source,
        )

    def _none_because(self, wanted: Wanted, service: Service, found: Found, most: int) -> str:
        kind, distance = service.kind, f"{self._table.within_km:g} km"
        if not most:
            return "the job asked for no places"
        number = self._places.number(kind)
        if not number:
            return f"the list has no {kind} anywhere"
        if found.within:
            if not self._places.find(replace(wanted, not_for=frozenset()), 1).ranked:
                return self._lacking(wanted, service)
            return f"each {kind} within {distance} that is listed is for others alone, by age or sex"
        told = f"no {kind} within {distance} is listed, and {number:,} anywhere"
        if abs(wanted.longitude) <= 90 and self._places.number_within(
            kind, wanted.longitude, wanted.latitude
        ):
            return f"{told}; with latitude and longitude exchanged there would be some: check their order"
        return f"{told}: `source` may lack nearer ones, or the coordinates are wrong"

    def _lacking(self, wanted: Wanted, service: Service) -> str:
        lacking = "an emergency department" if wanted.urgency is Urgency.EMERGENCY else service.display
        return f"each {service.kind} within {self._table.within_km:g} km that is listed is known to lack {lacking}"


class _Visits:
    """Earlier visits by place: how many, and the last day."""

    def __init__(self, value: PlacedInput) -> None:
        self.counts: dict[str, int] = {}
        self.last: dict[str, str] = {}
        for visit in sorted(value.visits, key=lambda each: each.date):
            self.counts[visit.place] = self.counts.get(visit.place, 0) + 1
            self.last[visit.place] = visit.date.isoformat()


class _Words:
    """What is said of the places of one search."""

    def __init__(self, service: Service, wanted: Wanted, visits: _Visits) -> None:
        self._service = service
        self._wanted = wanted
        self._visits = visits
        self._is_emergency = wanted.urgency is Urgency.EMERGENCY
        self._is_special = service.id != service.kind  # not every place of its kind has it

    def place(self, rank: int, found: Ranked) -> RankedPlace:
        """A place with its reasons."""
        place, minute = found.place, self._wanted.minute
        known = None if found.schedule is None or minute is None else found.schedule.is_open(minute)
        return RankedPlace(
            rank=rank,
            id=place.id,
            name=place.name,
            kind=self._service.kind,
            address=place.address,
            phone=place.phone,
            latitude=place.latitude,
            longitude=place.longitude,
            distance_km=found.metres / _KM,
            ranked_by_km=found.cost / _KM,
            open=known,
            reasons=[PlaceReason(kind=kind, text=text) for kind, text in self._reasons(found)],
            unknown=list(self._unknown(found)),
        )

    def _reasons(self, found: Ranked) -> Iterator[tuple[Any, str]]:
        place, minute = found.place, self._wanted.minute
        yield "distance", f"{found.metres / _KM:.1f} km" if found.metres >= _KM else f"{found.metres} m"
        if place.emergency:
            yield "emergency", "has an emergency department"
        if self._service.id in place.services:
            yield "service", f"has {self._service.display}"
        if self._is_emergency:
            return
        if minute is not None and isinstance(found.schedule, Schedule):
            yield "hours", found.schedule.words(minute)
        if count := self._visits.counts.get(place.id):
            times = "once" if count == 1 else f"{count} times, last"
            yield "visits", f"visited {times} on {self._visits.last[place.id]}"

    def _unknown(self, found: Ranked) -> Iterator[str]:
        place = found.place
        if place.only is not None:
            yield f"by its name it is for {_ONLY[place.only]} alone: whether it takes this patient is not known"
        if self._is_special and not place.services:
            yield f"whether it has {self._service.display} is not known"
        if self._is_emergency:
            if place.emergency is None:
                yield "whether it has an emergency department is not known"
        elif found.schedule is None:
            written = place.opening_hours
            yield (
                "opening hours are not known"
                if written is None
                else f"opening hours are not understood: {written}"
            )
        elif self._wanted.minute is None:
            yield "whether it is open was not checked: send `at`"
