"""GET /v1/jobs: filters, order and cursor pages."""

from uuid import uuid4

import httpx
import pytest

from tests.acceptance import cases
from tests.acceptance.calls import Job, pages, scored, side_by_side, submit, submit_many
from tests.acceptance.stack import Stack


def some_subject() -> str:
    """A subject that no other test uses."""
    return f"listing {uuid4()}"


def ids(jobs: list[Job]) -> list[str]:
    return [job["id"] for job in jobs]


def listed(http: httpx.Client, **query: str | int) -> list[str]:
    return ids(list(pages(http, "/v1/jobs", **query)))


def test_jobs_are_listed_newest_first_without_results(http: httpx.Client) -> None:
    subject = some_subject()
    submitted = [scored(http, subject=subject)["id"] for _ in range(3)]
    found = list(pages(http, "/v1/jobs", subject=subject))
    assert ids(found) == submitted[::-1]
    assert all("result" not in job for job in found)
    assert {job["subject"] for job in found} == {subject}


def test_listing_is_no_read_of_a_result(http: httpx.Client) -> None:
    job_id = scored(http, subject=(subject := some_subject()))["id"]
    before = list(pages(http, f"/v1/jobs/{job_id}/events"))
    assert listed(http, subject=subject) == [job_id]
    assert list(pages(http, f"/v1/jobs/{job_id}/events")) == before


@pytest.mark.parametrize("limit", [1, 3, 10, 11])
def test_pages_have_neither_gaps_nor_doubles_while_jobs_come_in(http: httpx.Client, limit: int) -> None:
    subject = some_subject()
    before = ids(submit_many(http, [cases.submission(subject=subject)] * 10))[::-1]
    found = []
    for job in pages(http, "/v1/jobs", subject=subject, limit=limit):
        found.append(job["id"])
        submit(http, subject=subject)
    assert found == before


def test_the_last_page_says_that_it_is_the_last(http: httpx.Client) -> None:
    subject = some_subject()
    submit_many(http, [cases.submission(subject=subject)] * 4)
    first = http.get("/v1/jobs", params={"subject": subject, "limit": 2}).json()
    last = http.get(
        "/v1/jobs", params={"subject": subject, "limit": 2, "cursor": first["next_cursor"]}
    ).json()
    assert (len(first["items"]), len(last["items"]), last["next_cursor"]) == (2, 2, None)


def test_jobs_are_found_by_state(stack: Stack, http: httpx.Client) -> None:
    subject = some_subject()
    done = scored(http, subject=subject)["id"]
    with stack.workers_paused():
        canceled, queued = (submit(http, subject=subject)["id"] for _ in range(2))
        http.post(f"/v1/jobs/{canceled}/cancel")
        for state, expected in [("queued", [queued]), ("canceled", [canceled]), ("succeeded", [done])]:
            assert listed(http, subject=subject, state=state) == expected
        assert listed(http, subject=subject, state="failed") == []


def test_jobs_are_found_by_model_and_kind(http: httpx.Client) -> None:
    subject = some_subject()
    tabular = submit(http, subject=subject)
    picture = submit(http, cases.image_submission(cases.image(), subject=subject))
    for job in (tabular, picture):
        assert listed(http, subject=subject, model=job["model"]) == [job["id"]]
        assert listed(http, subject=subject, model=f"{job['model']}@{job['model_version']}") == [job["id"]]
    assert listed(http, subject=subject, model="no-such-model") == []
    assert listed(http, subject=subject, kind="diagnosis") == [picture["id"], tabular["id"]]
    assert listed(http, subject=subject, kind="recommendation") == []


def test_jobs_are_found_by_when_they_were_created(http: httpx.Client) -> None:
    subject = some_subject()
    first, second, third = (submit(http, subject=subject) for _ in range(3))
    moment = second["created_at"]
    assert listed(http, subject=subject, created_after=moment) == [third["id"], second["id"]]
    assert listed(http, subject=subject, created_before=moment) == [first["id"]]
    assert listed(http, subject=subject, created_after=moment, created_before=moment) == []


def test_a_subject_is_found_by_its_exact_value_only(http: httpx.Client) -> None:
    subject = some_subject()
    job_id = submit(http, subject=subject)["id"]
    assert listed(http, subject=subject) == [job_id]
    for other in (subject.upper(), subject[:-1], subject + " ", "%"):
        assert job_id not in listed(http, subject=other)


def test_pages_stay_whole_while_many_submit(http: httpx.Client) -> None:
    subject = some_subject()
    submitted = side_by_side(lambda _: submit(http, subject=subject)["id"], range(64))
    found = listed(http, subject=subject, limit=5)
    assert (len(found), set(found)) == (64, set(submitted))
