"""Overnight batches over HTTP: a file in, results and errors out, every row accounted for, each reading recorded."""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases, nights
from tests.acceptance.calls import Job, assert_problem, pages, scored, submit_many
from tests.acceptance.calls import ended as job_ended
from tests.acceptance.nights import BATCHES, completed, download, lines, opened, reached, rows
from tests.acceptance.stack import Stack, eventually
from tests.web_files import WebFiles

WRITERS = {"csv": nights.as_csv, "ndjson": nights.as_ndjson, "parquet": nights.as_parquet}
FAR = "2099-01-01T00:00:00Z"
COUNT = 20


@pytest.fixture(scope="module")
def ward(stack: Stack) -> Iterator[httpx.Client]:
    """A tenant of these tests."""
    with stack.client(stack.new_key("night ward")) as client:
        yield client


@pytest.fixture(scope="module")
def finished(ward: httpx.Client) -> Job:
    """A batch of good rows and three bad ones: a missing value, one out of range, an id that came before."""
    return completed(ward, nights.as_csv(with_faults()), id_column="case", carry=["ward"])


def with_faults() -> list[nights.Row]:
    """Twenty rows, of which the 3rd, the 7th and the 12th are bad."""
    table = rows(COUNT)
    table[2][nights.FIELDS[0]] = ""
    table[6][nights.FIELDS[1]] = 1e9
    table[11]["case"] = "c-0"
    return table


def trail(http: httpx.Client, batch_id: str) -> list[Job]:
    return list(pages(http, f"{BATCHES}/{batch_id}/events"))


def readings(http: httpx.Client, batch: Job) -> list[dict[str, Any]]:
    """What was noted of readings of a batch's files."""
    return [event["detail"] for event in trail(http, batch["id"]) if event["action"] == "batch.output_read"]


def test_each_row_is_counted_and_stands_in_results_or_errors(ward: httpx.Client, finished: Job) -> None:
    counts = finished["counts"]
    assert counts == {"total": COUNT, "succeeded": COUNT - 3, "failed": 3, "remaining": 0}
    results, errors = lines(ward, finished), lines(ward, finished, "errors")
    assert [line["row"] for line in results] == [row for row in range(1, COUNT + 1) if row not in {3, 7, 12}]
    assert [line["row"] for line in errors] == [3, 7, 12]
    assert (finished["results"]["rows"], finished["errors"]["rows"]) == (len(results), len(errors))
    assert [line["case"] for line in results] == [f"c-{line['row'] - 1}" for line in results]
    assert [line["ward"] for line in results] == [f"w{(line['row'] - 1) % 3}" for line in results]


def test_an_error_names_row_id_column_and_code_and_says_what_to_change(
    ward: httpx.Client, finished: Job
) -> None:
    errors = lines(ward, finished, "errors")
    told = [(error["case"], error["column"], error["code"]) for error in errors]
    assert [column for _, column, _ in told] == [nights.FIELDS[0], nights.FIELDS[1], "case"]
    assert [case for case, _, _ in told] == ["c-2", "c-6", "c-0"]
    assert told[2][2] == "duplicate_id"
    assert len({code for _, _, code in told}) == 3
    assert all(len(error["message"]) > 10 for error in errors)
    assert "1000000000" not in download(ward, finished, "errors").decode()


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("output", ["ndjson", "parquet"])
def test_a_row_is_answered_as_a_job_is(ward: httpx.Client, form: str, output: str) -> None:
    batch = completed(
        ward, WRITERS[form](rows(6)), form, id_column="case", carry=["ward"], output={"format": output}
    )
    jobs = submit_many(ward, [cases.submission(number) for number in range(6)])
    found = lines(ward, batch)
    assert len(found) == 6
    for line, job in zip(found, jobs, strict=True):
        result = job_ended(ward, job["id"])["result"]
        assert (line["label"], line["abstained"]) == (result["label"], result["abstained"])
        for label, probability in result["probabilities"].items():
            assert line[f"probability_{label}"] == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_on_a_web_server_is_scored_as_an_upload_is(
    ward: httpx.Client, night_root: Path, night_server: WebFiles, form: str
) -> None:
    content = WRITERS[form](with_faults() if form == "csv" else rows(COUNT))
    (night_root / f"served.{form}").write_bytes(content)
    source = {"source": {"uri": f"{night_server.url}/served.{form}"}}
    there, here = (completed(ward, content, form, id_column="case", **given) for given in (source, {}))
    assert there["source"]["sha256"] == hashlib.sha256(content).hexdigest()
    for kind in ("results", "errors"):
        assert there[kind]["sha256"] == here[kind]["sha256"]
        assert download(ward, there, kind) == download(ward, here, kind)


def test_a_file_that_a_web_server_does_not_have_fails_in_validation(
    ward: httpx.Client, night_server: WebFiles
) -> None:
    body = nights.body("", source={"uri": f"{night_server.url}/nowhere.csv"})
    batch = reached(ward, ward.post(BATCHES, json=body).json()["id"], "failed")
    assert (batch["state"], batch["problem"]["code"]) == ("failed", "source_gone")


def test_a_web_server_that_is_away_for_a_moment_is_asked_again(
    ward: httpx.Client, night_root: Path, night_server: WebFiles
) -> None:
    (night_root / "late.csv").write_bytes(nights.as_csv(rows(4)))
    night_server.statuses = {"HEAD": 503, "GET": 503}
    try:
        body = nights.body("", source={"uri": f"{night_server.url}/late.csv"})
        batch = ward.post(BATCHES, json=body).json()
        eventually(lambda: night_server.refused > 0, within_s=20)
    finally:
        night_server.statuses = {}
    assert reached(ward, batch["id"], "completed")["counts"]["succeeded"] == 4


def test_a_batch_tells_of_its_source_its_model_and_its_times(ward: httpx.Client, finished: Job) -> None:
    content = nights.as_csv(with_faults())
    job = scored(ward)
    source = finished["source"]
    assert source["sha256"] == hashlib.sha256(content).hexdigest()
    assert (source["size_bytes"], source["format"]) == (len(content), "csv")
    for name in ("model", "model_version", "model_digest", "kind"):
        assert finished[name] == job[name]
    times = [finished[f"{name}_at"] for name in ("created", "scheduled", "started", "finalizing", "finished")]
    assert times == sorted(times)
    assert (finished["chunks"]["done"], finished["chunks"]["running"]) == (finished["chunks"]["total"], 0)
    assert (finished["problem"], finished["window"], finished["rerun_of"]) == (None, None, None)


def test_a_file_has_the_digest_and_the_length_that_were_told(ward: httpx.Client, finished: Job) -> None:
    for kind in ("results", "errors"):
        answer = ward.get(finished[kind]["url"])
        assert hashlib.sha256(answer.content).hexdigest() == finished[kind]["sha256"]
        assert len(answer.content) == finished[kind]["size_bytes"] == int(answer.headers["content-length"])
        assert answer.headers["etag"] == f'"{finished[kind]["sha256"]}"'
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert f'filename="{finished["id"]}.{kind}.ndjson"' in answer.headers["content-disposition"]


def test_a_range_is_exactly_these_bytes(ward: httpx.Client, finished: Job) -> None:
    url, whole = finished["results"]["url"], download(ward, finished)
    size = len(whole)
    wanted = {"0-0": (0, 1), "5-99": (5, 100), f"{size - 3}-": (size - 3, size), "-7": (size - 7, size),
              f"10-{size + 50}": (10, size)}  # fmt: skip
    for header, (start, end) in wanted.items():
        answer = ward.get(url, headers={"Range": f"bytes={header}"})
        assert (answer.status_code, answer.content) == (206, whole[start:end])
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert int(answer.headers["content-length"]) == end - start


def test_ranges_of_parquet_make_the_file(ward: httpx.Client) -> None:
    batch = completed(ward, nights.as_csv(rows(9)), output={"format": "parquet"})
    url, size = batch["results"]["url"], batch["results"]["size_bytes"]
    parts = [
        ward.get(url, headers={"Range": f"bytes={at}-{at + 1000}"}).content for at in range(0, size, 1001)
    ]
    assert hashlib.sha256(b"".join(parts)).hexdigest() == batch["results"]["sha256"]
    assert ward.get(url).headers["content-type"] == "application/vnd.apache.parquet"


def test_the_whole_file_and_a_range_of_it_come_with_the_digest_of_the_whole(
    ward: httpx.Client, finished: Job
) -> None:
    digest = b64encode(bytes.fromhex(finished["results"]["sha256"])).decode()
    for headers in ({}, {"Range": "bytes=0-4"}):
        answer = ward.get(finished["results"]["url"], headers=headers)
        assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_range_behind_the_end_is_refused_with_the_length(ward: httpx.Client, finished: Job) -> None:
    size = finished["results"]["size_bytes"]
    answer = ward.get(finished["results"]["url"], headers={"Range": f"bytes={size}-"})
    assert_problem(answer, 416, "range_unsatisfiable")
    assert answer.headers["content-range"] == f"bytes */{size}"


def test_tags_save_what_is_known_and_guard_ranges(ward: httpx.Client, finished: Job) -> None:
    url, tag = finished["results"]["url"], f'"{finished["results"]["sha256"]}"'
    before = len(readings(ward, finished))
    for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        answer = ward.get(url, headers={"If-None-Match": known, "Range": "bytes=0-0"})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert len(readings(ward, finished)) == before
    assert ward.get(url, headers={"Range": "bytes=0-4", "If-Range": tag}).status_code == 206
    whole = ward.get(url, headers={"Range": "bytes=0-4", "If-Range": '"other"'})
    assert (whole.status_code, len(whole.content)) == (200, finished["results"]["size_bytes"])


def test_a_head_request_tells_the_length_and_reads_nothing(ward: httpx.Client, finished: Job) -> None:
    before = readings(ward, finished)
    answer = ward.head(finished["results"]["url"])
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == finished["results"]["size_bytes"]
    assert readings(ward, finished) == before


def test_each_reading_is_recorded(ward: httpx.Client) -> None:
    batch = completed(ward, nights.as_csv(rows(2)))
    download(ward, batch)
    ward.get(batch["results"]["url"], headers={"Range": "bytes=1-2"})
    download(ward, batch, "errors")
    size = batch["results"]["size_bytes"]
    assert readings(ward, batch) == [
        {"file": "results", "sha256": batch["results"]["sha256"]},
        {"file": "results", "sha256": batch["results"]["sha256"], "range": f"bytes 1-2/{size}"},
        {"file": "errors", "sha256": batch["errors"]["sha256"]},
    ]
    actions = [event["action"] for event in trail(ward, batch["id"])]
    assert actions[:2] == ["batch.opened", "batch.validated"]
    assert "batch.completed" in actions


def test_a_repeated_submit_opens_one_batch(ward: httpx.Client) -> None:
    wanted, key = nights.body(nights.upload(ward, nights.as_csv(rows(2)))), {"Idempotency-Key": str(uuid4())}
    first = ward.post(BATCHES, json=wanted, headers=key)
    assert first.status_code == 202, first.text
    reached(ward, first.json()["id"], "completed")
    again = ward.post(BATCHES, json=wanted, headers=key)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["location"] == first.headers["location"] == f"{BATCHES}/{first.json()['id']}"
    other = ward.post(BATCHES, json=wanted | {"dry_run": 1}, headers=key)
    assert_problem(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("form", "written"),
    [("csv", nights.as_csv), ("ndjson", nights.as_ndjson), ("parquet", nights.as_parquet)],
)
def test_the_first_answer_lists_the_columns_of_a_table(
    form: str, written: Callable[[list[nights.Row]], bytes], ward: httpx.Client
) -> None:
    table = [
        {name: row[name] for name in row if name != nights.FIELDS[0]} | {"remark": ""} for row in rows(3)
    ]
    batch = opened(ward, written(table), form, id_column="case", ignore=["ward", "remark"])
    assert batch["columns"] == {
        "used": list(nights.FIELDS[1:]), "ignored": ["ward", "remark"], "absent": [nights.FIELDS[0]],
        "unlisted": 0,
    }  # fmt: skip


def test_a_dry_run_checks_rows_and_scores_none(ward: httpx.Client) -> None:
    batch = completed(ward, nights.as_csv(with_faults()), dry_run=5)
    assert (batch["counts"]["total"], batch["counts"]["failed"], batch["dry_run"]) == (5, 1, 5)
    assert (batch["results"]["rows"], download(ward, batch)) == (0, b"")
    assert [error["row"] for error in lines(ward, batch, "errors")] == [3]


def test_a_paused_batch_stands_still_until_it_is_resumed(ward: httpx.Client) -> None:
    batch_id = opened(ward, nights.as_csv(rows(3)), not_before=FAR)["id"]
    assert_problem(ward.get(f"{BATCHES}/{batch_id}/results"), 409, "output_not_ready")
    assert reached(ward, batch_id, "scheduled")["opens_at"] == FAR
    for _ in range(2):
        paused = ward.post(f"{BATCHES}/{batch_id}/pause")
        assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    assert paused.json()["paused_at"] is not None
    resumed = ward.post(f"{BATCHES}/{batch_id}/resume")
    assert (resumed.status_code, resumed.json()["state"]) == (200, "scheduled")
    ward.post(f"{BATCHES}/{batch_id}/cancel")


def test_a_canceled_batch_stays_so_and_gives_what_it_has(ward: httpx.Client) -> None:
    batch_id = opened(ward, nights.as_csv(rows(3)), not_before=FAR, output={"format": "parquet"})["id"]
    reached(ward, batch_id, "scheduled")
    for _ in range(2):
        canceled = ward.post(f"{BATCHES}/{batch_id}/cancel")
        assert (canceled.status_code, canceled.json()["state"]) == (200, "canceled")
    for change in ("pause", "resume", "rerun"):
        assert_problem(ward.post(f"{BATCHES}/{batch_id}/{change}"), 409, "transition_refused")
    assert_problem(ward.get(f"{BATCHES}/{batch_id}/results"), 409, "output_incomplete")
    partial = ward.get(f"{BATCHES}/{batch_id}/results", params={"partial": "true"})
    assert (partial.status_code, partial.headers["medqueue-partial"]) == (200, "true")
    assert (partial.content[:4], partial.content[-4:]) == (b"PAR1", b"PAR1")
    assert not {"etag", "accept-ranges"} & partial.headers.keys()
    assert readings(ward, {"id": batch_id}) == [{"file": "results", "partial": True}]


def test_a_batch_stops_at_the_first_bad_row_if_asked_to(ward: httpx.Client) -> None:
    stopped = nights.ended(ward, nights.as_csv(with_faults()), on_error="stop")
    assert (stopped["state"], stopped["problem"]["code"]) == ("failed", "too_many_errors")
    partial = ward.get(f"{BATCHES}/{stopped['id']}/errors", params={"partial": "true"})
    assert (partial.status_code, partial.headers["medqueue-partial"]) == (200, "true")
    assert b'"row":3' in partial.content
    assert completed(ward, nights.as_csv(with_faults()), on_error={"stop_after": 3})["counts"]["failed"] == 2


def test_a_window_that_is_closed_keeps_a_batch_waiting(ward: httpx.Client) -> None:
    window = {"hours": "22:00-06:00", "zone": "Europe/Berlin"}
    batch = opened(ward, nights.as_csv(rows(2)), window=window, not_before="2099-07-01T12:00:00Z")
    assert batch["window"] == window
    assert (batch["opens_at"], batch["closes_at"]) == ("2099-07-01T20:00:00Z", "2099-07-02T04:00:00Z")
    ward.post(f"{BATCHES}/{batch['id']}/cancel")


def test_a_source_in_place_is_scored_and_copied_to_its_place(
    ward: httpx.Client, night_root: Path, scored_root: Path
) -> None:
    name = uuid4().hex
    (night_root / f"{name}.csv").write_bytes(nights.as_csv(rows(4)))
    place = str(scored_root / name)
    answer = ward.post(
        BATCHES,
        json=nights.body("", source={"uri": str(night_root / f"{name}.csv")}, output={"place": place}),
    )
    assert answer.status_code == 202, answer.text
    batch = reached(ward, answer.json()["id"], "completed")
    assert batch["source"]["uri"] == str(night_root / f"{name}.csv")
    assert batch["output"] == {"format": "ndjson", "place": place}
    copy = scored_root / name / f"{batch['id']}.results.ndjson"
    assert copy.read_bytes() == download(ward, batch)


def test_batches_are_listed_newest_first_page_by_page(stack: Stack) -> None:
    with stack.client(stack.new_key(f"night {uuid4()}")) as fresh:
        upload_id = nights.upload(fresh, nights.as_csv(rows(1)))
        made = [
            fresh.post(BATCHES, json=nights.body(upload_id, not_before=FAR)).json()["id"] for _ in range(5)
        ]
        assert [batch["id"] for batch in pages(fresh, BATCHES, limit=2)] == made[::-1]
        fresh.post(f"{BATCHES}/{made[0]}/cancel")
        assert [batch["id"] for batch in pages(fresh, BATCHES, state="canceled")] == [made[0]]
        assert list(pages(fresh, BATCHES, created_after=FAR)) == []
        for batch_id in made:
            fresh.post(f"{BATCHES}/{batch_id}/cancel")


def test_another_tenant_sees_and_changes_nothing(
    ward: httpx.Client, stranger: httpx.Client, finished: Job
) -> None:
    path = f"{BATCHES}/{finished['id']}"
    for answer in (
        *(stranger.get(path + below) for below in ("", "/events", "/results", "/errors")),
        *(stranger.post(path + below) for below in ("/pause", "/resume", "/cancel", "/rerun")),
        stranger.get(f"{path}/results", params={"partial": "true"}),
    ):
        assert_problem(answer, 404, "batch_not_found")
    assert finished["id"] not in [batch["id"] for batch in pages(stranger, BATCHES)]
    foreign = nights.body(finished["source"]["upload_id"])
    assert_problem(stranger.post(BATCHES, json=foreign), 404, "upload_not_found")


def test_who_may_not_read_jobs_reads_no_batches(stack: Stack, finished: Job) -> None:
    with stack.client(stack.new_key("night ward", "jobs:write", "uploads:write")) as writer:
        for below in ("", "/events", "/results", "/errors"):
            answer = writer.get(f"{BATCHES}/{finished['id']}{below}")
            assert_problem(answer, 403, "scope_missing")
    with stack.client(stack.new_key("night ward", "jobs:read")) as reader:
        assert_problem(reader.post(f"{BATCHES}/{finished['id']}/cancel"), 403, "scope_missing")


def test_who_may_not_read_jobs_is_not_told_where_a_source_lies(stack: Stack, ward: httpx.Client) -> None:
    asked = nights.body(
        nights.upload(ward, nights.as_csv(rows(1))), id_column="case", carry=["ward"], not_before=FAR
    )
    batch_id = ward.post(BATCHES, json=asked).json()["id"]
    with stack.client(stack.new_key("night ward", "jobs:write")) as writer:
        for change in ("pause", "resume", "cancel"):
            shown = writer.post(f"{BATCHES}/{batch_id}/{change}").json()
            if "state" in shown and "source" in shown:
                assert not shown["source"].keys() & {"uri", "upload_id"}
                assert (shown["id_column"], shown["carry"], shown["output"]["place"]) == (None, [], None)
    assert shown["state"] == "canceled"
    assert nights.read(ward, batch_id)["source"]["upload_id"] == asked["source"]["upload_id"]


def test_progress_is_told_while_it_runs(stack: Stack, ward: httpx.Client) -> None:
    """A batch that a worker has not come to yet says so; results come only at the end."""
    with stack.workers_paused():
        batch = opened(ward, nights.as_csv(rows(2)))
        assert (batch["state"], batch["counts"]["total"], batch["results"]) == ("validating", None, None)
        assert_problem(ward.get(f"{BATCHES}/{batch['id']}/results"), 409, "output_not_ready")
        asked_too_soon = ward.get(f"{BATCHES}/{batch['id']}/results", params={"partial": "true"})
        assert_problem(asked_too_soon, 409, "output_not_ready")
    eventually(lambda: nights.read(ward, batch["id"])["state"] == "completed", within_s=60)
