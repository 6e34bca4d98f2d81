"""Rows in = results + errors, against the count of the plan; every way to miss one is found."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from service.batches.files.accounting import ChunkAccount, Unaccounted, proven
from service.batches.files.parts import Part

PART = Part("x", 0, 10, 10, "0" * 64)
GOOD = [
    ChunkAccount(0, 10, 10, 0, replace(PART, rows=10), None),
    ChunkAccount(1, 10, 7, 3, replace(PART, rows=7), replace(PART, rows=5)),
    ChunkAccount(2, 5, 0, 5, None, replace(PART, rows=5)),
]


def test_sums_are_proven() -> None:
    account = proven(25, [10, 10, 5], GOOD)
    assert (account.rows, account.succeeded, account.failed, account.error_lines) == (25, 17, 8, 10)


Change = Callable[[list[ChunkAccount]], list[ChunkAccount]]
BROKEN: dict[str, Change] = {
    "a missing chunk": lambda good: good[:2],
    "a doubled chunk": lambda good: [*good, good[2]],
    "another order": lambda good: [good[1], good[0], good[2]],
    "a missing result": lambda good: [replace(good[0], results=replace(PART, rows=9)), *good[1:]],
    "no part of results": lambda good: [replace(good[0], results=None), *good[1:]],
    "a row neither result nor failed": lambda good: [replace(good[0], succeeded=9), *good[1:]],
    "a failed row without error": lambda good: [
        good[0],
        replace(good[1], errors=replace(PART, rows=2)),
        good[2],
    ],
    "errors of no failed row": lambda good: [replace(good[0], errors=replace(PART, rows=1)), *good[1:]],
    "a chunk with fewer rows": lambda good: [
        replace(good[0], rows=9, succeeded=9, results=replace(PART, rows=9)),
        *good[1:],
    ],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_does_not_add_up_is_found(kind: str) -> None:
    with pytest.raises(Unaccounted):
        proven(25, [10, 10, 5], BROKEN[kind](GOOD))


def test_another_count_of_the_file_is_found() -> None:
    with pytest.raises(Unaccounted):
        proven(26, [10, 10, 5], GOOD)


def test_the_chunk_that_does_not_add_up_is_named() -> None:
    with pytest.raises(Unaccounted) as one:
        proven(25, [10, 10, 5], [*GOOD[:2], replace(GOOD[2], failed=4)])
    with pytest.raises(Unaccounted) as all_of_it:
        proven(26, [10, 10, 5], GOOD)
    assert one.value.chunk == 2
    assert str(one.value) == "chunk 2: results and failed rows are not all rows"
    assert all_of_it.value.chunk is None
    assert str(all_of_it.value) == "26 rows were counted and 25 planned"


def test_a_dry_run_accounts_for_every_row_without_results() -> None:
    checked = [replace(account, results=None) for account in GOOD]
    account = proven(25, [10, 10, 5], checked, dry=True)
    assert (account.succeeded, account.failed, account.error_lines) == (17, 8, 10)
    with pytest.raises(Unaccounted, match="chunk 0: 10 results"):
        proven(25, [10, 10, 5], checked)


def test_a_dry_run_that_wrote_results_is_found() -> None:
    with pytest.raises(Unaccounted, match="chunk 0"):
        proven(25, [10, 10, 5], GOOD, dry=True)
