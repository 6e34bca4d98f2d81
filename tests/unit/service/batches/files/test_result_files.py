"""Results as files: columns without values, parts without rows, and what readers of Parquet find in a part."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.pipelines import load_pipeline
from service.batches.files.json_lines import json_lines
from service.batches.files.layouts import BatchFormat
from service.batches.files.outputs import OutputFormat
from tests.unit.models.example_bundles import LABELS, manifest
from tests.unit.service.batches.files.example_batches import csv_file, good_rows, scored

THIRD = {**LABELS[0], "id": "unsure", "display": "Unsure", "code": "3"}


class ThreeGraph:
    """A graph that answers three probabilities."""

    def run(self, feeds: Any) -> Any:
        """See Graph."""
        return {
            "probabilities": np.tile(np.array([0.25, 0.5, 0.25], np.float32), (len(feeds["features"]), 1))
        }

    def stop(self) -> None:
        """See Graph."""


@pytest.mark.parametrize("output", OutputFormat)
def test_a_model_of_three_labels_has_no_threshold_in_any_row(output: OutputFormat) -> None:
    model = load_pipeline(manifest(labels=[*LABELS, THIRD], positive=None, threshold=None))
    rows = [{"dose": row["dose"], "age": row["age"]} for row in good_rows(5)]
    run = scored(csv_file(rows), BatchFormat.CSV, model=model, graph=ThreeGraph(), output=output)
    nothing = "" if output is OutputFormat.CSV else None
    assert [line["threshold"] for line in run.lines()] == [nothing] * 5
    assert {float(line["probability_unsure"]) for line in run.lines()} == {0.25}


def test_no_rows_are_no_lines() -> None:
    batch = pa.record_batch({"row": [1, 2], "k": ["a", "b"], "w": pa.array(["x", "y"]).dictionary_encode()})
    assert json_lines(batch.slice(0, 0)) == b""
    assert json_lines(pa.RecordBatch.from_pylist([], batch.schema)) == b""
    assert json_lines(batch.slice(1, 1)) == b'{"row":2,"k":"b","w":"y"}\n'


def test_a_reader_of_a_joined_parquet_file_finds_rows_by_their_numbers() -> None:
    run = scored(csv_file(good_rows(30)), BatchFormat.CSV, output=OutputFormat.PARQUET, id_column="id")
    content = b"".join(run.joined().read())
    group = pq.read_metadata(io.BytesIO(content)).row_group(0)
    told = {column.path_in_schema: column for column in map(group.column, range(group.num_columns))}
    assert (told["row"].statistics.min, told["row"].statistics.max) == (1, 30)
    assert [name for name, column in told.items() if column.is_stats_set] == ["row"]
    found = pq.read_table(io.BytesIO(content), filters=[("row", ">", 28)])
    assert found.column("id").to_pylist() == ["r28", "r29"]


def test_what_repeats_in_parquet_is_stored_once_and_ids_are_compressed() -> None:
    rows = [{**row, "id": f"patient-{number:09}"} for number, row in enumerate(good_rows(2000))]
    run = scored(csv_file(rows), BatchFormat.CSV, output=OutputFormat.PARQUET, id_column="id")
    content = b"".join(run.joined().read())
    group = pq.read_metadata(io.BytesIO(content)).row_group(0)
    sizes = {
        column.path_in_schema: column.total_compressed_size
        for column in map(group.column, range(group.num_columns))
    }
    assert sizes["id"] < 2000 * 8, "of 21 bytes each"
    assert sizes["row"] < 2000
    assert sizes["threshold"] < 200
    assert sizes["label"] < 2000
