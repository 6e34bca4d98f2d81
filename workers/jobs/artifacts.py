"""Artifacts that a pipeline returned: their limits, and the writing of their blobs before their jobs end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from models.pipelines import Artifact
from service.errors import BlobUnavailable
from service.jobs.artifacts import ArtifactStore, NewArtifact
from service.jobs.execution import Ending, Problem
from service.problem_codes import JobProblem
from workers.heartbeat import Heartbeat

WRITE_STEP_S = 120.0
TRIES = 8

TOO_LARGE = Problem(
    JobProblem.ARTIFACTS_TOO_LARGE,
    "The model made more or larger files from this input than the service accepts. An operator may raise "
    "MEDQUEUE_MAX_ARTIFACTS or MEDQUEUE_MAX_ARTIFACT_BYTES and requeue the job.",
)

log = structlog.get_logger()


@dataclass(frozen=True)
class ArtifactLimits:
    """How many artifacts a job may have, and how many bytes in all."""

    most: int
    most_bytes: int

    def allow(self, artifacts: Sequence[Artifact]) -> bool:
        """Whether these are within the limits."""
        return len(artifacts) <= self.most and sum(len(each.content) for each in artifacts) <= self.most_bytes


class BlobWriter:
    """Writes the blobs of endings. While the store is unavailable it retries, as long as the leases may hold."""

    def __init__(self, store: ArtifactStore, heartbeat: Heartbeat, pause: Callable[[float], None]) -> None:
        self._store = store
        self._heartbeat = heartbeat
        self._pause = pause
        self._tries_left = 0

    def write(self, endings: Sequence[Ending]) -> set[UUID]:
        """Write all blobs; returns the jobs whose blobs could not be written. Safe twice: a blob replaces an equal one."""
        self._tries_left = TRIES
        return {
            ending.lease.id for ending in endings if not all(self._written(new) for new in ending.artifacts)
        }

    def _written(self, new: NewArtifact) -> bool:
        """Write a blob; returns whether it was written. All blobs share the retries; without any left, each is tried once."""
        while not self._tried(new):
            if self._tries_left <= 0:
                return False
            self._pause(min(0.25 * 2 ** (TRIES - self._tries_left), 4.0))
        return True

    def _tried(self, new: NewArtifact) -> bool:
        self._heartbeat.step(WRITE_STEP_S)
        try:
            self._store.write(new)
        except BlobUnavailable:
            self._tries_left = max(0, self._tries_left - 1)
            log.warning("artifact_not_written", job=str(new.lease.id), tries_left=self._tries_left)
            return False
        return True
