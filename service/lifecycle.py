"""The states of jobs and batches and the transitions between them. Standard library only.

docs/architecture.md draws these tables; tests keep them alike. Triggers enforce the end states of jobs and every
transition of batches.
"""

from enum import IntEnum, StrEnum


class JobState(StrEnum):
    """The state of a job. `waiting`: for other jobs to succeed, or for its time."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    QUARANTINED = "quarantined"


class Origin(StrEnum):
    """Where a job came from: a caller, a batch, the shadow of another model version, or stored input that is scored again."""

    CALLER = "caller"
    BATCH = "batch"
    SHADOW = "shadow"
    REPLAY = "replay"


class Priority(IntEnum):
    """FHIR's request priorities (hl7.org/fhir/valueset-request-priority), the most pressing first."""

    STAT = 0
    ASAP = 1
    URGENT = 2
    ROUTINE = 3


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.WAITING: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset(
        {
            JobState.QUEUED,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELED,
            JobState.QUARANTINED,
        }
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELED: frozenset(),
    JobState.EXPIRED: frozenset(),
    JobState.QUARANTINED: frozenset({JobState.QUEUED}),
}

FINAL_STATES = frozenset(state for state, nexts in TRANSITIONS.items() if not nexts)
ENDED_STATES = FINAL_STATES | {JobState.QUARANTINED}


class DeliveryState(StrEnum):
    """The state of the delivery of one event to one webhook endpoint. A dead one can be replayed."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERED = "delivered"
    DEAD = "dead"


class BatchState(StrEnum):
    """The state of a batch. `scheduled` waits for its time, `pausing` for the chunks that workers still hold."""

    VALIDATING = "validating"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


class ChunkState(StrEnum):
    """State of a piece of a batch's work. Rows of a quarantined chunk count as failed, those of a skipped one not at all."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    QUARANTINED = "quarantined"
    SKIPPED = "skipped"


_CUT_SHORT = frozenset({BatchState.CANCELED, BatchState.EXPIRED})

BATCH_TRANSITIONS: dict[BatchState, frozenset[BatchState]] = {
    BatchState.VALIDATING: _CUT_SHORT | {BatchState.SCHEDULED, BatchState.FAILED},
    BatchState.SCHEDULED: _CUT_SHORT | {BatchState.RUNNING, BatchState.PAUSED},
    BatchState.RUNNING: _CUT_SHORT
    | {
        *(BatchState.SCHEDULED, BatchState.PAUSING, BatchState.PAUSED),
        *(BatchState.FINALIZING, BatchState.FAILED),
    },
    BatchState.PAUSING: _CUT_SHORT
    | {BatchState.RUNNING, BatchState.PAUSED, BatchState.FINALIZING, BatchState.FAILED},
    BatchState.PAUSED: _CUT_SHORT | {BatchState.SCHEDULED},
    BatchState.FINALIZING: frozenset({BatchState.COMPLETED, BatchState.FAILED, BatchState.CANCELED}),
    BatchState.COMPLETED: frozenset(),
    BatchState.FAILED: frozenset(),
    BatchState.CANCELED: frozenset(),
    BatchState.EXPIRED: frozenset(),
}

ENDED_BATCH_STATES = frozenset(state for state, nexts in BATCH_TRANSITIONS.items() if not nexts)

# What callers are notified of: the events of the trail that webhooks and the feed carry. Every end of a job and of a batch is
# among them.
PUBLISHED_ACTIONS = (
    *(f"job.{state}" for state in JobState if state in ENDED_STATES),
    "job.overdue",
    "batch.started",
    "batch.progressed",
    "batch.at_risk",
    *(f"batch.{state}" for state in BatchState if state in ENDED_BATCH_STATES),
)
# Those among them that were published before events had a flag for it. A new type never belongs here: the trigger that
# seals an event flags it (migration 0015).
PUBLISHED_BEFORE_FLAG = (
    *("job.succeeded", "job.failed", "job.canceled", "job.expired", "job.quarantined", "job.overdue"),
    *("batch.started", "batch.progressed", "batch.at_risk", "batch.completed", "batch.failed"),
    *("batch.canceled", "batch.expired"),
)

# How long a job of each priority gives way to more pressing ones, in seconds. A job is claimed in the
# order of `available_at + PRIORITY_HEADSTART_S`, so it is overtaken only by jobs that came within this
# time after it: the bound on starvation.
PRIORITY_HEADSTART_S: dict[Priority, int] = {
    Priority.STAT: 0,
    Priority.ASAP: 60,
    Priority.URGENT: 300,
    Priority.ROUTINE: 1800,
}
