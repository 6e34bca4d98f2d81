"""Schedules over HTTP: made, listed, paused, deleted; each run opens a batch over the file of its day."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases, nights
from tests.acceptance.calls import Job, assert_problem, job_of, pages, time_of
from tests.acceptance.nights import BATCHES, SCHEDULES, rows
from tests.acceptance.stack import Stack, eventually

UNUSUAL = {"window": {"hours": "22:00-06:00", "zone": "Europe/Berlin"}, "deadline_after_s": 3600,
           "on_error": {"stop_after": 9}, "output": {"format": "parquet", "place": None}, "id_column": "case",
           "carry": ["ward"], "delimiter": ";", "dry_run": 10, "wait_for_source_s": 600}  # fmt: skip


@pytest.fixture(scope="module")
def ward(stack: Stack) -> Iterator[httpx.Client]:
    """A tenant of these tests."""
    with stack.client(stack.new_key("schedules ward")) as client:
        yield client


def body(root: Path, **fields: Any) -> dict[str, Any]:
    """The body of a good schedule, of a name of its own; `fields` are added or replaced."""
    return {
        "name": f"ward {uuid4()}", "cron": "0 22 * * *", "zone": "Europe/Berlin", "model": cases.BREAST_CANCER,
        "source": {"uri": f"{root}/{{date}}.csv"}, "format": "csv", **fields,
    }  # fmt: skip


def made(http: httpx.Client, root: Path, **fields: Any) -> Job:
    """A schedule as it was answered."""
    answer = http.post(SCHEDULES, json=body(root, **fields))
    assert answer.status_code == 201, answer.text
    schedule = job_of(answer)
    assert answer.headers["location"] == f"{SCHEDULES}/{schedule['id']}"
    return schedule


def test_a_schedule_comes_back_as_it_was_made(ward: httpx.Client, night_root: Path) -> None:
    schedule = made(ward, night_root, **UNUSUAL)
    assert {name: schedule[name] for name in UNUSUAL} == UNUSUAL
    assert schedule["source"] == {"uri": f"{night_root}/{{date}}.csv", "format": "csv"}
    assert (schedule["paused_at"], schedule["last_run_at"], schedule["last_batch_id"]) == (None, None, None)
    assert time_of(schedule["next_run_at"]) > datetime.now(UTC)
    assert job_of(ward.get(f"{SCHEDULES}/{schedule['id']}")) == schedule
    assert schedule in list(pages(ward, SCHEDULES))


def test_schedules_are_listed_newest_first_page_by_page(ward: httpx.Client, night_root: Path) -> None:
    ids = [made(ward, night_root)["id"] for _ in range(5)]
    assert [schedule["id"] for schedule in pages(ward, SCHEDULES, limit=2)][:5] == ids[::-1]


def test_a_name_is_taken_until_its_schedule_is_deleted(ward: httpx.Client, night_root: Path) -> None:
    schedule = made(ward, night_root, name="the night")
    assert_problem(ward.post(SCHEDULES, json=body(night_root, name="the night")), 409, "schedule_name_taken")
    path = f"{SCHEDULES}/{schedule['id']}"
    deleted = ward.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for again in (ward.delete(path), ward.get(path), ward.post(f"{path}/pause"), ward.post(f"{path}/resume")):
        assert_problem(again, 404, "schedule_not_found")
    made(ward, night_root, name="the night")


def test_a_paused_schedule_says_so_until_it_is_resumed(ward: httpx.Client, night_root: Path) -> None:
    path = f"{SCHEDULES}/{made(ward, night_root)['id']}"
    for _ in range(2):
        assert job_of(ward.post(f"{path}/pause"))["paused_at"] is not None
    for _ in range(2):
        assert job_of(ward.post(f"{path}/resume"))["paused_at"] is None


@pytest.mark.timeout(180)
def test_a_run_opens_a_batch_over_the_file_of_the_day(ward: httpx.Client, night_root: Path) -> None:
    folder = night_root / uuid4().hex
    folder.mkdir()
    for day in (datetime.now(UTC), datetime.fromtimestamp(datetime.now(UTC).timestamp() + 120, UTC)):
        (folder / f"{day.date()}.csv").write_bytes(nights.as_csv(rows(2)))
    schedule = made(ward, folder, cron="* * * * *", zone="UTC")
    path = f"{SCHEDULES}/{schedule['id']}"
    eventually(lambda: job_of(ward.get(path))["last_batch_id"] is not None, within_s=90, every_s=0.5)
    after = job_of(ward.post(f"{path}/pause"))
    batch = nights.reached(ward, after["last_batch_id"], "completed")
    assert (batch["schedule_id"], batch["counts"]["succeeded"]) == (schedule["id"], 2)
    assert batch["scheduled_for"] == after["last_run_at"]
    assert batch["source"]["uri"] == f"{folder}/{time_of(batch['scheduled_for']).date()}.csv"
    assert batch["id"] in [found["id"] for found in pages(ward, BATCHES, schedule=schedule["id"])]
    assert after["last_problem"] is None


@pytest.mark.parametrize(
    ("wrong", "status", "code", "pointer"),
    [
        ({"cron": "0 22 * *"}, 422, "request_invalid", "/cron"),
        ({"cron": "61 22 * * *"}, 422, "schedule_invalid", None),
        ({"cron": "0 0 31 2 *"}, 422, "schedule_invalid", None),
        ({"cron": "@every day now please"}, 422, "schedule_invalid", None),
        ({"zone": "Mars/Base"}, 422, "window_invalid", "/zone"),
        ({"name": "\0"}, 422, "request_invalid", "/name"),
        ({"model": "no-such-model"}, 404, "model_not_found", None),
        ({"source": {"uri": "/etc/{date}.csv"}}, 422, "source_not_allowed", "/source/uri"),
        ({"source": {"uri": "{root}/{time}.csv"}}, 422, "schedule_invalid", None),
        ({"source": {"upload_id": str(uuid4())}}, 422, "request_invalid", "/source/uri"),
        ({"output": {"place": "/etc/{date}"}}, 422, "source_not_allowed", "/output/place"),
        ({"format": "zip"}, 422, "wrong_format", "/format"),
        ({"window": {"hours": "x", "zone": "UTC"}}, 422, "window_invalid", "/window"),
        ({"deadline_after_s": 0}, 422, "request_invalid", "/deadline_after_s"),
        ({"not_before": "2099-01-01T00:00:00Z"}, 422, "request_invalid", "/not_before"),
    ],
)
def test_a_bad_schedule_is_refused(
    ward: httpx.Client, night_root: Path, wrong: dict[str, Any], status: int, code: str, pointer: str | None
) -> None:
    if "uri" in wrong.get("source", {}):
        wrong = {"source": {"uri": wrong["source"]["uri"].replace("{root}", str(night_root))}}
    problem = assert_problem(ward.post(SCHEDULES, json=body(night_root, **wrong)), status, code)
    if pointer is not None:
        assert pointer in {fault["pointer"] for fault in problem["errors"]}, problem


def test_another_tenant_sees_and_changes_nothing(
    ward: httpx.Client, stranger: httpx.Client, night_root: Path
) -> None:
    schedule_id = made(ward, night_root)["id"]
    path = f"{SCHEDULES}/{schedule_id}"
    for answer in (
        *(stranger.get(path), stranger.delete(path)),
        *(stranger.post(f"{path}/pause"), stranger.post(f"{path}/resume")),
    ):
        assert_problem(answer, 404, "schedule_not_found")
    assert schedule_id not in [schedule["id"] for schedule in pages(stranger, SCHEDULES)]


def test_who_may_not_read_jobs_is_not_told_where_the_files_lie(
    stack: Stack, ward: httpx.Client, night_root: Path
) -> None:
    schedule = made(ward, night_root, carry=["ward"])
    with stack.client(stack.new_key("schedules ward", "jobs:write")) as writer:
        for change in ("pause", "resume"):
            shown = writer.post(f"{SCHEDULES}/{schedule['id']}/{change}").json()
            assert (shown["source"]["uri"], shown["output"]["place"], shown["carry"]) == (None, None, [])
    assert job_of(ward.get(f"{SCHEDULES}/{schedule['id']}"))["source"] == schedule["source"]
