"""The pulse that a worker or scheduler records, and a health check reads. Standard library only.

A process whose consumer is dead looks alive: it runs, renews, logs, and takes no message. So each process sends
itself one every few seconds, and this record says how long the last has waited.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

PATIENCE_S = 30.0
SWEEPS_S = 300.0  # of one round: without Postgres each of its statements may take a minute


@dataclass(frozen=True)
class Pulse:
    """One process at one moment; times in seconds of the machine's monotonic clock, which all its processes share.

    `waits_since_s` is when the message that waits now could first have been taken; None when none waits. A record is
    written right after a message was sent, so what waits in it may be taken a moment later. `redis_fault` is what keeps
    Redis from carrying messages, a RedisFault's value, while it is unavailable. `swept_at_s` is when a scheduler last
    ended a round of sweeps, well or not.
    """

    written_at_s: float
    waits_since_s: float | None
    busy: bool
    redis_away: bool
    redis_fault: str | None = None
    swept_at_s: float | None = None

    def write(self, path: Path) -> None:
        """Write it atomically. Raises OSError."""
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(json.dumps(asdict(self)) + "\n")
        fresh.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Pulse | None":
        """The record in a file; None where there is none that can be read."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def fault(self, now_s: float, *, patience_s: float) -> str | None:
        """A description of why this process does not work; None when it does, or has a reason not to."""
        age_s = now_s - self.written_at_s
        if not 0 <= age_s <= patience_s:  # written in the future: before this machine was started
            return "has no pulse: it is dead or hangs"
        waited_s = 0.0 if self.waits_since_s is None else now_s - self.waits_since_s
        if waited_s > patience_s and not self.busy and not self.redis_away:
            return f"takes no messages: one has waited for {waited_s:.0f} s"
        if self.swept_at_s is not None and now_s - self.swept_at_s > SWEEPS_S:
            return f"has stopped sweeping: the last round ended {now_s - self.swept_at_s:.0f} s ago"
        return None


def pulse_file(data_dir: Path, name: str) -> Path:
    """Where the process of this name writes its pulse; it removes the file when it stops."""
    return data_dir / "run" / f"{name}.pulse"
