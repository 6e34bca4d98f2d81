"""The results and errors of a batch as files: streamed frame by frame, whole or a range, each reading recorded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from service import audit
from service.accounts import Principal, Scope
from service.api.http.downloads import StoredFile, file_headers, streamed
from service.api.http.downloads import respond as respond_with
from service.api.http.ranges import ByteRange
from service.api.http.requests import query_as
from service.api.services import Services
from service.audit import Action
from service.batches import output, queries
from service.batches.files.output_names import OutputFormat
from service.batches.files.parts import PartStore
from service.batches.files.plans import read_head
from service.batches.keys import open_layout, part_cipher
from service.batches.opening import open_request
from service.batches.output import OutputKind
from service.batches.queries import FinishedChunk, StoredOutput
from service.batches.requests import BatchRequest
from service.errors import OutputIncomplete, OutputNotReady, TransitionRefused
from service.lifecycle import ENDED_BATCH_STATES

MEDIA = {
    OutputFormat.NDJSON: "application/x-ndjson",
    OutputFormat.PARQUET: "application/vnd.apache.parquet",
    OutputFormat.CSV: "text/csv",
}
PAGE_CHUNKS = 1000
NOTHING_SCORED = "The batch ended before its source was validated: there is nothing to read."


class OutputQuery(BaseModel):
    """Query of a file of a batch."""

    model_config = ConfigDict(extra="forbid")

    partial: bool = Field(
        False, description="Return what the finished chunks hold, when the batch ended without completing."
    )


@dataclass(frozen=True)
class _Asked:
    """One file of one batch, and who asks for it."""

    services: Services
    principal: Principal
    batch_id: UUID
    kind: OutputKind
    stored: StoredOutput
    request: BatchRequest

    @property
    def name(self) -> str:
        """The name under which it is saved."""
        return f"{self.batch_id}.{self.kind}.{self.request.output}"

    def store(self) -> PartStore:
        """The parts of the batch. Raises PayloadUnreadable."""
        cipher = part_cipher(
            self.principal.cipher, self.principal.tenant_id, self.batch_id, self.stored.data_key
        )
        return PartStore(self.services.blobs, cipher, self.principal.tenant_id, self.batch_id)

    def chunks(self) -> list[FinishedChunk]:
        """All finished chunks, in input order. Those of a batch that has ended no longer change."""
        found: list[FinishedChunk] = []
        while True:
            after = found[-1].number if found else -1
            with self.services.database.statement() as work:
                page = queries.finished_chunks(work, self.batch_id, after=after, limit=PAGE_CHUNKS)
            found += page
            if len(page) < PAGE_CHUNKS:
                return found

    def record(self, detail: dict[str, Any]) -> None:
        """Record the reading in the batch's trail, before the first byte is sent."""
        with self.services.database.statement() as work:
            audit.append(
                *(work, Action.BATCH_OUTPUT_READ),
                actor=self.principal.actor,
                tenant_id=self.principal.tenant_id,
                batch_id=self.batch_id,
                detail={"file": self.kind.value} | detail,
            )


def respond(services: Services, batch_id: UUID, kind: OutputKind) -> Response:
    """Answer a request for one of the files of a batch.

    Raises BatchNotFound, OutputNotReady, OutputIncomplete, RangeUnsatisfiable and what reading raises.
    """
    principal = services.auth.principal(Scope.JOBS_READ)
    partial = query_as(OutputQuery).partial
    with services.database.statement() as work:
        stored = queries.stored_output(work, principal, batch_id)
    opened = open_request(principal.cipher, principal.tenant_id, batch_id, stored.request)
    asked = _Asked(services, principal, batch_id, kind, stored, BatchRequest.from_json(opened))
    table = stored.results if kind is OutputKind.RESULTS else stored.errors
    if table is not None:
        return services.downloads.held(principal, lambda: _whole(asked, table))
    if stored.state not in ENDED_BATCH_STATES:
        raise OutputNotReady
    if not partial:
        raise OutputIncomplete
    return services.downloads.held(principal, lambda: _partial(asked))


def _whole(asked: _Asked, table: dict[str, Any]) -> Response:
    """The joined file of a completed batch, or the part of it that the request's headers ask for."""
    file = StoredFile(asked.name, MEDIA[asked.request.output], table["size_bytes"], table["sha256"])

    def opened(detail: dict[str, str]) -> Callable[[int, int], Iterator[bytes]]:
        made = output.file_of(asked.store(), asked.chunks(), asked.kind, table)
        asked.record(detail)
        return made.read

    return respond_with(file, opened)


def _partial(asked: _Asked) -> Response:
    """What the finished chunks make of a batch that will not be completed. Raises TransitionRefused where none could be."""
    from service.batches.files.outputs import errors_schema, results_schema

    if asked.stored.layout is None:
        raise TransitionRefused(NOTHING_SCORED)
    principal = asked.principal
    head = open_layout(principal.cipher, principal.tenant_id, asked.batch_id, asked.stored.layout)
    layout, _ = read_head(head)
    pipeline = asked.services.catalog.version(asked.stored.model_version_id).pipeline
    schema = results_schema(layout, pipeline) if asked.kind is OutputKind.RESULTS else errors_schema(layout)
    file = output.partial_file_of(asked.store(), asked.chunks(), asked.kind, asked.request.output, schema)
    headers = file_headers(asked.name, MEDIA[asked.request.output]) | {"Medqueue-Partial": "true"}
    wanted = ByteRange(0, file.size_bytes, file.size_bytes)
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(file.size_bytes)})
    asked.record({"partial": True})
    return streamed(file.read, wanted, 200, headers)
