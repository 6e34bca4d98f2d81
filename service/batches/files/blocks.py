"""A block of consecutive rows as they were read: what a reader returns and a scorer takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from models.pipelines.columns import NO_FAULTS, CellFaults, FaultFinder, Mask, NumberColumn
from service.batches.files.plans import Chunk

BLOCK_ROWS = 16_384
BLOCK_FILES = 256
BLOCK_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class RowBlock:
    """`count` rows, numbered from `first_row`.

    `numbers` holds one column a field of the model, `files` one file a row, None where it could not be read, `values` one
    input a row; two of the three are empty. `carried` has `count` rows. `faults` are those that reading found, rows counted
    from 0 within the block. Cells of an `unreadable` row (bool [count]; None: no row is) are ignored. `decimal_mark` is of
    the cells that `values` were made from, if they were texts.
    """

    first_row: int
    count: int
    carried: pa.RecordBatch
    numbers: tuple[NumberColumn, ...] = ()
    files: Sequence[bytes | None] = ()
    values: Sequence[object] = ()
    faults: CellFaults = NO_FAULTS
    unreadable: Mask | None = None
    decimal_mark: str | None = None


def joined(blocks: Sequence[RowBlock]) -> RowBlock:
    """Blocks of numbers that follow each other, as one."""
    if len(blocks) == 1:
        return blocks[0]
    finder, shift = FaultFinder(), 0
    for block in blocks:
        finder.add_all(block.faults, shift=shift)
        shift += block.count
    return RowBlock(
        blocks[0].first_row,
        shift,
        pa.concat_batches([block.carried for block in blocks]),
        tuple(_joined(columns) for columns in zip(*(block.numbers for block in blocks), strict=True)),
        faults=finder.found(),
        unreadable=_joined_masks([block.unreadable for block in blocks], [block.count for block in blocks]),
    )


def _joined(columns: Sequence[NumberColumn]) -> NumberColumn:
    counts = [len(column.values) for column in columns]
    return NumberColumn(
        np.concatenate([column.values for column in columns]),
        _joined_masks([column.missing for column in columns], counts),
        _joined_masks([column.wrong_type for column in columns], counts),
    )


def _joined_masks(masks: Sequence[Mask | None], counts: Sequence[int]) -> Mask | None:
    if all(mask is None for mask in masks):
        return None
    return np.concatenate(
        [
            np.zeros(count, dtype=np.bool_) if mask is None else mask
            for mask, count in zip(masks, counts, strict=True)
        ]
    )


class Reader(Protocol):
    """Reads the chunks of one open file, quickest in their order. One thread at a time."""

    def read(self, chunk: Chunk) -> Iterator[RowBlock]:
        """Exactly the rows of a chunk, in order. Raises FileRefused or SourceUnavailable."""
