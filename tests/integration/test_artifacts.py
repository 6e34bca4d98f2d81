"""Artifacts of results: sealed, listed, bounded, and read by their tenant alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from models.pipelines import Answer, Artifact, Case, Run
from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls
from service.errors import ArtifactNotFound, PayloadUnreadable
from service.jobs.artifacts import INLINE_BYTES
from service.lifecycle import JobState
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration.studio import LARGE, PEER, SMALL, Studio, studio_of
from tests.integration.workbench import MOST_ARTIFACT_BYTES, MOST_ARTIFACTS


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


def test_a_result_lists_its_artifacts_and_each_is_read_as_it_was_made(studio: Studio) -> None:
    first, second = studio.score(SMALL, LARGE, jobs=2)
    for job_id in (first, second):
        assert studio.listing(job_id) == [
            {
                "name": each.name,
                "media_type": each.media_type,
                "size_bytes": len(each.content),
                "sha256": sha256(each.content).hexdigest(),
            }
            for each in (SMALL, LARGE)
        ]
        assert [studio.content(job_id, each.name) for each in (SMALL, LARGE)] == [
            SMALL.content,
            LARGE.content,
        ]
    assert len(studio.blobs()) == 4
    assert studio.notes() == []


def test_small_ones_stay_in_the_database_sealed_and_need_no_blob_store(studio: Studio) -> None:
    studio.bench.blobs.away = True
    (job_id,) = studio.score(SMALL, PEER)
    assert studio.content(job_id, "mask.png") == SMALL.content
    ((content, key),) = studio.bench.rows("SELECT content, data_key FROM artifact WHERE name = 'mask.png'")
    assert SMALL.content not in content
    assert key is None


def test_all_of_a_job_stay_in_the_database_up_to_a_limit_together(studio: Studio) -> None:
    halves = [Artifact(f"half-{number}", "text/plain", b"x" * (INLINE_BYTES // 2)) for number in (1, 2)]
    studio.score(*halves)
    assert studio.blobs() == []
    studio.score(*halves, Artifact("one-more", "text/plain", b"x"))
    assert len(studio.blobs()) == 3


def test_a_blob_is_sealed_under_a_key_of_its_own(studio: Studio) -> None:
    studio.score(LARGE, jobs=2)
    written = [studio.bench.blobs.blobs[location] for location in studio.blobs()]
    assert not any(LARGE.content[:256] in blob for blob in written)
    keys = studio.bench.rows("SELECT data_key FROM artifact")
    assert len({key for (key,) in keys}) == 2


def test_an_empty_artifact_is_one_all_the_same(studio: Studio) -> None:
    (job_id,) = studio.score(replace(SMALL, content=b""), LARGE)
    assert studio.content(job_id, "mask.png") == b""
    (job_id,) = studio.score(replace(SMALL, content=b""))
    assert studio.content(job_id, "mask.png") == b""


@pytest.mark.parametrize("artifact", [SMALL, LARGE])
def test_another_job_another_name_and_another_tenant_find_nothing(studio: Studio, artifact: Artifact) -> None:
    first, other = studio.score(artifact)[0], studio.score()[0]
    stranger = factories.principal(studio.bench.database, studio.bench.keyring, tenant="other")
    for job_id, name, caller in [
        (other, artifact.name, studio.bench.caller),
        (first, "another", studio.bench.caller),
        (first, "a\x00b", studio.bench.caller),
        (first, artifact.name, stranger),
    ]:
        with pytest.raises(ArtifactNotFound):
            studio.content(job_id, name, caller)


@pytest.mark.parametrize("artifacts_of", [(SMALL,), (SMALL, LARGE)])
def test_content_put_in_the_place_of_another_does_not_open(
    studio: Studio, artifacts_of: tuple[Artifact, ...]
) -> None:
    first, second = studio.score(*artifacts_of, jobs=2)
    studio.bench.rows(
        "UPDATE artifact SET content = other.content, location = other.location, data_key = other.data_key "
        "FROM artifact AS other WHERE artifact.job_id = %s AND other.job_id = %s AND artifact.name = other.name",
        first,
        second,
    )
    with pytest.raises(PayloadUnreadable):
        studio.content(first, "mask.png")


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize("artifact", [SMALL, LARGE])
def test_content_of_another_length_than_was_recorded_does_not_open(
    studio: Studio, artifact: Artifact, more: int
) -> None:
    (job_id,) = studio.score(artifact)
    studio.bench.rows("UPDATE artifact SET size_bytes = size_bytes + %s", more)
    with pytest.raises(PayloadUnreadable):
        studio.content(job_id, artifact.name)


def test_a_job_without_artifacts_lists_none(studio: Studio) -> None:
    (job_id,) = studio.score()
    result = studio.bench.view(job_id).result
    assert result is not None
    assert "artifacts" not in result.content


# Refused


@pytest.mark.parametrize(
    "given",
    [
        [replace(SMALL, name=f"part-{number}") for number in range(MOST_ARTIFACTS + 1)],
        [replace(LARGE, content=b"x" * (MOST_ARTIFACT_BYTES + 1))],
    ],
)
def test_too_many_or_too_large_ones_set_their_job_aside_for_an_operator(
    studio: Studio, given: list[Artifact]
) -> None:
    (job_id,) = studio.score(*given)
    view = studio.bench.view(job_id)
    assert (view.state, view.problem and view.problem["code"]) == (
        JobState.QUARANTINED,
        "artifacts_too_large",
    )
    assert studio.bench.rows("SELECT count(*) FROM artifact") == [(0,)]


def test_as_many_and_as_large_ones_as_are_allowed_are_taken(studio: Studio) -> None:
    part = b"x" * (MOST_ARTIFACT_BYTES // MOST_ARTIFACTS)
    given = [replace(LARGE, name=f"part-{number}", content=part) for number in range(MOST_ARTIFACTS)]
    (job_id,) = studio.score(*given)
    assert len(studio.listing(job_id)) == MOST_ARTIFACTS


@pytest.mark.parametrize(
    "bad",
    [
        Answer({"type": "x"}, (replace(SMALL, name="../up"),)),
        Answer({"type": "x"}, (replace(SMALL, name=".hidden"),)),
        Answer({"type": "x"}, (replace(SMALL, name="Mask.png"),)),
        Answer({"type": "x"}, (replace(SMALL, name="a" * 65),)),
        Answer({"type": "x"}, (replace(SMALL, media_type="image"),)),
        Answer({"type": "x"}, (replace(SMALL, media_type="text/plain\r\nX: y"),)),
        Answer({"type": "x"}, (replace(SMALL, content="text"),)),  # type: ignore[arg-type]
        Answer({"type": "x"}, (SMALL, replace(PEER, name=SMALL.name))),
        Answer({"type": "x", "artifacts": []}),
    ],
)
def test_artifacts_that_cannot_be_taken_fail_their_job_alone(studio: Studio, bad: Answer) -> None:
    asked: list[float] = []
    real = studio.drawing.real

    class Bad:
        def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
            """Every case as it is, but for the second job's."""
            answers = real.score(run, cases)
            asked.append(len(cases))
            return [
                bad if case.payload == payload else answer
                for case, answer in zip(cases, answers, strict=True)
            ]

    payload = studio.bench.model.encode({"dose": 7.0, "age": 40.0})
    studio.bench.pool.get(studio.bench.model.id).scoring = Bad()
    ids = studio.bench.submit(1.0, 7.0, 2.0)
    studio.bench.score()
    assert studio.bench.outcomes(ids) == ["succeeded", "model_failed", "succeeded"]
