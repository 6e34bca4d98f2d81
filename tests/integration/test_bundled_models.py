"""The bundled models are published as they were when the release was tested; what was changed since is tried, or refused."""

import json
import resource
import shutil
import sys
from pathlib import Path

import pytest

from models.bundle import bundled, read_bundle, seal_bundle
from service.bootstrap import publish_bundles
from service.db import Database
from service.errors import BundleUnusable
from tests.fakes import MemoryBlobStore

[BREAST_CANCER] = [folder for folder in bundled() if folder.name == "breast-cancer-wisconsin"]


def published(database: Database) -> list[str]:
    with database.transaction() as work:
        return [row.name for row in work.execute("SELECT name FROM model_version ORDER BY name")]


def cpu_s_of_ended_processes() -> float:
    """CPU time of the processes that this one started and that ended, such as trials of graphs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of a bundled model."""
    return Path(shutil.copytree(BREAST_CANCER, tmp_path / BREAST_CANCER.name))


def test_the_models_of_the_release_are_published_without_a_trial(
    database: Database, blobs: MemoryBlobStore
) -> None:
    before_s = cpu_s_of_ended_processes()
    lines: list[str] = []
    publish_bundles(database, blobs, bundled(), lines.append)
    assert [line.rpartition(" ")[0] for line in lines] == [
        f"published the model {folder.name}" for folder in bundled()
    ]
    assert published(database) == [folder.name for folder in bundled()]
    assert cpu_s_of_ended_processes() == before_s


def test_a_model_that_lacks_its_library_is_skipped_and_published_once_it_is_there(
    database: Database, blobs: MemoryBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [folder for folder in bundled() if folder.name in ("molecule-properties", BREAST_CANCER.name)]
    lines: list[str] = []
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "rdkit", None)
        publish_bundles(database, blobs, folders, lines.append)
    assert lines[1].startswith("skipped the model molecule-properties: RDKit is not installed here")
    assert published(database) == [BREAST_CANCER.name]
    pytest.importorskip("rdkit", reason="the extra `chem` is not installed")
    publish_bundles(database, blobs, folders, lines.append)
    version = read_bundle(folders[-1]).manifest.version
    assert lines[2:] == [f"published the model molecule-properties {version}"]
    assert published(database) == [BREAST_CANCER.name, "molecule-properties"]


@pytest.mark.parametrize("name", ["model.onnx", "golden.json", "CARD.md"])
def test_a_model_with_a_changed_file_is_refused_and_the_file_named(
    database: Database, blobs: MemoryBlobStore, copied: Path, name: str
) -> None:
    (copied / name).write_bytes((copied / name).read_bytes() + b"\n")
    with pytest.raises(
        BundleUnusable, match=rf"breast-cancer-wisconsin cannot be published\.\n{name}: .*restore it"
    ):
        publish_bundles(database, blobs, [copied], print)
    assert published(database) == []


def test_a_model_without_one_of_its_files_is_refused(
    database: Database, blobs: MemoryBlobStore, copied: Path
) -> None:
    (copied / "model.onnx").unlink()
    with pytest.raises(BundleUnusable, match=r"model\.onnx: add this file to the bundle"):
        publish_bundles(database, blobs, [copied], print)


def test_a_model_that_was_changed_and_sealed_again_is_tried(
    database: Database, blobs: MemoryBlobStore, copied: Path
) -> None:
    golden = json.loads((copied / "golden.json").read_text())
    golden["cases"][0]["expected"] = golden["cases"][1]["expected"]
    (copied / "golden.json").write_text(json.dumps(golden))
    seal_bundle(copied)
    with pytest.raises(BundleUnusable, match="golden_alone"):
        publish_bundles(database, blobs, [copied], print)
    assert published(database) == []
