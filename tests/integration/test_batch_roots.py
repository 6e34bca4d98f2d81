"""Roots belong to tenants: a worker opens a file and writes a copy below those of the batch's own tenant alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from service.accounts import DEFAULT_TENANT
from service.batches.roots import TenantRoots, granted_roots
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.lifecycle import BatchState
from service.tenant_grants import Access, RootGrant
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import shifts
from tests.integration.shifts import Shift, csv_of, rows_of
from workers.batches.thread import BatchThread


@pytest.fixture
def shift(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue, tmp_path: Path
) -> Iterator[Shift]:
    with shifts.shift(database, blobs, keyring, queue, tmp_path) as made:
        yield made


@contextmanager
def with_roots(shift: Shift, *grants: RootGrant) -> Iterator[Shift]:
    """The same shift with other roots."""
    services = replace(shift.services, roots=granted_roots(shift.services.database, grants))
    batch_thread = BatchThread(services, shift.arbiter)
    try:
        yield replace(shift, services=services, batch_thread=batch_thread)
    finally:
        batch_thread.close()


def test_a_tenant_reads_no_file_of_another(shift: Shift) -> None:
    source = shift.file("cases.csv", csv_of(rows_of(3)))
    folder = str(shift.folder / "in")
    with with_roots(shift, RootGrant(DEFAULT_TENANT, folder, Access.READ)) as own:
        assert own.nights.state(own.run(source)) is BatchState.COMPLETED
    for grant in (RootGrant("other", folder, Access.READ), RootGrant(DEFAULT_TENANT, folder, Access.WRITE)):
        with with_roots(shift, grant) as others:
            assert others.code(others.run(source)) == "source_not_allowed"


def test_a_tenant_writes_into_no_folder_of_another(shift: Shift) -> None:
    source, out = shift.file("cases.csv", csv_of(rows_of(3))), shift.folder / "out"
    reads = RootGrant(DEFAULT_TENANT, str(shift.folder / "in"), Access.READ)
    with with_roots(shift, reads, RootGrant("other", str(out), Access.WRITE)) as others:
        assert others.code(others.run(source, place=str(out))) == "source_not_allowed"
    assert not out.exists()
    with with_roots(shift, reads, RootGrant(DEFAULT_TENANT, str(out), Access.WRITE)) as own:
        batch_id = own.run(source, place=str(out))  # the root itself
    assert sorted(path.name for path in out.iterdir()) == [
        f"{batch_id}.errors.ndjson",
        f"{batch_id}.results.ndjson",
    ]


def test_what_names_no_tenant_is_of_the_first_one(database: Database, keyring: Keyring) -> None:
    first, second = (factories.principal(database, keyring, tenant=name) for name in ("first", "second"))
    settings = Settings(batch_allowed_roots="/in", batch_output_roots="/out")
    roots = granted_roots(database, settings.batch_root_grants)
    with database.statement() as work:
        oldest = work.execute("SELECT id FROM tenant ORDER BY created_at, id LIMIT 1")[0][0]
    found = {tenant: roots.of(tenant) for tenant in {oldest, first.tenant_id, second.tenant_id}}
    assert found.pop(oldest) == TenantRoots(("/in",), ("/out",))
    assert set(found.values()) == {TenantRoots()}
    assert roots.of(uuid4()) == TenantRoots()


def test_the_trail_tells_places_by_keyed_digests(shift: Shift) -> None:
    source = shift.file("mueller-anna.csv", csv_of(rows_of(3)))
    place = str(shift.folder / "out")
    first, second = shift.open(source, place=place), shift.open(source.removeprefix("file://"))
    told = [
        shift.nights.rows(
            "SELECT detail FROM audit_event WHERE batch_id = %s AND action = 'batch.opened'", batch_id
        )[0][0]
        for batch_id in (first, second)
    ]
    assert told[0]["source_digest"] == told[1]["source_digest"]  # two spellings of one place
    assert len(told[0]["source_digest"]) == len(told[0]["place_digest"]) == 64
    assert told[0]["place_digest"] != told[0]["source_digest"]
    assert "place_digest" not in told[1]
    assert "mueller" not in str(told)
    cipher = shift.nights.caller.cipher
    assert (
        cipher.blind_index(f"address|{Path(source.removeprefix('file://'))}").hex()
        == told[0]["source_digest"]
    )
