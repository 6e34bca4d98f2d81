"""Webhook endpoints and deliveries over HTTP: registered, changed, deleted, planned for, and sent again."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import Job, assert_problem, ended, job_of, pages, scored, submit, time_of
from tests.acceptance.conftest import NOBODY_LISTENS
from tests.acceptance.stack import Stack, eventually

URL = f"{NOBODY_LISTENS}/hook?token=hunter2"
ENDPOINTS, DELIVERIES = "/v1/webhook-endpoints", "/v1/webhook-deliveries"
LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def ward(stack: Stack) -> Iterator[httpx.Client]:
    """A tenant of these tests."""
    with stack.client(stack.new_key("hooks ward")) as client:
        yield client


@pytest.fixture
def fresh(stack: Stack) -> Iterator[httpx.Client]:
    """A tenant of one test."""
    with stack.client(stack.new_key(f"hooks {uuid4()}")) as client:
        yield client


def register(http: httpx.Client, *event_types: str, **fields: Any) -> Job:
    """A new endpoint, as it was answered."""
    body = {"url": URL, "event_types": event_types or ["job.canceled"], **fields}
    answer = http.post(ENDPOINTS, json=body)
    assert answer.status_code == 201, answer.text
    return job_of(answer)


def canceled(http: httpx.Client, **fields: Any) -> str:
    """The id of a job that was canceled, or had been scored before it could be."""
    job_id: str = submit(http, **fields)["id"]
    http.post(f"/v1/jobs/{job_id}/cancel")
    return job_id


def told(http: httpx.Client, **filters: Any) -> list[Job]:
    return list(pages(http, DELIVERIES, **filters))


def test_an_endpoint_is_registered_and_its_secret_told_once(ward: httpx.Client) -> None:
    answer = ward.post(ENDPOINTS, json={"url": URL, "event_types": ["job.failed", "job.overdue"]})
    created = job_of(answer)
    assert created.pop("secret").startswith("whsec_")
    assert answer.headers["location"] == f"{ENDPOINTS}/{created['id']}"
    assert (created["url"], created["event_types"]) == (URL, ["job.failed", "job.overdue"])
    assert (created["state"], created["failures"], created["closed_until"]) == ("enabled", 0, None)
    assert job_of(ward.get(answer.headers["location"])) == created
    assert created in list(pages(ward, ENDPOINTS))
    assert "whsec_" not in ward.get(ENDPOINTS).text


def test_endpoints_are_listed_newest_first_page_by_page(ward: httpx.Client) -> None:
    made = [register(ward)["id"] for _ in range(5)]
    assert [endpoint["id"] for endpoint in pages(ward, ENDPOINTS, limit=2)][:5] == made[::-1]


def test_a_change_changes_what_it_names_and_nothing_else(ward: httpx.Client) -> None:
    before = register(ward, description="ward")
    path = f"{ENDPOINTS}/{before['id']}"
    changes: list[dict[str, Any]] = [
        {"event_types": ["job.failed"]},
        {"description": ""},
        {"url": f"{NOBODY_LISTENS}/other"},
        {"state": "disabled"},
        {"state": "enabled"},
    ]
    for change in changes:
        answer = ward.patch(path, json=change)
        assert answer.status_code == 200, answer.text
        after = job_of(answer)
        unchanged = after.keys() - change.keys() - {"updated_at", "disabled_because"}
        assert {name: after[name] for name in change} == change
        assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
        assert after["disabled_because"] == ("request" if change == {"state": "disabled"} else None)
        before = after
    assert job_of(ward.get(path)) == before


def test_what_is_deleted_is_gone(ward: httpx.Client) -> None:
    path = f"{ENDPOINTS}/{register(ward)['id']}"
    answer = ward.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    for again in (
        ward.delete(path),
        ward.get(path),
        ward.patch(path, json={"state": "enabled"}),
        ward.post(f"{path}/ping"),
        ward.post(f"{path}/rotate-secret"),
        ward.post(f"{path}/replay", json={"since": LONG_AGO}),
    ):
        assert_problem(again, 404, "endpoint_not_found")
    assert path.rpartition("/")[2] not in [endpoint["id"] for endpoint in pages(ward, ENDPOINTS)]


def test_another_tenant_sees_and_changes_nothing(ward: httpx.Client, stranger: httpx.Client) -> None:
    endpoint_id = register(ward)["id"]
    path = f"{ENDPOINTS}/{endpoint_id}"
    for answer in (
        stranger.get(path),
        stranger.delete(path),
        stranger.patch(path, json={"state": "disabled"}),
        stranger.post(f"{path}/rotate-secret"),
        stranger.post(f"{path}/ping"),
        stranger.post(f"{path}/replay", json={"since": LONG_AGO}),
    ):
        assert_problem(answer, 404, "endpoint_not_found")
    assert endpoint_id not in [endpoint["id"] for endpoint in pages(stranger, ENDPOINTS)]
    assert job_of(ward.get(path))["state"] == "enabled"


def test_reading_and_writing_need_their_scopes(stack: Stack) -> None:
    path = f"{ENDPOINTS}/{uuid4()}"
    with stack.client(stack.new_key("hooks ward", "webhooks:read")) as reader:
        assert reader.get(ENDPOINTS).status_code == reader.get(DELIVERIES).status_code == 200
        body = {"url": URL, "event_types": ["job.failed"]}
        for answer in (
            reader.post(ENDPOINTS, json=body),
            reader.patch(path, json={}),
            reader.delete(path),
            reader.post(f"{path}/ping"),
            reader.post(f"{path}/rotate-secret"),
            reader.post(f"{path}/replay", json={"since": LONG_AGO}),
            reader.post(f"{ENDPOINTS}/callback-secret"),
            reader.post(f"{DELIVERIES}/{uuid4()}/replay"),
        ):
            assert_problem(answer, 403, "scope_missing")
    with stack.client(stack.new_key("hooks ward", "jobs:read", "webhooks:write")) as writer:
        assert_problem(writer.get(ENDPOINTS), 403, "scope_missing")
        assert_problem(writer.get(DELIVERIES), 403, "scope_missing")


def test_a_rotated_secret_is_another_and_the_old_one_is_valid_for_a_day(ward: httpx.Client) -> None:
    created = register(ward)
    first = job_of(ward.post(f"{ENDPOINTS}/{created['id']}/rotate-secret"))
    second = job_of(ward.post(f"{ENDPOINTS}/{created['id']}/rotate-secret"))
    assert len({created["secret"], first["secret"], second["secret"]}) == 3
    a_day = time_of(first["previous_valid_until"]) - time_of(created["created_at"])
    assert 23.9 < a_day.total_seconds() / 3600 < 24.1


def test_a_hundred_endpoints_are_enough(fresh: httpx.Client) -> None:
    made = [register(fresh)["id"] for _ in range(100)]
    problem = assert_problem(
        fresh.post(ENDPOINTS, json={"url": URL, "event_types": ["job.failed"]}), 409, "too_many_endpoints"
    )
    assert "100" in problem["detail"]
    fresh.delete(f"{ENDPOINTS}/{made[7]}")
    register(fresh)


REFUSED_URLS = [
    ("http://127.0.0.1:9/hook", "url_refused", "use https"),
    ("ftp://127.0.0.1:9/hook", "url_refused", "malformed"),
    ("https://user:hunter2@127.0.0.1:9/hook", "url_refused", "user name"),
    ("https://127.0.0.1:22/hook", "url_refused", "9, 443, 8443"),
    ("https://10.0.0.1/hook", "url_refused", "private"),
    ("https://169.254.169.254/latest/meta-data/", "url_refused", "private"),
    ("https://[::1]/hook", "url_refused", "private"),
    ("https://[::ffff:10.0.0.1]/hook", "url_refused", "private"),
    ("https://0x7f.1/hook", "url_refused", "ambiguous"),
    ("https://2130706433/hook", "url_refused", "ambiguous"),
    ("https://receiver.invalid/hook", "host_unresolvable", "does not resolve"),
    ("https://127.0.0.1:9/hook#part", "url_refused", "fragment"),
    ("https://127.0.0.1:9/a b", "url_refused", "spaces"),
    ("https:///hook", "url_refused", "malformed"),
    ("receiver", "url_refused", "malformed"),
]


@pytest.mark.parametrize(("url", "code", "says"), REFUSED_URLS, ids=[url for url, *_ in REFUSED_URLS])
def test_a_url_that_nothing_is_sent_to_is_refused_wherever_it_is_named(
    ward: httpx.Client, url: str, code: str, says: str
) -> None:
    path = f"{ENDPOINTS}/{register(ward)['id']}"
    ward.post(f"{ENDPOINTS}/callback-secret")
    case = cases.submission(callback_url=url)
    for pointer, answer in (
        ("/url", ward.post(ENDPOINTS, json={"url": url, "event_types": ["job.failed"]})),
        ("/url", ward.patch(path, json={"url": url})),
        ("/callback_url", ward.post("/v1/jobs", json=case)),
    ):
        problem = assert_problem(answer, 422, code)
        assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
        assert says in problem["errors"][0]["detail"]
        assert "hunter2" not in answer.text
    assert job_of(ward.get(path))["url"] == URL
    (item,) = job_of(ward.post("/v1/jobs/bulk", json={"jobs": [case]}))["items"]
    assert (item["code"], item["status"], item["errors"][0]["pointer"]) == (code, 422, "/callback_url")


def test_the_event_of_a_job_is_planned_for_each_endpoint_that_asked_for_it(
    stack: Stack, fresh: httpx.Client
) -> None:
    asked, other = register(fresh)["id"], register(fresh, "job.failed")["id"]
    also = register(fresh, "job.canceled", "job.failed")["id"]
    with stack.workers_paused():
        job_id = canceled(fresh)
    found = told(fresh, job=job_id)
    assert {delivery["endpoint_id"] for delivery in found} == {asked, also}
    assert {delivery["event_type"] for delivery in found} == {"job.canceled"}
    assert len({delivery["event_id"] for delivery in found}) == 1
    assert told(fresh, endpoint=other) == []


def test_deliveries_are_found_by_each_filter(stack: Stack, fresh: httpx.Client) -> None:
    endpoint_id = register(fresh, "job.canceled", "job.succeeded")["id"]
    with stack.workers_paused():
        first = canceled(fresh)
    second = scored(fresh)["id"]
    found = told(fresh)
    assert [delivery["job_id"] for delivery in found] == [second, first]
    moment = found[0]["created_at"]
    for filters, expected in [
        ({"endpoint": endpoint_id}, [second, first]),
        ({"endpoint": str(uuid4())}, []),
        ({"job": first}, [first]),
        ({"type": "job.succeeded"}, [second]),
        ({"type": "webhook.ping"}, []),
        ({"state": "delivered"}, []),
        ({"created_after": moment}, [second]),
        ({"created_before": moment}, [first]),
        ({"limit": 1}, [second, first]),
    ]:
        assert [delivery["job_id"] for delivery in told(fresh, **filters)] == expected, filters


def test_a_try_at_a_receiver_that_is_away_can_be_read(ward: httpx.Client) -> None:
    delivery_id = job_of(ward.post(f"{ENDPOINTS}/{register(ward)['id']}/ping"))["delivery_id"]
    path = f"{DELIVERIES}/{delivery_id}"
    eventually(lambda: job_of(ward.get(path))["history"] != [], within_s=20)
    found = job_of(ward.get(path))
    assert (found["event_type"], found["job_id"], found["state"]) == ("webhook.ping", None, "queued")
    assert found["tries"] == len(found["history"]) >= 1
    first = found["history"][0]
    assert (first["status"], first["error"] is None) == (None, False)
    assert "hunter2" not in ward.get(path).text


def test_a_ping_is_planned_and_told_where_to_look(ward: httpx.Client) -> None:
    answer = ward.post(f"{ENDPOINTS}/{register(ward)['id']}/ping")
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{DELIVERIES}/{job_of(answer)['delivery_id']}"
    assert ward.get(answer.headers["location"]).status_code == 200


def test_a_disabled_endpoint_is_neither_pinged_nor_sent_to_again(ward: httpx.Client) -> None:
    path = f"{ENDPOINTS}/{register(ward)['id']}"
    ward.patch(path, json={"state": "disabled"})
    assert_problem(ward.post(f"{path}/ping"), 409, "transition_refused")
    assert_problem(ward.post(f"{path}/replay", json={"since": LONG_AGO}), 409, "transition_refused")


def test_events_missed_while_disabled_are_planned_by_a_replay(stack: Stack, fresh: httpx.Client) -> None:
    path = f"{ENDPOINTS}/{register(fresh)['id']}"
    fresh.patch(path, json={"state": "disabled"})
    with stack.workers_paused():
        job_id = canceled(fresh)
    assert told(fresh) == []
    fresh.patch(path, json={"state": "enabled"})
    answer = fresh.post(f"{path}/replay", json={"since": LONG_AGO, "states": ["dead", "delivered"]})
    assert (answer.status_code, job_of(answer)) == (200, {"replayed": 0, "planned": 1})
    assert [delivery["job_id"] for delivery in told(fresh)] == [job_id]


def test_a_delivery_that_waits_is_not_sent_again(stack: Stack, fresh: httpx.Client) -> None:
    register(fresh)
    with stack.workers_paused():
        canceled(fresh)
    (delivery,) = told(fresh)
    assert_problem(fresh.post(f"{DELIVERIES}/{delivery['id']}/replay"), 409, "transition_refused")


def test_a_delivery_of_another_tenant_is_not_there(ward: httpx.Client, stranger: httpx.Client) -> None:
    delivery_id = job_of(ward.post(f"{ENDPOINTS}/{register(ward)['id']}/ping"))["delivery_id"]
    assert_problem(stranger.get(f"{DELIVERIES}/{delivery_id}"), 404, "delivery_not_found")
    assert_problem(stranger.post(f"{DELIVERIES}/{delivery_id}/replay"), 404, "delivery_not_found")
    assert told(stranger, endpoint=str(uuid4())) == []


def test_a_callback_needs_a_secret_first(fresh: httpx.Client) -> None:
    case = cases.submission(callback_url=URL)
    problem = assert_problem(fresh.post("/v1/jobs", json=case), 422, "callback_secret_missing")
    assert problem["errors"][0]["pointer"] == "/callback_url"
    first = job_of(fresh.post(f"{ENDPOINTS}/callback-secret"))
    assert (first["secret"][:6], first["previous_valid_until"]) == ("whsec_", None)
    second = job_of(fresh.post(f"{ENDPOINTS}/callback-secret"))
    assert second["previous_valid_until"] is not None
    submit(fresh, case)


def test_a_callback_is_planned_for_its_job_alone_and_its_url_shown_nowhere(fresh: httpx.Client) -> None:
    fresh.post(f"{ENDPOINTS}/callback-secret")
    job = ended(fresh, submit(fresh, callback_url=URL)["id"])
    scored(fresh)
    (delivery,) = told(fresh)
    assert (delivery["job_id"], delivery["event_type"]) == (job["id"], "job.succeeded")
    assert list(pages(fresh, ENDPOINTS)) == []
    assert "callback" not in str(job)
    assert_problem(fresh.get(f"{ENDPOINTS}/{delivery['endpoint_id']}"), 404, "endpoint_not_found")


def test_a_bulk_of_callbacks_is_accepted_and_each_is_planned(fresh: httpx.Client) -> None:
    fresh.post(f"{ENDPOINTS}/callback-secret")
    bodies = [cases.submission(callback_url=f"{NOBODY_LISTENS}/jobs/{number}") for number in range(1000)]
    items = job_of(fresh.post("/v1/jobs/bulk", json={"jobs": bodies}))["items"]
    assert all(item.get("state") == "queued" for item in items)
    eventually(lambda: len(told(fresh, limit=200)) == 1000, within_s=60, every_s=1)
    assert len({delivery["endpoint_id"] for delivery in told(fresh, limit=200)}) == 1


def test_a_repeated_submit_with_a_callback_is_answered_as_before_and_planned_once(
    fresh: httpx.Client,
) -> None:
    fresh.post(f"{ENDPOINTS}/callback-secret")
    headers, case = {"Idempotency-Key": str(uuid4())}, cases.submission(callback_url=URL)
    first, second = (fresh.post("/v1/jobs", json=case, headers=headers) for _ in range(2))
    assert first.content == second.content
    ended(fresh, job_of(first)["id"])
    assert len(told(fresh)) == 1


@pytest.mark.parametrize(
    "traceparent",
    [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "no trace",
        "x" * 5000,
    ],
)
def test_a_trace_is_taken_and_an_invalid_one_ignored(http: httpx.Client, traceparent: str) -> None:
    answer = http.post("/v1/jobs", json=cases.submission(), headers={"traceparent": traceparent})
    assert answer.status_code == 202


def test_no_url_of_a_receiver_reaches_the_logs(stack: Stack, ward: httpx.Client) -> None:
    secret = f"token-{uuid4()}"
    register(ward, url=f"{NOBODY_LISTENS}/{secret}?key={secret}")
    ward.post(ENDPOINTS, json={"url": f"http://10.0.0.1/?key={secret}", "event_types": ["job.failed"]})
    ward.post(f"{ENDPOINTS}/callback-secret")
    ended(ward, submit(ward, callback_url=f"{NOBODY_LISTENS}/?key={secret}")["id"])
    assert ward.post("/v1/jobs", json=cases.submission(callback_url=f"ftp://{secret}")).status_code == 422
    for log in (stack.data / "log").iterdir():
        assert secret.encode() not in log.read_bytes(), log.name
