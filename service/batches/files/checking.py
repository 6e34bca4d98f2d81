"""The check of a block of rows against a model: feeds for the graph, and everything that is wrong with which row.

The rules are the pipeline's; here they meet what reading found and the ids. Runs no graph, so a dry run needs no more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from models.pipelines import Array, FieldFault, InputRejected, Pipeline, pointer_to
from models.pipelines.columns import CellFaults, FaultFinder
from models.pipelines.rows import FieldPipeline, FilePipeline
from service.batches.files import problems
from service.batches.files.blocks import RowBlock
from service.batches.files.plans import Chunk

log = structlog.get_logger()


@dataclass(frozen=True)
class CheckedBlock:
    """Feeds [count,...] of all rows, those of faulty ones meaningless, and every fault, rows counted from 0."""

    feeds: dict[str, Array]
    faults: CellFaults


def checked(
    pipeline: Pipeline,
    block: RowBlock,
    chunk: Chunk,
    id_column: str | None,
    between: Callable[[], object],
) -> CheckedBlock:
    """Check a block of `chunk`. A row's faults come in this order: its cells or file, its line, its id.

    `between` is called before each file is decoded, and may raise to give the block up.
    """
    finder = FaultFinder()
    if isinstance(pipeline, FieldPipeline):
        feeds, found = pipeline.check_columns(block.numbers, block.count)
        finder.add_all(found if block.unreadable is None else found.of_rows(~block.unreadable))
    else:
        feeds = _decoded(pipeline, block.files, finder, between)
    finder.add_all(block.faults)
    first, end = np.searchsorted(chunk.duplicates, (block.first_row, block.first_row + block.count))
    fault = problems.duplicate_id(pointer_to(id_column or ""))
    finder.add(chunk.duplicates[first:end] - block.first_row, fault)
    return CheckedBlock(feeds, finder.found())


def _decoded(
    pipeline: Pipeline, files: Sequence[bytes | None], finder: FaultFinder, between: Callable[[], object]
) -> dict[str, Array]:
    """Feeds of n files. What is wrong with one goes to `finder`."""
    assert isinstance(pipeline, FilePipeline)
    feeds = {spec.name: np.zeros((len(files), *spec.shape), dtype=spec.dtype) for spec in pipeline.feeds}
    for row, content in enumerate(files):
        if content is None:
            continue
        between()
        found = _decode(pipeline, content)
        if isinstance(found, dict):
            for name, feed in found.items():
                feeds[name][row] = feed
        else:
            for fault in found:
                finder.add(np.array([row]), fault)
    return pipeline.finish_files(feeds)


def _decode(pipeline: FilePipeline, content: bytes) -> dict[str, Array] | tuple[FieldFault, ...]:
    """One file's feeds, or what is wrong with it. What nobody foresaw counts as the model's failure on this file."""
    try:
        return pipeline.preprocess_file(content)
    except InputRejected as rejected:
        return rejected.faults
    except Exception as fault:
        log.error("file_failed", exc_info=fault)
        return (problems.MODEL_FAILED,)
