"""The bundled model xray-generator: it draws what was asked for, the same each time, and its figures meet what it is for."""

import base64
import json
import tomllib
from typing import Any

import numpy as np
import pytest

from models.bundle import ZOO, fitted, read_bundle
from models.pipelines import Answer, Case, InputRejected, Pipeline, load_pipeline
from models.pipelines.seeded_noise import LARGEST_SEED
from models.sandbox import CpuRun

FOLDER = ZOO / "xray-generator"
CLASSIFIER = ZOO / "pneumonia-xray-28"
METRICS: dict[str, Any] = json.loads((FOLDER / "metrics.json").read_text())
EACH = 25
FIRST_SEED = 500_000  # none of those that the card's figures are of


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(read_bundle(FOLDER).manifest)


def drawn(pipeline: Pipeline, *wanted: dict[str, Any], **options: object) -> list[Answer]:
    run = fitted(FOLDER, read_bundle(FOLDER).manifest, pipeline, CpuRun())
    told = pipeline.check_options(options)
    return pipeline.open(FOLDER).score(run, [Case(pipeline.encode(each), told) for each in wanted])


def scored(files: list[bytes]) -> list[dict[str, Any]]:
    """What pneumonia-xray-28 answers to files."""
    bundle = read_bundle(CLASSIFIER)
    asked = load_pipeline(bundle.manifest)
    run = fitted(CLASSIFIER, bundle.manifest, asked, CpuRun())
    cases = [Case(asked.encode(file)) for file in files]
    return [dict(answer.result) for answer in asked.open(CLASSIFIER).score(run, cases)]


def test_the_classifier_of_x_rays_sees_what_was_asked_for_in_nine_of_ten_new_pictures(
    pipeline: Pipeline,
) -> None:
    threshold = tomllib.loads((CLASSIFIER / "manifest.toml").read_text())["parameters"]["threshold"]["value"]
    right = 0
    for label in ("normal", "pneumonia"):
        [first, second] = drawn(
            pipeline,
            {"label": label, "seed": FIRST_SEED, "count": 16},
            {"label": label, "seed": FIRST_SEED + 16, "count": EACH - 16},
        )
        files = [each.content for each in (*first.artifacts, *second.artifacts)]
        for result in scored(files):
            right += (result["probabilities"]["pneumonia"] >= threshold) is (label == "pneumonia")
    assert right >= 0.9 * 2 * EACH


def test_a_picture_sent_inline_is_an_input_of_the_classifier_as_it_is(pipeline: Pipeline) -> None:
    [answer] = drawn(pipeline, {"label": "normal", "seed": 7}, inline=True)
    [image] = list[Any](answer.result["images"])  # type: ignore[call-overload]  # a list
    assert scored([base64.b64decode(image["data"])])


def test_a_seed_gives_the_same_file_alone_in_a_batch_and_in_any_order(pipeline: Pipeline) -> None:
    wanted = [
        {"label": label, "seed": seed} for seed in (0, 7, LARGEST_SEED) for label in ("normal", "pneumonia")
    ]
    alone = [drawn(pipeline, each)[0].artifacts for each in wanted]
    assert [answer.artifacts for answer in drawn(pipeline, *wanted)] == alone
    assert [answer.artifacts for answer in drawn(pipeline, *wanted[::-1])][::-1] == alone
    [several] = drawn(pipeline, {"label": "normal", "seed": 5, "count": 4})
    assert several.artifacts[2] == alone_at(pipeline, 7)
    assert len({files[0].content for files in alone}) == len(wanted)


def alone_at(pipeline: Pipeline, seed: int) -> Any:
    """The file of a normal picture."""
    return drawn(pipeline, {"label": "normal", "seed": seed})[0].artifacts[0]


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"seed": -1}, "/seed"),
        ({"seed": LARGEST_SEED + 1}, "/seed"),
        ({"seed": LARGEST_SEED, "count": 2}, "/seed"),
        ({"count": 17}, "/count"),
        ({"label": "tuberculosis"}, "/label"),
    ],
)
def test_what_cannot_be_drawn_is_refused(pipeline: Pipeline, changed: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InputRejected) as refused:
        pipeline.encode({"label": "normal", "seed": 7} | changed)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_every_picture_says_that_it_is_synthetic_in_the_answer_by_name_and_inside(pipeline: Pipeline) -> None:
    [answer] = drawn(pipeline, {"label": "pneumonia", "seed": 7, "count": 2})
    assert answer.result["synthetic"] is True
    version = read_bundle(FOLDER).manifest.version
    for file in answer.artifacts:
        assert file.name.startswith("synthetic-")
        for words in (b"Synthetic\x00true", f"xray-generator {version}".encode(), b"trainedAlgorithmicMedia"):
            assert words in file.content


def test_the_figures_meet_what_the_model_is_for() -> None:
    assert METRICS["agreement_95"][0] >= 0.9
    assert min(METRICS["agreement_normal"], METRICS["agreement_pneumonia"]) >= 0.9
    assert METRICS["nearest_least"] >= METRICS["nearest_validation_least"]  # no copies
    assert METRICS["closer_than_closest"] == 0
    assert METRICS["nearest_close"] >= METRICS["nearest_validation_close"]
    assert min(METRICS["diversity_normal"], METRICS["diversity_pneumonia"]) >= 0.8
    assert METRICS["auc"] >= 0.9


def test_no_picture_is_nearly_another_one(pipeline: Pipeline) -> None:
    answers = drawn(pipeline, *({"label": "pneumonia", "seed": seed, "count": 16} for seed in (0, 100)))
    brightness = [image["brightness"] for answer in answers for image in list[Any](answer.result["images"])]  # type: ignore[call-overload]  # a list
    assert len(set(brightness)) == 32
    assert np.std(brightness) > 0.02
