"""Only regular files below a root are read, and nothing is written out of one, whatever lies there and whatever is swapped."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from service.batches.files.folders import real_path, write_file
from service.batches.files.places import Place
from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.sources import UriSource

NOT_ALLOWED, UNREADABLE = FileProblem.NOT_ALLOWED, FileProblem.UNREADABLE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "secret.csv").write_text("secret")
    (tmp_path / "in" / "a.csv").write_text("a")
    return tmp_path / "in"


def refusal(attempt: Callable[[], object]) -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        attempt()
    return caught.value


def read(path: Path | str, root: Path) -> bytes:
    source = UriSource(str(path), [str(root)])
    source.identity()
    with source.open() as file:
        return file.read() or b""


@pytest.mark.parametrize(
    "uri", ["a%00b", "%2500", "a\nb", "a\tb", "..;x/a", "%5c..%5ca", "%e4", "%c0%ae%c0%ae/a"]
)
def test_a_spelling_that_names_no_file_is_refused(root: Path, uri: str) -> None:
    assert refusal(lambda: UriSource(f"{root}/{uri}", [str(root)])).problem is NOT_ALLOWED


@pytest.mark.parametrize("depth", range(1, 12))
def test_no_depth_of_escapes_hides_a_step(root: Path, depth: int) -> None:
    step = "../inside/secret.csv".replace(".", "%2e")
    for _ in range(depth):
        step = step.replace("%", "%25")
    assert refusal(lambda: UriSource(f"{root}/{step}", [str(root)])).problem is NOT_ALLOWED


@pytest.mark.parametrize("path", ["inside/secret.csv", "in./a.csv", "IN/a.csv", "in /a.csv", "in"])
def test_a_root_is_no_prefix_of_letters(root: Path, path: str) -> None:
    assert refusal(lambda: UriSource(f"{root.parent}/{path}", [str(root)])).problem is NOT_ALLOWED


@pytest.mark.parametrize("name", ["x" * 256, "ä" * 128, "/".join(["x" * 250] * 20)])
def test_a_name_that_is_too_long_is_refused_at_once(root: Path, name: str) -> None:
    assert refusal(lambda: UriSource(f"{root}/{name}", [str(root)])).problem is NOT_ALLOWED


def test_links_in_a_circle_are_refused(root: Path) -> None:
    (root / "self").symlink_to(root / "self")
    (root / "one").symlink_to(root / "two")
    (root / "two").symlink_to(root / "one")
    for name in ("self", "one", "self/a.csv"):
        assert refusal(lambda name=name: read(root / name, root)).problem in (NOT_ALLOWED, FileProblem.GONE)  # type: ignore[misc]  # mypy does not type defaults of lambdas


@pytest.fixture
def odd(root: Path) -> dict[str, Path]:
    """What is no regular file."""
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    (root / "device").symlink_to("/dev/zero")
    os.mknod(root / "socket", stat.S_IFSOCK | 0o600)
    return {name: root / name for name in ("pipe", "folder", "socket", "device")}


@pytest.mark.parametrize(
    ("name", "says"), [("pipe", "pipe"), ("folder", "folder"), ("socket", "socket"), ("device", "below none")]
)
@pytest.mark.timeout(10)
def test_what_is_no_regular_file_is_refused_by_its_kind(
    root: Path, odd: dict[str, Path], name: str, says: str
) -> None:
    assert says in refusal(lambda: read(odd[name], root)).detail


@pytest.mark.parametrize(
    "path", ["/dev/zero", "/proc/self/environ", "/proc/version", "/sys/kernel/uevent_seqnum"]
)
@pytest.mark.timeout(10)
def test_nothing_of_the_system_is_read_by_way_of_the_root_of_all(path: str) -> None:
    assert refusal(lambda: read(path, Path("/"))).problem is NOT_ALLOWED


def test_a_root_that_is_a_link_is_where_it_leads(root: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(root)
    assert read(tmp_path / "linked" / "a.csv", tmp_path / "linked") == b"a"
    assert read(root / "a.csv", tmp_path / "linked") == b"a"


def swapped(monkeypatch: pytest.MonkeyPatch, place: str, swap: Callable[[], None]) -> None:
    """Do something right before a file or folder is opened, once, as another process may."""
    once = threading.Lock()
    opened = os.open

    def opens(path: object, *given: int, **named: int) -> int:
        if str(path) == place and once.acquire(blocking=False):
            swap()
        return opened(path, *given, **named)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(os, "open", opens)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_file_that_is_swapped_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def swap() -> None:
        (root / "a.csv").unlink()
        if kind == "pipe":
            os.mkfifo(root / "a.csv")
        else:
            (root / "a.csv").symlink_to(root.parent / "inside" / "secret.csv")

    swapped(monkeypatch, str(root / "a.csv"), swap)
    assert refusal(lambda: read(root / "a.csv", root)).problem in (NOT_ALLOWED, UNREADABLE)


def test_a_file_whose_folder_is_swapped_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "secret.csv").write_text("mine")

    def swap() -> None:
        (root / "sub").rename(root / "moved")
        (root / "sub").symlink_to(root.parent / "inside")

    swapped(monkeypatch, str(root / "sub" / "secret.csv"), swap)
    assert refusal(lambda: read(root / "sub" / "secret.csv", root)).problem is NOT_ALLOWED


@pytest.mark.parametrize("folder", ["", "/", "/new", "/new/deep/", "/new%20one"])
def test_a_copy_goes_into_the_root_itself_or_below_it(root: Path, folder: str) -> None:
    written = Place(f"{root.as_uri()}{folder}", [root.as_uri()]).write("r.ndjson", [b"1\n", b"2\n"])
    assert Path(written).read_bytes() == b"1\n2\n"
    assert Path(written).is_relative_to(root)
    assert not list(root.rglob(".*"))


def test_a_copy_replaces_what_an_attempt_before_left(root: Path) -> None:
    (root / ".r.ndjson.unfinished").write_text("half")
    (root / "r.ndjson").write_text("old")
    Place(str(root), [str(root)]).write("r.ndjson", [b"new"])
    assert (root / "r.ndjson").read_text() == "new"


@pytest.mark.parametrize("name", ["r.ndjson", ".r.ndjson.unfinished"])
def test_no_link_in_the_folder_leads_a_copy_out(root: Path, name: str) -> None:
    victim = root.parent / "inside" / "secret.csv"
    (root / name).symlink_to(victim)
    Place(str(root), [str(root)]).write("r.ndjson", [b"new"])
    assert victim.read_text() == "secret"
    assert (root / "r.ndjson").read_text() == "new"


def test_a_folder_that_is_swapped_gets_no_copy(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "out").mkdir()

    def swap() -> None:
        (root / "out").rmdir()
        (root / "out").symlink_to(root.parent / "inside")

    place = Place(str(root / "out"), [str(root)])
    swapped(monkeypatch, str(root / "out"), swap)
    with pytest.raises((FileRefused, OSError)):
        place.write("r.ndjson", [b"new"])
    assert [path.name for path in (root.parent / "inside").iterdir()] == ["secret.csv"]


def test_a_place_that_is_a_file_is_refused_at_once(root: Path) -> None:
    for place in (root / "a.csv", root / "a.csv" / "below"):
        refused = refusal(lambda place=place: Place(str(place), [str(root)]).write("r", [b"x"]))  # type: ignore[misc]  # mypy does not type defaults of lambdas
        assert refused.problem is NOT_ALLOWED


@pytest.mark.parametrize(
    ("uri", "roots"),
    [
        ("s3://bucket./in/a.csv", ["s3://bucket/in"]),
        ("s3://Bucket/in/a.csv", ["s3://bucket/in"]),
        ("s3://bucket/in/%2e%2e/a.csv", ["s3://bucket/in"]),
        ("s3://bucket/in/%252e%252e/a.csv", ["s3://bucket/in"]),
        ("s3://bucket/in%00/a.csv", ["s3://bucket/in"]),
        ("http://host/in/..;a/b.csv", ["http://host/in"]),
        ("http://host/in/%2e%2e;a/b.csv", ["http://host/in"]),
        ("http://host:8080/in/a.csv", ["http://host/in"]),
        ("zip://a.csv::http://host/in/a.zip", ["http://host/in"]),
        ("filecache::http://host/in/a.zip", ["http://host/in"]),
        ("http://host/in/a.csv", ["https://host/in"]),
    ],
)
def test_no_spelling_crosses_the_roots_of_a_store(uri: str, roots: list[str]) -> None:
    assert refusal(lambda: UriSource(uri, roots)).problem is NOT_ALLOWED


def test_a_root_is_a_place_to_write_into_and_no_file_to_read(root: Path) -> None:
    assert real_path(str(root), str(root)) is None
    assert real_path(str(root), str(root), or_is_it=True) == root
    assert real_path(str(root.parent), str(root), or_is_it=True) is None


def test_what_is_written_is_data_and_no_program(root: Path) -> None:
    written = Path(write_file(str(root), str(root), "results.csv", [b"one\n", b"two\n"]))
    assert written.read_bytes() == b"one\ntwo\n"
    assert not stat.S_IMODE(written.stat().st_mode) & 0o111
    assert sorted(path.name for path in root.iterdir()) == ["a.csv", "results.csv"]
