"""Inputs with parts that are stored apart, from the desk to the worker: files, and results of other jobs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.pipelines import Part, PartKind
from service.catalog import Catalog, PublishedModel
from service.config import Settings
from service.desk import Desk, JobRequest, desk_over
from service.desk.waiting import Waiting
from service.errors import AfterUnsuitable, BodyTooLarge, InputInvalid, ServiceError, UploadNotFound
from service.jobs import execution, queries, recovery
from service.jobs.artifacts import ArtifactStore
from service.jobs.execution import Ending, Problem
from service.jobs.recovery import Chosen
from service.jobs.submission import Accepted, IdempotencyKey
from service.lifecycle import JobState, Origin
from service.webhooks.receivers import Receivers
from service.webhooks.rules import granted_rules
from tests import factories
from tests.integration import parts_pipeline
from tests.integration.parts_pipeline import SCAN, file_part
from tests.integration.workbench import AGE, Workbench

MOST_BYTES = 10_000


@pytest.fixture
def looking(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedModel:
    monkeypatch.syspath_prepend(tmp_path)
    return parts_pipeline.published(bench.database, bench.blobs, tmp_path)


@pytest.fixture
def desk(bench: Workbench, settings: Settings, looking: PublishedModel) -> Desk:
    return desk_over(
        settings.model_copy(update={"max_input_bytes": MOST_BYTES}),
        bench.database,
        catalog=Catalog(bench.database, cache_s=0, blobs=bench.blobs),
        uploads=bench.uploads,
        receivers=Receivers(granted_rules(bench.database, settings)),
        waiting=Waiting(2),
        artifact_store=ArtifactStore(bench.blobs, bench.keyring),
    )


def look(first: UUID | str, **parts: Any) -> JobRequest:
    """A case that reads the result of `first`."""
    given = {"age": AGE, "scan": file_part(SCAN), "finding": {"job": str(first)}} | parts
    return JobRequest(parts_pipeline.NAME, {name: part for name, part in given.items() if part != "left out"})


def score(bench: Workbench, model: PublishedModel) -> int:
    claimed = bench.scorer.score(model.id)
    bench.write_back.wait()
    return claimed


def first_job(bench: Workbench, *, scored: bool = True) -> UUID:
    (job_id,) = bench.submit(50.0)
    if scored:
        bench.score()
    return job_id


def result_of(bench: Workbench, job_id: UUID) -> dict[str, Any]:
    view = bench.view(job_id)
    assert view.result is not None, view
    return view.result.content


def refused(desk: Desk, bench: Workbench, wanted: JobRequest) -> list[tuple[str, str]]:
    """Where and why a case is refused."""
    with pytest.raises((InputInvalid, AfterUnsuitable)) as refusal:
        desk.submit(bench.caller, wanted)
    return [(error.pointer, error.code) for error in refusal.value.errors]


def test_a_case_is_scored_with_its_file_and_the_result_that_it_names(
    desk: Desk, bench: Workbench, looking: PublishedModel
) -> None:
    first = first_job(bench, scored=False)
    upload = bench.uploads.store(bench.caller, [b"SCAN of last year"])
    accepted = desk.submit(bench.caller, look(first, prior={"upload_id": str(upload.id)}))
    assert bench.view(accepted.id).state is JobState.WAITING
    assert list(bench.view(accepted.id).after) == [first] == list(accepted.after)
    assert score(bench, looking) == 0
    bench.score()
    assert score(bench, looking) == 1
    found = result_of(bench, accepted.id)
    assert (found["scan"], found["prior"]) == (SCAN.decode(), "SCAN of last year")
    assert found["first_label"] == result_of(bench, first)["label"] == "ill"
    assert bench.rows("SELECT count(*) FROM blob_removal") == [(0,)]
    assert len(bench.blobs.blobs) == len([name for name in bench.blobs.blobs if "models" in name]) + 1


def test_a_case_is_told_whose_result_it_reads(desk: Desk, bench: Workbench, looking: PublishedModel) -> None:
    first, other = bench.submit(50.0, 20.0)
    bench.score()
    ids = [desk.submit(bench.caller, look(each)).id for each in (first, other)]
    score(bench, looking)
    [model] = bench.rows(
        "SELECT name, version, digest FROM model_version WHERE id = %s", bench.view(first).model_version_id
    )
    assert [result_of(bench, job_id)["source"] for job_id in ids] == [
        [str(job_id), *model] for job_id in (first, other)
    ]


def test_jobs_of_one_claim_each_get_their_own_parts(
    desk: Desk, bench: Workbench, looking: PublishedModel
) -> None:
    first = first_job(bench)
    scans = [SCAN + bytes([48 + number]) for number in range(6)]
    cases: list[JobRequest | ServiceError] = [look(first, scan=file_part(scan)) for scan in scans]
    stored = desk.submit_many(bench.caller, cases)
    ids = [each.id for each in stored if isinstance(each, Accepted)]
    assert score(bench, looking) == len(scans)
    assert [result_of(bench, job_id)["scan"] for job_id in ids] == [scan.decode() for scan in scans]


@pytest.mark.parametrize("many", [False, True])
def test_a_case_with_a_file_alone_is_stored_with_it(
    desk: Desk, bench: Workbench, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    """Without an idempotency key and without a job to wait for, other cases take one statement."""
    parts: Any = desk._catalog.resolve(parts_pipeline.NAME).pipeline.parts
    monkeypatch.setitem(parts, "finding", Part(PartKind.RESULT, required=False))
    wanted = look("", finding="left out")
    stored = desk.submit_many(bench.caller, [wanted])[0] if many else desk.submit(bench.caller, wanted)
    assert isinstance(stored, Accepted)
    assert bench.view(stored.id).state is JobState.QUEUED
    assert bench.rows("SELECT job_id, name FROM job_input") == [(stored.id, "scan")]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"scan": "left out"}, ("/input/scan", "missing_field")),
        ({"scan": None}, ("/input/scan", "missing_field")),
        ({"finding": "left out"}, ("/input/finding", "missing_field")),
        ({"scan": "SCAN"}, ("/input/scan", "wrong_type")),
        ({"scan": file_part(SCAN) | {"upload_id": str(uuid4())}}, ("/input/scan", "wrong_type")),
        ({"scan": {"data": "***"}}, ("/input/scan/data", "not_base64")),
        ({"scan": {"upload_id": "17"}}, ("/input/scan/upload_id", "not_a_uuid")),
        ({"scan": file_part(b"")}, ("/input/scan", "too_short")),
        ({"scan": file_part(b"GIF89a")}, ("/input/scan", "not_a_scan")),
        ({"finding": "17"}, ("/input/finding", "wrong_type")),
        ({"finding": {"job": 17}}, ("/input/finding", "wrong_type")),
        ({"finding": {"job": "17"}}, ("/input/finding/job", "not_a_uuid")),
        ({"finding": {"job": str(uuid4())}}, ("/input/finding/job", "job_not_found")),
        ({"age": 121.0}, ("/input/age", "out_of_range")),
        ({"scans": {}}, ("/input/scans", "unknown_field")),
    ],
)
def test_a_part_that_is_wrong_is_refused_where_it_is_wrong(
    desk: Desk, bench: Workbench, given: dict[str, Any], fault: tuple[str, str]
) -> None:
    assert refused(desk, bench, look(first_job(bench), **given)) == [fault]


def test_every_part_that_is_wrong_is_named(desk: Desk, bench: Workbench) -> None:
    wanted = look("17", scan="left out", age=121.0)
    assert refused(desk, bench, wanted) == [
        ("/input/scan", "missing_field"),
        ("/input/finding/job", "not_a_uuid"),
        ("/input/age", "out_of_range"),
    ]


def test_a_part_that_is_too_large_is_refused(desk: Desk, bench: Workbench) -> None:
    first, large = first_job(bench), b"SCAN" + b"x" * MOST_BYTES
    upload = bench.uploads.store(bench.caller, [large])
    for scan in (file_part(large), {"upload_id": str(upload.id)}):
        with pytest.raises(BodyTooLarge):
            desk.submit(bench.caller, look(first, scan=scan))
    assert bench.rows("SELECT count(*) FROM job_input") == [(0,)]


def test_neither_upload_nor_job_of_another_tenant_can_be_named(desk: Desk, bench: Workbench) -> None:
    other = factories.principal(bench.database, bench.keyring, tenant="other")
    (foreign,) = bench.submit(50.0, caller=other)
    bench.score()
    upload = bench.uploads.store(other, [SCAN])
    assert refused(desk, bench, look(foreign)) == [("/input/finding/job", "job_not_found")]
    with pytest.raises(UploadNotFound):
        desk.submit(bench.caller, look(first_job(bench), scan={"upload_id": str(upload.id)}))


def test_a_result_of_another_type_is_refused(desk: Desk, bench: Workbench, looking: PublishedModel) -> None:
    second = desk.submit(bench.caller, look(first_job(bench))).id
    assert refused(desk, bench, look(second)) == [("/input/finding/job", "result_unfit")]
    many = desk.submit_many(bench.caller, [look(second), look(first_job(bench))])
    assert isinstance(many[0], AfterUnsuitable)
    assert isinstance(many[1], Accepted)


def test_a_job_that_ended_without_a_result_cannot_be_read(desk: Desk, bench: Workbench) -> None:
    (poison,) = bench.submit(0.0, age=0.0)
    bench.score()
    assert bench.outcomes([poison]) == ["prediction_invalid"]
    assert refused(desk, bench, look(poison)) == [("/input/finding/job", "predecessor_unfit")]


def test_named_jobs_count_with_those_to_wait_for_and_once(desk: Desk, bench: Workbench) -> None:
    others = bench.submit(*[1.0] * 16)
    wanted = look(first_job(bench, scored=False))._replace(after=others)
    assert refused(desk, bench, wanted) == [("/after", "too_long")]
    accepted = desk.submit(bench.caller, look(others[0])._replace(after=others))
    assert list(bench.view(accepted.id).after) == others


def test_a_repeated_request_gets_the_first_answer_and_stores_no_second_part(
    desk: Desk, bench: Workbench
) -> None:
    wanted, key = look(first_job(bench)), IdempotencyKey("k", b"d" * 32)
    first, again = (desk.submit(bench.caller, wanted, idempotency=key) for _ in range(2))
    assert replace(first, replayed=True) == replace(again, after=tuple(again.after))
    assert bench.rows("SELECT count(*) FROM job_input") == [(2,)]


def test_parts_are_stored_sealed_under_their_job_and_name(
    desk: Desk, bench: Workbench, looking: PublishedModel
) -> None:
    first = first_job(bench)
    ids = [desk.submit(bench.caller, look(first, prior=file_part(b"SCAN of old"))).id for _ in range(3)]
    sealed = {
        (job_id, name): payload
        for job_id, name, payload in bench.rows(
            "SELECT job_id, name, payload FROM job_input WHERE payload IS NOT NULL"
        )
    }
    assert all(b"SCAN" not in payload for payload in sealed.values())
    change = "UPDATE job_input SET payload = %s WHERE job_id = %s AND name = 'scan'"
    bench.rows(change, sealed[ids[0], "scan"], ids[1])
    bench.rows(change, sealed[ids[2], "prior"], ids[2])
    score(bench, looking)
    assert bench.outcomes(ids) == ["succeeded", "input_unreadable", "input_unreadable"]
    assert [bench.view(job_id).state for job_id in ids[1:]] == [JobState.QUARANTINED] * 2


@pytest.mark.parametrize(
    ("damage", "outcome", "state"),
    [
        ("DELETE FROM job_result WHERE job_id = %(first)s", "source_result_gone", "quarantined"),
        ("UPDATE job_result SET payload = '\\x01' WHERE job_id = %(first)s", "input_unreadable", "quarantined"),
        ("UPDATE job_result SET tenant_id = uuidv7() WHERE job_id = %(first)s", "source_result_gone", "quarantined"),
        ("DELETE FROM job_input WHERE job_id = %(id)s AND name = 'scan'", "input_unreadable", "quarantined"),
        ("DELETE FROM job_input WHERE job_id = %(id)s", "input_unreadable", "quarantined"),
        ("UPDATE job_input SET name = 'other' WHERE job_id = %(id)s AND name = 'prior'", "input_unreadable", "quarantined"),
    ],
)  # fmt: skip
def test_a_part_that_is_lost_is_the_problem_of_its_job_alone(
    desk: Desk, bench: Workbench, looking: PublishedModel, damage: str, outcome: str, state: str
) -> None:
    first, whole = first_job(bench), first_job(bench)
    ids = [desk.submit(bench.caller, look(each, prior=file_part(SCAN))).id for each in (first, whole)]
    with bench.database.statement() as work:
        work.execute(damage, {"first": first, "id": ids[0]})
    assert score(bench, looking) == 2
    assert bench.outcomes(ids) == [outcome, "succeeded"]
    assert bench.view(ids[0]).state == state


def test_a_job_whose_source_is_restored_is_scored_after_a_requeue(
    desk: Desk, bench: Workbench, looking: PublishedModel
) -> None:
    first = first_job(bench)
    job_id = desk.submit(bench.caller, look(first)).id
    bench.rows("CREATE TABLE kept AS SELECT * FROM job_result")
    bench.rows("DELETE FROM job_result")
    score(bench, looking)
    bench.rows("INSERT INTO job_result SELECT * FROM kept")
    with bench.database.statement() as work:
        queries.requeue(work, job_id, actor="operator:test")
    score(bench, looking)
    assert result_of(bench, job_id)["scan"] == SCAN.decode()


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"type": "regression"}, "of a type that the model does not take"),
        ({"type": "classification", "label": None, "abstained": True}, "abstained"),
    ],
)
def test_a_result_that_only_the_worker_sees_to_be_unfit_is_not_scored_with(
    desk: Desk, bench: Workbench, looking: PublishedModel, result: dict[str, Any], words: str
) -> None:
    """Of a model whose schema does not say what its results are, or that abstained unnoticed: the worker looks itself."""
    first = first_job(bench)
    job_id = desk.submit(bench.caller, look(first)).id
    sealed = bench.caller.cipher.seal(
        json.dumps(result).encode(),
        f"job_result.payload|{bench.caller.tenant_id}|{first}".encode(),
    )
    bench.rows("UPDATE job_result SET payload = %s WHERE job_id = %s", sealed, first)
    score(bench, looking)
    assert bench.outcomes([job_id]) == ["source_result_unfit"]
    view = bench.view(job_id)
    assert view.state is JobState.FAILED
    assert view.problem is not None
    assert words in view.problem["detail"]


def test_an_upload_whose_blob_is_gone_puts_the_job_back(
    desk: Desk, bench: Workbench, looking: PublishedModel
) -> None:
    upload = bench.uploads.store(bench.caller, [SCAN])
    job_id = desk.submit(bench.caller, look(first_job(bench), scan={"upload_id": str(upload.id)})).id
    kept = {name: content for name, content in bench.blobs.blobs.items() if name.startswith("uploads/")}
    for name in kept:
        bench.blobs.delete(name)
    score(bench, looking)
    assert bench.outcomes([job_id]) == ["queued"]
    bench.blobs.blobs |= kept
    bench.make_due(job_id)
    score(bench, looking)
    assert bench.outcomes([job_id]) == ["succeeded"]


def test_a_failed_job_is_submitted_again_with_its_parts(
    desk: Desk, bench: Workbench, looking: PublishedModel
) -> None:
    first = first_job(bench)
    failed = desk.submit(bench.caller, look(first)).id
    (job,) = factories.claimed(bench.database, looking)
    with bench.database.statement() as work:
        ending = Ending(job.lease, problem=Problem("model_failed", "why"))
        execution.end(work, [ending], owner="w1", runtime="r", provider="p")
    with bench.database.transaction() as work:
        (found,) = recovery.failed(work, Chosen(), after=UUID(int=0))
        again = recovery.resubmit(work, found, bench.caller.cipher, looking, actor="operator:test")
    score(bench, looking)
    assert result_of(bench, again)["scan"] == SCAN.decode()
    assert (bench.view(again).origin, list(bench.view(again).after)) == (Origin.REPLAY, [first])
    assert bench.view(failed).state is JobState.FAILED


def test_parts_go_with_their_job(desk: Desk, bench: Workbench) -> None:
    accepted = desk.submit(bench.caller, look(first_job(bench)))
    bench.rows("DELETE FROM job WHERE id = %s", accepted.id)
    assert bench.rows("SELECT count(*) FROM job_input") == [(0,)]


def test_a_model_without_parts_costs_a_worker_no_statement(
    desk: Desk, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.inputs.read", lambda *_: pytest.fail("parts were read"))
    monkeypatch.setattr("service.jobs.inputs.store", _none_to_store)
    assert bench.outcomes([first_job(bench)]) == ["succeeded"]


def _none_to_store(_: Any, new: Any) -> None:
    assert not [part for _, _, parts in new for part in parts]
