"""Jobs that wait for others: released or ended in the statement that ends what they wait for, whichever that is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from service.crypto import Keyring
from service.db import Database
from service.errors import AfterUnsuitable, JobNotFound
from service.jobs import delays
from service.jobs.delays import Delay
from service.jobs.execution import Ending
from service.jobs.predecessors import MOST_DEPTH
from service.lifecycle import JobState, Priority
from service.queue import score_wake_up
from service.refusals import Refusal
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import chains as bench
from tests.integration.chains import Chains

WAYS: dict[str, tuple[Callable[[Chains, UUID], None], str]] = {
    "failed": (Chains.fail, "failed"),
    "canceled": (Chains.cancel, "was canceled"),
    "expired": (Chains.expire, "expired"),
    "abstained": (Chains.abstain, "abstained"),
}
FORBIDDEN = {
    "waiting": ("running", "succeeded", "quarantined"),
    "queued": ("waiting",),
}


@pytest.fixture
def chains(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Chains:
    return bench.chains(database, blobs, keyring, queue)


def refusal(chains: Chains, *after: UUID) -> tuple[tuple[str, str], ...]:
    """The pointers and codes by which a submit is refused."""
    answer = chains.answer(*after)
    assert isinstance(answer, AfterUnsuitable)
    return tuple((fault.pointer, fault.code) for fault in answer.errors)


def test_a_job_waits_until_the_last_of_those_that_it_names_has_succeeded(chains: Chains) -> None:
    first, second = chains.submit(), chains.submit()
    job = chains.submit(first, second)
    assert chains.view(job).after == [first, second]
    assert chains.claimable() == {first, second}
    leases = {each.lease.id: each.lease for each in chains.claim() + chains.claim()}
    for job_id, expected in ((second, "waiting"), (first, "queued")):
        with chains.database.statement() as work:
            chains.write(work, [Ending(leases[job_id], payload=b"sealed")])
        assert chains.states(job) == [expected]
    assert chains.claimable() == {job}
    assert chains.actions(job)[:3] == ["job.submitted", "job.ready", "job.claimed"]


def test_four_that_end_in_one_statement_release_the_job_once(chains: Chains) -> None:
    group = [chains.submit() for _ in range(4)]
    job = chains.submit(*group)
    jobs = chains.claim()
    with chains.database.statement() as work:
        chains.write(work, [Ending(each.lease, payload=b"sealed") for each in jobs])
    assert chains.states(job) == ["queued"]
    assert chains.actions(job) == ["job.submitted", "job.ready"]


def test_workers_are_woken_for_what_was_released(chains: Chains) -> None:
    first = chains.submit()
    chains.submit(first)
    jobs = chains.claim()
    chains.queue.waiting.clear()
    with chains.database.statement() as work:
        chains.write(work, [Ending(job.lease, payload=b"sealed") for job in jobs])
    assert score_wake_up(chains.model.id) in chains.queue.waiting


@pytest.mark.parametrize("way", WAYS)
def test_a_job_fails_whose_predecessor_ended_otherwise(chains: Chains, way: str) -> None:
    end, words = WAYS[way]
    first = chains.submit()
    job = chains.submit(first)
    last = chains.submit(job)
    end(chains, first)
    view = chains.view(job)
    assert (view.state, view.problem and view.problem["code"]) == (JobState.FAILED, "predecessor_failed")
    assert view.problem
    assert f"Job {first}, which this one waits for, {words}." in view.problem["detail"]
    (detail,) = chains.rows(
        "SELECT actor, detail FROM audit_event WHERE job_id = %s AND action = 'job.failed'", job
    )
    assert detail[0] == f"job:{first}"
    assert (detail[1]["predecessor"], detail[1]["predecessor_ended"]) == (str(first), way)
    after_it = chains.view(last).problem
    assert after_it
    assert f"Job {job}, which this one waits for, failed." in after_it["detail"]
    assert {job, last} <= set(chains.queue.announced)


def test_a_quarantined_predecessor_keeps_a_job_waiting_until_an_operator_decides(chains: Chains) -> None:
    first = chains.submit()
    job = chains.submit(first)
    chains.quarantine(first)
    assert chains.states(job) == ["waiting"]
    chains.requeue(first)
    chains.succeed(first)
    assert chains.states(job) == ["queued"]


def test_a_waiting_job_can_be_canceled_and_takes_those_behind_it_along(chains: Chains) -> None:
    first = chains.submit()
    job = chains.submit(first)
    last = chains.submit(job)
    chains.cancel(job)
    assert chains.states(first, job, last) == ["queued", "canceled", "failed"]
    chains.succeed(first)
    assert chains.states(first, job, last) == ["succeeded", "canceled", "failed"]


@pytest.mark.parametrize("followed", [False, True])
def test_the_deadline_of_a_waiting_job_holds(chains: Chains, followed: bool) -> None:
    job = chains.submit(chains.submit())
    last = chains.submit(job) if followed else None
    chains.expire(job)
    view = chains.view(job)
    assert (view.state, view.problem and view.problem["code"]) == (JobState.EXPIRED, "deadline_passed")
    assert last is None or chains.states(last) == ["failed"]


def test_a_job_is_queued_at_once_when_what_it_names_has_succeeded(chains: Chains) -> None:
    first = chains.submit()
    chains.succeed(first)
    job = chains.submit(first)
    assert chains.states(job) == ["queued"]
    assert chains.view(job).after == [first]
    assert chains.actions(job) == ["job.submitted", "job.ready"]


@pytest.mark.parametrize("way", WAYS)
def test_a_submit_that_names_a_job_that_ended_otherwise_is_refused(chains: Chains, way: str) -> None:
    bad = chains.submit()
    WAYS[way][0](chains, bad)
    good = chains.submit()
    assert refusal(chains, bad, good) == (("/after/0", "predecessor_unfit"),)
    assert chains.rows("SELECT count(*) FROM job_after")[0][0] == 0


def test_a_result_of_a_release_that_did_not_record_abstention_is_no_predecessor(chains: Chains) -> None:
    first = chains.submit()
    chains.succeed(first)
    chains.rows("UPDATE job SET abstained = NULL WHERE id = %s", first)
    assert refusal(chains, first) == (("/after/0", "predecessor_unfit"),)


def test_a_job_fails_whose_predecessor_was_ended_by_a_worker_of_the_previous_release(chains: Chains) -> None:
    first = chains.submit()
    job = chains.submit(first)
    chains.claim()
    chains.rows(
        "UPDATE job SET state = 'succeeded', finished_at = now(), lease_owner = NULL, lease_expires_at = NULL "
        "WHERE id = %s",
        first,
    )
    problem = chains.view(job).problem
    assert problem
    assert "did not record whether the model abstained" in problem["detail"]


def test_another_tenants_job_and_an_unknown_one_are_refused_alike(chains: Chains) -> None:
    own, foreign = chains.submit(), chains.of_other_tenant().submit()
    assert refusal(chains, own, foreign, uuid7()) == (
        ("/after/1", "job_not_found"),
        ("/after/2", "job_not_found"),
    )


def test_a_chain_has_an_end(chains: Chains) -> None:
    last = chains.submit()
    for _ in range(MOST_DEPTH):
        last = chains.submit(last)
    assert refusal(chains, last) == (("/after/0", "chain_too_long"),)


def test_a_longest_chain_fails_in_one_statement(chains: Chains) -> None:
    ids = [chains.submit()]
    for _ in range(MOST_DEPTH):
        ids.append(chains.submit(ids[-1]))
    chains.cancel(ids[0])
    assert chains.states(*ids) == ["canceled"] + ["failed"] * MOST_DEPTH


def test_a_job_that_waits_for_several_fails_by_the_first_that_ends_otherwise(chains: Chains) -> None:
    first, second = chains.submit(), chains.submit()
    job = chains.submit(first, second)
    chains.cancel(second)
    chains.succeed(first)
    problem = chains.view(job).problem
    assert problem
    assert str(second) in problem["detail"]
    assert chains.actions(job) == ["job.submitted", "job.failed"]


def test_a_released_job_stands_in_line_as_if_it_had_just_come(chains: Chains) -> None:
    first = chains.submit()
    job = chains.submit(first)
    chains.rows(
        "UPDATE job SET created_at = created_at - interval '1 h', available_at = available_at - interval '1 h', "
        "rank_at = rank_at - interval '1 h', promise_at = promise_at - interval '1 h' WHERE id = %s",
        job,
    )
    (before,) = chains.rows(
        "SELECT rank_at - available_at AS rank, promise_at - available_at AS promised FROM job WHERE id = %s",
        job,
    )
    chains.succeed(first)
    (after,) = chains.rows(
        "SELECT rank_at - available_at AS rank, promise_at - available_at AS promised, now() - available_at AS ago "
        "FROM job WHERE id = %s",
        job,
    )
    assert after[:2] == before
    assert after[2] < timedelta(minutes=1)


def test_a_job_is_not_claimed_before_its_time(chains: Chains) -> None:
    job = chains.submit(not_before=datetime.now(UTC) + timedelta(hours=1))
    assert chains.states(job) == ["waiting"]
    assert chains.ready() == []
    assert chains.claimable() == set()
    chains.rows("UPDATE job SET available_at = now() WHERE id = %s", job)
    chains.queue.waiting.clear()
    assert chains.ready() == [job]
    assert score_wake_up(chains.model.id) in chains.queue.waiting
    assert chains.claimable() == {job}


def test_a_time_that_has_passed_holds_nothing_up(chains: Chains) -> None:
    job = chains.submit(not_before=datetime.now(UTC) - timedelta(hours=1))
    assert chains.states(job) == ["queued"]
    assert chains.claimable() == {job}


def test_a_job_that_waits_for_both_waits_for_the_later(chains: Chains) -> None:
    first = chains.submit()
    job = chains.submit(first, not_before=datetime.now(UTC) + timedelta(hours=1))
    assert chains.ready() == []
    chains.succeed(first)
    assert chains.states(job) == ["waiting"]
    assert chains.ready() == []
    chains.rows("UPDATE job SET available_at = now() WHERE id = %s", job)
    assert chains.ready() == [job]


def test_a_job_whose_time_has_come_still_waits_for_its_predecessors(chains: Chains) -> None:
    job = chains.submit(chains.submit(), not_before=datetime.now(UTC) + timedelta(hours=1))
    chains.rows("UPDATE job SET available_at = now() WHERE id = %s", job)
    assert chains.ready() == []
    assert chains.states(job) == ["waiting"]


@pytest.mark.parametrize(("state", "next_state"), [(a, b) for a, nexts in FORBIDDEN.items() for b in nexts])
def test_the_database_refuses_the_other_ways_out_of_waiting(
    chains: Chains, state: str, next_state: str
) -> None:
    first = chains.submit()
    job = chains.submit(first) if state == "waiting" else first
    with pytest.raises(psycopg.Error) as refused:
        chains.rows("UPDATE job SET state = %s WHERE id = %s", next_state, job)
    assert refused.value.sqlstate == "MQ002"


def why(chains: Chains, job_id: UUID, workers: list[dict[str, Refusal]] | None = None) -> Delay:
    """Why a job has not started."""
    with chains.database.statement() as work:
        job = delays.pending(work, chains.caller, job_id)
    return delays.delay(job, "m 1.0.0", workers)


def test_a_waiting_job_names_the_jobs_and_the_time_that_it_waits_for(chains: Chains) -> None:
    first, second = chains.submit(), chains.submit()
    later = datetime.now(UTC) + timedelta(hours=1)
    job = chains.submit(first, second, not_before=later)
    told = why(chains, job)
    assert [each["id"] for each in told.after] == [str(first), str(second)]
    assert (told.state, told.code) == ("waiting", "predecessors")
    assert f"job {first}, which is queued; job {second}, which is queued" in str(told.detail)
    chains.succeed(first, second)
    assert why(chains, job).code == "start_time"
    assert later.isoformat(timespec="seconds") in str(why(chains, job).detail)
    assert why(chains, first) == Delay(JobState.SUCCEEDED)


def test_a_queued_job_has_its_place_among_those_of_its_model_by_priority(chains: Chains) -> None:
    first, second, urgent = chains.submit(), chains.submit(), chains.submit(priority=Priority.STAT)
    assert [why(chains, job).ahead for job in (urgent, first, second)] == [0, 1, 2]
    assert why(chains, second).code == "queue"
    chains.claim(limit=2)
    assert (why(chains, first).code, why(chains, second).ahead) == (None, 0)


def test_why_a_job_waits_is_told_to_its_own_tenant_alone(chains: Chains) -> None:
    job = chains.submit()
    with pytest.raises(JobNotFound):
        why(chains.of_other_tenant(), job)
