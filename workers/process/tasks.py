"""One thin Celery task per TaskName, and the sweeps of the scheduler. Each makes one call and is safe to run twice.

Late, repeated and lost messages do no harm: a task asks Postgres for work, and returns quietly if there is none.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from uuid import UUID

import structlog
from celery import Celery

from service import failpoints, logs
from service.batches import schedules
from service.batches import sweeps as batches
from service.errors import DatabaseUnavailable, ServiceError
from service.failpoints import Point
from service.jobs import artifacts, partial_texts, sweeps
from service.jobs.sweeps import Passed
from service.metrics import (
    CHUNKS_QUARANTINED,
    CHUNKS_RESCUED,
    DELIVERIES_RESCUED,
    ENDPOINTS_DISABLED,
    JOBS_EXPIRED,
    JOBS_OVERDUE,
    JOBS_QUARANTINED,
    JOBS_RESCUED,
)
from service.queue import TaskName, score_wake_up
from service.webhooks import deliveries
from workers.process.connections import worker_name
from workers.process.parts import Parts

CLOSED_PAUSE_S = 2.0
EXPIRED_ONE_BY_ONE = 100

log = structlog.get_logger()


def register(app: Celery, parts: Callable[[], Parts]) -> None:
    """Register every task; `parts` gives this process's parts when a task runs."""
    tasks: dict[TaskName, Callable[..., None]] = {
        TaskName.SCORE: _score,
        TaskName.DELIVER: _deliver,
        TaskName.PULSE: _pulse,
    }
    for name, task in tasks.items():
        app.task(_quiet(name, _in_hand(parts, task)), name=name.value, shared=False)


def sweeps_of(parts: Parts) -> dict[str, Callable[[], bool]]:
    """The scheduler's sweeps, by name. Each returns whether it ended without a fault."""
    sweeps = {
        "rescue": _rescue,
        "ready": _ready,
        "overdue": _overdue,
        "rewake": _rewake,
        "deliveries": _deliveries,
        "batches": _batches,
        "schedules": _schedules,
        "artifacts": _artifacts,
        "partial_texts": _partial_texts,
    }
    return {name: _quiet(name, partial(sweep, parts)) for name, sweep in sweeps.items()}


def note_swept(parts: Parts) -> None:
    """Record that a round of sweeps ended without a fault: /readyz and doctor report if none has for long."""
    _quiet("swept", partial(_swept, parts))()


def _swept(parts: Parts) -> None:
    with parts.database.statement() as work:
        sweeps.swept(work, by=worker_name(parts.settings), every_s=parts.settings.sweep_s)


def _score(parts: Parts, subject: str) -> None:
    """Score a micro-batch. Safe twice: the second run claims what the first left.

    A process that must not work leaves the wake-up to others, and consumes no further ones for a while.
    """
    failpoints.reach(Point.TASK_TAKEN)
    if parts.scoring is None or not parts.gate.open:
        parts.queue.wake(score_wake_up(UUID(subject)))
        parts.gate.wait_open(CLOSED_PAUSE_S)
        return
    parts.scoring.lanes.score(UUID(subject))


def _deliver(parts: Parts, _: str) -> None:
    """Send due deliveries. Safe twice: the dispatcher asks Postgres for them."""
    if parts.dispatcher is not None:
        parts.dispatcher.wake()


def _rescue(parts: Parts) -> None:
    """Take back jobs whose lease has lapsed, and end those past their deadline. Safe twice: locked rows are skipped."""
    failpoints.reach(Point.RESCUE_BEFORE)
    with parts.database.statement() as work:
        rescued = sweeps.rescue(work, max_crashes=parts.settings.max_crashes)
    _expire(parts)
    failpoints.reach(Point.RESCUE_AFTER)
    JOBS_RESCUED.inc(len(rescued.queued))
    JOBS_QUARANTINED.inc(len(rescued.quarantined))
    if rescued.queued or rescued.quarantined:
        log.warning(
            "jobs_rescued",
            queued=len(rescued.queued),
            jobs=logs.named(rescued.queued),
            quarantined=[str(job) for job in rescued.quarantined],
        )


def _expire(parts: Parts) -> None:
    """End jobs past their deadline. Safe twice: an ended job is not found again."""
    for passed in Passed:
        rounds = EXPIRED_ONE_BY_ONE if passed is Passed.WAITING_FOLLOWED else 1
        for _ in range(rounds):
            with parts.database.statement() as work:
                expired = sweeps.expire(work, passed)
            JOBS_EXPIRED.inc(len(expired))
            if not expired:
                break


def _ready(parts: Parts) -> None:
    """Queue jobs whose start time has come. Safe twice: a queued job is not found again."""
    with parts.database.statement() as work:
        sweeps.ready(work)


def _overdue(parts: Parts) -> None:
    """Record jobs whose promised time has passed. Safe twice: a recorded job is not found again."""
    with parts.database.statement() as work:
        overdue = sweeps.overdue(work)
    found = Counter(job.model for job in overdue)
    for model, count in found.items():
        JOBS_OVERDUE.labels(model).inc(count)
    if found:
        log.warning("jobs_overdue", by_model=dict(found), jobs=logs.named(job.id for job in overdue))


def _rewake(parts: Parts) -> None:
    """Send wake-ups for queued jobs. Safe twice: equal wake-ups coalesce."""
    failpoints.reach(Point.REWAKE_BEFORE)
    with parts.database.statement() as work:
        sweeps.rewake(work)
    failpoints.reach(Point.REWAKE_AFTER)


def _deliveries(parts: Parts) -> None:
    """Sweep deliveries: lapsed leases, due retries, failing endpoints. Safe twice."""
    with parts.database.statement() as work:
        rescued = deliveries.rescue(work)
    with parts.database.statement() as work:
        disabled = deliveries.disable_failing(work)
    with parts.database.statement() as work:
        deliveries.bury(work)
    with parts.database.statement() as work:
        due = deliveries.due(work)
    if due and parts.dispatcher is not None:
        parts.dispatcher.wake()
    DELIVERIES_RESCUED.inc(len(rescued))
    ENDPOINTS_DISABLED.inc(len(disabled))
    if disabled:
        log.warning("webhook_endpoints_disabled", endpoints=[str(endpoint) for endpoint in disabled])


def _batches(parts: Parts) -> None:
    """Sweep batches: lapsed leases, deadlines, windows, alarms for late batches. Safe twice."""
    crashes = parts.settings.max_crashes
    with parts.database.statement() as work:
        lapsed = [batches.rescue_chunks(work, max_crashes=crashes)]
    with parts.database.statement() as work:
        lapsed.append(batches.rescue_steps(work, max_crashes=crashes))
    with parts.database.statement() as work:
        batches.expire(work)
    with parts.database.transaction() as work:
        batches.move_openings(work)
    with parts.database.statement() as work:
        risky = batches.tell_risks(work)
    CHUNKS_RESCUED.inc(sum(len(each.queued) for each in lapsed))
    CHUNKS_QUARANTINED.inc(sum(len(each.quarantined) for each in lapsed))
    if risky:
        log.warning("batches_at_risk", batches=[str(batch) for batch in risky])


def _schedules(parts: Parts) -> None:
    """Open the batches of schedules that are due. Safe twice: a run is opened once."""
    with parts.database.transaction() as work:
        opened = schedules.run_due(work, cipher_of=parts.ciphers.of, resolve=parts.catalog.resolve)
    if opened:
        log.info("scheduled_batches_opened", batches=[str(batch.id) for batch in opened])


def _artifacts(parts: Parts) -> None:
    """Remove blobs of artifacts that belong to no job. Safe twice: a missing blob is not an error."""
    removed = artifacts.remove_due(parts.database, parts.blobs)
    if removed:
        log.info("artifacts_removed", blobs=removed)


def _partial_texts(parts: Parts) -> None:
    """Remove what jobs had written that do not run any more. Safe twice: a removed text is not found again."""
    with parts.database.statement() as work:
        partial_texts.sweep(work)


def _pulse(parts: Parts, process: str) -> None:
    """Do nothing: every task that is consumed is recorded already. Safe twice: nothing is done."""


def _in_hand(parts: Callable[[], Parts], task: Callable[..., None]) -> Callable[..., None]:
    """Give a task this process's parts, and record for its pulse that a message was consumed."""

    def run(*subjects: str) -> None:
        ours = parts()
        with ours.pulse.task():
            task(ours, *subjects)

    return run


def _quiet(name: str, task: Callable[..., None]) -> Callable[..., bool]:
    """Log faults that are transient or that an operator fixes; returns whether there was none. A later message or sweep
    retries the work."""

    def run(*subjects: str) -> bool:
        try:
            task(*subjects)
        except DatabaseUnavailable:
            log.warning("task_put_off", task=name, reason=DatabaseUnavailable.code)
        except ServiceError as error:
            log.error("task_failed", task=name, subject=subjects, code=error.code, exc_info=error)
        except Exception as error:
            log.error("task_failed", task=name, subject=subjects, code="internal_error", exc_info=error)
        else:
            return True
        return False

    run.__name__ = name.rpartition(".")[2]
    return run
