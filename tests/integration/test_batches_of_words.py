"""Batches of a table with words, from a file to accounted output: what scikit-learn says of each row, or why it is refused."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from models.bundle import read_bundle
from service.batches.files.layouts import BatchFormat
from service.batches.output import OutputKind
from service.catalog import Catalog, publishing
from service.crypto import Keyring
from service.db import Database
from tests.fakes import FakeTaskQueue, MemoryBlobStore, ScriptedGraph, busy_and_waiting
from tests.integration import shifts
from tests.integration.shifts import Shift
from tests.unit.models.test_foreign_words import PREDICTED, published
from tests.unit.service.batches.files.example_batches import file_of

NAME = "sklearn-columns"
BAD: list[dict[str, Any]] = [
    {"age": 50.0, "visits": 2, "sex": "Male", "site": "Arm"},
    {"age": 50.0, "visits": 100, "sex": "male", "site": "Arm"},
    {"age": 50.0, "visits": 2, "sex": "male", "site": None},
]
FAULTS = [
    (13, "sex", "not_allowed", 'sex must be one of "female", "male". Did you mean "male"?'),
    (14, "visits", "out_of_range", "visits must be between 0 and 99."),
    (15, "site", "missing_field", 'site is missing: send one of "Arm", "Rücken", "leg, lower".'),
]


@pytest.fixture
def shift(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue, tmp_path: Path
) -> Iterator[Shift]:
    with shifts.shift(database, blobs, keyring, queue, tmp_path) as made:
        with database.transaction() as work:
            publishing.publish(work, blobs, read_bundle(published(tmp_path / NAME, NAME)), actor="test")
        made.nights.model = Catalog(database, cache_s=0).resolve(NAME)
        yield made


@pytest.mark.parametrize("form", [BatchFormat.CSV, BatchFormat.NDJSON, BatchFormat.PARQUET])
def test_a_batch_answers_each_row_as_scikit_learn_does_or_says_why_not(
    shift: Shift, form: BatchFormat
) -> None:
    rows = [case["input"] for case in PREDICTED[NAME]] + BAD
    numbered = [{"id": f"case {number}", **row} for number, row in enumerate(rows, 1)]
    batch_id = shift.run(shift.file("rows", file_of(form, numbered)), form)
    results = shift.lines(batch_id)
    assert [line["row"] for line in results] == list(range(1, 13))
    for line, case in zip(results, PREDICTED[NAME], strict=True):
        found = [line["probability_low"], line["probability_high"]]
        assert found == pytest.approx(case["probabilities"], abs=1e-6)
    errors = shift.lines(batch_id, OutputKind.ERRORS)
    assert [(each["row"], each["column"], each["code"], each["message"]) for each in errors] == FAULTS


def test_a_model_that_zeros_say_nothing_of_is_measured_by_its_golden_cases(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.batches.sizes.CASES_RUN_S", 0.2)
    loaded = shift.services.pool.get(shift.nights.model.id)
    slow = ScriptedGraph(loaded.graphs, script=lambda feeds: busy_and_waiting(0.01 * _rows(feeds)))
    loaded.graphs = slow
    batch_id = opened(shift)
    assert slow.batch_sizes == [1, 1, 2, 2, 4, 4, 8, 8, 16, 16]
    assert run_rows(shift, batch_id) == 16


def test_a_model_that_fails_while_it_is_measured_is_given_assumed_sizes(shift: Shift) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError

    loaded = shift.services.pool.get(shift.nights.model.id)
    loaded.graphs = ScriptedGraph(loaded.graphs, script=fail)
    assert run_rows(shift, opened(shift)) == 2


def opened(shift: Shift) -> UUID:
    """A batch of the golden cases, planned and not scored."""
    rows = [{"id": f"case {number}", **case["input"]} for number, case in enumerate(PREDICTED[NAME], 1)]
    batch_id = shift.open(shift.file("rows", file_of(BatchFormat.CSV, rows)), BatchFormat.CSV)
    shift.batch_thread.work()
    return batch_id


def run_rows(shift: Shift, batch_id: UUID) -> int:
    """How many rows are to be scored together."""
    return int(shift.nights.rows("SELECT run_rows FROM batch WHERE id = %s", batch_id)[0][0])


def _rows(feeds: Mapping[str, Any]) -> int:
    return len(next(iter(feeds.values())))
