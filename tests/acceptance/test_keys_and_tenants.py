"""Who may call what, and that no tenant sees anything of another."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import (
    Job,
    assert_problem,
    ended,
    job_of,
    pages,
    read,
    scored,
    side_by_side,
    submit,
)
from tests.acceptance.stack import EVERY_SCOPE, Stack, eventually

NOBODY = "00000000-0000-7000-8000-000000000000"
CALLS = [
    ("GET", "/v1/jobs", "jobs:read"),
    ("GET", f"/v1/jobs/{NOBODY}", "jobs:read"),
    ("GET", f"/v1/jobs/{NOBODY}/events", "jobs:read"),
    ("POST", "/v1/jobs", "jobs:write"),
    ("POST", "/v1/jobs/bulk", "jobs:write"),
    ("POST", f"/v1/jobs/{NOBODY}/cancel", "jobs:write"),
    ("POST", "/v1/uploads", "uploads:write"),
    ("GET", "/v1/models", "models:read"),
    ("GET", f"/v1/models/{cases.BREAST_CANCER}", "models:read"),
]


@pytest.fixture(scope="module")
def keys(stack: Stack) -> dict[str, str]:
    """A key for each scope that has no other scope."""
    return {scope: stack.new_key("scopes", scope) for scope in EVERY_SCOPE}


@pytest.fixture(scope="module")
def nobody(stack: Stack) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=stack.url) as client:
        yield client


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_a_call_needs_its_scope_and_no_other(
    nobody: httpx.Client, keys: dict[str, str], method: str, path: str, scope: str
) -> None:
    for held, key in keys.items():
        answer = nobody.request(method, path, headers={"Authorization": f"Bearer {key}"})
        if held == scope:
            assert answer.status_code not in {401, 403}, answer.text
        else:
            assert scope in assert_problem(answer, 403, "scope_missing")["detail"]


@pytest.mark.parametrize(("method", "path", "_scope"), CALLS)
def test_a_call_without_a_key_is_told_how_to_send_one(
    nobody: httpx.Client, method: str, path: str, _scope: str
) -> None:
    answer = nobody.request(method, path)
    assert "Authorization: Bearer" in assert_problem(answer, 401, "key_missing")["detail"]
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs/"])
def test_probes_and_documentation_need_no_key(nobody: httpx.Client, path: str) -> None:
    assert nobody.get(path).status_code == 200


def test_a_revoked_key_is_refused_within_seconds(stack: Stack) -> None:
    key = stack.new_key("revoked")
    with stack.client(key) as http:
        assert http.get("/v1/jobs").status_code == 200
        stack.revoke(key)
        eventually(lambda: http.get("/v1/jobs").status_code == 401, within_s=5)
        assert_problem(http.get("/v1/jobs"), 401, "key_invalid")


@pytest.mark.parametrize("form", ["bearer {key}", "BEARER {key}", "Bearer  {key}"])
def test_the_scheme_is_read_as_http_says(stack: Stack, nobody: httpx.Client, form: str) -> None:
    headers = {"Authorization": form.format(key=stack.admin_key)}
    assert nobody.get("/v1/models", headers=headers).status_code == 200


def test_a_job_of_another_tenant_does_not_exist(http: httpx.Client, stranger: httpx.Client) -> None:
    job_id = scored(http)["id"]
    missing = stranger.get(f"/v1/jobs/{uuid4()}")
    for answer in (
        stranger.get(f"/v1/jobs/{job_id}"),
        stranger.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=5"}),
        stranger.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": '"succeeded-1"'}),
        stranger.get(f"/v1/jobs/{job_id}/events"),
        stranger.post(f"/v1/jobs/{job_id}/cancel"),
    ):
        assert_problem(answer, 404, "job_not_found")
        assert answer.content == missing.content
    assert read(http, job_id)["state"] == "succeeded"


def test_a_queued_job_cannot_be_canceled_by_another_tenant(
    stack: Stack, http: httpx.Client, stranger: httpx.Client
) -> None:
    with stack.workers_paused():
        job_id = submit(http)["id"]
        assert_problem(stranger.post(f"/v1/jobs/{job_id}/cancel"), 404, "job_not_found")
        assert read(http, job_id)["state"] == "queued"


def test_a_tenant_lists_only_its_own_jobs(http: httpx.Client, stranger: httpx.Client) -> None:
    subject = str(uuid4())
    own, others = submit(stranger, subject=subject)["id"], submit(http, subject=subject)["id"]
    for client, expected in ((stranger, own), (http, others)):
        assert [job["id"] for job in pages(client, "/v1/jobs", subject=subject)] == [expected]


def test_callers_at_the_same_moment_get_each_their_own(http: httpx.Client, stranger: httpx.Client) -> None:
    """Requests and cases are joined under way. Each must come back to its caller, with the result of its input."""
    callers = [(client, row) for row in range(60) for client in (http, stranger)]

    def call(who: tuple[httpx.Client, int]) -> None:
        client, row = who
        if row % 6 == 5:
            assert_problem(client.get(f"/v1/jobs/{uuid4()}"), 404, "job_not_found")
            return
        mark = str(uuid4())
        body = cases.submission(row, subject=mark, metadata={"mark": mark})
        job = job_of(client.post("/v1/jobs", json=body))
        assert (job["subject"], job["metadata"]) == (mark, {"mark": mark})
        job = ended(client, job["id"])
        assert (job["subject"], job["metadata"]) == (mark, {"mark": mark})
        expected = cases.golden(row)["expected"]["probabilities"]
        assert job["result"]["probabilities"] == pytest.approx(expected, abs=1e-4)

    side_by_side(call, callers, threads=24)


def test_a_cursor_of_another_tenant_shows_nothing_of_it(http: httpx.Client, stranger: httpx.Client) -> None:
    for _ in range(3):
        submit(http)
    cursor = http.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]
    theirs = {job["id"] for job in pages(stranger, "/v1/jobs", limit=200)}
    page = stranger.get("/v1/jobs", params={"cursor": cursor})
    assert {job["id"] for job in page.json()["items"]} <= theirs


def test_the_probes_tell_nothing_confidential(stack: Stack, nobody: httpx.Client, http: httpx.Client) -> None:
    job = submit(http, subject="probe-subject-5512", metadata={"note": "probe-note-5512"})
    spoken = "".join(nobody.get(path).text for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"))
    for secret in ("probe-subject", "probe-note", job["id"], stack.admin_key.split("_", 2)[2]):
        assert secret not in spoken


def test_a_key_that_may_not_read_jobs_is_shown_no_content_of_one(stack: Stack, http: httpx.Client) -> None:
    context: Job = {"subject": "ward-7", "metadata": {"bed": "12"}}
    ended_id = scored(http, **context)["id"]
    with stack.client(stack.new_key("default", "jobs:write")) as writer, stack.workers_paused():
        waiting_id = submit(http, **context)["id"]
        for job_id in (waiting_id, ended_id):
            shown = job_of(writer.post(f"/v1/jobs/{job_id}/cancel"))
            assert (shown["subject"], shown["metadata"]) == (None, {})
            assert "result" not in shown
            assert job_of(http.post(f"/v1/jobs/{job_id}/cancel"))["subject"] == "ward-7"


def test_a_key_that_may_not_read_jobs_gets_no_result_by_waiting_for_it(stack: Stack) -> None:
    with stack.client(stack.new_key("default", "jobs:write")) as writer:
        answer = writer.post("/v1/jobs", json=cases.submission(), headers={"Prefer": "wait=10"})
        many = writer.post(
            "/v1/jobs/bulk", json={"jobs": [cases.submission()]}, headers={"Prefer": "wait=10"}
        )
    assert (answer.status_code, many.status_code) == (202, 200)
    assert "result" not in job_of(answer)
    assert "result" not in job_of(many)["items"][0]
