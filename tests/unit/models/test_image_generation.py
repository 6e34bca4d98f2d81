"""Generation of images: the same picture for the same seed in any company, marked as synthetic, and what is refused."""

import base64
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.checking import check_bundle
from models.manifest import BundleRefused
from models.pipelines import Answer, Array, Case, InputRejected, PredictionInvalid, load_pipeline
from models.pipelines.artifacts import answer_fault
from models.pipelines.image_generation import ImageGeneration
from models.pipelines.png_file import decode_png, read_png
from models.pipelines.seeded_noise import LARGEST_SEED, normal_noise
from models.pipelines.synthetic_marks import XMP_KEYWORD, synthetic_png
from models.sandbox import CpuRun
from tests.unit.models.example_bundles import manifest
from tests.unit.models.example_generator import write_image_generator
from tests.unit.models.schemas import assert_fits

Wanted = Mapping[str, Any]
NOISE_OF_SEVEN = [-0.4586592, -1.2938583, 0.2517836, 0.8746514]


def generation(**parameters: Any) -> ImageGeneration:
    """The pipeline with these parameters beside those of the example."""
    found = load_pipeline(manifest("image-generation", **parameters))
    assert isinstance(found, ImageGeneration)
    return found


def stripes(feeds: Mapping[str, Array], graph: str = "") -> Mapping[str, Array]:
    """A graph whose columns are the noise, darker for the first class; a second row of a run would change the first."""
    noise, label = feeds["noise"], feeds["label"]
    columns = np.tile(noise, 2)[:, :6] * 0.1 + 0.3 + 0.3 * label[:, None] + noise[1:].sum()
    return {"image": np.repeat(columns[:, None, None, :], 4, axis=2).astype(np.float32)}


def drawn(pipeline: ImageGeneration, *wanted: Wanted, **options: Any) -> list[Answer]:
    """The answers to inputs in one batch, as they are stored."""
    told = pipeline.check_options(options)
    answers = pipeline.open(None).score(stripes, [Case(pipeline.encode(each), told) for each in wanted])  # type: ignore[arg-type]  # it reads no file
    for answer in answers:
        assert_fits(answer.result, pipeline.result_schema())
        assert answer_fault(answer) is None
    return answers


def wanted(seed: int = 7, label: str = "hazy", count: int = 1) -> dict[str, Any]:
    return {"label": label, "seed": seed, "count": count}


def test_the_same_seed_gives_the_same_bytes_alone_in_a_batch_and_in_any_order() -> None:
    pipeline = generation()
    cases = [wanted(seed, label) for seed in (0, 7, 8, LARGEST_SEED) for label in ("clear", "hazy")]
    alone = [drawn(pipeline, each)[0] for each in cases]
    assert drawn(pipeline, *cases) == alone
    assert drawn(pipeline, *cases[::-1])[::-1] == alone
    assert len({answer.artifacts[0].content for answer in alone}) == len(cases)


def test_each_picture_of_a_job_is_that_of_its_own_seed() -> None:
    pipeline = generation()
    [together] = drawn(pipeline, wanted(7, count=3))
    singly = [drawn(pipeline, wanted(seed))[0] for seed in (7, 8, 9)]
    assert list(together.artifacts) == [answer.artifacts[0] for answer in singly]
    assert [each["seed"] for each in together.result["images"]] == [7, 8, 9]  # type: ignore[attr-defined]  # a list
    assert drawn(pipeline, {"label": "hazy", "seed": 7}) == [singly[0]]


def test_the_answer_says_that_it_is_synthetic_and_how_bright_each_picture_is() -> None:
    [answer] = drawn(generation(), wanted(7))
    [file] = answer.artifacts
    pixels = np.asarray(Image.open(BytesIO(file.content)))
    expected = np.rint(np.clip(np.tile(normal_noise(7, (3,)), 2) * 0.1 + 0.6, 0, 1) * 255)
    assert (pixels == expected).all()
    assert pixels.shape == (4, 6)
    images = [{
        "seed": 7, "file": file.name, "data": None,
        "brightness": pytest.approx(pixels.mean() / 255, abs=1e-6),
        "contrast": pytest.approx(pixels.std() / 255, abs=1e-6),
    }]  # fmt: skip
    assert answer.result == {
        "type": "image-generation", "synthetic": True, "label": "hazy", "display": "hazy", "seed": 7, "count": 1,
        "width": 6, "height": 4, "images": images,
        "notice": "Made up by a model: it shows no patient and is no finding.",
    }  # fmt: skip


def test_a_file_is_marked_as_synthetic_by_its_name_and_in_its_metadata() -> None:
    [answer] = drawn(generation(notice="Of nobody."), wanted(7, "clear", count=2))
    assert [file.name for file in answer.artifacts] == ["synthetic-7-clear.png", "synthetic-8-clear.png"]
    with Image.open(BytesIO(answer.artifacts[1].content)) as picture:
        told = dict(picture.text)  # type: ignore[attr-defined]  # of a PNG file
    assert "trainedAlgorithmicMedia" in told.pop(XMP_KEYWORD)
    assert told == {
        "Synthetic": "true", "Source": "dose-effect 1.0.0", "Disclaimer": "Of nobody.", "Class": "clear", "Seed": "8",
    }  # fmt: skip


def test_a_file_can_be_read_by_the_models_that_take_images() -> None:
    [answer] = drawn(generation(), wanted(3))
    read = decode_png(read_png(answer.artifacts[0].content))
    assert (read.mode, read.size) == ("L", (6, 4))


def test_the_name_of_a_file_stays_within_what_artifacts_may_be_called() -> None:
    names = {
        synthetic_png(seed, "x" * 64, np.zeros((2, 2), np.uint8), {}).name
        for seed in (LARGEST_SEED, LARGEST_SEED - 1)
    }
    assert {len(name) for name in names} == {64}
    assert len(names) == 2


def test_pictures_come_inline_if_asked_for_so_that_a_batch_keeps_them() -> None:
    pipeline = generation()
    [inline], [filed] = (drawn(pipeline, wanted(7), **options) for options in ({"inline": True}, {}))
    assert inline.artifacts == ()
    [image] = list[Any](inline.result["images"])  # type: ignore[call-overload]  # a list
    assert image["file"] is None
    assert base64.b64decode(image["data"]) == filed.artifacts[0].content


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        (wanted(-1), {"/seed": "out_of_range"}),
        (wanted(LARGEST_SEED + 1), {"/seed": "out_of_range"}),
        (wanted(10**30), {"/seed": "out_of_range"}),
        (wanted(LARGEST_SEED, count=2), {"/seed": "out_of_range"}),
        (wanted(LARGEST_SEED - 14, count=16), {"/seed": "out_of_range"}),
        (wanted(1.5), {"/seed": "wrong_type"}),  # type: ignore[arg-type]
        (wanted("7"), {"/seed": "wrong_type"}),  # type: ignore[arg-type]
        (wanted(True), {"/seed": "wrong_type"}),
        ({"label": "hazy"}, {"/seed": "missing_field"}),
        ({"seed": 7}, {"/label": "missing_field"}),
        (wanted(label="ill"), {"/label": "not_allowed"}),
        (wanted(label="Hazy"), {"/label": "not_allowed"}),
        (wanted(count=0), {"/count": "out_of_range"}),
        (wanted(count=17), {"/count": "out_of_range"}),
        (wanted() | {"size": 9}, {"/size": "unknown_field"}),
        (wanted(-1, "ill", 99), {"/seed": "out_of_range", "/label": "not_allowed", "/count": "out_of_range"}),
    ],
)
def test_a_bad_input_is_refused_with_the_field_to_change(value: object, faults: dict[str, str]) -> None:
    with pytest.raises(InputRejected) as refused:
        generation().encode(value)
    assert {fault.pointer: str(fault.code) for fault in refused.value.faults} == faults


def test_the_refusal_of_a_last_seed_beyond_the_range_names_the_range() -> None:
    with pytest.raises(InputRejected) as refused:
        generation().encode(wanted(LARGEST_SEED, count=2))
    assert "seed + count - 1" in refused.value.faults[0].detail
    assert generation().encode(wanted(LARGEST_SEED))
    assert generation().encode(wanted(LARGEST_SEED - 15, count=16))


def test_a_picture_that_is_not_finite_is_the_fault_of_its_case_alone() -> None:
    def broken(feeds: Mapping[str, Array], graph: str = "") -> Mapping[str, Array]:
        image = stripes(feeds, graph)["image"]
        return {"image": np.where(feeds["label"][0] == 1, np.nan, image)}

    pipeline = generation()
    cases = [Case(pipeline.encode(wanted(label=label))) for label in ("clear", "hazy")]
    with pytest.raises(PredictionInvalid) as invalid:
        pipeline.open(None).score(broken, cases)  # type: ignore[arg-type]  # it reads no file
    assert invalid.value.rows == (1,)


def test_black_and_white_are_what_the_manifest_says_and_what_lies_beyond_is_cut() -> None:
    def levels(feeds: Mapping[str, Array], graph: str = "") -> Mapping[str, Array]:
        return {"image": np.array([-3, -1, -0.5, 0, 1, 3], np.float32).reshape(1, 1, 1, 6).repeat(4, 2)}

    pipeline = generation(black=-1.0, white=1.0)
    [answer] = pipeline.open(None).score(levels, [Case(pipeline.encode(wanted()))])  # type: ignore[arg-type]  # it reads no file
    found = np.asarray(Image.open(BytesIO(answer.artifacts[0].content)))
    assert found[0].tolist() == [0, 0, 64, 128, 255, 255]


def test_colours_come_as_channels_first() -> None:
    def red(feeds: Mapping[str, Array], graph: str = "") -> Mapping[str, Array]:
        return {"image": np.stack([np.full((4, 6), level, np.float32) for level in (1, 0.2, 0)])[None]}

    pipeline = generation(channels=3)
    [answer] = pipeline.open(None).score(red, [Case(pipeline.encode(wanted()))])  # type: ignore[arg-type]  # it reads no file
    assert np.asarray(Image.open(BytesIO(answer.artifacts[0].content)))[3, 5].tolist() == [255, 51, 0]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"labels": ["hazy", "hazy"]}, "give each label its own id"),
        ({"black": 1.0}, "black and white must differ"),
        ({"noise": [4096, 4096]}, "at most 4,000,000 numbers"),
        ({"notice": "Für Tests"}, "write it in ASCII"),
        ({"width": 0}, "at least 1"),
        ({"channels": 2}, "it must be 1 or 3"),
    ],
)
def test_a_manifest_that_cannot_be_drawn_by_is_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleRefused) as refused:
        generation(**parameters)
    assert words in refused.value.faults[0].detail


@pytest.mark.parametrize("labels", [["clear", "hazy"], ["hazy"]])
def test_a_generator_with_and_without_classes_is_publishable(labels: list[str], tmp_path: Path) -> None:
    folder = write_image_generator(tmp_path / "drawing", labels)
    assert check_bundle(folder, CpuRun()) == []


def test_a_graph_that_draws_its_own_noise_is_refused(tmp_path: Path) -> None:
    folder = write_image_generator(tmp_path / "drawing", ["hazy"], chance=True)
    codes = {fault.code for fault in check_bundle(folder, CpuRun())}
    assert codes
    assert codes <= {"golden_alone", "golden_batched", "golden_reordered"}


# Noise


def test_the_noise_of_a_seed_never_changes() -> None:
    assert normal_noise(7, (4,)).tolist() == pytest.approx(NOISE_OF_SEVEN, abs=1e-6)
    assert (normal_noise(7, (2, 3)).ravel() == normal_noise(7, (6,))).all()


def test_noise_is_standard_normal_and_that_of_neighbouring_seeds_independent() -> None:
    rows = np.stack([normal_noise(seed, (28, 28)) for seed in range(200)]).reshape(200, -1)
    assert rows.dtype == np.float32
    assert abs(rows.mean()) < 0.01
    assert abs(rows.std() - 1) < 0.01
    assert np.abs(rows).max() < 6
    assert abs((np.abs(rows) < 1).mean() - 0.6827) < 0.005
    alike = np.corrcoef(rows)[~np.eye(200, dtype=bool)]
    assert np.abs(alike).max() < 0.2
