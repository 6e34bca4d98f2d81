"""Jobs of a segmentation through a worker: files, tiles as steps, images of mixed sizes in a claim, and a damaged one."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from models.bundle import renew_golden, seal_bundle
from models.sandbox import CpuRun
from service.catalog import Catalog, PublishedModel, publishing
from service.config import Provider, Settings
from service.desk import Desk, JobRequest, desk_over
from service.desk.waiting import Waiting
from service.jobs import artifacts, submission
from service.jobs.artifacts import ArtifactStore
from service.jobs.submission import NewJob
from service.queue import score_wake_up
from service.webhooks.receivers import Receivers
from service.webhooks.rules import granted_rules
from tests.integration.workbench import Workbench
from tests.unit.models.example_bundles import manifest_table, toml, write_bundle
from tests.unit.models.example_images import Pixels, png
from tests.unit.models.example_segmentations import squares
from workers.runtime import OnnxRuntime

NAME = "bright-spots"


def identity() -> onnx.ModelProto:
    """A graph that takes the brightness of each pixel for its probability."""
    image, found = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 1, "height", "width"])
        for name in ("image", "probabilities")
    )
    node = helper.make_node("Identity", ["image"], ["probabilities"])
    made = helper.make_model(
        helper.make_graph([node], "spots", [image], [found]), opset_imports=[helper.make_opsetid("", 20)]
    )
    made.ir_version = 10
    return made


@pytest.fixture
def spots(bench: Workbench, tmp_path: Path) -> PublishedModel:
    """The published model, whose graph the worker runs."""
    folder = write_bundle(tmp_path / NAME)
    (folder / "model.onnx").write_bytes(identity().SerializeToString())
    (folder / "manifest.toml").write_text(toml(manifest_table("image-segmentation") | {"name": NAME}))
    inputs = [{"data": base64.b64encode(png(squares(width, 50))).decode()} for width in range(50, 55)]
    (folder / "golden.json").write_text(json.dumps({"cases": [{"input": each} for each in inputs]}))
    renew_golden(folder, CpuRun())
    with bench.database.transaction() as work:
        publishing.publish(work, bench.blobs, seal_bundle(folder), actor="test")
    bench.graph.real = OnnxRuntime(Provider.CPU, allow_cpu=False, threads=1).load(folder / "model.onnx")
    return Catalog(bench.database, cache_s=0, blobs=bench.blobs).resolve(NAME)


@pytest.fixture
def desk(bench: Workbench, settings: Settings, spots: PublishedModel) -> Desk:
    return desk_over(
        settings,
        bench.database,
        catalog=Catalog(bench.database, cache_s=0, blobs=bench.blobs),
        uploads=bench.uploads,
        receivers=Receivers(granted_rules(bench.database, settings)),
        waiting=Waiting(2),
        artifact_store=ArtifactStore(bench.blobs, bench.keyring),
    )


def submitted(desk: Desk, bench: Workbench, pixels: Pixels, **options: Any) -> UUID:
    """A job of an image."""
    return desk.submit(bench.caller, JobRequest(NAME, png(pixels), options=options)).id


def scored(bench: Workbench, model: PublishedModel) -> int:
    claimed = bench.scorer.score(model.id)
    bench.write_back.wait()
    return claimed


def result_of(bench: Workbench, job_id: UUID) -> dict[str, Any]:
    view = bench.view(job_id)
    assert view.result is not None, view
    return view.result.content


def test_files_with_too_many_pixels_together_are_scored_a_few_at_a_time(
    desk: Desk, bench: Workbench, spots: PublishedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.pace.MICRO_BATCH_PIXELS", 6000)
    jobs = [submitted(desk, bench, squares(width, 50)) for width in (50, 51, 52, 53, 200)]
    bench.queue.waiting.clear()
    assert scored(bench, spots) == 5
    assert bench.outcomes(jobs).count("succeeded") == 2
    assert bench.rows("SELECT attempt, count(*)::int FROM job WHERE state = 'queued' GROUP BY 1") == [(0, 3)]
    assert bench.queue.waiting == [score_wake_up(spots.id)]
    for left in (1, 0):
        scored(bench, spots)
        assert bench.outcomes(jobs).count("succeeded") == 5 - left
    assert bench.actions(jobs[-1]).count("job.released") == 2


def test_a_job_gets_the_files_that_it_asks_for(desk: Desk, bench: Workbench, spots: PublishedModel) -> None:
    asked = submitted(desk, bench, squares(), files=["labels", "mask", "overlay"])
    plain = submitted(desk, bench, squares())
    assert scored(bench, spots) == 2
    found = result_of(bench, asked)
    assert [(each["name"], each["media_type"]) for each in found["artifacts"]] == [
        (f"{name}.png", "image/png") for name in ("labels", "mask", "overlay")
    ]
    assert "artifacts" not in result_of(bench, plain)
    assert found["instances"] == result_of(bench, plain)["instances"]
    with bench.database.statement() as work:
        row = artifacts.find(work, bench.caller, asked, "labels.png")
    content = ArtifactStore(bench.blobs, bench.keyring).open(bench.caller, row).read() or b""
    labels = np.asarray(Image.open(BytesIO(content)))
    assert [int((labels == each["id"]).sum()) for each in found["instances"]] == [24, 160, 9]


def test_every_run_of_tiles_is_a_step_of_the_heartbeat(
    desk: Desk, bench: Workbench, spots: PublishedModel
) -> None:
    small = submitted(desk, bench, squares(32, 32))
    scored(bench, spots)
    of_one_tile, bench.heartbeat.steps = bench.heartbeat.steps, 0
    bench.graph.batch_sizes.clear()
    large = submitted(desk, bench, squares(300, 200))
    scored(bench, spots)
    runs = len(bench.graph.batch_sizes)
    assert sum(bench.graph.batch_sizes) == 13 * 8  # tiles of 32 that share at least 8
    assert max(bench.graph.batch_sizes) == 4
    assert bench.heartbeat.steps - of_one_tile == 2 * (runs - 1)  # before each run, and after it
    assert [result_of(bench, each)["count"] for each in (small, large)] == [2, 3]


def test_images_of_mixed_sizes_in_one_claim_are_answered_as_alone(
    desk: Desk, bench: Workbench, spots: PublishedModel
) -> None:
    sizes = [(70, 50), (45, 60), (200, 40)]
    alone = []
    for size in sizes:
        alone.append(submitted(desk, bench, squares(*size)))
        assert scored(bench, spots) == 1
    together = [submitted(desk, bench, squares(*size)) for size in sizes]
    assert scored(bench, spots) == 3
    assert [result_of(bench, each) for each in together] == [result_of(bench, each) for each in alone]


def test_a_file_that_only_decoding_refuses_fails_its_own_job(
    desk: Desk, bench: Workbench, spots: PublishedModel
) -> None:
    good = submitted(desk, bench, squares())
    file = png(squares())
    with bench.database.statement() as work:
        (damaged,) = submission.submit(work, [NewJob(bench.caller, spots, payload=file[:-40])])
    assert scored(bench, spots) == 2
    assert bench.outcomes([good, damaged.id]) == ["succeeded", "input_unreadable"]
