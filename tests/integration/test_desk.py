"""The desk without HTTP: a case is submitted, scored by a worker, waited for and read."""

import math
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from service.accounts import Principal, Scope
from service.catalog import Catalog
from service.config import Settings
from service.desk import Desk, JobRequest, JobSearch, desk_over
from service.desk.waiting import REREAD_S, Waiting
from service.errors import IdempotencyKeyReused, InputInvalid, JobNotFound, ModelNotFound, RequestTooCostly
from service.jobs.artifacts import ArtifactStore
from service.jobs.queries import JobView
from service.jobs.submission import Accepted, IdempotencyKey
from service.lifecycle import JobState, Priority
from service.webhooks.receivers import Receivers
from service.webhooks.rules import granted_rules
from tests import factories
from tests.integration.workbench import AGE, Workbench

LONG_S = 20.0
PRIORITY, SUBJECT, METADATA = Priority.URGENT, "patient-17", {"ward": "4b"}


@pytest.fixture
def waiting() -> Waiting:
    return Waiting(2)


@pytest.fixture
def desk(bench: Workbench, settings: Settings, waiting: Waiting) -> Desk:
    return desk_over(
        settings,
        bench.database,
        catalog=Catalog(bench.database, cache_s=0),
        uploads=bench.uploads,
        receivers=Receivers(granted_rules(bench.database, settings)),
        waiting=waiting,
        artifact_store=ArtifactStore(bench.blobs, bench.keyring),
    )


def case(bench: Workbench, dose: float = 10.0, **wanted: Any) -> JobRequest:
    return JobRequest(bench.model.name, {"dose": dose, "age": AGE}, **wanted)


def test_a_case_is_submitted_scored_waited_for_and_read(
    desk: Desk, bench: Workbench, waiting: Waiting
) -> None:
    wanted = case(bench, priority=PRIORITY, subject=SUBJECT, metadata=METADATA)
    accepted = desk.submit(bench.caller, wanted)

    def work() -> None:
        bench.score()
        waiting.ended(list(map(str, bench.queue.announced)))

    worker = threading.Thread(target=work)
    worker.start()
    assert desk.wait(bench.caller, accepted.id, LONG_S, may_have_ended=False)
    worker.join()
    job = desk.read(bench.caller, accepted.id)
    assert (job.state, job.priority, job.subject, job.metadata) == (
        JobState.SUCCEEDED,
        PRIORITY,
        SUBJECT,
        METADATA,
    )
    assert job.result is not None
    assert job.result.content["probabilities"]["ill"] == pytest.approx(1 / (1 + math.exp(0.2)), abs=1e-5)
    assert desk.model_of(job).digest == bench.model.digest
    events = desk.events(bench.caller, accepted.id, after=None, limit=10)
    assert [event.action for event in events] == [
        "job.submitted", "job.claimed", "job.succeeded", "result.read"
    ]  # fmt: skip


def test_of_many_cases_each_has_its_answer_in_its_place(desk: Desk, bench: Workbench) -> None:
    refused = InputInvalid()
    wrong = JobRequest("no-such-model", {})
    first, second, third, last = desk.submit_many(
        bench.caller, [case(bench, 1.0), refused, wrong, case(bench, 2.0)]
    )
    assert isinstance(first, Accepted)
    assert second is refused
    assert isinstance(third, ModelNotFound)
    assert isinstance(last, Accepted)
    assert bench.score() == 2
    assert desk.wait_for_all(bench.caller, [first.id, last.id], LONG_S)
    absent = uuid4()
    ended, missing = desk.read_many(bench.caller, [last.id, absent])
    assert isinstance(ended, JobView)
    assert ended.state is JobState.SUCCEEDED
    assert isinstance(missing, JobNotFound)


def test_a_request_whose_items_cost_too_much_is_checked_in_part_and_ends_when_it_is_repeated(
    desk: Desk, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each item costs a second by a clock that the test drives."""
    cpu_s = count()
    monkeypatch.setattr("service.desk.desk.worked_s", lambda: float(next(cpu_s)))
    wanted, key = [case(bench, float(dose)) for dose in range(12)], IdempotencyKey("night", b"digest")
    first = desk.submit_many(bench.caller, wanted, idempotency=key)
    assert [isinstance(each, Accepted) for each in first] == [True] * 5 + [False] * 7
    assert all(isinstance(each, RequestTooCostly) for each in first[5:])
    for _ in range(2):
        last = desk.submit_many(bench.caller, wanted, idempotency=key)
    assert all(isinstance(each, Accepted) for each in last)
    assert bench.score() + bench.score() == 12


def test_a_repeated_submit_is_answered_as_the_first_one_and_stores_nothing(
    desk: Desk, bench: Workbench
) -> None:
    key = IdempotencyKey("case-1", b"1" * 32)
    first = desk.submit(bench.caller, case(bench), idempotency=key)
    again = desk.submit(bench.caller, case(bench), idempotency=key)
    assert (again.id, again.created_at, again.replayed) == (first.id, first.created_at, True)
    assert bench.rows("SELECT count(*) FROM job") == [(1,)]
    with pytest.raises(IdempotencyKeyReused):
        desk.submit(bench.caller, case(bench), idempotency=IdempotencyKey("case-1", b"2" * 32))


def test_a_repeated_submit_is_answered_though_its_deadline_has_passed_since(
    desk: Desk, bench: Workbench
) -> None:
    key = IdempotencyKey("case-1", b"1" * 32)
    wanted = case(bench, deadline=datetime.now(UTC) + timedelta(seconds=0.5))
    first = desk.submit(bench.caller, wanted, idempotency=key)
    time.sleep(0.6)
    assert desk.submit(bench.caller, wanted, idempotency=key).id == first.id


def test_a_job_that_has_ended_is_not_waited_for(desk: Desk, bench: Workbench) -> None:
    job_id = desk.submit(bench.caller, case(bench)).id
    bench.score()
    started = time.monotonic()
    assert desk.wait(bench.caller, job_id, LONG_S)
    assert time.monotonic() - started < REREAD_S / 2


def test_jobs_are_found_by_what_they_are(desk: Desk, bench: Workbench) -> None:
    ours = desk.submit(bench.caller, case(bench, subject=SUBJECT))
    desk.submit(bench.caller, case(bench, subject="patient-18"))

    def found(**wanted: Any) -> int:
        return len(desk.newest(bench.caller, JobSearch(**wanted), before=None, limit=10))

    (job,) = desk.newest(bench.caller, JobSearch(subject=SUBJECT), before=None, limit=10)
    assert job.id == ours.id
    assert found() == found(model=bench.model.name) == found(kind="diagnosis") == 2
    assert found(model="no-such-model") == found(kind="recommendation") == found(state=JobState.RUNNING) == 0
    with pytest.raises(ModelNotFound):
        found(model="no-such-model@stable")


def test_whoever_may_not_read_cancels_without_seeing_whom_the_case_is_about(
    desk: Desk, bench: Workbench
) -> None:
    writer = Principal(
        bench.caller.key_id, bench.caller.tenant_id, frozenset({Scope.JOBS_WRITE}), bench.caller.cipher
    )
    first, second = (
        desk.submit(bench.caller, case(bench, subject=SUBJECT, metadata=METADATA)) for _ in range(2)
    )
    canceled = desk.cancel(writer, first.id)
    assert (canceled.state, canceled.subject, canceled.metadata) == (JobState.CANCELED, None, {})
    assert desk.cancel(bench.caller, second.id).subject == SUBJECT


def test_another_tenants_job_is_not_there(desk: Desk, bench: Workbench) -> None:
    stranger = factories.principal(bench.database, bench.keyring, tenant="other")
    job_id = desk.submit(bench.caller, case(bench)).id
    for call in (desk.read, desk.cancel):
        with pytest.raises(JobNotFound):
            call(stranger, job_id)
    with pytest.raises(JobNotFound):
        desk.events(stranger, job_id, after=None, limit=1)
    assert desk.wait(stranger, job_id, LONG_S)
