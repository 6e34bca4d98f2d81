"""The check of a block of rows against a model: feeds for the graph, and everything that is wrong with which row.

The rules are the pipeline's; faults found in reading and in the ids are added here. Runs no graph, so a dry run needs
no more.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import structlog

from models.field_codes import FieldCode
from models.pipelines import Array, FieldFault, InputRejected, Pipeline, pointer_to
from models.pipelines.columns import CellFaults, FaultFinder
from models.pipelines.rows import FieldPipeline, FilePipeline
from service.batches.files import numbers, problems
from service.batches.files.blocks import RowBlock
from service.batches.files.layouts import FILE_COLUMN
from service.batches.files.plans import Chunk, Members

# Faults that name keys or places of a row: up to so many kinds are reported separately in one block.
KINDS_NAMED = 10_000
ROWS_BETWEEN = 64
DECODED_AT_ONCE = 2
DECODED_TOGETHER = 32
TOO_MANY_KINDS = FieldFault(
    "", FieldCode.INPUT_INVALID, "The row does not fit the model: send it as a job to see why."
)

log = structlog.get_logger()


@dataclass(frozen=True)
class CheckedBlock:
    """What is to be scored, and every fault, rows counted from 0.

    Feeds [count,...] of all rows, meaningless for faulty ones; or, where rows become inputs one by one, `payloads`:
    the stored inputs, None of faulty rows.
    """

    feeds: dict[str, Array]
    faults: CellFaults
    payloads: Sequence[bytes | None] = ()


def checked(
    pipeline: Pipeline,
    block: RowBlock,
    chunk: Chunk,
    id_column: str | None,
    between: Callable[[], object],
) -> CheckedBlock:
    """Check a block of `chunk`. A row's faults come in this order: its cells or file, its line, its id.

    `between` is called before files are decoded and every few rows, and may raise to give the block up.
    """
    finder = FaultFinder()
    feeds: dict[str, Array] = {}
    payloads: list[bytes | None] = []
    if isinstance(pipeline, FieldPipeline):
        feeds, found = pipeline.check_columns(block.numbers, block.count)
        finder.add_all(found if block.unreadable is None else found.of_rows(~block.unreadable))
    elif isinstance(pipeline, FilePipeline):
        feeds = _decoded(pipeline, block.files, finder, between)
    else:
        payloads = _encoded(pipeline, block, finder, between)
    finder.add_all(block.faults)
    first, end = np.searchsorted(chunk.duplicates, (block.first_row, block.first_row + block.count))
    named = isinstance(chunk.place, Members) and id_column == FILE_COLUMN
    fault = (problems.duplicate_file if named else problems.duplicate_id)(pointer_to(id_column or ""))
    finder.add(chunk.duplicates[first:end] - block.first_row, fault)
    return CheckedBlock(feeds, finder.found(), payloads)


def _encoded(
    pipeline: Pipeline, block: RowBlock, finder: FaultFinder, between: Callable[[], object]
) -> list[bytes | None]:
    """The inputs of a block's rows as jobs store them. Faults go to `finder`."""
    inputs: Sequence[object] = block.files if pipeline.binary else block.values
    unreadable = block.unreadable
    payloads: list[bytes | None] = []
    for row, value in enumerate(inputs):
        payload = None
        if (value is not None or not pipeline.binary) and (unreadable is None or not unreadable[row]):
            if pipeline.binary or row % ROWS_BETWEEN == 0:
                between()
            found = _encode(pipeline, value)
            if isinstance(found, bytes):
                payload = found
            else:
                for fault in found:
                    told = _with_hint(fault, value, block.decimal_mark)
                    finder.add(np.array([row]), told if finder.kinds < KINDS_NAMED else TOO_MANY_KINDS)
        payloads.append(payload)
    return payloads


def _with_hint(fault: FieldFault, value: object, mark: str | None) -> FieldFault:
    """The fault of an input that was made from cells, with what to do about a cell that marks a missing value."""
    if mark is None or not isinstance(value, dict):
        return fault
    cell = next((cell for name, cell in value.items() if pointer_to(name) == fault.pointer), None)
    if isinstance(cell, float) and math.isnan(cell):
        cell = "NaN"  # as it was written
    hint = numbers.hint_of(cell, mark) if isinstance(cell, str) else None
    return fault if hint is None else FieldFault(fault.pointer, fault.code, f"{fault.detail} {hint}.")


def _encode(pipeline: Pipeline, value: object) -> bytes | tuple[FieldFault, ...]:
    """One input's stored bytes, or its faults. An unexpected error counts as the model's failure on this row."""
    try:
        return pipeline.encode(value)
    except InputRejected as rejected:
        return rejected.faults
    except BaseException as fault:
        log.error("row_failed", exc_info=fault)
        return (problems.MODEL_FAILED,)


def _decoded(
    pipeline: FilePipeline, files: Sequence[bytes | None], finder: FaultFinder, between: Callable[[], object]
) -> dict[str, Array]:
    """Feeds of n files. Faults go to `finder`."""
    feeds = {spec.name: np.zeros((len(files), *spec.shape), dtype=spec.dtype) for spec in pipeline.feeds}
    faults: dict[int, tuple[FieldFault, ...]] = {}
    for row, found in _decoded_ahead(pipeline, files, between):
        if isinstance(found, InputRejected):
            faults[row] = found.faults
        else:
            for name, feed in found.items():
                feeds[name][row] = feed
    for row in sorted(faults):
        for fault in faults[row]:
            finder.add(np.array([row]), fault)
    return pipeline.finish_files(feeds)


def _decoded_ahead(
    pipeline: FilePipeline, files: Sequence[bytes | None], between: Callable[[], object]
) -> Iterator[tuple[int, dict[str, Array] | InputRejected]]:
    """Each row that has a file, and what comes of it. Some are decoded side by side: most of it other processes do."""
    rows = [(row, content) for row, content in enumerate(files) if content is not None]
    waiting = deque(rows[start : start + DECODED_TOGETHER] for start in range(0, len(rows), DECODED_TOGETHER))
    with ThreadPoolExecutor(DECODED_AT_ONCE, thread_name_prefix="decoding") as threads:
        begun = deque[tuple[list[tuple[int, bytes]], Future[list[dict[str, Array] | InputRejected]]]]()
        while waiting or begun:
            while waiting and len(begun) < DECODED_AT_ONCE:
                between()
                some = waiting.popleft()
                begun.append((some, threads.submit(_decode, pipeline, [content for _, content in some])))
            some, decoded = begun.popleft()
            found = decoded.result()
            yield from zip((row for row, _ in some), found, strict=False)
            if rest := some[len(found) :]:
                waiting.appendleft(rest)


def _decode(pipeline: FilePipeline, contents: Sequence[bytes]) -> list[dict[str, Array] | InputRejected]:
    """The feeds of the first files, or their faults. An unexpected error counts as the model's failure on one file."""
    try:
        return pipeline.preprocess_files(contents)
    except BaseException as fault:
        if len(contents) > 1:
            return [found for content in contents for found in _decode(pipeline, [content])]
        log.error("file_failed", exc_info=fault)
        return [InputRejected(problems.MODEL_FAILED)]
