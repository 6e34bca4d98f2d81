"""Artifacts over HTTP: whole, by range and by tag, for their tenant alone, each reading recorded."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from pydantic_core import to_json
from werkzeug.test import TestResponse

from models.pipelines import Artifact
from service.accounts import Principal, Scope
from service.app import create_api
from service.config import Settings
from service.crypto import FRAME_BYTES, Keyring, binding
from service.db import Database
from service.jobs import execution
from service.jobs.artifacts import ArtifactStore
from service.jobs.execution import Ending
from service.leases import Lease
from service.storage import FsspecBlobStore
from tests import factories

MASK = Artifact("mask.png", "image/png", b"\x89PNG mask")
VOLUME = Artifact("volume.nii", "application/octet-stream", bytes(range(251)) * 3000)  # three frames
JSON = dict[str, Any]


@dataclass
class Downloads:
    """A job with artifacts, and an API that serves them."""

    database: Database
    settings: Settings
    keyring: Keyring
    client: FlaskClient
    job_id: UUID
    token: str

    def get(self, name: str, headers: dict[str, str] | None = None, **options: Any) -> TestResponse:
        """A request for an artifact."""
        return self.ask(f"/v1/jobs/{self.job_id}/artifacts/{name}", headers, **options)

    def ask(
        self, path: str, headers: dict[str, str] | None = None, *, token: str = "", method: str = "GET"
    ) -> TestResponse:
        """A request with a key."""
        given = {"Authorization": f"Bearer {token or self.token}"} | (headers or {})
        return self.client.open(path, method=method, headers=given)

    def readings(self) -> list[JSON]:
        """What the job's trail records of downloads."""
        with self.database.statement() as work:
            query = (
                "SELECT detail FROM audit_event WHERE job_id = %s AND action = 'artifact.read' ORDER BY id"
            )
            return [row[0] for row in work.execute(query, (self.job_id,))]


def ended_with(
    database: Database, store: ArtifactStore, caller: Principal, job_id: UUID, *made: Artifact
) -> None:
    """End the job that was claimed last, with a result that lists these artifacts."""
    with database.statement() as work:
        ((fence,),) = work.execute("SELECT fence FROM job WHERE id = %s", (job_id,))
    lease = Lease(job_id, fence)
    prepared = store.prepare(caller.cipher, caller.tenant_id, lease, made)
    for new in prepared:
        store.write(new)
    result = to_json({"type": "segmentation", "artifacts": [new.listing for new in prepared]})
    bound_to = binding("job_result.payload", caller.tenant_id, job_id)
    ending = Ending(lease, payload=caller.cipher.seal(result, bound_to), artifacts=prepared)
    with database.statement() as work:
        assert execution.end(work, [ending], owner="w1", runtime="r", provider="p") == {job_id}


@pytest.fixture
def downloads(settings: Settings, database: Database, keyring: Keyring) -> Iterator[Downloads]:
    blobs = FsspecBlobStore(settings.blob_location)
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    (job_id,) = factories.submitted(database, caller, model)
    factories.claimed(database, model)
    ended_with(database, ArtifactStore(blobs, keyring), caller, job_id, MASK, VOLUME)
    token = factories.issue_token(database, keyring, scopes=[Scope.JOBS_READ])
    api = create_api(settings)
    yield Downloads(database, settings, keyring, api.app.test_client(), job_id, token)
    api.close()


def test_an_artifact_is_downloaded_as_it_was_made(downloads: Downloads) -> None:
    answer = downloads.get("volume.nii")
    digest = sha256(VOLUME.content).digest()
    assert (answer.status_code, answer.data) == (200, VOLUME.content)
    expected = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(VOLUME.content)),
        "Content-Disposition": 'attachment; filename="volume.nii"',
        "ETag": f'"{digest.hex()}"',
        "Repr-Digest": f"sha-256=:{b64encode(digest).decode()}:",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    small = downloads.get("mask.png")
    assert (small.data, small.headers["Content-Type"]) == (MASK.content, "image/png")


def test_a_result_says_where_its_artifacts_are(downloads: Downloads) -> None:
    job = downloads.ask(f"/v1/jobs/{downloads.job_id}").json
    assert job is not None
    listed = job["result"]["artifacts"]
    assert [each["name"] for each in listed] == ["mask.png", "volume.nii"]
    for each, made in zip(listed, (MASK, VOLUME), strict=True):
        assert downloads.ask(each["url"]).data == made.content
        assert (each["size_bytes"], each["media_type"]) == (len(made.content), made.media_type)
        assert each["sha256"] == sha256(made.content).hexdigest()


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        (f"bytes={FRAME_BYTES - 1}-{FRAME_BYTES}", FRAME_BYTES - 1, FRAME_BYTES + 1),
        ("bytes=-5", len(VOLUME.content) - 5, len(VOLUME.content)),
        (f"bytes={2 * FRAME_BYTES}-", 2 * FRAME_BYTES, len(VOLUME.content)),
    ],
)
def test_ranges_are_sent_across_frames(downloads: Downloads, asked: str, start: int, end: int) -> None:
    answer = downloads.get("volume.nii", {"Range": asked})
    assert (answer.status_code, answer.data) == (206, VOLUME.content[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(VOLUME.content)}"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("tag", ['"{}"', ' "{}" '])
def test_a_range_is_sent_if_the_file_is_still_the_one_that_was_begun(downloads: Downloads, tag: str) -> None:
    etag = tag.format(sha256(VOLUME.content).hexdigest())
    answer = downloads.get("volume.nii", {"Range": "bytes=5-8", "If-Range": etag})
    assert (answer.status_code, answer.data) == (206, VOLUME.content[5:9])


@pytest.mark.parametrize("tag", ['"{}x"', 'W/"{}"', "{}", "Sat, 28 Nov 2026 12:00:00 GMT", "*", '""'])
def test_the_whole_file_is_sent_if_it_is_another_than_was_begun(downloads: Downloads, tag: str) -> None:
    """Other tags, weak ones and dates: what is there already may be of another file (RFC 9110, 13.1.5)."""
    etag = tag.format(sha256(VOLUME.content).hexdigest())
    answer = downloads.get("volume.nii", {"Range": "bytes=5-8", "If-Range": etag})
    assert (answer.status_code, "Content-Range" in answer.headers) == (200, False)
    assert answer.data == VOLUME.content


def test_a_range_behind_the_end_is_refused_with_the_length(downloads: Downloads) -> None:
    answer = downloads.get("mask.png", {"Range": "bytes=100-"})
    assert (answer.status_code, answer.json and answer.json["code"]) == (416, "range_unsatisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(MASK.content)}"


def test_each_reading_is_recorded_and_what_reads_nothing_is_not(downloads: Downloads) -> None:
    mask, volume = sha256(MASK.content).hexdigest(), sha256(VOLUME.content).hexdigest()
    assert downloads.get("mask.png", method="HEAD").headers["Content-Length"] == str(len(MASK.content))
    assert downloads.get("mask.png", {"If-None-Match": f'"{mask}"'}).status_code == 304
    assert downloads.readings() == []
    downloads.get("mask.png")
    downloads.get("volume.nii", {"Range": "bytes=1-2", "If-Range": f'"{volume}"'})
    assert downloads.readings() == [
        {"name": "mask.png", "sha256": mask},
        {"name": "volume.nii", "sha256": volume, "range": f"bytes 1-2/{len(VOLUME.content)}"},
    ]


def test_the_reading_is_recorded_before_the_first_byte_is_fetched(downloads: Downloads) -> None:
    """A store that is away leaves a record too many rather than one too few."""
    folder = Path(downloads.settings.data_dir / "blobs" / "artifacts")
    for blob in folder.rglob("*.nii"):
        blob.unlink()
    answer = downloads.get("volume.nii")
    assert (answer.status_code, answer.json and answer.json["code"]) == (503, "blob_missing")
    assert len(downloads.readings()) == 1


@pytest.mark.parametrize("name", ["other.png", "MASK.PNG", "%00", "..%2Fmask.png", "mask.png%0d", "a" * 500])
def test_an_unknown_name_is_no_artifact(downloads: Downloads, name: str) -> None:
    answer = downloads.get(name)
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["code"] in {"artifact_not_found", "not_found"}


def test_another_tenant_finds_no_artifact_and_a_key_without_the_scope_is_refused(
    downloads: Downloads,
) -> None:
    stranger = factories.issue_token(downloads.database, downloads.keyring, tenant="other")
    unknown = downloads.ask(f"/v1/jobs/{UUID(int=7)}/artifacts/mask.png")
    foreign = downloads.get("mask.png", token=stranger)
    assert (foreign.status_code, foreign.data) == (404, unknown.data)
    assert foreign.json is not None
    assert foreign.json["code"] == "artifact_not_found"
    writer = factories.issue_token(downloads.database, downloads.keyring, scopes=[Scope.JOBS_WRITE])
    refused = downloads.get("mask.png", token=writer)
    assert (refused.status_code, refused.json and refused.json["code"]) == (403, "scope_missing")
    assert downloads.client.get(f"/v1/jobs/{downloads.job_id}/artifacts/mask.png").status_code == 401


def test_parameters_that_do_not_exist_are_refused(downloads: Downloads) -> None:
    answer = downloads.ask(f"/v1/jobs/{downloads.job_id}/artifacts/mask.png?download=1")
    assert (answer.status_code, answer.json and answer.json["code"]) == (422, "request_invalid")
