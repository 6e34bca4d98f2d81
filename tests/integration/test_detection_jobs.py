"""Jobs of a detector through a worker: a graph as torchvision exports it, images of mixed sizes, pictures of what was found."""

import io
import json
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from PIL import Image

from models.bundle import renew_golden, seal_bundle
from models.checking import check_bundle
from models.pipelines.image_intake import shown
from models.sandbox import CpuRun
from service.catalog import Catalog, PublishedModel, publishing
from service.config import Provider
from service.jobs import artifacts, submission
from service.jobs.artifacts import ArtifactStore
from service.jobs.submission import NewJob
from tests.integration.workbench import Workbench
from tests.unit.models.example_bundles import manifest_table, toml, write_bundle
from tests.unit.models.example_detections import LABELS, as_torchvision
from tests.unit.models.example_images import png
from workers.runtime import OnnxRuntime


def smear(size: tuple[int, int], bright: int) -> bytes:
    """A dark picture of `size` (width, height), an eighth of which is bright, from a share of the height on in eighths."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[bright * height // 8 : (bright + 1) * height // 8] = 200
    return png(pixels)


def bundle(folder: Path) -> Path:
    """A sealed bundle of a detector whose graph takes one image without an axis of images."""
    write_bundle(folder)
    as_torchvision(folder)
    own = {"labels": LABELS, "size": [40, 80], "channels": 3, "output": "lists", "first_label": 1}
    table = manifest_table() | {"name": "lines", "pipeline": "object-detection", "parameters": own}
    (folder / "manifest.toml").write_text(toml(table))
    cases = [{"input": shown(smear((80, 40), place))} for place in range(5)]
    (folder / "golden.json").write_text(json.dumps({"cases": cases}))
    renew_golden(folder, CpuRun())
    seal_bundle(folder)
    return folder


@pytest.fixture
def detector(bench: Workbench, tmp_path: Path) -> PublishedModel:
    folder = bundle(tmp_path / "lines")
    assert check_bundle(folder) == []
    real = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1)
    bench.scorer.runtime.graph = real.load(folder / "model.onnx")  # type: ignore[attr-defined]  # the bench's is a fake
    with bench.database.transaction() as work:
        publishing.publish(work, bench.blobs, seal_bundle(folder), actor="test")
    return Catalog(bench.database, cache_s=0, blobs=bench.blobs).resolve("lines")


def submitted(bench: Workbench, detector: PublishedModel, file: bytes, **options: object) -> UUID:
    checked = detector.pipeline.check_options(options)
    job = NewJob(bench.caller, detector, payload=detector.encode(file), options=checked)
    with bench.database.statement() as work:
        return submission.submit(work, [job])[0].id


def test_images_of_mixed_sizes_are_answered_and_drawn(bench: Workbench, detector: PublishedModel) -> None:
    plain = submitted(bench, detector, smear((80, 40), 2))
    drawn = submitted(bench, detector, smear((400, 800), 4), overlay=True, max_detections=1)
    empty = submitted(bench, detector, png(np.zeros((64, 64), np.uint8)))
    assert bench.scorer.score(detector.id) == 3
    bench.write_back.wait()
    assert bench.outcomes([plain, drawn, empty]) == ["succeeded"] * 3
    found = [bench.view(job_id).result for job_id in (plain, drawn, empty)]
    boxes = [
        [tuple(each["box"].values()) for each in result.content["detections"]] for result in found if result
    ]
    assert boxes[0] == [(0, top, 80, top + 1) for top in range(10, 15)]
    assert boxes[1] == [(0, 420, 400, 440)]  # the best one: resizing dims the first
    assert boxes[2] == []
    assert found[1] is not None
    assert found[1].content["truncated"]
    assert found[1].content["counts"] == {"rbc": 1, "wbc": 0}
    assert [each["name"] for each in found[1].content["artifacts"]] == ["overlay.png"]
    with bench.database.statement() as work:
        stored = artifacts.find(work, bench.caller, drawn, "overlay.png")
    picture = Image.open(
        io.BytesIO(ArtifactStore(bench.blobs, bench.keyring).open(bench.caller, stored).read() or b"")
    )
    assert picture.size == (400, 800)
    assert picture.getpixel((200, 420)) == (230, 159, 0)
    assert picture.getpixel((200, 450)) == (200, 200, 200)
