"""/readyz: jobs are accepted, and somebody attends to them."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from service import probes
from service.accounts import Principal
from service.api.health import READY
from service.app import create_api
from service.catalog import PublishedModel
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.faults import Fault, Requirement
from service.gate import Gate
from service.jobs import execution, sweeps
from service.lifecycle import Priority
from tests import factories
from tests.fakes import MemoryBlobStore

LONG_AGO_S = 2 * probes.STALLED_S
Queue = tuple[PublishedModel, Principal]


@pytest.fixture
def queued(database: Database, blobs: MemoryBlobStore, keyring: Keyring) -> Queue:
    return factories.published(database, blobs), factories.principal(database, keyring)


@pytest.fixture
def http(settings: Settings) -> Iterator[FlaskClient]:
    api = create_api(settings)
    yield api.app.test_client()
    api.close()


def submitted_long_ago(database: Database, queued: Queue, **values: Any) -> UUID:
    """A job that has been queued for long."""
    model, caller = queued
    (job_id,) = factories.submitted(database, caller, model, **values)
    change(database, job_id, "available_at = available_at - make_interval(secs => %s)", LONG_AGO_S)
    return job_id


def change(database: Database, job_id: UUID, assignment: str, *params: object) -> None:
    with database.statement() as work:
        work.execute(f"UPDATE job SET {assignment} WHERE id = %s", (*params, job_id))


def end(database: Database, held: execution.ClaimedJob) -> None:
    ending = execution.Ending(held.lease, problem=execution.Problem("x", "y"))
    with database.statement() as work:
        execution.end(work, [ending], owner="w1", runtime="r", provider="p")


def claimed_and_ended(database: Database, queued: Queue) -> UUID:
    """A job that a worker has done with."""
    (held,) = factories.claimed(database, queued[0], limit=1)
    end(database, held)
    return held.lease.id


def test_an_empty_queue_is_no_stall(database: Database, queued: Queue) -> None:
    assert probes.consumption(database) == "ok"


def test_a_fresh_job_is_no_stall(database: Database, queued: Queue) -> None:
    factories.submitted(database, queued[1], queued[0])
    assert probes.consumption(database) == "ok"


def test_a_job_that_nobody_claims_is_a_stall(database: Database, queued: Queue) -> None:
    submitted_long_ago(database, queued)
    assert probes.consumption(database) == "stalled"


def test_a_job_that_waits_behind_more_pressing_ones_counts_as_well(database: Database, queued: Queue) -> None:
    submitted_long_ago(database, queued)
    factories.submitted(database, queued[1], queued[0], count=50, priority=Priority.STAT)
    assert probes.consumption(database) == "stalled"


def test_a_claim_within_the_time_is_consumption(database: Database, queued: Queue) -> None:
    submitted_long_ago(database, queued)
    submitted_long_ago(database, queued)
    claimed_and_ended(database, queued)
    assert probes.consumption(database) == "ok"


def test_a_claim_before_that_time_is_none(database: Database, queued: Queue) -> None:
    submitted_long_ago(database, queued)
    submitted_long_ago(database, queued)
    claimed_and_ended(database, queued)
    assert probes.consumption(database, stalled_s=0.0) == "stalled"


def test_a_worker_that_holds_a_job_is_at_work_however_long_its_run(database: Database, queued: Queue) -> None:
    submitted_long_ago(database, queued)
    submitted_long_ago(database, queued)
    (held,) = factories.claimed(database, queued[0], limit=1)
    assert probes.consumption(database, stalled_s=0.0) == "ok"
    change(database, held.lease.id, "lease_expires_at = now() - interval '1 s'")
    assert probes.consumption(database, stalled_s=0.0) == "stalled"


def test_a_retry_that_is_due_is_claimable_and_one_put_off_is_not(database: Database, queued: Queue) -> None:
    job_id = submitted_long_ago(database, queued)
    change(database, job_id, "attempt = 1, fence = 1")
    assert probes.consumption(database) == "stalled"
    change(database, job_id, "available_at = now() + interval '1 h'")
    assert probes.consumption(database) == "ok"


def test_a_job_whose_deadline_has_passed_is_not_claimable(database: Database, queued: Queue) -> None:
    job_id = submitted_long_ago(database, queued)
    change(database, job_id, "deadline_at = now() - interval '1 s'")
    assert probes.consumption(database) == "ok"


def test_a_stall_is_told_and_leaves_the_api_in_the_balancer_unless_consumption_is_required(
    http: FlaskClient, database: Database, queued: Queue
) -> None:
    swept(database)
    ready = dict(READY)
    for path in ("/readyz", "/readyz?consumption=required"):
        answer = http.get(path)
        assert (answer.status_code, answer.json) == (200, ready)
    submitted_long_ago(database, queued)
    answer = http.get("/readyz")
    assert (answer.status_code, answer.json) == (200, ready | {"consumption": "stalled"})
    answer = http.get("/readyz?consumption=required")
    assert (answer.status_code, answer.json) == (
        503,
        ready | {"consumption": "stalled", "status": "not_ready"},
    )


def swept(database: Database, *, ago_s: float = 0.0, every_s: float = 2.0) -> None:
    """A scheduler has ended its sweeps."""
    with database.statement() as work:
        sweeps.swept(work, by="scheduler@here", every_s=every_s)
    with database.statement() as work:
        work.execute("UPDATE last_sweep SET swept_at = now() - make_interval(secs => %s)", (ago_s,))


def test_a_scheduler_that_never_swept_or_not_lately_is_stopped(database: Database) -> None:
    assert probes.scheduler(database) == "stopped"
    swept(database)
    assert probes.scheduler(database) == "ok"
    swept(database, ago_s=9)
    assert probes.scheduler(database) == "ok"
    swept(database, ago_s=11)
    assert probes.scheduler(database) == "stopped"
    swept(database, ago_s=170, every_s=60)
    assert probes.scheduler(database) == "ok"
    swept(database, ago_s=190, every_s=60)
    assert probes.scheduler(database) == "stopped"


def test_a_scheduler_that_stopped_is_told_and_answered_with_503_where_it_is_required(
    http: FlaskClient, database: Database
) -> None:
    swept(database, ago_s=60)
    stopped = {"scheduler": "stopped"}
    answer = http.get("/readyz")
    assert (answer.status_code, answer.json) == (200, READY | stopped)
    answer = http.get("/readyz?scheduler=required")
    assert (answer.status_code, answer.json) == (503, READY | stopped | {"status": "not_ready"})
    swept(database)
    assert http.get("/readyz?scheduler=required").status_code == 200


def test_the_last_sweep_is_a_metric(http: FlaskClient, database: Database) -> None:
    assert "medqueue_last_sweep_timestamp_seconds 0.0" in http.get("/metrics").text
    swept(database)
    (line,) = [
        line for line in http.get("/metrics").text.splitlines() if line.startswith("medqueue_last_sweep")
    ]
    assert abs(float(line.split()[1]) - time.time()) < 60


@pytest.mark.parametrize("query", ["consumption=maybe", "consumtion=required"])
def test_a_misspelt_question_is_not_answered_with_ready(http: FlaskClient, query: str) -> None:
    assert http.get(f"/readyz?{query}").status_code == 422


def test_without_postgres_nothing_is_known_of_consumption() -> None:
    found = probes.readiness(Database("postgresql://u@127.0.0.1:1/x"), "redis://127.0.0.1:1/0")
    assert (found.ready, found.postgres, found.consumption, found.scheduler) == (
        False,
        "unreachable",
        "unknown",
        "unknown",
    )
    [fault] = found.faults
    assert fault.requirement is Requirement.POSTGRES, "named at the first look, before the gate has looked"
    assert "Postgres cannot be used" in fault.cause


def test_a_cause_that_the_gate_has_named_is_not_named_twice() -> None:
    named = Fault(Requirement.POSTGRES, "MEDQUEUE_DATABASE_URL", "Postgres cannot be used", "Start it.")
    gate = Gate("api", lambda: [named])
    gate.look()
    found = probes.readiness(Database("postgresql://u@127.0.0.1:1/x"), "redis://127.0.0.1:1/0", gate)
    assert found.faults == (named,)
