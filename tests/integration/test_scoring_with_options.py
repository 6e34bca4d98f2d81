"""The options of a job: checked by its pipeline, stored sealed, handed over with the claim, kept when it is submitted again."""

import math
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

from models.pipelines import Answer, Case, Run
from service.catalog import PublishedModel
from service.jobs import execution, recovery, submission
from service.jobs.execution import Ending, Problem
from service.jobs.recovery import Chosen
from service.jobs.submission import NewJob
from service.lifecycle import Origin
from tests import factories
from tests.integration import echo_pipeline
from tests.integration.workbench import Workbench

INPUT = {"dose": 1.0, "age": 40.0}


@pytest.fixture
def echo(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedModel:
    monkeypatch.syspath_prepend(tmp_path)
    return echo_pipeline.published(bench.database, bench.blobs, tmp_path)


def submitted(bench: Workbench, echo: PublishedModel, **options: object) -> UUID:
    """A job with these options, as the intake checks them."""
    checked = echo.pipeline.check_options(options) if options else {}
    job = NewJob(bench.caller, echo, payload=echo.encode(INPUT), options=checked)
    with bench.database.statement() as work:
        return submission.submit(work, [job])[0].id


def scored(bench: Workbench, echo: PublishedModel) -> None:
    bench.scorer.score(echo.id)
    bench.write_back.wait()


def top_of(bench: Workbench, job_id: UUID) -> object:
    result = bench.view(job_id).result
    assert result is not None
    return result.content["top"]


def test_jobs_of_one_batch_are_scored_each_with_its_own_options(
    bench: Workbench, echo: PublishedModel
) -> None:
    ids = [submitted(bench, echo, top=2), submitted(bench, echo), submitted(bench, echo, top=4)]
    scored(bench, echo)
    assert [top_of(bench, job_id) for job_id in ids] == [2, 5, 4]


@pytest.mark.parametrize("worthless", [math.nan, object()])
def test_a_result_that_json_cannot_hold_ends_its_own_job_alone(
    bench: Workbench, echo: PublishedModel, worthless: object
) -> None:
    loaded = bench.scorer._pool.get(echo.id)
    opened = loaded.scoring

    class Spoiling:
        def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
            answers = opened.score(run, cases)
            return [each if each.result["top"] != 3 else Answer({"top": worthless}) for each in answers]

    loaded.scoring = Spoiling()
    ids = [submitted(bench, echo, top=top) for top in (2, 3, 4)]
    scored(bench, echo)
    assert bench.outcomes(ids) == ["succeeded", "prediction_invalid", "succeeded"]


def test_options_are_stored_sealed_under_their_job(bench: Workbench, echo: PublishedModel) -> None:
    ids = submitted(bench, echo, top=2), submitted(bench, echo, top=3)
    sealed = dict(bench.rows("SELECT id, options FROM job WHERE id = ANY (%s)", list(ids)))
    assert b"top" not in sealed[ids[0]]
    bench.rows("UPDATE job SET options = %s WHERE id = %s", sealed[ids[0]], ids[1])
    scored(bench, echo)
    assert bench.outcomes(list(ids)) == ["succeeded", "input_unreadable"]


def test_a_job_that_is_submitted_again_keeps_its_options_and_says_that_it_is_a_replay(
    bench: Workbench, echo: PublishedModel
) -> None:
    failed = submitted(bench, echo, top=2)
    (job,) = factories.claimed(bench.database, echo)
    with bench.database.statement() as work:
        ending = Ending(job.lease, problem=Problem("model_failed", "why"))
        execution.end(work, [ending], owner="w1", runtime="r", provider="p")
    with bench.database.transaction() as work:
        (found,) = recovery.failed(work, Chosen(), after=UUID(int=0))
        again = recovery.resubmit(work, found, bench.caller.cipher, echo, actor="operator:test")
    scored(bench, echo)
    assert top_of(bench, again) == 2
    assert [bench.view(job_id).origin for job_id in (failed, again)] == [Origin.CALLER, Origin.REPLAY]


def test_a_job_that_failed_for_what_it_waited_for_is_not_submitted_again(
    bench: Workbench, echo: PublishedModel
) -> None:
    first = submitted(bench, echo)
    follower = NewJob(bench.caller, echo, payload=echo.encode(INPUT), after=[first])
    with bench.database.transaction() as work:
        submission.submit_after(work, [follower])
    (job,) = factories.claimed(bench.database, echo)
    with bench.database.statement() as work:
        ending = Ending(job.lease, problem=Problem("model_failed", "why"))
        execution.end(work, [ending], owner="w1", runtime="r", provider="p")
    with bench.database.transaction() as work:
        assert [found.id for found in recovery.failed(work, Chosen(), after=UUID(int=0))] == [first]
