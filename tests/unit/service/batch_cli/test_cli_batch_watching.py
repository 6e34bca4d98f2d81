"""Watching a batch: a line for each change, a bar on a terminal, patience with a service that is away."""

import csv
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.cli import main
from service.cli.batches.faults import MOST_BYTES, in_words, lines
from service.cli.batches.watching import BUSY_S, IDLE_S, Lines, until_ended
from service.cli.client import ApiClient
from service.cli.errors import ApiProblem, Unreachable
from service.cli.target import Target
from tests.unit.service.batch_cli.batch_views import BATCH, ERRORS, FAULTS, WHY, view
from tests.unit.service.test_cli_commands import ID, KEY, Api

Json = dict[str, Any]
Run = Callable[..., int]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def client(api: Api) -> Iterator[ApiClient]:
    with ApiClient(Target("http://api.test", KEY), httpx.MockTransport(api)) as opened:
        yield opened


@pytest.mark.parametrize("state", ["failed", "canceled", "expired"])
def test_a_batch_that_does_not_complete_ends_the_watching_with_1_and_says_what_can_be_done(
    api: Api, medqueue: Run, state: str, capsys: Captured
) -> None:
    trouble = {"code": "too_many_failed", "detail": "More rows failed than were allowed."}
    api.on(f"GET {BATCH}", view(state, 20, 11, problem=trouble))
    assert medqueue("watch", ID) == 1
    written = capsys.readouterr()
    assert written.out == (
        f"{state}: 9 of 50 rows scored, 11 failed. too_many_failed: More rows failed than were allowed.\n"
    )
    assert f"medqueue batch results {ID} --partial" in written.err
    assert f"medqueue batch rerun {ID}" in written.err


def test_a_completed_batch_ends_the_watching_with_0_and_tells_of_rows_that_failed(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    api.on(f"GET {BATCH}", view(failed=3, errors=ERRORS))
    api.on(f"GET {BATCH}/errors", httpx.Response(200, content=FAULTS))
    assert medqueue("watch", ID) == 0
    written = capsys.readouterr()
    assert "3 failed" in written.out
    assert WHY in written.err
    assert f"medqueue batch errors {ID}" in written.err


def test_a_completed_batch_of_which_every_row_failed_ends_the_watching_with_1(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    api.on(f"GET {BATCH}", view(failed=50, errors=ERRORS))
    api.on(f"GET {BATCH}/errors", httpx.Response(200, content=FAULTS))
    assert medqueue("watch", ID) == 1
    assert WHY in capsys.readouterr().err


def test_a_completed_batch_without_rows_ends_the_watching_with_0(api: Api, medqueue: Run) -> None:
    none = {"total": 0, "succeeded": 0, "failed": 0, "remaining": 0}
    api.on(f"GET {BATCH}", view(counts=none))
    assert medqueue("watch", ID) == 0


@pytest.mark.parametrize("told", [{**ERRORS, "size_bytes": MOST_BYTES + 1}, None])
def test_a_large_file_of_errors_is_not_fetched(api: Api, medqueue: Run, told: Json | None) -> None:
    api.on(f"GET {BATCH}", view(failed=3, errors=told))
    assert medqueue("watch", ID) == 0
    assert {request.url.path for request in api.asked} == {BATCH}


def test_errors_that_cannot_be_fetched_do_not_change_how_the_watching_ends(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    api.on(f"GET {BATCH}", view(failed=3, errors=ERRORS))
    api.on(f"GET {BATCH}/errors", {"code": "output_expired", "detail": "Gone."}, status=410)
    assert medqueue("watch", ID) == 0
    assert "could not be fetched: output_expired" in capsys.readouterr().err


def test_the_reasons_are_read_from_every_format_of_errors(tmp_path: Path) -> None:
    faults = [json.loads(line) for line in FAULTS.splitlines()]
    paths = {form: tmp_path / form for form in ("ndjson", "csv", "parquet")}
    paths["ndjson"].write_bytes(FAULTS)
    with paths["csv"].open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, faults[0])
        writer.writeheader()
        writer.writerows(faults)
    pq.write_table(pa.Table.from_pylist(faults), paths["parquet"])
    for form, path in paths.items():
        assert f"Why rows failed: {in_words(lines(path, form))}" == WHY


def test_watching_as_json_writes_the_batch_and_no_line_of_progress(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    api.on(f"GET {BATCH}", view(news="of a later release"))
    assert medqueue("watch", ID, "--json") == 0
    written = capsys.readouterr()
    assert json.loads(written.out) == view(news="of a later release")
    assert "50 of 50" not in written.err


def test_ctrl_c_ends_the_watching_and_says_how_to_go_on(api: Api, medqueue: Run, capsys: Captured) -> None:
    def interrupted(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(202, json=view("validating", 0))
        asked.append(request)
        raise KeyboardInterrupt

    asked: list[httpx.Request] = []
    words = [
        "batch",
        "submit",
        "s3://w/x.csv",
        "--model",
        "m",
        "--watch",
        "--url",
        "http://a.test",
        "--key",
        KEY,
    ]
    assert main(words, transport=httpx.MockTransport(interrupted)) == 130
    assert [request.method for request in asked] == ["GET"]
    assert f"The batch continues. Watch it again: medqueue batch watch {ID}" in capsys.readouterr().err


def followed(client: ApiClient) -> tuple[Json, list[float], list[str], list[str]]:
    """The batch in the end, the pauses that were made, the lines that were told, and the notes."""
    paused: list[float] = []
    lines: list[str] = []
    notes: list[str] = []
    ended = until_ended(client, ID, tell=Lines(lines.append), note=notes.append, pause=paused.append)
    return ended, paused, lines, notes


def test_elsewhere_than_on_a_terminal_each_change_is_one_line(api: Api, client: ApiClient) -> None:
    unknown = {"total": None, "succeeded": 0, "failed": 0, "remaining": None}
    running: Json = {"expected_end": "2026-11-22T22:40:00Z"}
    api.on(
        f"GET {BATCH}",
        view("validating", 0, counts=unknown),
        view("scheduled", 0),
        view("scheduled", 0),
        view("running", 20, **running),
        view("running", 20, **running),
        view("running", 30, 1, **running),
        view("completed", 50, 1),
    )
    ended, paused, lines, _ = followed(client)
    assert ended["state"] == "completed"
    assert lines == [
        "validating",
        "scheduled: 0 of 50 rows, 0 failed, opens 2026-11-22 22:00:00Z",
        "running: 20 of 50 rows, 0 failed, 812 rows/s, ends about 2026-11-22 22:40:00Z",
        "running: 30 of 50 rows, 1 failed, 812 rows/s, ends about 2026-11-22 22:40:00Z",
        "completed: 50 of 50 rows, 1 failed",
    ]
    assert paused == [BUSY_S, IDLE_S, IDLE_S, BUSY_S, BUSY_S, BUSY_S]


def test_a_service_that_goes_away_is_asked_again_ever_less_often_and_told_of_once(
    api: Api, client: ApiClient
) -> None:
    away = httpx.ConnectError("no")
    failing = httpx.Response(503, json={"code": "database_unavailable", "detail": "Later."})
    api.on(f"GET {BATCH}", view("running", 1), away, failing, *[away] * 4, view("running", 2), away, view())
    ended, paused, _, notes = followed(client)
    assert ended["state"] == "completed"
    assert paused == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 1.0, 2.0]
    assert len(notes) == 2


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_refusal_ends_the_following(api: Api, client: ApiClient, status: int) -> None:
    gone = httpx.Response(status, json={"code": "batch_not_found", "detail": "Gone."})
    api.on(f"GET {BATCH}", view("running", 1), gone)
    with pytest.raises(ApiProblem):
        followed(client)


def test_a_service_that_is_away_at_the_start_is_not_waited_for(api: Api, client: ApiClient) -> None:
    api.on(f"GET {BATCH}", httpx.ConnectError("no"))
    with pytest.raises(Unreachable):
        followed(client)


def test_on_a_terminal_a_bar_shows_state_rows_failures_speed_and_end() -> None:
    code = f"""
import httpx
from service.cli import main
views = {[view("running", 20, 4, expected_end="2026-11-22T22:40:00Z"), view(failed=4, errors=None)]!r}
answer = lambda request: httpx.Response(200, json=views.pop(0) if len(views) > 1 else views[0])
words = ["batch", "watch", {ID!r}, "--url", "http://a.test", "--key", "k"]
raise SystemExit(main(words, transport=httpx.MockTransport(answer)))
"""
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160"}
    environment.pop("NO_COLOR", None)
    ours, theirs = pty.openpty()
    ended = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True
    )
    os.close(theirs)
    screen = os.read(ours, 1 << 16).decode()
    os.close(ours)
    for words in (
        "running",
        "20 of 50 rows",
        "4 failed",
        "812 rows/s",
        "ends about 2026-11-22 22:40:00Z",
        "\u2501",
    ):
        assert words in screen
    assert "running: 20" not in screen
    assert ended.stdout == b"completed: 46 of 50 rows scored, 4 failed, took 40 min\n"


def test_what_a_service_says_cannot_steer_the_terminal(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"GET {BATCH}", view("failed", problem={"code": "x", "detail": "\x1b[2J"}))
    assert medqueue("watch", ID) == 1
    written = capsys.readouterr()
    assert "\x1b" not in written.out + written.err
