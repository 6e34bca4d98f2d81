"""A tenant's files are read, and its folders written to, by its own batches alone."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance import nights
from tests.acceptance.calls import assert_problem
from tests.acceptance.nights import BATCHES, rows
from tests.acceptance.stack import Stack


@pytest.fixture(scope="module")
def ward(stack: Stack) -> Iterator[httpx.Client]:
    """A client of the tenant that has a root of its own."""
    with stack.client(stack.new_key("ward with a root")) as client:
        yield client


@pytest.fixture
def source(ward_root: Path) -> Path:
    path = ward_root / "cases.csv"
    path.write_bytes(nights.as_csv(rows(3)))
    return path


def test_a_tenant_reads_from_its_root_and_writes_into_it(
    ward: httpx.Client, source: Path, ward_root: Path
) -> None:
    wanted = nights.body("", source={"uri": str(source)}, output={"format": "csv", "place": str(ward_root)})
    answer = ward.post(BATCHES, json=wanted)
    assert answer.status_code == 202, answer.text
    batch = nights.reached(ward, answer.json()["id"], "completed")
    assert batch["columns"]["absent"] == []
    assert set(batch["columns"]["used"]) == set(nights.FIELDS)
    copy = ward_root / f"{batch['id']}.results.csv"
    assert copy.read_bytes() == nights.download(ward, batch)
    assert copy.read_bytes().startswith(b"row,")
    opened = ward.get(f"{BATCHES}/{batch['id']}/events").json()["items"][0]["detail"]
    assert {len(opened[name]) for name in ("source_digest", "place_digest")} == {64}
    assert str(ward_root) not in str(opened)


@pytest.mark.parametrize("spelling", ["{}", "file://{}", "{}/../{name}/cases.csv", "{}/%2e/cases.csv"])
def test_no_other_tenant_reads_from_it(
    stranger: httpx.Client, http: httpx.Client, source: Path, ward_root: Path, spelling: str
) -> None:
    uri = spelling.format(source if "cases" not in spelling else ward_root, name=ward_root.name)
    for client in (stranger, http):
        answer = client.post(BATCHES, json=nights.body("", source={"uri": uri}))
        assert_problem(answer, 422, "source_not_allowed")


def test_no_other_tenant_writes_into_it(stranger: httpx.Client, ward_root: Path) -> None:
    upload_id = nights.upload(stranger, nights.as_csv(rows(3)))
    wanted = nights.body(upload_id, output={"format": "ndjson", "place": str(ward_root)})
    assert_problem(stranger.post(BATCHES, json=wanted), 422, "source_not_allowed")
