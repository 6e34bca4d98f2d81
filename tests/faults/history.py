"""What clients saw: every operation with its outcome, in Jepsen's manner. Knows nothing of the service's inside."""

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How an operation ended for its client. After `unknown` it may have happened or not."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Submit:
    """One try to submit the cases of one idempotency key."""

    key: str
    sent_at: float
    answered_at: float
    outcome: Outcome
    status: int | None
    job_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Read:
    """One look at a job: its state, and the digest of its result."""

    job_id: str
    at: float
    state: str
    result_sha256: str | None


@dataclass
class History:
    """Everything that clients saw, in the order in which it was answered."""

    submits: list[Submit] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    cancels: dict[str, str] = field(default_factory=dict)  # job: the state that the cancel was answered with
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: Submit | Read) -> None:
        """Keep an entry."""
        with self._lock:
            if isinstance(entry, Submit):
                self.submits.append(entry)
            else:
                self.reads.append(entry)

    def add_cancel(self, job_id: str, state: str) -> None:
        """Keep what a cancel was answered with."""
        with self._lock:
            self.cancels[job_id] = state

    def accepted(self) -> dict[str, tuple[str, ...]]:
        """The jobs that each key was told of."""
        with self._lock:
            return {entry.key: entry.job_ids for entry in self.submits if entry.outcome is Outcome.OK}

    def job_ids(self) -> list[str]:
        """Every job that a client was told of."""
        return [job_id for ids in self.accepted().values() for job_id in ids]

    def unknown_keys(self) -> set[str]:
        """Keys of which some try ended unknown."""
        with self._lock:
            return {entry.key for entry in self.submits if entry.outcome is Outcome.UNKNOWN}

    def count(self, outcome: Outcome) -> int:
        """Tries that ended so."""
        with self._lock:
            return sum(entry.outcome is outcome for entry in self.submits)

    def answers_of(self) -> dict[str, set[tuple[str, ...]]]:
        """All the different answers that each key got: more than one is a fault."""
        answers: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        with self._lock:
            for entry in self.submits:
                if entry.outcome is Outcome.OK:
                    answers[entry.key].add(entry.job_ids)
        return answers

    def reads_of(self) -> dict[str, list[Read]]:
        """The looks at each job, oldest first."""
        looks: dict[str, list[Read]] = defaultdict(list)
        with self._lock:
            for read in self.reads:
                looks[read.job_id].append(read)
        for found in looks.values():
            found.sort(key=lambda read: read.at)
        return looks


def now() -> float:
    """The clock of histories, seconds."""
    return time.monotonic()
