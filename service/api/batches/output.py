"""The results and errors of a batch as files: streamed frame by frame, whole or a range, each reading recorded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from service import audit
from service.accounts import Principal, Scope
from service.api.http.ranges import ByteRange, wanted_range
from service.api.http.requests import query_as
from service.api.services import Services
from service.audit import Action
from service.batches import output, queries
from service.batches.files.joins import JoinedFile
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
    """What is wanted of a batch that ended without completing."""

    model_config = ConfigDict(extra="forbid")

    partial: bool = Field(
        False, description="Give what the finished chunks hold, when the batch ended without completing."
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
    def headers(self) -> dict[str, str]:
        """What every answer with content says."""
        name = f"{self.batch_id}.{self.kind}.{self.request.output}"
        return {
            "Content-Type": MEDIA[self.request.output],
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-cache",
        }

    def store(self) -> PartStore:
        """The parts of the batch. Raises PayloadUnreadable."""
        cipher = part_cipher(
            self.principal.cipher, self.principal.tenant_id, self.batch_id, self.stored.data_key
        )
        return PartStore(self.services.blobs, cipher, self.principal.tenant_id, self.batch_id)

    def chunks(self) -> list[FinishedChunk]:
        """All finished chunks, in input order: those of a batch that has ended change no more."""
        found: list[FinishedChunk] = []
        while True:
            after = found[-1].number if found else -1
            with self.services.database.statement() as work:
                page = queries.finished_chunks(work, self.batch_id, after=after, limit=PAGE_CHUNKS)
            found += page
            if len(page) < PAGE_CHUNKS:
                return found

    def record(self, detail: dict[str, Any]) -> None:
        """Note the reading in the batch's trail, before the first byte leaves."""
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
        return _whole(asked, table)
    if stored.state not in ENDED_BATCH_STATES:
        raise OutputNotReady
    if not partial:
        raise OutputIncomplete
    return _partial(asked)


def _whole(asked: _Asked, table: dict[str, Any]) -> Response:
    """The joined file of a completed batch, or the part of it that the request's headers ask for."""
    etag, size_bytes = f'"{table["sha256"]}"', table["size_bytes"]
    headers = asked.headers | {"ETag": etag, "Accept-Ranges": "bytes"}
    if request.if_none_match.contains_weak(table["sha256"]):
        kept = ("ETag", "Cache-Control")
        return Response(status=304, headers={name: headers[name] for name in kept})
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(size_bytes)})
    wanted = wanted_range(
        request.headers.get("Range"), request.headers.get("If-Range"), etag=etag, size_bytes=size_bytes
    )
    file = output.file_of(asked.store(), asked.chunks(), asked.kind, table)
    asked.record({"sha256": table["sha256"]} | ({} if wanted is None else {"range": wanted.content_range}))
    if wanted is None:
        return _streamed(file, ByteRange(0, size_bytes, size_bytes), 200, headers)
    return _streamed(file, wanted, 206, headers | {"Content-Range": wanted.content_range})


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
    headers = asked.headers | {"Medqueue-Partial": "true"}
    wanted = ByteRange(0, file.size_bytes, file.size_bytes)
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(file.size_bytes)})
    asked.record({"partial": True})
    return _streamed(file, wanted, 200, headers)


def _streamed(file: JoinedFile, wanted: ByteRange, status: int, headers: dict[str, str]) -> Response:
    """Stream the bytes. The first frame is read before the answer begins: what is gone is a problem still."""
    frames = file.read(wanted.start, wanted.end)
    first = next(frames, b"")
    length = {"Content-Length": str(wanted.end - wanted.start)}
    return Response(_chained(first, frames), status, headers | length)


def _chained(first: bytes, frames: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from frames
