"""BlobStore: a blob is there whole or not at all. The same for the fake, a folder and another file system."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import BlobUnavailable
from service.storage import BlobStore, FsspecBlobStore
from tests.fakes import MemoryBlobStore

PLACE = "uploads/tenant/blob"
KINDS = ("fake", "folder", "memory")


def store_of(kind: str, folder: Path) -> BlobStore:
    match kind:
        case "fake":
            return MemoryBlobStore()
        case "folder":
            return FsspecBlobStore((folder / "blobs").as_uri(), makes_root=True)
        case _:
            return FsspecBlobStore(f"memory://{uuid4().hex}")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return store_of(request.param, tmp_path)


def content(store: BlobStore, place: str = PLACE) -> bytes:
    return b"".join(store.read(place))


def broken(parts: Iterable[bytes], fault: BaseException) -> Iterator[bytes]:
    """A stream that fails after its parts."""
    yield from parts
    raise fault


@pytest.mark.parametrize(
    "parts", [[], [b""], [b"a"], [b"a", b"", b"b"], [bytes(range(256)) * 3000, b"end"]], ids=len
)
def test_what_was_written_is_read(store: BlobStore, parts: list[bytes]) -> None:
    store.write(PLACE, parts)
    assert content(store) == b"".join(parts)


def test_a_blob_may_be_written_from_a_stream(store: BlobStore) -> None:
    store.write(PLACE, (bytes([byte]) for byte in range(5)))
    assert content(store) == bytes(range(5))


def test_a_missing_blob_is_not_found(store: BlobStore) -> None:
    with pytest.raises(FileNotFoundError):
        content(store)


def test_a_blob_beside_it_does_not_help_a_missing_one(store: BlobStore) -> None:
    store.write(PLACE + "2", [b"other"])
    with pytest.raises(FileNotFoundError):
        content(store)


def test_a_blob_written_again_is_replaced(store: BlobStore) -> None:
    store.write(PLACE, [b"a long first content"])
    store.write(PLACE, [b"second"])
    assert content(store) == b"second"


def test_blobs_do_not_disturb_each_other(store: BlobStore) -> None:
    places = ["a", "b/a", "b/c", "models/1/model.onnx", "models/1/vocabulary/words.txt"]
    for place in places:
        store.write(place, [place.encode()])
    assert [content(store, place) for place in places] == [place.encode() for place in places]


def test_a_deleted_blob_is_gone(store: BlobStore) -> None:
    store.write(PLACE, [b"content"])
    store.delete(PLACE)
    with pytest.raises(FileNotFoundError):
        content(store)


def test_deleting_a_missing_blob_is_no_error(store: BlobStore) -> None:
    store.delete(PLACE)
    store.write(PLACE, [b"content"])
    store.delete(PLACE)
    store.delete(PLACE)


FAULTS = [
    ValueError("too large"),
    ConnectionResetError("the client went away"),
    TimeoutError("the client is slow"),
    FileNotFoundError("its source is gone"),
    KeyboardInterrupt(),
    GeneratorExit(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_fault_of_the_stream_passes_through(store: BlobStore, fault: BaseException) -> None:
    with pytest.raises(type(fault)):
        store.write(PLACE, broken([b"half"], fault))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_stream_that_fails_leaves_no_blob(store: BlobStore, fault: BaseException) -> None:
    with pytest.raises((type(fault), BlobUnavailable)):
        store.write(PLACE, broken([b"half" * 100_000], fault))
    with pytest.raises(FileNotFoundError):
        content(store)


def test_a_stream_that_fails_at_once_leaves_no_blob(store: BlobStore) -> None:
    with pytest.raises(ValueError, match="x"):
        store.write(PLACE, broken([], ValueError("x")))
    with pytest.raises(FileNotFoundError):
        content(store)


def test_a_stream_that_fails_leaves_the_blob_that_was_there(store: BlobStore) -> None:
    store.write(PLACE, [b"first"])
    with pytest.raises(ValueError, match="x"):
        store.write(PLACE, broken([b"half"], ValueError("x")))
    assert content(store) == b"first"


def test_a_blob_is_not_to_be_seen_before_it_is_whole(store: BlobStore) -> None:
    seen: list[bool] = []

    def watched() -> Iterator[bytes]:
        for _ in range(3):
            yield bytes(300_000)
            try:
                content(store)
            except FileNotFoundError:
                seen.append(False)
            else:
                seen.append(True)

    store.write(PLACE, watched())
    assert seen == [False] * 3


def test_a_reader_may_stop_early(store: BlobStore) -> None:
    store.write(PLACE, [bytes(1_000_000)])
    reading = iter(store.read(PLACE))
    assert next(reading)
    del reading
    assert len(content(store)) == 1_000_000


@pytest.mark.parametrize(("start", "size"), [(0, 3), (2, 3), (5, 100), (9, 1), (10, 1), (11, 5), (3, 0)])
def test_a_range_is_a_slice_of_the_blob(store: BlobStore, start: int, size: int) -> None:
    store.write(PLACE, [b"0123456789"])
    buffer = bytearray(size)
    count = store.read_into(PLACE, start, memoryview(buffer))
    assert buffer[:count] == b"0123456789"[start : start + size]


def test_a_range_of_a_missing_blob_is_not_found(store: BlobStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.read_into(PLACE, 0, memoryview(bytearray(1)))


@given(kind=st.sampled_from(KINDS), parts=st.lists(st.binary(max_size=100), max_size=10))
@settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip
def test_any_stream_comes_back(kind: str, parts: list[bytes], tmp_path: Path) -> None:
    store = store_of(kind, tmp_path)
    store.write(PLACE, parts)
    assert content(store) == b"".join(parts)


@pytest.mark.parametrize("fault", [None, ValueError("x")], ids=["written", "failed"])
def test_nothing_half_written_is_left_beside_a_blob(fault: Exception | None, tmp_path: Path) -> None:
    store = FsspecBlobStore(tmp_path.as_uri())
    if fault is None:
        store.write(PLACE, [b"content"])
    else:
        with pytest.raises(ValueError, match="x"):
            store.write(PLACE, broken([b"half"], fault))
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert files == ([PLACE] if fault is None else [])


def test_what_a_dead_writer_left_of_a_blob_is_removed_and_nothing_else(tmp_path: Path) -> None:
    class Died(BaseException):
        """What ends a process runs no code of it."""

    class Dying(FsspecBlobStore):
        """A store whose writers leave what they have written."""

        def _discard(self, path: str) -> None:
            """Nothing: the process is gone."""

    store = Dying((tmp_path / "blobs").as_uri(), makes_root=True)
    for place in (PLACE, PLACE + "2", PLACE):
        with pytest.raises(Died):
            store.write(place, broken([b"half"], Died()))
    for place in (PLACE, PLACE + ".png"):
        store.write(place, [b"whole"])
    assert len(list((tmp_path / "blobs" / "uploads" / "tenant").iterdir())) == 5
    store.delete_unfinished(PLACE)
    left = sorted(path.name for path in (tmp_path / "blobs" / "uploads" / "tenant").iterdir())
    assert [name.partition(".")[0] for name in left] == ["blob", "blob", "blob2"]
    assert content(store) == content(store, PLACE + ".png") == b"whole"


def test_nothing_unfinished_is_no_error(store: BlobStore) -> None:
    store.delete_unfinished(PLACE)
    store.write(PLACE, [b"whole"])
    store.delete_unfinished(PLACE)
    assert content(store) == b"whole"


def test_a_folder_that_is_missing_is_unavailable_and_never_made_anew(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    store = FsspecBlobStore(root.as_uri())
    uses: list[Callable[[], object]] = [
        lambda: store.write(PLACE, [b"content"]),
        lambda: content(store),
        lambda: store.read_into(PLACE, 0, memoryview(bytearray(1))),
        lambda: store.delete(PLACE),
        lambda: store.delete_unfinished(PLACE),
    ]
    for use in uses:
        with pytest.raises(BlobUnavailable):
            use()
        assert not root.exists()
    root.mkdir()
    store.write(PLACE, [b"content"])
    root.rename(tmp_path / "elsewhere")
    for use in uses:
        with pytest.raises(BlobUnavailable):
            use()
        assert not root.exists()
    (tmp_path / "elsewhere").rename(root)
    assert content(store) == b"content"


def test_a_store_in_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    store = FsspecBlobStore((tmp_path / "file").as_uri())
    with pytest.raises(BlobUnavailable):
        store.write(PLACE, [b"content"])


class StandingStill(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A file system that does not answer, registered as still://."""

    protocol = "still"
    cachable = False

    def _open(self, path: str, *args: Any, **options: Any) -> Any:
        raise TimeoutError

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """Answer nothing."""
        raise TimeoutError

    def rm_file(self, path: str) -> None:
        """Answer nothing."""
        raise TimeoutError

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        """Answer nothing."""
        raise TimeoutError


@pytest.fixture(params=["fake", "still"])
def away(request: pytest.FixtureRequest) -> BlobStore:
    """A blob store that is away."""
    if request.param == "fake":
        fake = MemoryBlobStore()
        fake.away = True
        return fake
    fsspec.register_implementation("still", StandingStill, clobber=True)
    return FsspecBlobStore("still://x")


def test_a_store_that_is_away_says_so_when_it_is_written_to(away: BlobStore) -> None:
    with pytest.raises(BlobUnavailable):
        away.write(PLACE, [b"content"])


def test_a_store_that_is_away_says_so_when_it_is_read(away: BlobStore) -> None:
    with pytest.raises(BlobUnavailable):
        content(away)


def test_a_store_that_is_away_says_so_when_a_range_is_read(away: BlobStore) -> None:
    with pytest.raises(BlobUnavailable):
        away.read_into(PLACE, 0, memoryview(bytearray(1)))


def test_a_store_that_is_away_says_so_when_it_is_to_delete_what_is_unfinished(away: BlobStore) -> None:
    with pytest.raises(BlobUnavailable):
        away.delete_unfinished(PLACE)


def test_a_store_that_is_away_says_so_when_it_is_to_delete(away: BlobStore) -> None:
    with pytest.raises(BlobUnavailable):
        away.delete(PLACE)
