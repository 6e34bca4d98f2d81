"""POST /v1/jobs/bulk: many cases, one transaction, an answer per case in order."""

from uuid import uuid4

import httpx

from tests.acceptance import cases
from tests.acceptance.calls import all_ended, assert_problem, job_of, pages, submit, submit_many
from tests.acceptance.stack import Stack


def test_a_thousand_cases_are_accepted_in_order_and_scored(stack: Stack) -> None:
    with stack.client(stack.new_key("bulk")) as http:
        bodies = [cases.submission(n % 8, metadata={"row": str(n)}) for n in range(1000)]
        jobs = submit_many(http, bodies)
        assert [job["metadata"]["row"] for job in jobs] == [str(n) for n in range(1000)]
        found = all_ended(http, (job["id"] for job in jobs), within_s=60)
        assert {job["state"] for job in found.values()} == {"succeeded"}


def test_one_case_too_many_is_refused_and_none_is_stored(stack: Stack) -> None:
    with stack.client(stack.new_key("bulk-too-many")) as http:
        answer = http.post("/v1/jobs/bulk", json={"jobs": [cases.submission()] * 1001})
        problem = assert_problem(answer, 422, "request_invalid")
        assert problem["errors"][0]["pointer"] == "/jobs"
        assert "1000" in problem["errors"][0]["detail"]
        assert list(pages(http, "/v1/jobs")) == []


def test_bad_cases_do_not_hold_up_good_ones(stack: Stack) -> None:
    bodies = [
        cases.submission(metadata={"row": "0"}),
        cases.with_input(mean_radius=1e9),
        cases.submission(model="no-such-model"),
        cases.submission(metadata={"row": "3"}),
        "no object",
        cases.submission(priority="at once"),
        cases.image_submission(b"no image"),
        cases.submission(metadata={"row": "7"}),
    ]
    with stack.client(stack.new_key("bulk-mixed")) as http:
        items = http.post("/v1/jobs/bulk", json={"jobs": bodies}).json()["items"]
        assert [item.get("code", item.get("state")) for item in items] == [
            "queued", "input_invalid", "model_not_found", "queued", "request_invalid", "request_invalid",
            "input_invalid", "queued",
        ]  # fmt: skip
        assert [items[row]["metadata"] for row in (0, 3, 7)] == [{"row": str(row)} for row in (0, 3, 7)]
        assert items[1]["errors"][0]["pointer"] == "/input/mean_radius"
        assert items[5]["errors"][0]["pointer"] == "/priority"
        assert {job["id"] for job in pages(http, "/v1/jobs")} == {items[row]["id"] for row in (0, 3, 7)}


def test_a_case_in_bulk_may_say_all_that_a_single_one_may(http: httpx.Client) -> None:
    body = cases.submission(
        priority="urgent",
        deadline="2101-02-03T04:05:06+00:00",
        explain=False,
        subject="s",
        metadata={"a": "b"},
    )
    alone, (in_bulk,) = submit(http, body), submit_many(http, [body])
    of_its_own = {"id", "created_at"}
    assert {key: in_bulk[key] for key in in_bulk.keys() - of_its_own} == {
        key: alone[key] for key in alone.keys() - of_its_own
    }


def test_bad_cases_alone_are_answered_one_by_one(stack: Stack) -> None:
    with stack.client(stack.new_key("bulk-bad")) as http:
        answer = http.post("/v1/jobs/bulk", json={"jobs": [cases.without("mean_radius")] * 3})
        assert answer.status_code == 200
        assert [item["status"] for item in job_of(answer)["items"]] == [422] * 3
        assert list(pages(http, "/v1/jobs")) == []


def test_the_number_of_bad_fields_is_bounded_in_the_answer(http: httpx.Client) -> None:
    body = cases.submission(input={f"field_{n}": 1 for n in range(5000)})
    answer = http.post("/v1/jobs", json=body)
    problem = assert_problem(answer, 422, "input_invalid")
    assert len(problem["errors"]) <= 100


# Results of many jobs in one call


def results_of(http: httpx.Client, ids: list[str], wait_s: int | None = None) -> httpx.Response:
    headers = {} if wait_s is None else {"Prefer": f"wait={wait_s}"}
    return http.post("/v1/jobs/results", json={"ids": ids}, headers=headers)


def test_the_results_of_500_jobs_come_in_one_call_that_waits_for_them(stack: Stack) -> None:
    with stack.client(stack.new_key("bulk-results")) as http:
        bodies = [cases.submission(n % 8, metadata={"row": str(n)}) for n in range(500)]
        jobs = submit_many(http, bodies)
        answer = results_of(http, [job["id"] for job in jobs], wait_s=60)
        assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=60")
        assert "Retry-After" not in answer.headers
        items = answer.json()["items"]
        assert [item["metadata"]["row"] for item in items] == [str(n) for n in range(500)]
        alone = [job_of(http.get(f"/v1/jobs/{job['id']}")) for job in jobs[:8]]
        assert items[:8] == alone
        actions = [
            event["action"] for event in http.get(f"/v1/jobs/{jobs[499]['id']}/events").json()["items"]
        ]
        assert actions.count("result.read") == 1, (
            "each result that is given out is recorded, as for a single read"
        )


def test_a_bulk_submit_that_waits_is_answered_with_the_results(stack: Stack) -> None:
    with stack.client(stack.new_key("bulk-waits")) as http:
        bodies = [cases.submission(0), cases.with_input(mean_radius=1e9), cases.submission(1)]
        answer = http.post("/v1/jobs/bulk", json={"jobs": bodies}, headers={"Prefer": "wait=60"})
        assert answer.headers["Preference-Applied"] == "wait=60"
        first, refused, third = answer.json()["items"]
        assert (first["state"], refused["code"], third["state"]) == (
            "succeeded",
            "input_invalid",
            "succeeded",
        )
        assert first == job_of(http.get(f"/v1/jobs/{first['id']}"))


def test_what_is_not_there_or_not_ended_is_told_in_its_place(stack: Stack) -> None:
    with (
        stack.client(stack.new_key("results-mixed")) as http,
        stack.client(stack.new_key("other")) as stranger,
    ):
        theirs, missing = submit(stranger)["id"], str(uuid4())
        with stack.workers_paused():
            (waiting,) = submit_many(http, [cases.submission()])
            answer = results_of(http, [missing, waiting["id"], theirs], wait_s=1)
        assert answer.headers["Retry-After"] == "1"
        found = [item.get("code", item.get("state")) for item in answer.json()["items"]]
        assert found == ["job_not_found", "queued", "job_not_found"]
        assert "result" not in answer.json()["items"][1]


def test_no_id_one_too_many_and_what_is_no_id_are_refused(http: httpx.Client) -> None:
    for ids in ([], [str(uuid4())] * 1001, ["x"]):
        problem = assert_problem(results_of(http, ids), 422, "request_invalid")
        assert problem["errors"][0]["pointer"].startswith("/ids")
