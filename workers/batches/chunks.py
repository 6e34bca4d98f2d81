"""Processes a claimed chunk of a batch: reads and scores its rows, writes two parts, and records its end with its fence."""

import io
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import structlog

from service import failpoints
from service.batches import chunks
from service.batches.chunks import ClaimedChunk, Scored
from service.batches.files.apart.reading import ApartReader, reader_of
from service.batches.files.blocks import RowBlock
from service.batches.files.layouts import Layout
from service.batches.files.parts import PartKind, PartStore
from service.batches.files.plans import Chunk, read_head
from service.batches.files.sources import Identity, Source, check_same
from service.batches.keys import open_layout
from service.batches.requests import BatchRequest
from service.failpoints import Point
from service.metrics import BATCH_CHUNKS, BATCH_ROWS, CHUNK_SECONDS
from workers.arbiter import YieldingGraphs
from workers.batches.case_scoring import CaseScorer
from workers.batches.chunk_scoring import ChunkScorer, ScoredChunk
from workers.batches.lease_keeper import LeaseKeeper, LeaseLost, Stopping
from workers.batches.services import BatchServices, WatchedSource, fault_of
from workers.pool import LoadedModel
from workers.refusals import ModelRefused

OPEN_FILES = 2  # a reader keeps its position in the file, and batches of two tenants may alternate

log = structlog.get_logger()


@dataclass
class _Open:
    """A batch whose source this worker has open. `next_chunk` is the position of its reader."""

    request: BatchRequest
    layout: Layout
    identity: Identity
    source: Source
    file: io.RawIOBase
    reader: ApartReader
    store: PartStore
    next_chunk: int = 0


class ChunkWorker:
    """Scores chunks, one at a time."""

    def __init__(self, services: BatchServices, keeper: LeaseKeeper) -> None:
        self._services = services
        self._keeper = keeper
        self._open: OrderedDict[UUID, _Open] = OrderedDict()

    def work(self) -> bool:
        """Claim and process a chunk; returns whether there was one. Raises DatabaseUnavailable."""
        services = self._services
        places = {batch_id: each.next_chunk for batch_id, each in self._open.items()}
        scorable = services.pool.scorable()
        with services.database.statement() as work:
            chunk = chunks.claim(
                work, owner=services.owner, lease_s=services.lease_s, places=places, scorable=scorable
            )
        if chunk is None:
            return False
        failpoints.reach(Point.CHUNK_CLAIM_AFTER)
        with self._keeper.of(chunk.lease):
            self._see_to(chunk)
        return True

    def close(self) -> None:
        """Close the sources."""
        while self._open:
            self._forget(next(iter(self._open)))

    def _see_to(self, chunk: ClaimedChunk) -> None:
        try:
            model, scored = self._score(chunk)
        except LeaseLost:
            self._forget(chunk.batch_id)
            BATCH_CHUNKS.labels("fenced_off").inc()
            log.warning("chunk_lost", batch=str(chunk.batch_id), chunk=chunk.number)
        except (
            Stopping,
            ModelRefused,
        ):  # other workers may score it; this one claims no more chunks of a model that it refuses
            services = self._services
            services.write(lambda work: chunks.release(work, chunk, owner=services.owner))
            BATCH_CHUNKS.labels("released").inc()
        except Exception as error:  # noqa: BLE001 - fault_of classifies them, and logs unexpected ones
            self._forget(chunk.batch_id)
            self._give_up(chunk, error)
        else:
            self._finish(chunk, model, scored)

    def _score(self, chunk: ClaimedChunk) -> tuple[str, Scored]:
        """Score a chunk and write its parts."""
        began = time.perf_counter()
        services = self._services
        loaded = services.pool.get(
            chunk.model_version_id
        )  # a model that is refused here is not a fault of the source
        opened = self._opened(chunk)
        check_same(opened.source, opened.identity)
        cipher = services.ciphers.of(chunk.tenant_id)
        planned = Chunk.from_bytes(chunks.open_seek(cipher, chunk.tenant_id, chunk.lease.id, chunk.seek))
        options = loaded.pipeline.check_options(opened.request.options)
        yielding, limit = self._yielding(loaded), min(chunk.run_rows, loaded.batch_limit)
        scorer = ChunkScorer(
            loaded.pipeline,
            yielding,
            batch_limit=limit,
            between=self._keeper.give_way,
            cases=CaseScorer(loaded.scoring, yielding.run, limit, self._keeper.give_way, options),
        )
        about = {"model": loaded.model.name, "version": loaded.model.version, "batch": str(chunk.batch_id)}
        dry = opened.request.dry_run_rows is not None
        blocks = self._watched(opened.reader.read(planned))
        with structlog.contextvars.bound_contextvars(**about, chunk=chunk.number):
            found = scorer.score(planned, blocks, opened.layout, opened.request.output, dry=dry)
        opened.next_chunk = chunk.number + 1
        failpoints.reach(Point.CHUNK_SCORED)
        results, errors = self._write(chunk, opened.store, found)
        failpoints.reach(Point.CHUNK_WRITTEN)
        seconds = time.perf_counter() - began - self._keeper.waited_s
        return loaded.model.name, Scored(found.succeeded, found.failed, results, errors, seconds)

    def _write(
        self, chunk: ClaimedChunk, store: PartStore, found: ScoredChunk
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Write results and errors; returns both as they are stored."""

        def write(kind: PartKind, content: memoryview, rows: int) -> dict[str, Any] | None:
            self._keeper.progress()
            part = store.write(kind, chunk.number, chunk.lease.fence, content, rows=rows)
            return None if part is None else asdict(part)

        results = write(PartKind.RESULTS, found.results, found.succeeded)
        return results, write(PartKind.ERRORS, found.errors, found.error_lines)

    def _finish(self, chunk: ClaimedChunk, model: str, scored: Scored) -> None:
        services = self._services
        failpoints.reach(Point.CHUNK_FINISH_BEFORE)
        state = services.write(lambda work: chunks.finish(work, chunk, scored, owner=services.owner))
        failpoints.reach(Point.CHUNK_FINISH_AFTER)
        if state is None:
            BATCH_CHUNKS.labels("fenced_off").inc()
            log.warning("late_chunk_refused", batch=str(chunk.batch_id), chunk=chunk.number)
            return
        BATCH_CHUNKS.labels("done").inc()
        BATCH_ROWS.labels(model, "succeeded").inc(scored.rows_succeeded)
        BATCH_ROWS.labels(model, "failed").inc(scored.rows_failed)
        CHUNK_SECONDS.labels(model).observe(scored.seconds)

    def _give_up(self, chunk: ClaimedChunk, error: Exception) -> None:
        """Retry later after a transient fault; end the batch after a permanent one, or after too many attempts."""
        services, fault = self._services, fault_of(error)
        if services.is_to_blame():
            services.write(lambda work: chunks.release(work, chunk, owner=services.owner))
            BATCH_CHUNKS.labels("released").inc()
            return
        problem = fault.final_problem(chunk.attempt, services.limits.max_attempts)
        if problem is None:
            delay_s, code = services.delay_s(fault, chunk.attempt), fault.problem.code
            services.write(
                lambda work: chunks.put_off(
                    work, chunk, fault.problem, delay_s=delay_s, owner=services.owner, counts=fault.counts
                )
            )
            BATCH_CHUNKS.labels("put_off").inc()
            log.warning("chunk_put_off", batch=str(chunk.batch_id), chunk=chunk.number, code=code)
        else:
            services.write(lambda work: chunks.fail(work, chunk, problem, owner=services.owner))
            BATCH_CHUNKS.labels("failed").inc()
            log.warning("batch_failed", batch=str(chunk.batch_id), chunk=chunk.number, code=problem.code)

    def _opened(self, chunk: ClaimedChunk) -> _Open:
        """The batch of a chunk, with its source open. Checks that the source is the one that was validated."""
        found = self._open.get(chunk.batch_id)
        if found is None:
            while len(self._open) >= OPEN_FILES:
                self._forget(next(iter(self._open)))
            found = self._open[chunk.batch_id] = self._open_one(chunk)
        self._open.move_to_end(chunk.batch_id)
        return found

    def _open_one(self, chunk: ClaimedChunk) -> _Open:
        services, tenant_id, batch_id = self._services, chunk.tenant_id, chunk.batch_id
        request = services.request(tenant_id, batch_id, chunk.request)
        cipher = services.ciphers.of(tenant_id)
        layout, identity = read_head(open_layout(cipher, tenant_id, batch_id, chunk.layout))
        source = services.source(tenant_id, request)
        check_same(source, identity)
        pipeline = services.catalog.version(chunk.model_version_id).pipeline
        file = WatchedSource(source, self._keeper).open()
        store = services.parts(tenant_id, batch_id, chunk.data_key)
        return _Open(request, layout, identity, source, file, reader_of(file, layout, pipeline), store)

    def _yielding(self, loaded: LoadedModel) -> YieldingGraphs:
        timeout_s = loaded.model.manifest.runtime.run_timeout_s
        return YieldingGraphs(
            loaded.graphs,
            self._keeper.arbiter,
            begin=lambda graph: self._keeper.progress(timeout_s, graph.stop),
            while_waiting=self._keeper.progress,
        )

    def _watched(self, blocks: Iterator[RowBlock]) -> Iterator[RowBlock]:
        for block in blocks:
            self._keeper.give_way()
            yield block

    def _forget(self, batch_id: UUID) -> None:
        found = self._open.pop(batch_id, None)
        if found is not None:
            found.reader.close()
            found.file.close()
