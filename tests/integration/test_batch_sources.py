"""An upload as the source of a batch: read from any place, by its own tenant alone."""

import io
from uuid import uuid4

import pytest

from service.accounts import Principal
from service.batches.files.formats import inspect, reader_of, wanted_of
from service.batches.files.layouts import BatchFormat
from service.batches.files.plans import Limits
from service.batches.files.problems import FileProblem, FileRefused, SourceUnavailable
from service.batches.files.sources import UploadSource, check_same
from service.crypto import Keyring, sha256_hex
from service.db import Database
from service.uploads import Uploads
from tests import factories
from tests.fakes import MemoryBlobStore
from tests.unit.service.batches.files.example_batches import good_rows, parquet_file, pipeline

CONTENT = parquet_file(good_rows(20_000), group=3000)


@pytest.fixture
def uploads(database: Database, blobs: MemoryBlobStore, keyring: Keyring) -> Uploads:
    return Uploads(database, blobs, keyring, limit_bytes=10**8)


@pytest.fixture
def caller(database: Database, keyring: Keyring) -> Principal:
    return factories.principal(database, keyring)


@pytest.fixture
def source(uploads: Uploads, caller: Principal) -> UploadSource:
    stored = uploads.store(caller, [CONTENT])
    return UploadSource(uploads, caller.tenant_id, stored.id)


def test_an_upload_is_read_from_any_place(source: UploadSource) -> None:
    with source.open() as file:
        file.seek(-100, io.SEEK_END)
        assert file.read() == CONTENT[-100:]
        file.seek(1234)
        assert file.read(300_000) == CONTENT[1234:301_234]


def test_an_upload_is_known_by_its_digest(source: UploadSource) -> None:
    identity = source.identity()
    assert (identity.size_bytes, identity.sha256) == (len(CONTENT), sha256_hex(CONTENT))
    check_same(source, identity)


def test_an_upload_is_planned_and_read_like_any_file(source: UploadSource) -> None:
    plan = inspect(source, BatchFormat.PARQUET, wanted_of(pipeline(), id_column="id"), Limits(rows=2500))
    with source.open() as file:
        reader = reader_of(file, plan.layout, pipeline())
        ids = [
            name
            for chunk in reversed(plan.chunks)
            for block in reader.read(chunk)
            for name in block.carried.column(0).to_pylist()
        ]
    assert sorted(ids) == sorted(row["id"] for row in good_rows(20_000))


def test_an_upload_of_another_tenant_is_no_source(
    uploads: Uploads, source: UploadSource, database: Database, keyring: Keyring
) -> None:
    other = factories.principal(database, keyring, tenant="other")
    stranger = UploadSource(uploads, other.tenant_id, source.upload_id)
    for attempt in (stranger.identity, stranger.open):
        with pytest.raises(FileRefused) as caught:
            attempt()
        assert caught.value.problem is FileProblem.GONE


def test_an_upload_that_does_not_exist_is_gone(uploads: Uploads, caller: Principal) -> None:
    with pytest.raises(FileRefused) as caught:
        UploadSource(uploads, caller.tenant_id, uuid4()).identity()
    assert caught.value.problem is FileProblem.GONE


def test_a_store_that_is_away_is_no_fault_of_the_file(source: UploadSource, blobs: MemoryBlobStore) -> None:
    file = source.open()
    blobs.away = True
    with pytest.raises(SourceUnavailable):
        file.read(1)
