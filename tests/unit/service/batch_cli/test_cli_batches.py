"""`medqueue batch` against a small API in memory: lists, one batch and what is done with it, schedules."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from service.cli.batches import tables
from tests.unit.service.batch_cli.batch_views import BATCH, view
from tests.unit.service.test_cli_commands import ID, Api

Json = dict[str, Any]
Run = Callable[..., int]
Captured = pytest.CaptureFixture[str]
NEW_ID = "0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d22"
SCHEDULES = "/v1/batch-schedules"


SCHEDULE: Json = {
    "id": ID, "name": "ward", "cron": "0 22 * * *", "zone": "Europe/Berlin", "model": "m", "format": "parquet",
    "source": {"uri": "s3://ward/{date}.parquet"}, "window": None, "next_run_at": "2026-11-23T21:00:00Z",
    "last_run_at": None, "last_batch_id": None, "last_problem": {"code": "file_refused", "detail": "Mend it."},
    "paused_at": None,
}  # fmt: skip


def test_batches_are_listed_by_all_filters(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on("GET /v1/batches", {"items": [view("running", 20, 1)], "next_cursor": None})
    words = f"--state running --schedule {ID} --rerun-of {NEW_ID} --created-after 2026-11-22T00:00:00+00:00"
    assert medqueue("list", *words.split(), "--created-before", "2026-11-23T00:00:00+00:00") == 0
    asked = parse_qs(api.asked[0].url.query.decode())
    after, before = asked.pop("created_after"), asked.pop("created_before")
    assert [after[0][:10], before[0][:10]] == ["2026-11-22", "2026-11-23"]
    assert asked == {"state": ["running"], "schedule": [ID], "rerun_of": [NEW_ID], "limit": ["20"]}
    assert capsys.readouterr().out.splitlines()[1].split()[:6] == [ID, "running", "m@1.0.0", "50", "20", "1"]


def test_all_batches_are_listed_page_by_page(api: Api, medqueue: Run, capsys: Captured) -> None:
    first = {"items": [view()] * 200, "next_cursor": "c-1"}
    api.on("GET /v1/batches", first, {"items": [view()], "next_cursor": None})
    assert medqueue("list", "--all", "--json") == 0
    assert api.asked[1].url.params["cursor"] == "c-1"
    assert len(json.loads(capsys.readouterr().out)["items"]) == 201


def test_without_all_the_list_ends_at_its_limit(api: Api, medqueue: Run) -> None:
    api.on("GET /v1/batches", {"items": [view()] * 20, "next_cursor": "c-1"})
    assert medqueue("list") == 0
    assert len(api.asked) == 1


def test_a_batch_is_shown_with_its_work_its_progress_and_its_problem(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    window = {"hours": "22:00-06:00", "zone": "Europe/Berlin"}
    problem = {"code": "file_refused", "detail": "Mend the header."}
    api.on(f"GET {BATCH}", view("failed", window=window, problem=problem))
    assert medqueue("show", ID) == 0
    shown = capsys.readouterr().out
    for words in ("hours 22:00-06:00, zone Europe/Berlin", "total 50, succeeded 50", "Mend the header."):
        assert words in shown
    assert "None" not in shown


def test_a_batch_that_is_tried_again_is_shown_with_why_and_when(
    api: Api, medqueue: Run, capsys: Captured
) -> None:
    retrying = {
        "code": "source_unavailable",
        "detail": "The server answered 503.",
        "attempt": 2,
        "next_try_at": "2026-11-22T22:05:00Z",
    }
    api.on(f"GET {BATCH}", view("validating", 0, retrying=retrying))
    assert medqueue("show", ID) == 0
    shown = capsys.readouterr().out
    for words in ("Retrying", "source_unavailable", "The server answered 503.", "2026-11-22"):
        assert words in shown


def test_watching_says_what_is_tried_again() -> None:
    retrying = {"code": "source_unavailable", "detail": "x", "attempt": 2, "next_try_at": None}
    assert "retrying after try 2: source_unavailable" in tables.progress(view("running", retrying=retrying))


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_a_batch_is_controlled(api: Api, medqueue: Run, verb: str, capsys: Captured) -> None:
    state = {"pause": "pausing", "resume": "scheduled", "cancel": "canceled"}[verb]
    api.on(f"POST {BATCH}/{verb}", view(state, 20))
    assert medqueue(verb, ID, "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == state


def test_a_cancel_that_comes_too_late_ends_with_1(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"POST {BATCH}/cancel", view())
    assert medqueue("cancel", ID) == 1
    assert "Not canceled" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "code"), [(404, 4), (409, 4), (500, 5)])
@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "rerun"])
def test_a_refused_control_has_its_exit_code(
    api: Api, medqueue: Run, capsys: Captured, verb: str, status: int, code: int
) -> None:
    problem = {"code": "transition_refused", "detail": "The batch is completed: that does not allow this."}
    api.on(f"POST {BATCH}/{verb}", problem, status=status)
    assert medqueue(verb, ID) == code
    assert "[transition_refused]" in capsys.readouterr().err


def test_a_rerun_shows_the_new_batch_and_is_asked_for_once(api: Api, medqueue: Run, capsys: Captured) -> None:
    new = view("validating", 0, id=NEW_ID, rerun_of=ID)
    api.on(f"POST {BATCH}/rerun", httpx.ReadError("gone"), new)
    assert medqueue("rerun", ID) == 0
    assert len({request.headers["Idempotency-Key"] for request in api.asked}) == 1
    assert f"id             {NEW_ID}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ((), None),
        (("--rows", "all"), {"rows": "all"}),
        (("--source", "file:///night/mended.csv"), {"source": {"uri": "file:///night/mended.csv"}}),
        (("--source", f"upload:{ID}", "--rows", "failed"), {"source": {"upload_id": ID}, "rows": "failed"}),
    ],
)
def test_a_rerun_says_which_rows_of_which_file(
    api: Api, medqueue: Run, words: tuple[str, ...], body: dict[str, object] | None
) -> None:
    api.on(f"POST {BATCH}/rerun", view("validating", 0, id=NEW_ID))
    assert medqueue("rerun", ID, *words) == 0
    sent = api.asked[-1].content
    assert (json.loads(sent) if sent else None) == body


def test_a_mended_file_of_this_machine_goes_up_first(api: Api, medqueue: Run, tmp_path: Path) -> None:
    (tmp_path / "mended.csv").write_text("id\n1\n")
    api.on("POST /v1/uploads", {"id": ID}, status=201)
    api.on(f"POST {BATCH}/rerun", view("validating", 0, id=NEW_ID))
    assert medqueue("rerun", ID, "--source", str(tmp_path / "mended.csv")) == 0
    assert json.loads(api.asked[-1].content) == {"source": {"upload_id": ID}}


def test_a_rerun_is_watched_as_the_new_batch(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"POST {BATCH}/rerun", view("validating", 0, id=NEW_ID))
    api.on(f"GET /v1/batches/{NEW_ID}", view(id=NEW_ID))
    assert medqueue("rerun", ID, "--watch") == 0
    written = capsys.readouterr()
    assert written.out.startswith("completed: 50 of 50 rows scored")
    assert f"The new batch is {NEW_ID}." in written.err


def test_the_trail_of_a_batch_is_shown(api: Api, medqueue: Run, capsys: Captured) -> None:
    event = {
        "occurred_at": "2026-11-22T18:00:00Z",
        "action": "batch.submitted",
        "actor": "key:k",
        "detail": {},
        "object": "b",
    }
    api.on(f"GET {BATCH}/events", {"items": [event], "next_cursor": None})
    assert medqueue("events", ID) == 0
    assert "batch.submitted" in capsys.readouterr().out


def test_a_batch_that_is_not_there_ends_with_4(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"GET {BATCH}", {"code": "batch_not_found", "detail": "There is no such batch."}, status=404)
    assert [medqueue(word, ID) for word in ("show", "watch", "results", "errors")] == [4] * 4
    assert capsys.readouterr().err.count("[batch_not_found]") == 4


def test_schedules_are_listed(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"GET {SCHEDULES}", {"items": [SCHEDULE], "next_cursor": None})
    assert medqueue("schedules", "list") == 0
    shown = capsys.readouterr().out.splitlines()[1]
    assert shown.split()[:3] == [ID, "ward", "active"]
    assert "file_refused: Mend it." in shown


def test_a_schedule_is_created_with_its_clock_and_its_work(api: Api, medqueue: Run) -> None:
    api.on(f"POST {SCHEDULES}", SCHEDULE, status=201)
    words = "--model m --zone Europe/Berlin --window 22:00-06:00 --deadline-after 7.5 --carry ward"
    uri = "s3://ward/{date}.parquet"
    assert medqueue("schedules", "create", uri, "--name", "ward", "--cron", "0 22 * * *", *words.split()) == 0
    assert api.body() == {
        "name": "ward",
        "cron": "0 22 * * *",
        "zone": "Europe/Berlin",
        "model": "m",
        "source": {"uri": uri},
        "format": "parquet",
        "window": {"hours": "22:00-06:00", "zone": "Europe/Berlin"},
        "carry": ["ward"],
        "deadline_after_s": 27_000,
    }


def test_a_schedule_is_shown_paused_resumed_and_deleted(api: Api, medqueue: Run, capsys: Captured) -> None:
    api.on(f"GET {SCHEDULES}/{ID}", SCHEDULE)
    api.on(f"POST {SCHEDULES}/{ID}/pause", SCHEDULE | {"paused_at": "2026-11-22T18:00:00Z"})
    api.on(f"POST {SCHEDULES}/{ID}/resume", SCHEDULE)
    api.on(f"DELETE {SCHEDULES}/{ID}", httpx.Response(204))
    assert [medqueue("schedules", word, ID) for word in ("show", "pause", "resume", "delete")] == [0] * 4
    shown = capsys.readouterr().out
    assert shown.count("uri s3://ward/{date}.parquet") == 3
    assert shown.count("paused_at") == 1
    assert "deleted" in shown


def test_a_name_that_is_taken_ends_with_4(api: Api, medqueue: Run, capsys: Captured) -> None:
    problem = {"code": "schedule_name_taken", "detail": "Choose another name."}
    api.on(f"POST {SCHEDULES}", problem, status=409)
    words = ("--name", "ward", "--cron", "0 22 * * *", "--model", "m")
    assert medqueue("schedules", "create", "s3://ward/x.csv", *words) == 4
    assert "[schedule_name_taken]" in capsys.readouterr().err
