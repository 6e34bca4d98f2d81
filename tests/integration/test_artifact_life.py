"""Artifacts are published with the end of their job alone, and removed where no job has them, whatever befalls a worker."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from models.pipelines import Answer, Case, Run
from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls
from service.errors import ArtifactNotFound
from service.jobs import artifacts, queries
from service.leases import Lease
from service.storage import FsspecBlobStore
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.studio import LARGE, PEER, SMALL, Studio, studio_of


@pytest.fixture
def studio(
    database: Database,
    blobs: MemoryBlobStore,
    keyring: Keyring,
    queue: FakeTaskQueue,
    tmp_path: Path,
    servers: ServerUrls,
    database_url: str,
) -> Iterator[Studio]:
    with studio_of(database, blobs, keyring, queue, tmp_path, (servers.database_url, database_url)) as made:
        yield made


def test_a_blob_store_that_is_away_for_a_moment_is_tried_again(studio: Studio) -> None:
    studio.bench.blobs.away = True

    def mend() -> None:
        studio.bench.blobs.away = len(studio.pauses) < 3

    studio.on_pause = mend
    (job_id,) = studio.score(LARGE)
    assert studio.pauses == [0.5, 1.0, 2.0]
    assert studio.content(job_id, LARGE.name) == LARGE.content


def test_a_blob_store_that_stays_away_puts_jobs_back_and_fails_none(studio: Studio) -> None:
    studio.bench.blobs.away = True
    ids = studio.score(LARGE, jobs=2)
    assert studio.bench.outcomes(ids) == ["queued", "queued"]
    assert studio.bench.actions(ids[0])[-1] == "job.retried"
    studio.bench.blobs.away = False
    studio.bench.make_due(*ids)
    studio.bench.score()
    studio.bench.score()
    assert studio.bench.outcomes(ids) == ["succeeded", "succeeded"]
    assert studio.sweep() == 2  # noted by the first tries, never written
    assert [studio.content(job_id, LARGE.name) for job_id in ids] == [LARGE.content] * 2


def test_others_of_the_batch_end_while_those_with_blobs_wait_for_the_store(studio: Studio) -> None:
    studio.bench.blobs.away = True
    real = studio.drawing.real

    class First:
        def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
            """The first case alone gets an artifact."""
            first, *rest = real.score(run, cases)
            return [first._replace(artifacts=(LARGE,)), *rest]

    studio.bench.pool.get(studio.bench.model.id).scoring = First()
    ids = studio.bench.submit(1.0, 2.0)
    studio.bench.score()
    assert studio.bench.outcomes(ids) == ["queued", "succeeded"]


def test_no_job_ends_with_blobs_that_could_not_be_noted(studio: Studio) -> None:
    """Postgres is away while they are to be noted, and back when their jobs would end."""

    def cut(_: object) -> None:
        studio.bench.cut_postgres()

    def mend() -> None:
        if len(studio.pauses) == 8:
            studio.bench.mend_postgres()

    studio.bench.graph.script, studio.on_pause = cut, mend
    (job_id,) = studio.score(LARGE)
    assert studio.bench.outcomes([job_id]) == ["queued"]
    assert studio.bench.rows("SELECT count(*) FROM artifact") == [(0,)]
    assert studio.blobs() == []


def test_a_worker_that_lost_its_lease_publishes_no_artifact(studio: Studio) -> None:
    def lose(_: object) -> None:
        studio.bench.graph.script = None
        studio.rescue(job_id)

    studio.drawing.artifacts = (LARGE, PEER)
    (job_id,) = studio.bench.submit(1.0)
    studio.bench.graph.script = lose
    studio.bench.score()
    assert studio.bench.outcomes([job_id]) == ["queued"]
    late = studio.blobs()
    assert (len(late), studio.notes()) == (2, late)
    studio.bench.score()
    assert studio.content(job_id, LARGE.name) == LARGE.content
    assert studio.bench.rows("SELECT count(*) AS made, count(DISTINCT fence) AS fences FROM artifact") == [
        (2, 1)
    ]
    assert studio.sweep() == 2
    assert not set(late) & set(studio.blobs())
    assert studio.content(job_id, PEER.name) == PEER.content


def test_canceled_jobs_have_no_artifacts(studio: Studio) -> None:
    def cancel(_: object) -> None:
        with studio.bench.database.transaction() as work:
            queries.cancel(work, studio.bench.caller, job_id)

    studio.drawing.artifacts = (LARGE,)
    (job_id,) = studio.bench.submit(1.0)
    studio.bench.graph.script = cancel
    studio.bench.score()
    with pytest.raises(ArtifactNotFound):
        studio.content(job_id, LARGE.name)
    assert studio.sweep() == 1
    assert (studio.blobs(), studio.notes()) == ([], [])


# Removed


def test_a_sweep_leaves_blobs_to_a_worker_that_still_holds_their_job(studio: Studio) -> None:
    swept: list[int] = []
    write = studio.bench.blobs.write

    def sweep_first(location: str, parts: Any) -> None:
        write(location, parts)
        swept.append(studio.sweep())

    studio.bench.blobs.write = sweep_first  # type: ignore[method-assign]
    (job_id,) = studio.score(LARGE)
    assert swept == [0]
    assert studio.content(job_id, LARGE.name) == LARGE.content


def test_a_sweep_removes_what_a_lost_claim_left_while_its_job_runs_again(studio: Studio) -> None:
    swept: list[int] = []

    def lose(_: object) -> None:
        studio.bench.graph.script = lambda _: swept.append(studio.sweep())
        studio.rescue(job_id)

    studio.drawing.artifacts = (LARGE,)
    (job_id,) = studio.bench.submit(1.0)
    studio.bench.graph.script = lose
    studio.bench.score()
    studio.bench.score()
    assert swept == [1]
    assert studio.content(job_id, LARGE.name) == LARGE.content


def test_a_blob_that_is_noted_again_counts_as_noted_and_is_kept_from_then_on(studio: Studio) -> None:
    """A worker repeats a note whose reply was lost."""
    caller = studio.bench.caller
    (job_id,) = studio.bench.submit(1.0)
    made = studio.store.prepare(caller.cipher, caller.tenant_id, Lease(job_id, 1), [LARGE])
    for kept_s in (0.0, 600.0):
        with studio.bench.database.statement() as work:
            assert artifacts.note(work, made, kept_s=kept_s) == {job_id}
    assert artifacts.remove_due(studio.bench.database, studio.bench.blobs) == 0
    assert len(studio.notes()) == 1


def test_a_note_is_left_alone_for_a_while(studio: Studio) -> None:
    def lose(_: object) -> None:
        studio.bench.graph.script = None
        studio.rescue(job_id)

    studio.drawing.artifacts = (LARGE,)
    (job_id,) = studio.bench.submit(1.0)
    studio.bench.graph.script = lose
    studio.bench.score()
    assert artifacts.remove_due(studio.bench.database, studio.bench.blobs) == 0
    assert len(studio.blobs()) == 1


def test_a_sweep_removes_what_a_killed_worker_has_half_written(studio: Studio, tmp_path: Path) -> None:
    folder = tmp_path / "store" / "artifacts" / "tenant" / "job"
    folder.mkdir(parents=True)
    (folder / f"1.mask.png.{'0a' * 16}.part").write_bytes(b"half")
    (folder / "2.mask.png").write_bytes(b"of another claim")
    studio.bench.rows(
        "INSERT INTO blob_removal VALUES ('artifacts/tenant/job/1.mask.png', uuidv7(), 1, now())"
    )
    store = FsspecBlobStore((tmp_path / "store").as_uri())
    assert artifacts.remove_due(studio.bench.database, store) == 1
    assert [path.name for path in folder.iterdir()] == ["2.mask.png"]


def test_artifacts_go_with_their_job_and_with_no_other(studio: Studio) -> None:
    first, second = studio.score(LARGE, PEER, jobs=2)
    (third,) = studio.score(SMALL)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        studio.bench.rows("DELETE FROM job WHERE id = %s", first)
    with studio.bench.database.transaction() as work:
        assert artifacts.remove(work, [first, third]) == 3
        work.execute("DELETE FROM job WHERE id = ANY (%(ids)s)", {"ids": [first, third]})
    assert artifacts.remove_due(studio.bench.database, studio.bench.blobs) == 2
    assert (len(studio.blobs()), studio.notes()) == (2, [])
    assert studio.content(second, LARGE.name) == LARGE.content


def test_a_blob_that_cannot_be_removed_is_tried_later_and_holds_up_no_others(studio: Studio) -> None:
    first, second = studio.score(LARGE, jobs=2)
    with studio.bench.database.transaction() as work:
        artifacts.remove(work, [first])
    with studio.bench.database.transaction() as work:
        artifacts.remove(work, [second])
    studio.bench.blobs.away = True
    assert artifacts.remove_due(studio.bench.database, studio.bench.blobs) == 0
    studio.bench.blobs.away = False
    assert artifacts.remove_due(studio.bench.database, studio.bench.blobs) == 1
    assert studio.sweep() == 1
    assert (studio.blobs(), studio.notes()) == ([], [])


def test_a_store_that_goes_away_between_two_removals_leaves_the_second_to_a_later_sweep(
    studio: Studio,
) -> None:
    ids = studio.score(LARGE, jobs=2)
    with studio.bench.database.transaction() as work:
        artifacts.remove(work, ids)
    real = studio.bench.blobs.delete_unfinished

    def then_away(location: str) -> None:
        real(location)
        studio.bench.blobs.away = True

    studio.bench.blobs.delete_unfinished = then_away  # type: ignore[method-assign]
    assert artifacts.remove_due(studio.bench.database, studio.bench.blobs) == 1
    assert studio.notes() == studio.blobs()
    assert len(studio.notes()) == 1
