"""Faults within a micro-batch: each fails its own job alone, but for what ends the process."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
from celery.exceptions import WorkerShutdown, WorkerTerminate

from models.pipelines import Answer, Array, Case, RowFault, Run
from models.pipelines.contract import UNFIT
from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.workbench import (
    AGE,
    MAX_BATCH,
    POISON,
    Workbench,
    counted,
    probability,
    raising,
    workbench,
)
from workers.runtime import OutOfMemory, RunFailed, RunTimedOut


class OwnEnd(BaseException):
    """A package's own exception that no `except Exception` catches."""


@pytest.mark.parametrize(
    ("fault", "code"),
    [(RunFailed("x"), "model_failed"), (RunTimedOut(), "run_timed_out"), (OutOfMemory(), "out_of_memory")],
    ids=repr,
)
@pytest.mark.parametrize("place", [0, 3, MAX_BATCH - 1])
def test_the_culprit_of_a_batch_fails_alone(
    place: int, fault: Exception, code: str, bench: Workbench
) -> None:
    doses = [1.0] * MAX_BATCH
    doses[place] = POISON
    ids = bench.submit(*doses)
    bench.graph.script = raising(fault, POISON)
    bench.score()
    expected = ["succeeded"] * MAX_BATCH
    expected[place] = code
    assert bench.outcomes(ids) == expected


def test_a_batch_is_halved_until_the_culprit_is_alone(bench: Workbench) -> None:
    bench.submit(POISON, *[1.0] * 7)
    bench.graph.script = raising(RunFailed("x"), POISON)
    bench.score()
    assert bench.graph.batch_sizes == [8, 4, 2, 1, 1, 2, 4]


def test_several_culprits_fail_and_the_others_succeed(bench: Workbench) -> None:
    ids = bench.submit(POISON, 1.0, 2.0, POISON, 3.0, POISON, 4.0)
    bench.graph.script = raising(RunFailed("x"), POISON)
    bench.score()
    failed, done = "model_failed", "succeeded"
    assert bench.outcomes(ids) == [failed, done, done, failed, done, failed, done]
    assert bench.probability_of(ids[6]) == pytest.approx(probability(4.0), abs=1e-5)


def test_an_answer_that_is_no_prediction_fails_its_job_alone(bench: Workbench) -> None:
    ids = [*bench.submit(1.0), *bench.submit(0.0, age=0.0), *bench.submit(2.0)]
    bench.score()
    assert bench.outcomes(ids) == ["succeeded", "prediction_invalid", "succeeded"]


def test_a_stored_input_that_is_damaged_fails_its_job_alone(bench: Workbench) -> None:
    ids = [*bench.submit(1.0), *bench.submit_payloads(b"damaged"), *bench.submit(2.0)]
    bench.score()
    assert bench.outcomes(ids) == ["succeeded", "input_unreadable", "succeeded"]
    assert bench.graph.batch_sizes == [2]


def test_several_damaged_inputs_fail_their_jobs_alone(bench: Workbench) -> None:
    ids = bench.submit_payloads(b"damaged", b"damaged", bench.model.encode({"dose": 1.0, "age": AGE}))
    bench.score()
    assert bench.outcomes(ids) == ["input_unreadable", "input_unreadable", "succeeded"]


@pytest.mark.parametrize(
    "stored", [b"", b"\x01", b"\x01" + bytes(12), b"\x01" + bytes(60), b"\x02" + bytes(60)]
)
def test_an_input_that_does_not_decrypt_fails_its_job_alone(stored: bytes, bench: Workbench) -> None:
    ids = bench.submit(1.0, 2.0)
    bench.rows("UPDATE job SET payload = %s WHERE id = %s", stored, ids[0])
    bench.score()
    assert bench.outcomes(ids) == ["input_unreadable", "succeeded"]


def test_inputs_that_changed_places_are_not_scored(bench: Workbench) -> None:
    one, other = bench.submit(1.0, 2.0)
    bench.rows(
        "UPDATE job SET payload = (SELECT payload FROM job AS from_ WHERE from_.id = %s) WHERE id = %s",
        one,
        other,
    )
    bench.score()
    assert bench.outcomes([one, other]) == ["succeeded", "input_unreadable"]


def test_what_is_logged_of_a_run_names_its_jobs(bench: Workbench) -> None:
    ids = bench.submit(1.0, POISON, 2.0)
    bench.graph.script = raising(ZeroDivisionError(), POISON)
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        bench.score()
    named = [set(line["jobs"]) for line in lines if line["event"] == "pipeline_failed"]
    assert named[0] == {str(job_id) for job_id in ids}
    assert named[-1] == {str(ids[1])}
    assert [line["job"] for line in lines if line["event"] == "job_failed"] == [str(ids[1])]
    assert "jobs" not in structlog.contextvars.get_contextvars()


def test_why_an_answer_is_no_prediction_is_in_the_log(bench: Workbench) -> None:
    ids = [*bench.submit(1.0), *bench.submit(0.0, age=0.0)]
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        bench.score()
    assert bench.outcomes(ids) == ["succeeded", "prediction_invalid"]
    (line,) = (line for line in lines if line["event"] == "pipeline_failed")
    assert (line["jobs"], line["model"]) == ([str(ids[1])], bench.model.name)
    assert "probability" in line["reason"]


def test_a_batch_that_is_out_of_memory_is_halved_and_the_size_remembered(bench: Workbench) -> None:
    ids = bench.submit(*map(float, range(1, MAX_BATCH + 1)))
    bench.graph.faults = {5: OutOfMemory()}
    bench.score()
    assert bench.graph.batch_sizes == [8, 4, 4]
    assert set(bench.outcomes(ids)) == {"succeeded"}
    assert bench.pool.get(bench.model.id).batch_limit == 4
    assert counted("medqueue_batch_limit", model=bench.model.name) == 4


def test_after_a_batch_was_out_of_memory_smaller_ones_are_claimed(bench: Workbench) -> None:
    bench.graph.faults = {4: OutOfMemory()}
    bench.submit(*[1.0] * MAX_BATCH)
    bench.score()
    bench.graph.batch_sizes.clear()
    bench.submit(*[1.0] * MAX_BATCH)
    assert [bench.score(), bench.score()] == [2, 2]
    assert bench.graph.batch_sizes == [2, 2]


def test_a_run_past_its_time_is_stopped_and_its_job_failed(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue, tmp_path: Path,
    servers: ServerUrls, database_url: str,
) -> None:  # fmt: skip
    urls = servers.database_url, database_url
    with workbench(database, blobs, keyring, queue, tmp_path, urls, run_timeout_s=0.2) as bench:

        def hang(_: Mapping[str, Array]) -> None:
            until = threading.Event()
            while not bench.graph.stopped:
                until.wait(0.01)
            raise RunTimedOut

        (job_id,) = bench.submit(1.0)
        bench.graph.script = hang
        bench.score()
        assert bench.outcomes([job_id]) == ["run_timed_out"]
        assert not bench.heartbeat.hung


@pytest.mark.parametrize(
    "fault",
    [
        ZeroDivisionError(),
        SystemExit(0),
        SystemExit("x"),
        GeneratorExit(),
        asyncio.CancelledError(),
        OwnEnd(),
    ],
)
def test_a_fault_nobody_foresaw_fails_its_job_alone(bench: Workbench, fault: BaseException) -> None:
    ids = bench.submit(1.0, POISON, 2.0)
    bench.graph.script = raising(fault, POISON)
    bench.score()
    assert bench.outcomes(ids) == ["succeeded", "model_failed", "succeeded"]


@pytest.mark.parametrize("index", [-1, 9])
def test_a_fault_of_no_row_is_one_of_the_model(bench: Workbench, index: int) -> None:
    ids = bench.submit(1.0, POISON, 2.0)
    bench.graph.script = raising(RowFault(index, UNFIT), POISON)
    bench.score()
    assert bench.outcomes(ids) == ["succeeded", "model_failed", "succeeded"]


UNTYPED: Any = Answer  # what somebody's code may do


@pytest.mark.parametrize(
    "answer", [UNTYPED([1.0]), UNTYPED(None), {"score": 1.0}, UNTYPED({"score": 1.0}, 5)]
)
def test_an_answer_that_is_no_object_fails_its_job(
    bench: Workbench, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd:
        """Another's scoring half."""

        def score(self, run: Run, cases: Sequence[Case]) -> list[Any]:
            return [answer for _ in cases]

    ids = bench.submit(1.0, 2.0)
    monkeypatch.setattr(bench.pool.get(bench.model.id), "scoring", Odd())
    bench.score()
    assert bench.outcomes(ids) == ["model_failed", "model_failed"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), WorkerTerminate(1), WorkerShutdown(0)])
def test_what_a_signal_raises_ends_the_process_and_no_job(bench: Workbench, fault: BaseException) -> None:
    ids = bench.submit(POISON)
    bench.graph.script = raising(fault, POISON)
    with pytest.raises(type(fault)):
        bench.score()
    assert bench.outcomes(ids) == ["running"]
