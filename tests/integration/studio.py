"""A worker whose model makes artifacts beside its results, and what became of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from models.pipelines import Answer, Artifact, Case, Run, Scoring
from service.accounts import Principal
from service.crypto import Keyring
from service.db import Database
from service.jobs import artifacts, sweeps
from service.jobs.artifacts import ArtifactStore
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.workbench import Workbench, workbench

SMALL = Artifact("mask.png", "image/png", b"\x89PNG mask")
LARGE = Artifact("overlay.bin", "application/octet-stream", bytes(range(256)) * 2048)
PEER = Artifact("note.txt", "text/plain", b"beside a large one")


@dataclass
class Drawing:
    """A scoring half that answers as the real one does, with these artifacts for every case."""

    real: Scoring
    artifacts: tuple[Artifact, ...] = ()

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """See Scoring."""
        return [answer._replace(artifacts=self.artifacts) for answer in self.real.score(run, cases)]


@dataclass
class Studio:
    """A workbench whose model draws."""

    bench: Workbench
    drawing: Drawing
    store: ArtifactStore
    pauses: list[float]
    on_pause: Callable[[], None] | None = None

    def score(self, *artifacts: Artifact, jobs: int = 1) -> list[UUID]:
        """Jobs, scored together, each with these artifacts."""
        self.drawing.artifacts = artifacts
        ids = self.bench.submit(*[1.0] * jobs)
        self.bench.score()
        return ids

    def listing(self, job_id: UUID) -> list[dict[str, Any]]:
        """What the result lists."""
        result = self.bench.view(job_id).result
        assert result is not None
        return list(result.content["artifacts"])

    def content(self, job_id: UUID, name: str, caller: Principal | None = None) -> bytes:
        """An artifact as it is read."""
        caller = caller or self.bench.caller
        with self.bench.database.statement() as work:
            found = artifacts.find(work, caller, job_id, name)
        return self.store.open(caller, found).read() or b""

    def blobs(self) -> list[str]:
        """Where blobs of artifacts lie."""
        return sorted(each for each in self.bench.blobs.blobs if each.startswith("artifacts/"))

    def notes(self) -> list[str]:
        """The blobs that are noted for removal."""
        return sorted(row[0] for row in self.bench.rows("SELECT location FROM blob_removal"))

    def sweep(self) -> int:
        """A sweep, long after the notes were written."""
        self.bench.rows("UPDATE blob_removal SET due_at = now() - interval '1 s'")
        return artifacts.remove_due(self.bench.database, self.bench.blobs)

    def rescue(self, job_id: UUID) -> None:
        """Let the lease of a job lapse, and take it back."""
        self.bench.lapse(job_id)
        with self.bench.database.statement() as work:
            assert sweeps.rescue(work, max_crashes=3).queued == (job_id,)


@contextmanager
def studio_of(
    database: Database,
    blobs: MemoryBlobStore,
    keyring: Keyring,
    queue: FakeTaskQueue,
    folder: Path,
    urls: tuple[str, str],
) -> Iterator[Studio]:
    """A studio over `database`; see workbench."""
    pauses: list[float] = []
    made: list[Studio] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if made[0].on_pause is not None:
            made[0].on_pause()

    with workbench(database, blobs, keyring, queue, folder, urls, pause=pause) as bench:
        loaded = bench.pool.get(bench.model.id)
        drawing = loaded.scoring = Drawing(loaded.scoring)
        made.append(Studio(bench, drawing, ArtifactStore(blobs, keyring), pauses))
        yield made[0]
