"""The account of a batch: every row is a result or has errors, counted against what validation counted."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.batches.files.parts import Part


@dataclass(frozen=True)
class ChunkAccount:
    """What became of a chunk's rows. A failed row has one line of errors or more."""

    number: int
    rows: int
    succeeded: int
    failed: int
    results: Part | None
    errors: Part | None


@dataclass(frozen=True)
class BatchAccount:
    """The proven sums of a batch."""

    rows: int
    succeeded: int
    failed: int
    error_lines: int


class Unaccounted(Exception):
    """The rows of a batch do not add up. Nothing of it may be reported as complete. `chunk`: which one, if in one."""

    def __init__(self, reason: str, chunk: int | None = None) -> None:
        self.chunk = chunk
        super().__init__(reason if chunk is None else f"chunk {chunk}: {reason}")


def proven(
    planned_rows: int,
    planned_chunks: Sequence[int],
    accounts: Sequence[ChunkAccount],
    *,
    dry: bool = False,
) -> BatchAccount:
    """The sums of all chunks, `planned_chunks` being the rows of each; a `dry` run has no results. Raises Unaccounted."""
    if [account.number for account in accounts] != list(range(len(planned_chunks))):
        raise Unaccounted("the chunks are not those of the plan, each once and in order")
    for account, planned in zip(accounts, planned_chunks, strict=True):
        _check_chunk(account, planned, dry=dry)
    rows = sum(account.rows for account in accounts)
    if rows != planned_rows:
        raise Unaccounted(f"{planned_rows} rows were counted and {rows} planned")
    return BatchAccount(
        rows,
        sum(account.succeeded for account in accounts),
        sum(account.failed for account in accounts),
        sum(account.errors.rows for account in accounts if account.errors is not None),
    )


def _check_chunk(account: ChunkAccount, planned: int, *, dry: bool) -> None:
    written = account.results.rows if account.results is not None else 0
    lines = account.errors.rows if account.errors is not None else 0
    if account.rows != planned:
        raise Unaccounted(f"{planned} rows were planned and {account.rows} read", account.number)
    if account.succeeded + account.failed != account.rows:
        raise Unaccounted("results and failed rows are not all rows", account.number)
    if written != (0 if dry else account.succeeded):
        raise Unaccounted(f"{account.succeeded} results were counted and {written} written", account.number)
    if lines < account.failed or bool(lines) != bool(account.failed):
        raise Unaccounted(f"{account.failed} rows failed and {lines} errors were written", account.number)
