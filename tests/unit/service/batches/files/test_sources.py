"""What may be opened, and how it is noticed that a source is gone, away, or no longer the same."""

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from service.batches.files.places import Place
from service.batches.files.problems import FileProblem, FileRefused, SourceUnavailable
from service.batches.files.sources import Guarded, Identity, UploadSource, UriSource, check_same, sha256_of
from service.batches.files.uris import SHAPE
from service.errors import BlobUnavailable, PayloadUnreadable, UploadNotFound
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
    "form",
    [
        "file://{}/night/cases.csv",
        "file://localhost{}/night/cases.csv",
        "{}/night/cases.csv",
        "local://{}/night/cases.csv",
    ],
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
    "fault", [TimeoutError(), ConnectionResetError(), OSError(errno.EIO, "I/O error"), BlobUnavailable()]
)
def test_a_fault_of_a_store_that_a_retry_may_mend_is_put_off(fault: Exception) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        Guarded(Failing(fault)).read(1)
    assert caught.value.__cause__ is fault


@pytest.mark.parametrize(
    ("fault", "problem", "detail"),
    [
        (FileNotFoundError(), FileProblem.GONE, "submit the batch again"),
        (NotADirectoryError(), FileProblem.GONE, "submit the batch again"),
        (UploadNotFound(), FileProblem.GONE, "submit the batch again"),
        (PayloadUnreadable(), FileProblem.UNREADABLE, "Upload it again"),
        (PermissionError(), FileProblem.NOT_ALLOWED, "does not let us read"),
        (ImportError(), FileProblem.NOT_ALLOWED, "needs a package"),
        (OSError(errno.ENAMETOOLONG, "too long"), FileProblem.NOT_ALLOWED, "no file of this name"),
        (OSError(errno.ELOOP, "links"), FileProblem.NOT_ALLOWED, "no file of this name"),
    ],
)
def test_a_fault_of_a_store_that_no_retry_mends_says_what_to_do(
    fault: Exception, problem: FileProblem, detail: str
) -> None:
    with pytest.raises(FileRefused) as caught:
        Guarded(Failing(fault)).read(1)
    assert caught.value.problem is problem
    assert detail in caught.value.detail


def test_a_source_reads_and_seeks_as_any_file_does() -> None:
    file = Guarded(io.BytesIO(CONTENT))
    assert file.readable()
    assert file.seekable()
    assert (file.read(10), file.tell()) == (CONTENT[:10], 10)
    assert (file.seek(5, os.SEEK_CUR), file.read(3)) == (15, CONTENT[15:18])
    buffer = bytearray(4)
    assert (file.readinto(buffer), bytes(buffer)) == (4, CONTENT[18:22])
    file.seek(-2, os.SEEK_END)
    assert (file.readinto(buffer), bytes(buffer)) == (2, CONTENT[-2:] + CONTENT[20:22])
    file.seek(100)
    assert file.readall() == CONTENT[100:]
    file.seek(100)
    assert file.read(None) == CONTENT[100:]


def test_closing_a_source_closes_the_file_below_once() -> None:
    below = io.BytesIO(CONTENT)
    file = Guarded(below)
    file.close()
    file.close()
    assert below.closed
    assert file.closed


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


class Facts(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store that is no folder; of a file it reports `facts`, its name, size and type."""

    protocol = "tagged"
    facts: ClassVar[dict[str, Any]] = {"ETag": '"1"'}

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """See fsspec."""
        told = super().info(path, **options)
        return {"name": told["name"], "size": told["size"], "type": told["type"], **self.facts}


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> str:
    """A file in such a store."""
    monkeypatch.setattr(Facts, "facts", Facts.facts)
    fsspec.register_implementation("tagged", Facts, clobber=True)
    place = f"tagged://bucket/{uuid4().hex}/a.csv"
    with Facts().open(place, "wb") as file:
        file.write(CONTENT)
    return place


def test_a_source_elsewhere_is_known_by_its_etag(remote: str) -> None:
    source = UriSource(remote, ["tagged://bucket"])
    assert source.identity() == Identity(len(CONTENT), 'ETag="1"')
    assert sha256_of(source) == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("facts", "mark"),
    [
        ({"ETag": "a", "LastModified": "b", "created": "c"}, "ETag=a"),  # S3
        ({"etag": "a", "last_modified": "b"}, "etag=a"),  # Azure
        ({"mtime": 1.5, "ino": 7, "created": 3}, "mtime=1.5;ino=7"),  # a folder of another machine
        ({"mtime": 1.5}, "mtime=1.5;ino=None"),
        ({"ETag": None, "LastModified": "b"}, "LastModified=b"),
        ({"Last-Modified": "b", "created": "c"}, "Last-Modified=b"),
        ({"last_modified": "b", "created": "c"}, "last_modified=b"),
        ({"created": "c"}, "created=c"),
        ({}, ""),
    ],
)
def test_a_source_elsewhere_is_known_by_the_surest_mark_that_its_store_reports(
    remote: str, facts: dict[str, Any], mark: str
) -> None:
    Facts.facts = facts
    assert UriSource(remote, ["tagged://bucket"]).identity() == Identity(len(CONTENT), mark)


@pytest.mark.parametrize(
    ("facts", "detail"), [({"type": "directory"}, "is a folder"), ({"size": None}, "report the size")]
)
def test_a_source_elsewhere_that_is_no_file_of_a_known_size_is_refused(
    remote: str, facts: dict[str, Any], detail: str
) -> None:
    Facts.facts = facts
    with pytest.raises(FileRefused) as caught:
        UriSource(remote, ["tagged://bucket"]).identity()
    assert caught.value.problem is FileProblem.UNREADABLE
    assert detail in caught.value.detail


def test_a_source_is_looked_for_below_every_root(remote: str) -> None:
    assert UriSource(remote, ["/in", "tagged://other", "tagged://bucket", "s3://bucket"]).identity()


@pytest.mark.parametrize("end", ["", "/"])
def test_a_copy_elsewhere_is_written_under_another_name_until_it_is_whole(remote: str, end: str) -> None:
    folder = remote.rpartition("/")[0] + "/out"
    store, root = fsspec.filesystem("tagged"), "tagged://bucket"
    seen: list[str] = []

    def content() -> Iterator[bytes]:
        yield b"one\n"
        seen.extend(path.rpartition("/")[2] for path in store.find(folder))
        yield b"two\n"

    assert Place(folder + end, [root]).write("r.csv", content()) == f"{folder}/r.csv"
    assert store.cat(f"{folder}/r.csv") == b"one\ntwo\n"
    assert "r.csv" not in seen
    assert [path.rpartition("/")[2] for path in store.find(folder)] == ["r.csv"]
    Place(folder, [root]).write("r.csv", [b"again"])
    assert store.cat(f"{folder}/r.csv") == b"again"


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
