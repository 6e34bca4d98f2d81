"""A source on a web server: read in parts, known again, and each of its faults told for what it is."""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.batches.files.problems import FileProblem, FileRefused, SourceUnavailable
from service.batches.files.sources import READ_BYTES, UriSource, check_same, sha256_of
from tests.web_files import WebFiles, web_files

CONTENT = bytes(range(256)) * (3 * READ_BYTES // 256) + b"the end"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebFiles]:
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "cases.csv").write_bytes(CONTENT)
    with web_files(tmp_path) as running:
        yield running


@pytest.fixture
def source(server: WebFiles) -> UriSource:
    return UriSource(f"{server.url}/night/cases.csv", [f"{server.url}/night"])


def test_it_is_read_from_any_place(source: UriSource) -> None:
    assert source.identity().size_bytes == len(CONTENT)
    assert sha256_of(source) == hashlib.sha256(CONTENT).hexdigest()
    with source.open() as file:
        file.seek(-7, io.SEEK_END)
        assert file.read() == b"the end"
        file.seek(READ_BYTES + 5)
        assert file.read(1000) == CONTENT[READ_BYTES + 5 : READ_BYTES + 1005]


def test_a_server_that_knows_no_requests_for_a_head_will_do(server: WebFiles, source: UriSource) -> None:
    server.statuses["HEAD"] = 405
    assert sha256_of(source) == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("ETag", '"1"', '"2"'),
        ("Last-Modified", "Fri, 27 Nov 2026 22:00:00 GMT", "Sat, 28 Nov 2026 22:00:00 GMT"),
    ],
)
def test_a_file_that_was_replaced_is_noticed(
    server: WebFiles, source: UriSource, name: str, before: str, after: str
) -> None:
    server.headers[name] = before
    identity = source.identity()
    check_same(source, identity)
    server.headers[name] = after
    with pytest.raises(FileRefused) as caught:
        check_same(source, identity)
    assert caught.value.problem is FileProblem.CHANGED


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (300, FileProblem.UNREADABLE),
        (302, FileProblem.UNREADABLE),
        (400, FileProblem.UNREADABLE),
        (401, FileProblem.NOT_ALLOWED),
        (403, FileProblem.NOT_ALLOWED),
        (404, FileProblem.GONE),
        (410, FileProblem.GONE),
    ],
)
def test_what_a_retry_does_not_mend_is_refused(
    server: WebFiles, source: UriSource, status: int, problem: FileProblem
) -> None:
    for attempt in attempts(server, source, status):
        with pytest.raises(FileRefused) as caught:
            attempt()
        assert caught.value.problem is problem


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_a_retry_may_mend_is_put_off(server: WebFiles, source: UriSource, status: int) -> None:
    for attempt in attempts(server, source, status):
        with pytest.raises(SourceUnavailable):
            attempt()


def attempts(server: WebFiles, source: UriSource, status: int) -> list[Callable[[], object]]:
    """Ways to read the file, from its facts to its middle, that meet this status."""
    file = source.open()
    server.statuses = {"HEAD": status, "GET": status}
    return [source.identity, source.open, lambda: file.read(10)]


def test_a_server_that_goes_away_is_no_fault_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_bytes(CONTENT)
    with web_files(tmp_path) as server:
        source = UriSource(f"{server.url}/cases.csv", [server.url])
        file = source.open()
    for attempt in (source.identity, source.open, lambda: file.read(10)):
        with pytest.raises(SourceUnavailable):
            attempt()


def test_a_body_that_ends_early_is_not_taken_for_the_whole(server: WebFiles, source: UriSource) -> None:
    file = source.open()
    server.cuts_off = True
    with pytest.raises(SourceUnavailable):
        file.read(READ_BYTES)


def test_a_server_without_parts_is_refused_and_says_what_to_do(server: WebFiles, source: UriSource) -> None:
    server.serves_parts = False
    file = source.open()
    file.seek(2 * READ_BYTES)
    with pytest.raises(FileRefused) as caught:
        file.read(10)
    assert caught.value.problem is FileProblem.UNREADABLE
    assert "range requests" in caught.value.detail
