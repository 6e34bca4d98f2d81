"""Fetching what came of a batch: resumed where it was interrupted, and checked against its digest."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cli import main
from service.cli.batches.downloads import wanted_of
from service.cli.client import ApiClient
from service.cli.downloads import StreamSink, Wanted, download, to_file
from service.cli.errors import AnswerLost, ContentDamaged
from service.cli.output import Output
from service.cli.target import Target
from tests.unit.service.batch_cli.batch_views import BATCH, CONTENT, SHA256, view
from tests.unit.service.test_cli_commands import ID, KEY, Api

Json = dict[str, Any]
Run = Callable[..., int]
Captured = pytest.CaptureFixture[str]


class Breaking(httpx.SyncByteStream):
    """A body that breaks off after some bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("gone")


class FileApi:
    """Serves one file with ranges; the first connections break off after as many bytes as are given."""

    def __init__(self, *break_after: int, content: bytes = CONTENT, etag: str | None = f'"{SHA256}"') -> None:
        self.content = content
        self.etag = etag
        self.asked: list[httpx.Request] = []
        self._break_after = list(break_after)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == BATCH:
            return httpx.Response(200, json=view())
        self.asked.append(request)
        start, headers = 0, {} if self.etag is None else {"ETag": self.etag}
        if "Range" in request.headers and request.headers["If-Range"] == self.etag:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        rest = self.content[start:]
        stream = Breaking(rest[: self._break_after.pop(0)]) if self._break_after else httpx.ByteStream(rest)
        return httpx.Response(206 if start else 200, headers=headers, stream=stream)

    @property
    def ranges(self) -> list[str | None]:
        return [request.headers.get("Range") for request in self.asked]


def fetched(served: FileApi, path: Path, wanted: Wanted | None = None) -> tuple[Json, list[float]]:
    """Fetch to a file: what was told of it, and the pauses."""
    paused: list[float] = []
    with ApiClient(Target("http://api.test", KEY), httpx.MockTransport(served)) as client:
        wanted = wanted or wanted_of(view(), "results")
        return to_file(client, Output(as_json=True), wanted, path, pause=paused.append), paused


def run_against(served: FileApi, *words: str) -> int:
    command = ["batch", *words, "--url", "http://api.test", "--key", KEY]
    return main(command, transport=httpx.MockTransport(served))


def test_results_are_written_to_a_file_and_told_of(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "results.ndjson"
    assert run_against(FileApi(), "results", ID, "-o", str(path), "--json") == 0
    assert [each.name for each in tmp_path.iterdir()] == ["results.ndjson"]
    assert path.read_bytes() == CONTENT
    assert json.loads(capsys.readouterr().out) == {
        "file": str(path),
        "size_bytes": len(CONTENT),
        "sha256": SHA256,
    }


@pytest.mark.parametrize("words", [(), ("-o", "-")])
def test_results_are_written_to_stdout_alone(
    words: tuple[str, ...], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run_against(FileApi(), "results", ID, *words) == 0
    assert capfdbinary.readouterr() == (CONTENT, b"")


def test_errors_of_a_batch_that_did_not_complete_are_fetched_as_they_are(
    api: Api, medqueue: Run, tmp_path: Path
) -> None:
    api.on(f"GET {BATCH}", view("canceled"))
    api.on(f"GET {BATCH}/errors", httpx.Response(200, content=CONTENT))
    path = tmp_path / "errors.ndjson"
    assert medqueue("errors", ID, "--partial", "-o", str(path)) == 0
    assert api.asked[1].url.params["partial"] == "true"
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["results", "errors"])
@pytest.mark.parametrize("to_file", [True, False])
def test_the_option_is_advised_for_a_batch_that_did_not_complete(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured, kind: str, *, to_file: bool
) -> None:
    api.on(f"GET {BATCH}", view("failed"))
    problem = {"code": "output_incomplete", "detail": "`?partial=true` gives what its finished chunks hold."}
    api.on(f"GET {BATCH}/{kind}", problem, status=409)
    assert medqueue(kind, ID, *(("-o", str(tmp_path / "out")) if to_file else ())) == 4
    told = capsys.readouterr().err
    assert "`--partial`" in told
    assert "?partial" not in told


def test_results_that_are_not_there_yet_end_with_4_and_leave_nothing(
    api: Api, medqueue: Run, tmp_path: Path, capsys: Captured
) -> None:
    api.on(f"GET {BATCH}", view("running", 20))
    api.on(f"GET {BATCH}/results", {"code": "batch_not_completed", "detail": "It is running."}, status=409)
    assert medqueue("results", ID, "-o", str(tmp_path / "r")) == 4
    assert "[batch_not_completed]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_ends_with_2(tmp_path: Path, capsys: Captured) -> None:
    served = FileApi()
    assert run_against(served, "results", ID, "-o", str(tmp_path / "no" / "r")) == 2
    assert "cannot be written: No such file" in capsys.readouterr().err
    assert served.asked == []


def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path: Path) -> None:
    served = FileApi(100, 200)
    told, paused = fetched(served, tmp_path / "r")
    assert (tmp_path / "r").read_bytes() == CONTENT
    assert served.ranges == [None, "bytes=100-", "bytes=300-"]
    assert [request.headers.get("If-Range") for request in served.asked[1:]] == [f'"{SHA256}"'] * 2
    assert paused == [1.0, 1.0]
    assert told["sha256"] == SHA256


def test_a_download_goes_on_from_what_an_earlier_command_left(tmp_path: Path) -> None:
    (tmp_path / "r.part").write_bytes(CONTENT[:700])
    served = FileApi()
    fetched(served, tmp_path / "r")
    assert served.ranges == ["bytes=700-"]
    assert (tmp_path / "r").read_bytes() == CONTENT
    assert not (tmp_path / "r.part").exists()


def test_what_is_whole_already_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "r.part").write_bytes(CONTENT)
    served = FileApi()
    fetched(served, tmp_path / "r")
    assert served.asked == []
    assert (tmp_path / "r").read_bytes() == CONTENT


@pytest.mark.parametrize("more", [0, 5])
def test_a_leftover_of_another_file_that_is_as_long_is_thrown_away(tmp_path: Path, more: int) -> None:
    (tmp_path / "r.part").write_bytes(b"x" * (len(CONTENT) + more))
    fetched(FileApi(), tmp_path / "r")
    assert (tmp_path / "r").read_bytes() == CONTENT


def test_a_server_that_sends_the_whole_file_instead_of_the_rest_starts_it_afresh(tmp_path: Path) -> None:
    served = FileApi(100, etag=None)
    fetched(served, tmp_path / "r")
    assert (tmp_path / "r").read_bytes() == CONTENT


def test_a_partial_file_is_resumed_by_the_etag_that_came_with_it_and_checked_by_it(tmp_path: Path) -> None:
    served = FileApi(100)
    fetched(served, tmp_path / "r", Wanted(f"{BATCH}/results", partial=True))
    assert served.ranges == [None, "bytes=100-"]
    assert (tmp_path / "r").read_bytes() == CONTENT
    with pytest.raises(ContentDamaged):
        fetched(FileApi(content=CONTENT + b"x"), tmp_path / "r", Wanted(f"{BATCH}/results", partial=True))


def test_a_download_that_brings_nothing_time_and_again_is_given_up_and_what_came_is_kept(
    tmp_path: Path, capsys: Captured
) -> None:
    with pytest.raises(AnswerLost):
        fetched(FileApi(100, *[0] * 9), tmp_path / "r")
    assert (tmp_path / "r.part").read_bytes() == CONTENT[:100]
    written = capsys.readouterr().err
    assert "r.part keeps 100 bytes: repeat the command to go on" in written
    assert written.count("was interrupted") == 1


def test_what_is_not_the_services_file_ends_with_1_says_so_and_is_removed(
    tmp_path: Path, capsys: Captured
) -> None:
    damaged = FileApi(content=CONTENT.replace(b"benign", b"malign"))
    assert run_against(damaged, "results", ID, "-o", str(tmp_path / "r")) == 1
    written = capsys.readouterr().err
    assert "[content_damaged]" in written
    assert SHA256 in written
    assert list(tmp_path.iterdir()) == []


def test_damage_on_stdout_ends_with_1_too(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run_against(FileApi(content=CONTENT[:-1] + b"x"), "results", ID) == 1
    assert b"[content_damaged]" in capfdbinary.readouterr().err


def to_stream(served: FileApi) -> bytes:
    stream = io.BytesIO()
    with ApiClient(Target("http://api.test", KEY), httpx.MockTransport(served)) as client:
        sink, wanted = StreamSink(stream), wanted_of(view(), "results")
        download(client, wanted, sink, done=lambda _: None, note=lambda _: None, pause=lambda _: None)
    return stream.getvalue()


def test_a_stream_that_breaks_off_goes_on_where_it_was() -> None:
    assert to_stream(FileApi(100)) == CONTENT


def test_a_stream_cannot_start_afresh_and_says_so() -> None:
    with pytest.raises(ContentDamaged, match="-o FILE"):
        to_stream(FileApi(100, etag=None))
