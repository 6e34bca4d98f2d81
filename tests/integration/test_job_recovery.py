"""What an operator does for jobs that ended by a fault that was not theirs: they are requeued, or submitted again."""

import os
from typing import Any
from uuid import UUID

import pytest

from service.accounts import Principal
from service.catalog import PublishedModel
from service.cli import main
from service.cli.installation import operator_name
from service.crypto import Keyring, binding
from service.db import Database
from service.jobs import execution, queries
from service.jobs.execution import Ending, Problem
from service.jobs.queries import JobView, Reading
from service.lifecycle import Priority
from tests import factories
from tests.fakes import MemoryBlobStore
from tests.integration.operating import Run, actors

READS_NOTHING = """
INSERT INTO job_input (job_id, name, tenant_id, source_job_id)
SELECT id, 'finding', tenant_id, uuidv7() FROM job WHERE id = %(id)s
"""


def quarantined(
    database: Database, caller: Principal, model: PublishedModel, code: str, count: int
) -> list[UUID]:
    """Jobs that a worker has set aside with this code."""
    ids = factories.submitted(database, caller, model, count=count)
    held = factories.claimed(database, model, limit=count)
    endings = [Ending(job.lease, problem=Problem(code, "Told."), quarantined=True) for job in held]
    with database.statement() as work:
        assert execution.end(work, endings, owner="w1", runtime="r", provider="p") == set(ids)
    return ids


def states(database: Database, ids: list[UUID]) -> list[str]:
    with database.statement() as work:
        rows: dict[UUID, str] = dict(
            work.execute("SELECT id, state::text FROM job WHERE id = ANY(%s)", (ids,))
        )
    return [rows[each] for each in ids]


def test_jobs_are_requeued_by_code_model_and_time(
    medqueue: Run, database: Database, blobs: MemoryBlobStore, keyring: Keyring
) -> None:
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    unreadable = quarantined(database, caller, model, "input_unreadable", 600)
    gone = quarantined(database, caller, model, "upload_gone", 3)
    assert medqueue("jobs", "requeue")[0] == 2
    assert medqueue("jobs", "requeue", "--model", "no-such-model")[0] == 4
    words = ("jobs", "requeue", "--code", "input_unreadable", "--model", model.name)
    assert medqueue(*words, "--ended-before", "2020-01-01T00:00:00Z")[:2] == (0, {"requeued": 0, "ids": []})
    code, told, _ = medqueue(*words, "--ended-after", "2020-01-01T00:00:00Z")
    assert (code, told["requeued"], sorted(told["ids"])) == (0, 600, sorted(map(str, unreadable)))
    assert set(states(database, unreadable)) == {"queued"}
    assert set(states(database, gone)) == {"quarantined"}
    assert medqueue("jobs", "requeue", "--all")[1]["ids"] == list(map(str, gone))
    assert actors(database, "job.requeued") == [operator_name(os.getuid())] * 603


def test_failed_jobs_are_submitted_again_once_as_new_jobs_of_the_same_caller(
    medqueue: Run, database: Database, blobs: MemoryBlobStore, keyring: Keyring
) -> None:
    """The example: an earlier release failed 142 jobs for good under another master key."""
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    told: dict[str, Any] = {"subject": "patient-7", "metadata": {"ward": "7"}, "priority": Priority.URGENT}
    failed = factories.submitted(database, caller, model, count=3, **told)
    held = factories.claimed(database, model)
    endings = [Ending(job.lease, problem=Problem("input_unreadable", "Told.")) for job in held]
    with database.statement() as work:
        execution.end(work, endings, owner="w1", runtime="r", provider="p")
    code, document, err = medqueue("jobs", "resubmit", "--code", "input_unreadable")
    assert code == 0, err
    assert (code, sorted(document["resubmitted"])) == (0, sorted(map(str, failed)))
    assert medqueue("jobs", "resubmit", "--code", "input_unreadable")[1] == document
    new_ids = [UUID(document["resubmitted"][str(each)]) for each in failed]
    assert states(database, failed + new_ids) == ["failed"] * 3 + ["queued"] * 3
    with database.statement() as work:
        views = queries.read(work, [Reading(caller, each) for each in new_ids])
    assert {
        (view.subject, view.metadata["ward"], view.priority) for view in views if isinstance(view, JobView)
    } == {("patient-7", "7", Priority.URGENT)}
    inputs = factories.claimed(database, model)
    assert {job.lease.id for job in inputs} == set(new_ids)
    payload = inputs[0].payload
    assert payload is not None
    bound_to = binding("job.payload", caller.tenant_id, inputs[0].lease.id)
    assert caller.cipher.open(payload, bound_to) == model.encode(factories.case())
    assert actors(database, "job.resubmitted") == [operator_name(os.getuid())] * 3


@pytest.mark.parametrize(("command", "done"), [("requeue", "requeued"), ("resubmit", "resubmitted")])
def test_a_code_that_no_job_has_is_answered_with_a_count_of_0(
    command: str, done: str, medqueue: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs", command, "--code", "no_such"]) == 0
    assert capsys.readouterr().out.split() == [done, "0"]


def test_an_input_that_does_not_decrypt_is_named_and_the_others_go_on(
    medqueue: Run, database: Database, blobs: MemoryBlobStore, keyring: Keyring
) -> None:
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    failed = factories.submitted(database, caller, model, count=2)
    held = factories.claimed(database, model)
    endings = [Ending(job.lease, problem=Problem("input_unreadable", "Told.")) for job in held]
    with database.transaction() as work:
        execution.end(work, endings, owner="w1", runtime="r", provider="p")
        work.execute("UPDATE job SET payload = '\\x00' WHERE id = %s", (failed[0],))
    code, document, stderr = medqueue("jobs", "resubmit", "--all")
    assert (code, list(document["resubmitted"]), document["unreadable"]) == (
        1,
        [str(failed[1])],
        [str(failed[0])],
    )
    assert "does not decrypt" in stderr


def test_a_job_that_reads_a_result_that_is_gone_is_named_and_the_others_go_on(
    medqueue: Run, database: Database, blobs: MemoryBlobStore, keyring: Keyring
) -> None:
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    failed = factories.submitted(database, caller, model, count=2)
    held = factories.claimed(database, model)
    endings = [Ending(job.lease, problem=Problem("source_result_unfit", "Told.")) for job in held]
    with database.transaction() as work:
        execution.end(work, endings, owner="w1", runtime="r", provider="p")
        work.execute(READS_NOTHING, {"id": failed[0]})
    code, document, stderr = medqueue("jobs", "resubmit", "--all")
    assert (code, list(document["resubmitted"]), document["unsourced"]) == (
        1,
        [str(failed[1])],
        [str(failed[0])],
    )
    assert "reads the result of a job" in stderr
