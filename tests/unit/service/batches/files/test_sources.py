"""What may be opened, and how it is noticed that a source is gone, away, or no longer the same."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from service.batches.files.problems import FileProblem, FileRefused, SourceUnavailable
from service.batches.files.sources import Guarded, Identity, UploadSource, UriSource, check_same, sha256_of
from service.batches.files.uris import SHAPE
from service.errors import PayloadUnreadable
from tests.unit.service.batches.files.example_batches import good_rows, parquet_file

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    (folder / "night").mkdir(parents=True)
    (folder / "night" / "cases.csv").write_bytes(CONTENT)
    (tmp_path / "secret.csv").write_bytes(b"secret")
    return folder


def refused(uri: str, *roots: str) -> FileProblem:
    with pytest.raises(FileRefused) as caught:
        UriSource(uri, roots)
    assert uri not in str(caught.value)
    return caught.value.problem


@pytest.mark.parametrize(
    "form", ["file://{}/night/cases.csv", "{}/night/cases.csv", "local://{}/night/cases.csv"]
)
def test_a_file_below_an_allowed_root_is_read(root: Path, form: str) -> None:
    source = UriSource(form.format(root), ["s3://bucket", root.as_uri()])
    assert source.identity().size_bytes == len(CONTENT)
    with source.open() as file:
        file.seek(-3, os.SEEK_END)
        assert file.read() == CONTENT[-3:]
        file.seek(1000)
        assert file.read(10) == CONTENT[1000:1010]
    assert sha256_of(source) == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    "path",
    [
        "night/../../secret.csv",
        "night/%2e%2e/%2e%2e/secret.csv",
        "night/%252e%252e/%252e%252e/secret.csv",
        "./../secret.csv",
        "night//cases.csv",
        "night/cases.csv?x=1",
        "night\\cases.csv",
        "",
    ],
)
def test_no_step_leads_out_of_a_root(root: Path, path: str) -> None:
    assert refused(f"{root.as_uri()}/{path}", root.as_uri()) is FileProblem.NOT_ALLOWED


def test_no_link_leads_out_of_a_local_root(root: Path, tmp_path: Path) -> None:
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    (root / "folder").symlink_to(tmp_path)
    (root / "inside.csv").symlink_to(root / "night" / "cases.csv")
    assert refused(f"{root.as_uri()}/link.csv", root.as_uri()) is FileProblem.NOT_ALLOWED
    assert refused(f"{root.as_uri()}/folder/secret.csv", root.as_uri()) is FileProblem.NOT_ALLOWED
    assert UriSource(f"{root.as_uri()}/inside.csv", [root.as_uri()]).identity().size_bytes == len(CONTENT)


@pytest.mark.parametrize(
    ("uri", "roots"),
    [
        ("s3://bucket2/a.csv", ["s3://bucket"]),
        ("s3://bucket/other/a.csv", ["s3://bucket/in"]),
        ("s3://bucket/input/a.csv", ["s3://bucket/in"]),
        ("https://example.org.evil.com/a.csv", ["https://example.org"]),
        ("https://user@example.org/a.csv", ["https://example.org"]),
        ("https://example.org@evil.com/a.csv", ["https://example.org"]),
        ("http://example.org/a.csv", ["https://example.org"]),
        ("simplecache::s3://bucket/a.csv", ["s3://bucket"]),
        ("zip://a.csv::file:///in/a.zip", ["file:///in"]),
        ("file://elsewhere/in/a.csv", ["file:///in"]),
        ("in/a.csv", ["file:///in"]),
        ("memory://a.csv", []),
        ("nowhere://x/a.csv", ["nowhere://x"]),
    ],
)
def test_only_what_lies_below_a_root_is_opened(uri: str, roots: list[str]) -> None:
    assert refused(uri, *roots) is FileProblem.NOT_ALLOWED


def test_a_source_that_is_gone_says_so(root: Path) -> None:
    source = UriSource(f"{root.as_uri()}/night/cases.csv", [root.as_uri()])
    identity = source.identity()
    (root / "night" / "cases.csv").unlink()
    for attempt in (source.identity, source.open, lambda: check_same(source, identity)):
        with pytest.raises(FileRefused) as caught:
            attempt()
        assert caught.value.problem is FileProblem.GONE


@pytest.mark.parametrize("change", ["content", "time", "replaced"])
def test_a_source_that_changed_is_noticed(root: Path, change: str) -> None:
    path = root / "night" / "cases.csv"
    source = UriSource(path.as_uri(), [root.as_uri()])
    identity = source.identity()
    check_same(source, identity)
    stat = path.stat()
    if change == "content":
        path.write_bytes(CONTENT + b"x")
    elif change == "time":
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10_000_000))
    else:
        (root / "other").write_bytes(CONTENT)
        (root / "other").rename(path)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(FileRefused) as caught:
        check_same(source, identity)
    assert caught.value.problem is FileProblem.CHANGED


def test_a_folder_is_no_source(root: Path) -> None:
    with pytest.raises(FileRefused) as caught:
        UriSource(f"{root.as_uri()}/night", [root.as_uri()]).identity()
    assert caught.value.problem is FileProblem.UNREADABLE


class Failing(io.RawIOBase):
    """A file whose reads fail."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.fault = fault

    def read(self, size: int | None = -1) -> bytes:
        """Fail."""
        raise self.fault


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (TimeoutError(), SourceUnavailable),
        (ConnectionResetError(), SourceUnavailable),
        (FileNotFoundError(), FileRefused),
        (PayloadUnreadable(), FileRefused),
        (PermissionError(), FileRefused),
    ],
)
def test_faults_of_a_store_are_told_apart_by_what_a_retry_mends(
    fault: Exception, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        Guarded(Failing(fault)).read(1)


def test_a_fault_of_the_store_comes_through_arrow_as_itself() -> None:
    content = parquet_file(good_rows(5000))

    class Breaking(io.BytesIO):
        broken = False

        def read(self, size: int | None = -1) -> bytes:
            if self.broken:
                raise TimeoutError
            return super().read(size)

    below = Breaking(content)
    file = pq.ParquetFile(Guarded(below), pre_buffer=False, buffer_size=1024)
    below.broken = True
    with pytest.raises(SourceUnavailable):
        list(file.iter_batches())


@pytest.fixture
def remote() -> str:
    """A file in a store that is no folder."""

    class Tagged(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "tagged"

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            return {**super().info(path, **options), "ETag": '"1"'}

    fsspec.register_implementation("tagged", Tagged, clobber=True)
    place = f"tagged://bucket/{uuid4().hex}/a.csv"
    with Tagged().open(place, "wb") as file:
        file.write(CONTENT)
    return place


def test_a_source_elsewhere_is_known_by_its_etag(remote: str) -> None:
    source = UriSource(remote, ["tagged://bucket"])
    assert source.identity().mark == 'ETag="1"'
    assert sha256_of(source) == hashlib.sha256(CONTENT).hexdigest()


def test_a_fault_of_a_kind_that_only_a_store_knows_is_put_off(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ConnectionFault(Exception):
        """As botocore has them: no OSError."""

    def fail(*_: object, **__: object) -> None:
        raise ConnectionFault

    source = UriSource(remote, ["tagged://bucket"])
    file = source.open()
    monkeypatch.setattr(type(fsspec.filesystem("tagged")), "info", fail)
    monkeypatch.setattr(MemoryFile, "read", fail)
    for attempt in (source.identity, lambda: file.read(1)):
        with pytest.raises(SourceUnavailable):
            attempt()


def test_an_address_that_cannot_be_taken_apart_is_refused_with_advice() -> None:
    with pytest.raises(FileRefused) as caught:
        UriSource("https://[cases/a.csv", ["https://[cases"])
    assert caught.value.problem is FileProblem.NOT_ALLOWED
    assert SHAPE in caught.value.detail


def test_an_upload_is_known_by_its_digest_and_read_as_it_was_stored() -> None:
    tenant_id, upload_id, digest = uuid4(), uuid4(), hashlib.sha256(CONTENT).hexdigest()

    class Stored:
        size_bytes, sha256 = len(CONTENT), digest

    class OneUpload:
        def stored(self, tenant: UUID, upload: UUID) -> Stored:
            assert (tenant, upload) == (tenant_id, upload_id)
            return Stored()

        def open(self, tenant: UUID, upload: UUID) -> io.BytesIO:
            assert (tenant, upload) == (tenant_id, upload_id)
            return io.BytesIO(CONTENT)

    uploads: Any = OneUpload()
    source = UploadSource(uploads, tenant_id, upload_id)
    assert source.identity() == Identity(len(CONTENT), f"sha256:{digest}", digest)
    with source.open() as file:
        assert file.read() == CONTENT
