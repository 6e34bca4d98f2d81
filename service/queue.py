"""Names of tasks and queues, and the TaskQueue protocol. Knows no broker."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID


class QueueName(StrEnum):
    """Queues of wake-ups. Workers that run models listen to `score`, the scheduler to `maintenance`.

    `pulse` stands for one queue a process, `pulse.NAME`, which that process alone listens to.
    """

    SCORE = "score"
    MAINTENANCE = "maintenance"
    PULSE = "pulse"


class TaskName(StrEnum):
    """Every task there is; workers.process.tasks registers exactly these."""

    SCORE = "medqueue.score"
    DELIVER = "medqueue.deliver"
    PULSE = "medqueue.pulse"


class WakeUp(NamedTuple):
    """`subject` has work for `task`; losing or repeating it does no harm."""

    task: TaskName
    subject: str


class TaskQueue(Protocol):
    """Carries wake-ups and announcements. Both are hints: Postgres is the truth, and either may be lost."""

    def wake(self, wake_up: WakeUp) -> None:
        """Send a wake-up soon, joined with an equal one that nobody has taken yet. Never blocks, never raises."""

    def announce(self, job_ids: Sequence[UUID]) -> None:
        """Announce to waiting callers that these jobs have ended. Never blocks, never raises."""


def score_wake_up(model_version_id: UUID) -> WakeUp:
    """The wake-up that says: this model version has work."""
    return WakeUp(TaskName.SCORE, str(model_version_id))


def deliver_wake_up() -> WakeUp:
    """The wake-up that says: webhook deliveries are due."""
    return WakeUp(TaskName.DELIVER, "due")


def pulse_wake_up(process: str) -> WakeUp:
    """The message that only the process of this name takes: proof that it consumes."""
    return WakeUp(TaskName.PULSE, process)
