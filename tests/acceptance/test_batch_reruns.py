"""Failed rows of a batch run again over HTTP: from the file they were in, or from a mended one."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import nights
from tests.acceptance.calls import Job, assert_problem, pages
from tests.acceptance.nights import BATCHES, completed, lines, reached, rows
from tests.acceptance.stack import Stack

COUNT = 20


@pytest.fixture(scope="module")
def ward(stack: Stack) -> Iterator[httpx.Client]:
    """A tenant of these tests."""
    with stack.client(stack.new_key("mending ward")) as client:
        yield client


@pytest.fixture(scope="module")
def finished(ward: httpx.Client) -> Job:
    """A batch of good rows and three bad ones: a missing value, one out of range, an id that came before."""
    return completed(ward, nights.as_csv(with_faults()), id_column="case", carry=["ward"])


def with_faults() -> list[nights.Row]:
    """Twenty rows, of which the 3rd, the 7th and the 12th are bad."""
    table = rows(COUNT)
    table[2][nights.FIELDS[0]] = ""
    table[6][nights.FIELDS[1]] = 1e9
    table[11]["case"] = "c-0"
    return table


def test_failed_rows_are_run_again(ward: httpx.Client, finished: Job) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    answer = ward.post(f"{BATCHES}/{finished['id']}/rerun", headers=key)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{BATCHES}/{answer.json()['id']}"
    again = ward.post(f"{BATCHES}/{finished['id']}/rerun", headers=key)
    assert again.content == answer.content
    batch = reached(ward, answer.json()["id"], "completed")
    assert batch["rerun_of"] == finished["id"]
    assert (batch["counts"]["total"], batch["counts"]["failed"]) == (3, 3)
    assert lines(ward, batch, "errors") == lines(ward, finished, "errors")
    listed = pages(ward, BATCHES, rerun_of=finished["id"])
    assert [found["id"] for found in listed] == [batch["id"]]


def test_failed_rows_are_run_from_a_mended_file(ward: httpx.Client, finished: Job) -> None:
    url, key = f"{BATCHES}/{finished['id']}/rerun", {"Idempotency-Key": str(uuid4())}
    mended = {"source": {"upload_id": nights.upload(ward, nights.as_csv(rows(COUNT)))}}
    answer = ward.post(url, json=mended, headers=key)
    assert answer.status_code == 202, answer.text
    assert ward.post(url, json=mended, headers=key).content == answer.content
    assert_problem(ward.post(url, headers=key), 422, "idempotency_key_reused")
    batch = reached(ward, answer.json()["id"], "completed")
    assert (batch["counts"]["total"], batch["counts"]["failed"]) == (3, 0)
    assert [line["row"] for line in lines(ward, batch)] == [3, 7, 12]
    whole = reached(ward, ward.post(url, json=mended | {"rows": "all"}).json()["id"], "completed")
    assert whole["counts"]["total"] == COUNT
    assert lines(ward, batch) == [line for line in lines(ward, whole) if line["row"] in {3, 7, 12}]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"source": {"upload_id": str(uuid4())}}, 404, "upload_not_found"),
        ({"source": {"uri": "/etc/passwd"}}, 422, "source_not_allowed"),
        ({"source": {}}, 422, "request_invalid"),
        ({"rows": "some"}, 422, "request_invalid"),
        ({"file": "x"}, 422, "request_invalid"),
    ],
)
def test_a_rerun_from_what_is_no_source_of_the_tenant_is_refused(
    ward: httpx.Client, finished: Job, body: dict[str, Any], status: int, code: str
) -> None:
    assert_problem(ward.post(f"{BATCHES}/{finished['id']}/rerun", json=body), status, code)
