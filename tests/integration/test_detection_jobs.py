"""Jobs of a detector through a worker: a graph as torchvision exports it, images of mixed sizes, pictures of what was found."""

import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from PIL import Image

from models.bundle import renew_golden, seal_bundle
from models.checking import check_bundle
from models.pipelines.image_header import JPEG
from models.pipelines.image_intake import shown
from models.pipelines.image_reading import ReadHere, read_by
from models.sandbox import CpuRun
from service.catalog import Catalog, PublishedModel, publishing
from service.config import Provider
from service.images import reading
from service.images.children import ImageChildren
from service.images.reading import ReadApart
from service.jobs import artifacts, submission
from service.jobs.artifacts import ArtifactStore
from service.jobs.submission import NewJob
from tests.factories import principal
from tests.hostile.taken_over import DO
from tests.integration.workbench import Workbench
from tests.unit.models.example_bundles import manifest_table, toml, write_bundle
from tests.unit.models.example_detections import LABELS, as_torchvision
from tests.unit.models.example_images import jpeg, png
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


@pytest.fixture
def attacked() -> Iterator[ReadApart]:
    """Images are read by children that do what a file says."""
    reader = ReadApart(ImageChildren("tests.hostile.taken_over"), file_s=2.0, short_s=0.5)
    read_by(reader)
    yield reader
    read_by(ReadHere())
    reader.close()


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


@pytest.mark.parametrize(
    "act", [["die", signal.SIGSEGV], ["die", signal.SIGKILL], ["hang", 0], ["answer", {}]]
)
def test_a_file_that_takes_its_child_over_ends_its_job_alone(
    bench: Workbench, detector: PublishedModel, attacked: ReadApart, act: list[object]
) -> None:
    """Its neighbours in the micro-batch are answered, among them one of the same tenant."""
    hostile = JPEG + DO + json.dumps(act).encode()
    other = principal(bench.database, bench.keyring, tenant="other")
    good = [smear((80, 40), place) for place in range(3)]
    jobs = bench.submit_payloads(good[0], hostile, good[1], model=detector)
    jobs += bench.submit_payloads(good[2], model=detector, caller=other)
    assert bench.score_model(detector) == 4
    assert bench.outcomes(jobs) == ["succeeded", "input_unreadable", "succeeded", "succeeded"]
    found = [bench.view(jobs[number]).result for number in (0, 2)] + [bench.view(jobs[3], other).result]
    assert [min(each["box"]["top"] for each in result.content["detections"]) for result in found if result] == [
        0, 5, 10
    ]  # fmt: skip


def test_a_job_waits_where_no_process_that_reads_files_can_be_had(
    bench: Workbench, detector: PublishedModel, attacked: ReadApart, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.pool.get(detector.id)
    monkeypatch.setattr(reading, "AGAIN_S", (0.0,))
    broken = ImageChildren("tests.hostile.no_such_module")
    working, attacked.children = attacked.children, broken
    (job,) = bench.submit_payloads(jpeg(np.zeros((40, 80, 3), np.uint8)), model=detector)
    assert bench.score_model(detector) == 1
    assert bench.outcomes([job]) == ["queued"]
    attacked.children = working
    bench.make_due(job)
    assert bench.score_model(detector) == 1
    assert bench.outcomes([job]) == ["succeeded"]
