"""The pipelines of published versions: loaded once, with files from the blob store, and a fault of one stops no other."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NoReturn
from uuid import UUID, uuid4

import pytest

from models.manifest import ModelManifest
from models.pipelines import InputRejected
from models.pipelines.contract import SIDE_FILE_BYTES
from service.catalog import PublishedModel
from service.catalog.intake import TRY_AGAIN_S, Intake, location, published_files
from service.errors import BlobUnavailable, InputInvalid, ModelUnavailable
from tests.fakes import MemoryBlobStore
from tests.unit.models.example_bundles import manifest_table
from tests.unit.models.plug_ins import install

DIGEST = f"sha256:{'0' * 64}"
PLACE = location(DIGEST, "words.txt")
WORDS = b"ill well"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def blobs(site: Path) -> MemoryBlobStore:
    """A store with the side file of a model whose pipeline is installed."""
    install(site, f"words-{uuid4().hex}", {"words": "{module}:load"})
    store = MemoryBlobStore()
    store.write(PLACE, [WORDS])
    return store


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def manifest(content: bytes = WORDS) -> ModelManifest:
    files = {"words.txt": f"sha256:{sha256(content).hexdigest()}"}
    return ModelManifest.model_validate(
        manifest_table() | {"pipeline": "words", "parameters": {}, "files": files}
    )


def intake(blobs: MemoryBlobStore, content: bytes = WORDS, clock: Clock | None = None) -> Intake:
    of = manifest(content)
    return Intake(of, published_files(blobs, DIGEST, of), clock=clock or Clock())


def test_a_pipeline_reads_its_files_from_the_blob_store_once(blobs: MemoryBlobStore) -> None:
    of = manifest()
    model = PublishedModel(
        UUID(int=1), of, DIGEST, "", datetime(2026, 1, 1, tzinfo=UTC), published_files(blobs, DIGEST, of)
    )
    assert model.encode("x") == b'"x"'
    blobs.blobs.clear()
    assert model.encode("x") == b'"x"'


def test_a_file_of_the_largest_size_is_read_whole(blobs: MemoryBlobStore) -> None:
    content = b"w" * SIDE_FILE_BYTES
    blobs.write(PLACE, [content])
    assert vars(intake(blobs, content).pipeline())["words"] == [content.decode()]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "side_file_missing"),
        (WORDS + b" ", "side_file_damaged"),
        (b"w" * (SIDE_FILE_BYTES + 1), "side_file_too_large"),
    ],
)
def test_a_file_that_is_missing_or_changed_makes_its_model_unavailable(
    content: bytes | None, reason: str, blobs: MemoryBlobStore
) -> None:
    blobs.blobs = {} if content is None else {PLACE: content}
    with pytest.raises(ModelUnavailable) as caught:
        intake(blobs).pipeline()
    assert reason in caught.value.reason
    assert "dose-effect 1.0.0" in caught.value.detail
    assert "words.txt" not in caught.value.detail


def test_a_file_that_the_manifest_does_not_list_is_never_read(blobs: MemoryBlobStore) -> None:
    unlisted = ModelManifest.model_validate(manifest_table() | {"pipeline": "words", "parameters": {}})
    with pytest.raises(ModelUnavailable) as caught:
        Intake(unlisted, published_files(blobs, DIGEST, unlisted)).pipeline()
    assert "side_file_missing" in caught.value.reason


def test_an_unavailable_model_is_tried_again_after_a_while(blobs: MemoryBlobStore) -> None:
    clock = Clock()
    found = intake(blobs, clock=clock)
    blobs.blobs.clear()
    with pytest.raises(ModelUnavailable):
        found.pipeline()
    blobs.write(PLACE, [WORDS])
    clock.now = TRY_AGAIN_S - 1
    with pytest.raises(ModelUnavailable):
        found.pipeline()
    clock.now = TRY_AGAIN_S
    assert found.pipeline().input_schema() == {"type": "object"}


def test_a_blob_store_that_is_away_is_said_to_be_and_asked_again_at_once(blobs: MemoryBlobStore) -> None:
    found = intake(blobs)
    blobs.away = True
    with pytest.raises(BlobUnavailable):
        found.pipeline()
    blobs.away = False
    assert found.pipeline().input_schema() == {"type": "object"}


def test_a_package_that_is_gone_makes_its_model_unavailable(site: Path) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        intake(MemoryBlobStore()).pipeline()
    assert "unknown_pipeline" in caught.value.reason


@pytest.mark.parametrize("fault", [RuntimeError("of the patient"), SystemExit(1)])
def test_what_a_package_raises_of_an_input_or_options_is_its_failure_on_these(
    fault: BaseException, blobs: MemoryBlobStore
) -> None:
    def fail(value: object) -> NoReturn:
        raise fault

    of = manifest()
    read = published_files(blobs, DIGEST, of)
    model = PublishedModel(UUID(int=1), of, DIGEST, "", datetime(2026, 1, 1, tzinfo=UTC), read)
    vars(model.pipeline).update(encode=fail, check_options=fail)
    with pytest.raises(InputInvalid) as refused:
        model.encode("x")
    assert [(error.pointer, error.code) for error in refused.value.errors] == [("/input", "model_failed")]
    with pytest.raises(InputRejected) as rejected:
        model.check_options({"a": 1})
    assert [(each.pointer, each.code) for each in rejected.value.faults] == [("", "model_failed")]
    assert "patient" not in str(rejected.value.faults)
