"""The calls that acceptance tests of batches make, and the files that they send: golden cases of the tabular model."""

import csv
import io
import json
import time
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from tests.acceptance import cases
from tests.acceptance.calls import Job, job_of

BATCHES, SCHEDULES = "/v1/batches", "/v1/batch-schedules"
ENDED = frozenset({"completed", "failed", "canceled", "expired"})
OCTETS = {"Content-Type": "application/octet-stream"}
FIELDS = tuple(cases.golden()["input"])
Row = dict[str, Any]


def rows(count: int) -> list[Row]:
    """Good rows with an id and a ward; past the last golden case they begin again."""
    return [
        {"case": f"c-{number}", "ward": f"w{number % 3}", **cases.golden(number)["input"]}
        for number in range(count)
    ]


def as_csv(table: list[Row], delimiter: str = ",") -> bytes:
    """Rows as CSV; the first one names the columns."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode()


def as_ndjson(table: list[Row]) -> bytes:
    """Rows as NDJSON."""
    return "".join(json.dumps(row) + "\n" for row in table).encode()


def as_parquet(table: list[Row]) -> bytes:
    """Rows as Parquet."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(table), sink)
    return sink.getvalue()


def upload(http: httpx.Client, content: bytes) -> str:
    """The id of an uploaded file."""
    answer = http.post("/v1/uploads", content=content, headers=OCTETS)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def body(upload_id: str, form: str = "csv", **fields: Any) -> dict[str, Any]:
    """The body of a good submit of a batch; `fields` are added or replaced."""
    return {"model": cases.BREAST_CANCER, "source": {"upload_id": upload_id}, "format": form, **fields}


def opened(http: httpx.Client, content: bytes, form: str = "csv", **fields: Any) -> Job:
    """A file as a batch, as it was opened."""
    answer = http.post(BATCHES, json=body(upload(http, content), form, **fields))
    assert answer.status_code == 202, answer.text
    return job_of(answer)


def read(http: httpx.Client, batch_id: str) -> Job:
    """A batch as it stands."""
    answer = http.get(f"{BATCHES}/{batch_id}")
    assert answer.status_code == 200, answer.text
    return job_of(answer)


def reached(http: httpx.Client, batch_id: str, *states: str, within_s: float = 60) -> Job:
    """A batch once it is in one of these states."""
    until = time.monotonic() + within_s
    while (batch := read(http, batch_id))["state"] not in states:
        assert time.monotonic() < until, f"still {batch['state']} after {within_s:.0f} s"
        assert batch["state"] not in ENDED, batch
        time.sleep(0.1)
    return batch


def ended(http: httpx.Client, content: bytes, form: str = "csv", **fields: Any) -> Job:
    """A file as a batch, once it has ended."""
    return reached(http, opened(http, content, form, **fields)["id"], *ENDED)


def completed(http: httpx.Client, content: bytes, form: str = "csv", **fields: Any) -> Job:
    """A file as a batch, once it is completed."""
    batch = ended(http, content, form, **fields)
    assert batch["state"] == "completed", batch
    return batch


def download(http: httpx.Client, batch: Job, kind: str = "results") -> bytes:
    """One of the files of a completed batch."""
    answer = http.get(batch[kind]["url"])
    assert answer.status_code == 200, answer.text
    return answer.content


def lines(http: httpx.Client, batch: Job, kind: str = "results") -> list[Row]:
    """The rows of one of the files of a completed batch."""
    content = download(http, batch, kind)
    if batch["output"]["format"] == "parquet":
        found: list[Row] = pq.read_table(io.BytesIO(content)).to_pylist()
        return found
    return [json.loads(line) for line in content.splitlines()]
