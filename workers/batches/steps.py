"""Processes a claimed step of a batch: validating plans the chunks; finalizing joins the output and accounts for all rows.

A re-run takes the plan of its first batch, reduced to the rows that failed.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from uuid import UUID

import numpy as np
import pyarrow as pa
import structlog

from models.field_codes import OtherCode
from models.pipelines import FieldFault
from models.pipelines.columns import CellFaults
from service import failpoints
from service.batches import chunks, output, steps
from service.batches.files import accounting
from service.batches.files.accounting import Unaccounted
from service.batches.files.apart.reading import inspect
from service.batches.files.formats.carrying import record_batch
from service.batches.files.layouts import Layout
from service.batches.files.outputs import (
    encoded,
    errors_batch,
    errors_schema,
    results_schema,
)
from service.batches.files.parts import PartKind, PartStore
from service.batches.files.plans import Chunk, Limits, cut_after, head_of, read_head
from service.batches.files.problems import FileProblem, SourceUnavailable
from service.batches.keys import open_layout
from service.batches.output import OutputKind
from service.batches.queries import FinishedChunk
from service.batches.requests import BatchRequest, RerunRows, wanted_by
from service.batches.steps import ClaimedStep, Joined, PlannedChunk, StepKind, Validation
from service.failpoints import Point
from service.lifecycle import ChunkState
from workers.batches.lease_keeper import LeaseKeeper, LeaseLost, Stopping
from workers.batches.reruns import Reruns
from workers.batches.services import BatchServices, WatchedSource, fault_of
from workers.batches.sizes import SizeMeter

CHUNK_BYTES = 64 * 1024 * 1024  # of a chunk in the source
WAIT_STEP_S = 10.0  # how often an awaited source is checked
# Faults that do not end a batch while it waits for its source.
AWAITED = frozenset({FileProblem.GONE.value, SourceUnavailable.code})

log = structlog.get_logger()


class StepWorker:
    """Processes steps, one at a time."""

    def __init__(self, services: BatchServices, keeper: LeaseKeeper) -> None:
        self._services = services
        self._keeper = keeper
        self._reruns = Reruns(services, keeper)
        self._sizes = SizeMeter(services, keeper)

    def work(self) -> bool:
        """Claim and process a step; returns whether there was one. Raises DatabaseUnavailable."""
        services = self._services
        with services.database.statement() as work:
            step = steps.claim(work, owner=services.owner, lease_s=services.lease_s)
        if step is None:
            return False
        failpoints.reach(Point.STEP_CLAIM_AFTER)
        with self._keeper.of(step.lease):
            self._see_to(step)
        return True

    def _see_to(self, step: ClaimedStep) -> None:
        try:
            self._validate(step) if step.kind is StepKind.VALIDATE else self._finalize(step)
        except LeaseLost:
            log.warning("batch_step_lost", batch=str(step.batch_id), step=step.kind.value)
        except Stopping:
            self._services.write(lambda work: steps.release(work, step))
        except Unaccounted as error:
            log.error("batch_not_accounted_for", batch=str(step.batch_id), reason=str(error))
            self._services.write(
                lambda work: steps.fail(work, step, steps.UNACCOUNTED, owner=self._services.owner)
            )
        except Exception as error:  # noqa: BLE001 - fault_of classifies them, and logs unexpected ones
            self._give_up(step, error)

    def _give_up(self, step: ClaimedStep, error: Exception) -> None:
        """Retry later after a transient fault; end the batch after a permanent one, or after too many attempts."""
        services, fault = self._services, fault_of(error)
        if services.is_to_blame():
            services.write(lambda work: steps.release(work, step))
            return
        if step.source_left_s > 0 and fault.problem.code in AWAITED:
            self._await_source(step)
            return
        problem = fault.final_problem(step.attempt, services.limits.max_attempts)
        kind = step.kind.value
        if problem is None:
            delay_s = services.delay_s(fault, step.attempt)
            services.write(
                lambda work: steps.put_off(
                    work, step, fault.problem, delay_s=delay_s, owner=services.owner, counts=fault.counts
                )
            )
            log.warning("batch_step_put_off", batch=str(step.batch_id), step=kind, code=fault.problem.code)
        else:
            services.write(lambda work: steps.fail(work, step, problem, owner=services.owner))
            log.warning("batch_failed", batch=str(step.batch_id), step=kind, code=problem.code)

    def _await_source(self, step: ClaimedStep) -> None:
        """Check again later for a source that does not exist yet. This uses up no attempt."""
        services = self._services
        services.write(lambda work: steps.await_source(work, step, delay_s=WAIT_STEP_S, owner=services.owner))
        log.info("batch_source_awaited", batch=str(step.batch_id), left_s=round(step.source_left_s))

    def _validate(self, step: ClaimedStep) -> None:
        services = self._services
        request = services.request(step.tenant_id, step.batch_id, step.request)
        if step.rerun_of is not None and request.rows is None:
            found = self._planned_again(step, step.rerun_of)
        else:
            found = self._planned(step, request)
        self._keeper.progress()
        cipher = services.ciphers.of(step.tenant_id)
        services.write(lambda work: steps.validated(work, step, found, cipher=cipher, owner=services.owner))

    def _planned(self, step: ClaimedStep, request: BatchRequest) -> Validation:
        """Inspect the source and cut it into chunks."""
        services = self._services
        source = WatchedSource(services.source(step.tenant_id, request), self._keeper)
        if request.place is not None:
            services.place(step.tenant_id, request.place)
        sizes = self._sizes.of(step.model_version_id)
        pipeline = services.catalog.version(step.model_version_id).pipeline
        limits = Limits(rows=sizes.chunk_rows, size_bytes=CHUNK_BYTES)
        plan = inspect(source, request.format, wanted_by(request, pipeline), limits)
        found, rows = plan.chunks, plan.rows
        if request.rows is RerunRows.FAILED and step.rerun_of is not None:
            first = self._reruns.original(step.rerun_of)
            found = self._reruns.in_corrected_file(step, first, found, rows)
            rows = sum(chunk.wanted for chunk in found)
        elif request.dry_run_rows is not None:
            found, rows = cut_after(found, request.dry_run_rows), min(rows, request.dry_run_rows)
        return Validation(
            _in_a_row(found),
            rows,
            head_of(plan),
            sizes.chunk_rows,
            sizes.run_rows,
            plan.identity.size_bytes,
            plan.identity.sha256,
        )

    def _planned_again(self, step: ClaimedStep, rerun_of: UUID) -> Validation:
        """The failed rows of the first batch in its own file."""
        first = self._reruns.original(rerun_of)
        head, again = self._reruns.in_the_same_file(step, first)
        return Validation(
            _in_a_row([replace(chunk, number=number) for number, chunk in enumerate(again)]),
            sum(chunk.wanted for chunk in again),
            head,
            first.chunk_rows,
            first.run_rows,
            first.source_bytes,
            first.source_sha256,
        )

    def _finalize(self, step: ClaimedStep) -> None:
        services = self._services
        assert step.layout is not None
        request = services.request(step.tenant_id, step.batch_id, step.request)
        head = open_layout(services.ciphers.of(step.tenant_id), step.tenant_id, step.batch_id, step.layout)
        layout, _ = read_head(head)
        store = services.parts(step.tenant_id, step.batch_id, step.data_key)
        found = [
            self._complete(step, chunk, store, layout, request)
            for chunk in self._reruns.finished(step.batch_id)
        ]
        dry = request.dry_run_rows is not None
        account = accounting.proven(
            step.rows_total or 0,
            [chunk.rows for chunk in found],
            [output.account_of(chunk) for chunk in found],
            dry=dry,
        )
        self._tidy_up(found, store)
        made = self._join(step, found, store, layout, request)
        lines = made[OutputKind.RESULTS]["rows"], made[OutputKind.ERRORS]["rows"]
        if lines != (0 if dry else account.succeeded, account.error_lines):
            raise Unaccounted(f"{account} was counted, and {lines} lines are in the joined files")
        joined = Joined(account.succeeded, account.failed, made[OutputKind.RESULTS], made[OutputKind.ERRORS])
        failpoints.reach(Point.FINALIZE_BEFORE)
        services.write(lambda work: steps.complete(work, step, joined, owner=services.owner))
        failpoints.reach(Point.FINALIZE_AFTER)

    def _join(
        self,
        step: ClaimedStep,
        found: Sequence[FinishedChunk],
        store: PartStore,
        layout: Layout,
        request: BatchRequest,
    ) -> dict[OutputKind, dict[str, object]]:
        """Join results and errors, and copy them to the place that the caller chose."""
        pipeline = self._services.catalog.version(step.model_version_id).pipeline
        schemas = {
            OutputKind.RESULTS: results_schema(layout, pipeline),
            OutputKind.ERRORS: errors_schema(layout),
        }
        made = {}
        for kind, schema in schemas.items():
            self._keeper.give_way()
            parts = output.parts_of(found, kind)
            made[kind] = output.joined(
                store,
                parts,
                kind,
                request.output,
                schema,
                fence=step.lease.fence,
                between=self._keeper.give_way,
            )
            if request.place is not None:
                file = output.file_of(store, found, kind, made[kind])
                name = f"{step.batch_id}.{kind}.{request.output}"
                self._services.place(step.tenant_id, request.place).write(
                    name, file.read(between=self._keeper.give_way)
                )
        return made

    def _complete(
        self,
        step: ClaimedStep,
        chunk: FinishedChunk,
        store: PartStore,
        layout: Layout,
        request: BatchRequest,
    ) -> FinishedChunk:
        """Complete a finished chunk: a chunk that was set aside gets its errors, one line for each row."""
        if chunk.state is not ChunkState.QUARANTINED or chunk.errors is not None:
            return chunk
        services = self._services
        self._keeper.give_way()
        seek = chunks.open_seek(services.ciphers.of(step.tenant_id), step.tenant_id, chunk.id, chunk.seek)
        planned, problem = Chunk.from_bytes(seek), chunk.problem or {}
        fault = FieldFault("", OtherCode(problem.get("code", "")), problem.get("detail", ""))
        content = encoded([_all_failed(planned, layout, fault)], request.output)
        # After every claim of the chunk, so that what those left can be distinguished.
        fence = chunk.fence + step.lease.fence
        part = store.write(PartKind.ERRORS, chunk.number, fence, content, rows=planned.wanted)
        assert part is not None, "a chunk has rows"
        errors = asdict(part)
        if not services.write(lambda work: steps.note_errors(work, step, chunk.id, errors)):
            raise LeaseLost
        return replace(chunk, errors=errors)

    def _tidy_up(self, found: Sequence[FinishedChunk], store: PartStore) -> None:
        """Remove parts that claims with a lost lease may have written."""
        for chunk in found:
            for fence in range(1, chunk.fence):
                for kind in (PartKind.RESULTS, PartKind.ERRORS):
                    store.delete(store.location(kind, chunk.number, fence))


def _in_a_row(found: Sequence[Chunk]) -> list[PlannedChunk]:
    """Chunks renumbered for the database, where accounted rows follow each other without gaps."""
    planned, first_row = [], 0
    for chunk in found:
        planned.append(PlannedChunk(chunk.number, first_row, chunk.wanted, chunk.as_bytes()))
        first_row += chunk.wanted
    return planned


def _all_failed(planned: Chunk, layout: Layout, fault: FieldFault) -> pa.RecordBatch:
    """The errors of a chunk whose rows all have the same fault. Without ids: reading them may be what kills the worker."""
    rows = np.arange(planned.rows) if planned.only is None else planned.only - planned.first_row
    faults = CellFaults(rows, np.zeros(len(rows), np.int32), (fault,))
    nothing = {field.name: pa.nulls(planned.rows, field.type) for field in layout.carried}
    return errors_batch(
        faults, planned.first_row, record_batch(layout.carried, nothing, planned.rows), layout
    )
