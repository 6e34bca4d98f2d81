"""GET /v1/jobs/{id}/text: a text while a job writes it, as server-sent events.

A reader that comes back says how much it has, and gets the rest. What an attempt that was lost had written is taken back. No
transaction stays open between two reads.
"""

import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from flask import Blueprint, Response, request
from pydantic_core import to_json

from service.accounts import Scope
from service.api.http import event_streams, parameters
from service.api.http.event_streams import KEEP_ALIVE_S, KEPT_ALIVE, MEDIA
from service.api.http.operations import operation
from service.api.http.requests import NoQuery, preferred_wait_s, query_as
from service.api.jobs import examples
from service.api.services import Services
from service.errors import HeaderInvalid, ServiceError
from service.jobs.partial_texts import Progress
from service.lifecycle import ENDED_STATES, JobState

REREAD_S = 0.25  # as often as a worker stores what it has written
REREAD_UNSTARTED_S = 1.0
ENDED = "ended"
PLACE = re.compile(r"([0-9]{1,18})-([0-9]{1,9})-([0-9a-f]{8})")


@dataclass(frozen=True)
class Seen:
    """What a reader has of a text: so many characters, with their CRC-32, of what was written under a fence."""

    fence: int = 0
    length: int = 0
    check: int = 0

    @classmethod
    def of(cls, fence: int, text: str) -> Self:
        """All of a text."""
        return cls(fence, len(text), zlib.crc32(text.encode()))

    @classmethod
    def read(cls, place: str) -> Self:
        """What the id of a message says. Raises HeaderInvalid."""
        found = PLACE.fullmatch(place)
        if found is None:
            raise HeaderInvalid("Last-Event-ID takes the id of an event, as the stream of the job gave it.")
        return cls(int(found[1]), int(found[2]), int(found[3], 16))

    def __str__(self) -> str:
        return f"{self.fence}-{self.length}-{self.check:08x}"

    def is_beginning_of(self, progress: Progress) -> bool:
        """Whether the reader lacks only what follows."""
        return not self.length or self == Seen.of(progress.fence, progress.text[: self.length])


def news(seen: Seen, progress: Progress) -> tuple[Seen, str]:
    """The messages for a reader that has `seen` so much, and what it has seen then."""
    told = ""
    if not seen.is_beginning_of(progress):
        seen = Seen()
        told = event_streams.message(seen, "text.discarded", "{}")
    if more := progress.text[seen.length :]:
        seen = Seen.of(progress.fence, progress.text)
        told += event_streams.message(seen, "text.appended", to_json({"text": more}).decode())
    if progress.state in ENDED_STATES:
        ending = {"state": progress.state, "abstained": progress.abstained}
        told += event_streams.message(ENDED, f"job.{progress.state}", to_json(ending).decode())
    return seen, told


def blueprint(services: Services) -> Blueprint:
    """The route of texts."""
    routes = Blueprint("job_texts", __name__, url_prefix="/v1/jobs/<uuid:job_id>/text")

    @routes.get("")
    @operation(
        "Follow a text while it is written",
        example=examples.TEXT,
        scope=Scope.JOBS_READ,
        answers={200: MEDIA, 204: ""},
        parameters=(parameters.LAST_PIECE_ID, parameters.PREFER_STREAM),
        problems=(400, 404, 422),
    )
    def follow(job_id: UUID) -> Response:
        """A job's text in pieces until the job has ended; 204 to a reader that has seen the end."""
        principal = services.auth.principal(Scope.JOBS_READ)
        query_as(NoQuery)
        longest_s = services.settings.max_wait_s
        until = time.monotonic() + preferred_wait_s(longest_s, without_s=longest_s)
        last = request.headers.get("Last-Event-ID")
        seen = Seen() if last in {None, ENDED} else Seen.read(str(last))
        progress = services.desk.progress(principal, job_id, recorded=False)
        if last == ENDED and progress.state in ENDED_STATES:
            return Response(status=204)
        stream = TextStream(services, principal.tenant_id, job_id, seen, until=until)
        return event_streams.streamed(stream.run(progress), services.turns)

    return routes


class TextStream:
    """One reader of a text, until the job has ended, its time is over, its key is revoked or it disconnects."""

    def __init__(
        self, services: Services, tenant_id: UUID, job_id: UUID, seen: Seen, *, until: float
    ) -> None:
        self._services = services
        self._tenant_id = tenant_id
        self._job_id = job_id
        self._seen = seen
        self._until = until
        self._recorded = False

    def run(self, progress: Progress) -> Iterator[bytes]:
        """The stream's bytes, beginning with this progress. When too many requests wait already, it ends with that."""
        with self._services.waiting.place(self._tenant_id) as placed:
            yield f"{event_streams.opening(placed=placed)}\n".encode()
            try:
                yield from self._follow(progress, wait=placed)
            except ServiceError:  # Postgres is unavailable, or the key has ended: the next connection says so
                return

    def _follow(self, progress: Progress, *, wait: bool) -> Iterator[bytes]:
        told_at = time.monotonic()
        with self._services.waiting.listening(str(self._job_id)) as ended:
            while True:
                self._recorded = self._recorded or bool(progress.text)
                self._seen, told = news(self._seen, progress)
                now = time.monotonic()
                if not told and now - told_at >= KEEP_ALIVE_S:
                    told = f"{KEPT_ALIVE}\n"
                if told:
                    told_at = now
                    yield told.encode()
                left_s = self._until - now
                if progress.state in ENDED_STATES or not wait or left_s <= 0:
                    return
                pause_s = REREAD_S if progress.state is JobState.RUNNING else REREAD_UNSTARTED_S
                if ended.wait(min(pause_s, left_s)):
                    ended.clear()
                progress = self._read()

    def _read(self) -> Progress:
        """The progress, if the key is still good. The first reading of a text is recorded."""
        principal = self._services.auth.principal(Scope.JOBS_READ)
        return self._services.desk.progress(principal, self._job_id, recorded=self._recorded)
