"""/v1/events: the tenant's published events as they happen, as server-sent events (HTML Standard, 9.2).

A stream ends after a while and its reader resumes it, so that no connection is held forever and no event is missed.
No transaction stays open between two reads.
"""

import re
import time
from collections.abc import Iterator
from typing import Annotated
from uuid import UUID

from flask import Blueprint, Response, request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from service.accounts import Principal, Scope
from service.api.http import event_streams, parameters
from service.api.http.event_streams import KEEP_ALIVE_S, KEPT_ALIVE, MEDIA
from service.api.http.examples import AT, ID
from service.api.http.operations import operation
from service.api.http.requests import preferred_wait_s, query_as
from service.api.services import Services
from service.desk.waiting import REREAD_S
from service.errors import HeaderInvalid, ServiceError
from service.lifecycle import PUBLISHED_ACTIONS
from service.webhooks import feed
from service.webhooks.feed import Place
from service.webhooks.messages import Event

PAGE = 100
AGAIN_S = 0.25  # after an announcement without an event: an older transaction may still hold it back
CATCH_UP_S = 10.0  # past its time, for a reader that is behind
PACE_S = 0.1  # between two reads: announcements may come by the thousand

ONE_TYPE = "|".join(re.escape(name) for name in PUBLISHED_ACTIONS)
TYPES = re.compile(rf"({ONE_TYPE})(,({ONE_TYPE}))*")
PLACE = re.compile(r"@([0-9]{1,18})")
EXAMPLE = (
    "retry: 1000\nid: @73114\n\n"
    f'id: {ID}\nevent: job.succeeded\ndata: {{"type":"job.succeeded","timestamp":"{AT}","data":{{...}}}}\n\n'
)
PLACE_OR_ID = r"^(@[0-9]{1,18}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"


def _listed(types: str) -> str:
    if not TYPES.fullmatch(types):
        raise ValueError(f"list some of {', '.join(PUBLISHED_ACTIONS)}, separated by commas")
    return types


class FeedQuery(BaseModel):
    """Which events to follow."""

    model_config = ConfigDict(extra="forbid")

    types: (
        Annotated[
            str, AfterValidator(_listed), WithJsonSchema({"type": "string", "pattern": f"^{TYPES.pattern}$"})
        ]
        | None
    ) = Field(None, description="Event types, separated by commas; all if omitted.")


def blueprint(services: Services) -> Blueprint:
    """The route of the feed."""
    routes = Blueprint("events", __name__, url_prefix="/v1/events")

    @routes.get("")
    @operation(
        "Follow events",
        example=EXAMPLE,
        scope=Scope.JOBS_READ,
        answers={200: MEDIA},
        problems=(400, 404, 422),
        parameters=(*parameters.of_query(FeedQuery), parameters.LAST_EVENT_ID, parameters.PREFER_STREAM),
    )
    def follow() -> Response:
        principal = services.auth.principal(Scope.JOBS_READ)
        query = query_as(FeedQuery)
        longest_s = services.settings.max_wait_s
        wait_s = preferred_wait_s(longest_s, without_s=longest_s)
        resumed = request.headers.get("Last-Event-ID")
        after = _start(services, principal, resumed)
        types = tuple(query.types.split(",")) if query.types else PUBLISHED_ACTIONS
        stream = Stream(services, principal, types, after, until=time.monotonic() + wait_s)
        return event_streams.streamed(stream.run(), services.turns)

    return routes


def _start(services: Services, principal: Principal, last: str | None) -> Place:
    """Where a stream begins: after what its reader has seen, or now. Raises HeaderInvalid or EventNotFound."""
    if last is not None and (place := PLACE.fullmatch(last)):
        return Place(int(place[1]), feed.NOWHERE)
    with services.database.statement() as work:
        return feed.end(work) if last is None else feed.place_of(work, principal, _event_id(last))


def _event_id(text: str) -> UUID:
    if not re.fullmatch(PLACE_OR_ID, text):
        raise HeaderInvalid("Last-Event-ID takes the id of an event, as the feed gave it.")
    return UUID(text)


class Stream:
    """One reader of the feed, until its time is over, its key is revoked or it disconnects."""

    def __init__(
        self, services: Services, principal: Principal, types: tuple[str, ...], after: Place, *, until: float
    ) -> None:
        self._services = services
        self._principal = principal
        self._types = types
        self._after = after
        self._until = until
        self._spoke = time.monotonic()

    def run(self) -> Iterator[bytes]:
        """The stream's bytes. When too many requests wait already, it ends with the events that there are."""
        with self._services.waiting.place(self._principal.tenant_id) as placed:
            yield self._told(f"{event_streams.opening(placed=placed)}{self._place()}\n")
            try:
                yield from self._follow(wait=placed)
            except ServiceError:  # Postgres is unavailable, or the key has ended: the next connection says so
                return

    def _follow(self, *, wait: bool) -> Iterator[bytes]:
        waiting, called = self._services.waiting, False
        while True:
            heard = waiting.announcements
            events = self._read()
            for event in events:
                yield self._told(self._message(event))
            now = time.monotonic()
            if len(events) == PAGE and now < self._until + CATCH_UP_S:
                continue
            if not wait or now >= self._until:
                return
            if now - self._spoke >= KEEP_ALIVE_S:
                yield self._told(f"{KEPT_ALIVE}{self._place()}\n")
            longest_s = AGAIN_S if called and not events else REREAD_S
            called = waiting.wait_for_news(heard, min(longest_s, self._until - now))
            if called:
                time.sleep(max(0.0, now + PACE_S - time.monotonic()))

    def _read(self) -> list[Event]:
        """The next events, if the key is still good."""
        services = self._services
        services.auth.principal(Scope.JOBS_READ)
        with services.database.statement() as work:
            events, self._after = feed.read(work, self._principal, self._after, types=self._types, limit=PAGE)
        return events

    def _message(self, event: Event) -> str:
        body = event.body(self._services.settings.public_location).decode()
        return event_streams.message(event.id, event.type, body)

    def _place(self) -> str:
        """A line that says where to resume, for a reader that has received no event yet."""
        return f"id: @{self._after.xact_id}\n" if self._after.event_id == feed.NOWHERE else ""

    def _told(self, text: str) -> bytes:
        self._spoke = time.monotonic()
        return text.encode()
