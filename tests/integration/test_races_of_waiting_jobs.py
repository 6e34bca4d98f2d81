"""Ends and submits at the same time: no end slips past a job that waits for it, and nobody waits in a circle."""

import random
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from service.crypto import Keyring
from service.db import Database
from service.errors import PredecessorBusy
from service.jobs import execution, predecessors, submission
from service.jobs.execution import ClaimedJob, Ending
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import chains as bench
from tests.integration.chains import Chains

WAIT_S = 0.3
ROUNDS = 12


@pytest.fixture
def chains(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Chains:
    return bench.chains(database, blobs, keyring, queue)


def endings(jobs: Sequence[ClaimedJob]) -> list[Ending]:
    return [Ending(job.lease, payload=b"sealed") for job in jobs]


def end(chains: Chains, jobs: Sequence[ClaimedJob]) -> set[UUID]:
    with chains.database.statement() as work:
        return chains.write(work, endings(jobs))


def still_waits(future: "Future[Any]") -> bool:
    """Whether it has not come to an end after a while."""
    time.sleep(WAIT_S)
    return not future.done()


@pytest.mark.parametrize("others", [0, 1])
def test_a_submit_waits_for_an_end_that_is_not_committed(chains: Chains, others: int) -> None:
    """Also where another job waits for the same one already."""
    first = chains.submit()
    for _ in range(others):
        chains.submit(first)
    jobs = chains.claim()
    with ThreadPoolExecutor(1) as other:
        with chains.database.transaction() as work:
            chains.write(work, endings(jobs))
            submitted = other.submit(chains.submit, first)
            assert still_waits(submitted)
        assert chains.states(submitted.result()) == ["queued"]


def test_an_end_waits_for_a_submit_that_is_not_committed_and_releases_its_job(chains: Chains) -> None:
    first = chains.submit()
    jobs = chains.claim()
    new = factories.new_job(chains.caller, chains.model, after=[first])
    with ThreadPoolExecutor(1) as other:
        with chains.database.transaction() as work:
            (accepted,) = submission.submit_after(work, [new])
            ended = other.submit(end, chains, jobs)
            assert still_waits(ended)
        assert ended.result() == {first}
    assert chains.states(first, accepted.id) == ["succeeded", "queued"]  # type: ignore[union-attr]


def test_a_submit_does_not_wait_for_who_holds_others_that_wait_for_the_same_job(chains: Chains) -> None:
    first, second = chains.submit(), chains.submit()
    (job,) = [each for each in chains.claim() if each.lease.id == first]
    waiting = chains.submit(first, second)
    end(chains, [job])
    new = factories.new_job(chains.caller, chains.model, after=[waiting])
    with ThreadPoolExecutor(1) as other, chains.database.transaction() as work:
        submission.submit_after(work, [new])  # holds the one that waits
        follower = other.submit(chains.submit, first).result(timeout=WAIT_S * 10)
        assert chains.states(follower, waiting) == ["queued", "waiting"]


def test_two_ends_that_meet_at_one_job_release_it(chains: Chains) -> None:
    group = [chains.submit() for _ in range(2)]
    job = chains.submit(*group)
    one, other_one = chains.claim()
    with ThreadPoolExecutor(1) as other:
        with chains.database.transaction() as work:
            chains.write(work, endings([one]))
            ended = other.submit(end, chains, [other_one])
            assert still_waits(ended)
        ended.result()
    assert chains.states(job) == ["queued"]


def test_a_cancel_waits_for_a_release_that_is_not_committed(chains: Chains) -> None:
    first = chains.submit()
    job = chains.submit(first)
    jobs = chains.claim()
    with ThreadPoolExecutor(1) as other:
        with chains.database.transaction() as work:
            chains.write(work, endings(jobs))
            canceled = other.submit(chains.cancel, job)
            assert still_waits(canceled)
        canceled.result()
    assert chains.actions(job) == ["job.submitted", "job.ready", "job.canceled"]


def test_a_submit_gives_up_on_a_predecessor_that_stays_locked(
    chains: Chains, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predecessors, "TRIES", 2)
    first = chains.submit()
    jobs = chains.claim()
    with chains.database.transaction() as work:
        chains.write(work, endings(jobs))
        with pytest.raises(PredecessorBusy):
            chains.submit(first)
    assert chains.rows("SELECT count(*) FROM job")[0][0] == 1


def test_ends_submits_and_cancels_of_crossing_groups_never_wait_in_a_circle(chains: Chains) -> None:
    """Each group's jobs are ended by several statements, each of jobs of many groups, in any order."""
    chance = random.Random(7)
    for _ in range(ROUNDS):
        groups = [[chains.submit() for _ in range(3)] for _ in range(6)]
        followers = [chains.submit(*group) for group in groups]
        last = [chains.submit(*chance.sample(followers, 3)) for _ in range(6)]
        jobs = chains.claim()
        chance.shuffle(jobs)
        with ThreadPoolExecutor(6) as others:
            done: list[Future[Any]] = [others.submit(end, chains, jobs[number::3]) for number in range(3)]
            done.append(others.submit(chains.cancel, followers[0]))
            done += [others.submit(chains.answer, *chance.sample(followers, 2)) for _ in range(2)]
            for each in done:
                each.result()
        assert chains.states(*followers) == ["canceled"] + ["queued"] * 5
        assert set(chains.states(*last)) <= {"failed", "waiting"}
        chains.succeed(*followers[1:])
        unended = chains.rows("SELECT count(*) FROM job WHERE state = 'waiting'")[0][0]
        assert unended == 0
        for job in chains.claim():
            end(chains, [job])


def test_no_job_has_started_before_what_it_waited_for_has_ended(chains: Chains) -> None:
    """A claim that is held up after it has begun may find a job that was released in the meantime."""
    first = chains.submit()
    second = chains.submit(first)
    with chains.database.transaction() as held_up:
        held_up.execute("SELECT now()")
        chains.succeed(first)
        claim = execution.claim(
            held_up, model_version_id=chains.model.id, limit=1, owner="w2", lease_s=30, retries_first=False
        )
        assert [job.lease.id for job in claim.jobs] == [second]
    ((ended,),) = chains.rows("SELECT finished_at FROM job WHERE id = %s", first)
    ((begun,),) = chains.rows("SELECT started_at FROM job WHERE id = %s", second)
    assert ended < begun
