"""Computes a chunk: takes blocks of rows, returns the bytes of results and errors. Handles neither claims nor blobs.

Safe to run any number of times: the same rows, model and micro-batch size give the same bytes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import structlog

from models.field_codes import OtherCode
from models.pipelines import Array, FieldFault, Pipeline, PredictionInvalid, SinglePass
from models.pipelines.columns import (
    CellFaults,
    FaultFinder,
    ResultColumn,
    Rows,
)
from models.pipelines.rows import FieldPipeline, FilePipeline
from models.pipelines.schema_columns import result_columns
from service.batches.files.blocks import RowBlock
from service.batches.files.checking import CheckedBlock, checked
from service.batches.files.layouts import Layout, Wanted
from service.batches.files.outputs import (
    OutputFormat,
    encoded,
    errors_batch,
    results_batch,
    told_fields,
    told_of_input,
)
from service.batches.files.plans import Chunk
from service.batches.files.problems import FileProblem, FileRefused
from workers.batches.case_scoring import CaseScorer
from workers.jobs.answers import log_cause
from workers.jobs.problems import ALONE_AT_FAULT, BAD_PREDICTION
from workers.runtime import Graph, OutOfMemory

log = structlog.get_logger()

Between = Callable[[], object]


@dataclass(frozen=True)
class ScoredChunk:
    """The outcome of a chunk: counts, and its two parts as bytes, empty if there is nothing to write.

    `failed` rows have `error_lines` lines of errors, at least one each.
    """

    rows: int
    succeeded: int
    failed: int
    error_lines: int
    results: memoryview
    errors: memoryview


class ChunkScorer:
    """Scores chunks with one loaded model. One thread at a time.

    `between` is called before files are decoded and before each run of the graph: it lets more urgent work go first, or
    raises to abandon the chunk. `batch_limit` is the size of a micro-batch; it is halved when the graph is out of memory.
    `cases` scores for pipelines without a columnar form.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        graph: Graph,
        *,
        batch_limit: int,
        between: Between = lambda: None,
        cases: CaseScorer | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._graph = graph
        self._cases = cases
        self._largest = self.batch_limit = batch_limit
        self._between = between

    def score(
        self,
        chunk: Chunk,
        blocks: Iterable[RowBlock],
        layout: Layout,
        form: OutputFormat,
        *,
        dry: bool = False,
    ) -> ScoredChunk:
        """Score the blocks of a chunk; a `dry` run checks the rows and writes errors only.

        Raises FileRefused if the blocks do not hold all its rows, and whatever `between` raises.
        """
        results: list[pa.RecordBatch] = []
        errors: list[pa.RecordBatch] = []
        next_row, succeeded = chunk.first_row, 0
        for block in blocks:
            if block.first_row != next_row:
                raise _miscounted()
            next_row += block.count
            good, batch, faults = self._score_block(block, chunk, layout.wanted, dry=dry)
            succeeded += good
            if batch is not None:
                results.append(batch)
            if len(faults):
                errors.append(errors_batch(faults, block.first_row, block.carried, layout))
        if next_row != chunk.first_row + chunk.rows:
            raise _miscounted()
        nothing = memoryview(b"")
        return ScoredChunk(
            rows=chunk.wanted,
            succeeded=succeeded,
            failed=chunk.wanted - succeeded,
            error_lines=sum(batch.num_rows for batch in errors),
            results=encoded(results, form) if results and succeeded else nothing,
            errors=encoded(errors, form) if errors else nothing,
        )

    def _score_block(
        self, block: RowBlock, chunk: Chunk, wanted: Wanted, *, dry: bool
    ) -> tuple[int, pa.RecordBatch | None, CellFaults]:
        """The number of good rows of a block, their results, and the faults of all other wanted rows."""
        checked_block = checked(self._pipeline, block, chunk, wanted.id_column, self._between)
        faults = checked_block.faults
        good = np.flatnonzero(~faults.any_of(block.count))
        if chunk.only is not None:
            chosen = np.isin(np.arange(block.first_row, block.first_row + block.count), chunk.only)
            good, faults = good[chosen[good]], faults.of_rows(chosen)
        if dry:
            return len(good), None, faults
        columns, kept, failed = self._answers(checked_block, good, block.count, wanted)
        finder = FaultFinder()
        finder.add_all(faults)
        for place, fault in failed.items():
            finder.add(good[[place]], fault)
        rows = good[kept]
        carried = block.carried if len(rows) == block.count else block.carried.take(pa.array(rows))
        return len(rows), results_batch(rows + block.first_row, carried, columns), finder.found()

    def _answers(
        self, block: CheckedBlock, good: Rows, count: int, wanted: Wanted
    ) -> tuple[Sequence[ResultColumn], Rows, dict[int, FieldFault]]:
        """Result columns of the `good` rows, the positions of those that have a result, and the faults of the others."""
        if not isinstance(self._pipeline, FieldPipeline | FilePipeline):
            return self._answers_by_case(block, good, wanted)
        feeds = block.feeds
        if len(good) < count:
            feeds = {name: feed[good] for name, feed in feeds.items()}
        outputs, failed = self._run(feeds, len(good))
        kept = np.delete(np.arange(len(good)), list(failed))
        columns, kept = self._result_columns(outputs, kept, failed)
        if isinstance(self._pipeline, FieldPipeline) and wanted.taken:
            if len(kept) < len(good):
                feeds = {name: feed[kept] for name, feed in feeds.items()}
            columns = (*columns, *told_of_input(self._pipeline, wanted, feeds))
        return columns, kept, failed

    def _answers_by_case(
        self, block: CheckedBlock, good: Rows, wanted: Wanted
    ) -> tuple[Sequence[ResultColumn], Rows, dict[int, FieldFault]]:
        assert self._cases is not None
        payloads = [payload for row in good if (payload := block.payloads[row]) is not None]
        found = dict(enumerate(self._cases.score(payloads)))
        fields = told_fields(self._pipeline, wanted)
        failed = {place: each for place, each in found.items() if isinstance(each, FieldFault)}
        while True:
            kept = [place for place in found if place not in failed]
            results = [each for place in kept if not isinstance(each := found[place], FieldFault)]
            try:
                return result_columns(fields, results), np.array(kept, np.int64), failed
            except PredictionInvalid as invalid:
                log_cause(invalid, len(invalid.rows))
                bad = FieldFault("", OtherCode(BAD_PREDICTION.code), BAD_PREDICTION.detail)
                failed |= {kept[row]: bad for row in invalid.rows}

    def _result_columns(
        self, outputs: dict[str, Array], kept: Rows, failed: dict[int, FieldFault]
    ) -> tuple[Sequence[ResultColumn], Rows]:
        """Result columns of the rows `kept`, and which of them have a result. Invalid predictions are added to `failed`."""
        assert isinstance(self._pipeline, FieldPipeline | FilePipeline)
        while True:
            try:
                return self._pipeline.result_columns(outputs, len(kept)), kept
            except PredictionInvalid as invalid:
                log_cause(invalid, len(invalid.rows))
                for place in invalid.rows:
                    failed[int(kept[place])] = FieldFault(
                        "", OtherCode(BAD_PREDICTION.code), BAD_PREDICTION.detail
                    )
                rest = np.delete(np.arange(len(kept)), invalid.rows)
                outputs = (
                    {name: value[rest] for name, value in outputs.items()} if len(rest) else self._none()
                )
                kept = kept[rest]

    def _none(self) -> dict[str, Array]:
        """The outputs of zero rows."""
        assert isinstance(self._pipeline, SinglePass)
        return {spec.name: np.empty((0, *spec.shape), spec.dtype) for spec in self._pipeline.outputs}

    def _run(self, feeds: Mapping[str, Array], count: int) -> tuple[dict[str, Array], dict[int, FieldFault]]:
        """Run the graph in micro-batches; returns the outputs of rows that have some, and the faults of the others."""
        failed: dict[int, FieldFault] = {}
        outputs: list[Mapping[str, Array]] = []
        start = 0
        while start < count:  # the limit may shrink on the way
            end = min(start + self.batch_limit, count)
            outputs += self._run_some(feeds, start, end, failed)
            start = end
        return {
            name: _stacked([found[name] for found in outputs], empty) for name, empty in self._none().items()
        }, failed

    def _run_some(
        self, feeds: Mapping[str, Array], start: int, end: int, failed: dict[int, FieldFault]
    ) -> list[Mapping[str, Array]]:
        """Run rows `start` to `end`; if that fails, in halves, down to the row at fault."""
        self._between()
        try:
            outputs = self._graph.run({name: feed[start:end] for name, feed in feeds.items()})
        except tuple(ALONE_AT_FAULT) as fault:
            if end - start == 1:  # the row is too large, not the batch: larger ones may fit again
                self.batch_limit = self._largest if isinstance(fault, OutOfMemory) else self.batch_limit
                problem = ALONE_AT_FAULT[type(fault)]
                if not failed:  # of many rows that fail alike, one is told
                    log_cause(fault)
                failed[start] = FieldFault("", OtherCode(problem.code), problem.detail)
                return []
            middle = (start + end) // 2
            if isinstance(fault, OutOfMemory):
                self.batch_limit = min(self.batch_limit, max(1, (end - start) // 2))
                log.warning("batch_limit_halved", limit=self.batch_limit)
            return [
                *self._run_some(feeds, start, middle, failed),
                *self._run_some(feeds, middle, end, failed),
            ]
        return [outputs]


def _stacked(found: Sequence[Array], empty: Array) -> Array:
    return found[0] if len(found) == 1 else np.concatenate(found) if found else empty


def _miscounted() -> FileRefused:
    return FileRefused(FileProblem.MISCOUNTED, "A chunk does not hold as many rows as were counted.")
