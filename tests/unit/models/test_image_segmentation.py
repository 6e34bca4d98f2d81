"""Segmentation of images: what is measured, the files, tiles in batches, options, and when it abstains."""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.pipelines import Array, Case, InputRejected, PredictionInvalid, RowFault
from models.pipelines.image_segmentation import ImageSegmentation
from models.pipelines.segmentation_types import SegmentationParameters
from service.batches.files.formats import wanted_of
from tests.unit.models.example_bundles import manifest
from tests.unit.models.example_images import png
from tests.unit.models.example_segmentations import Segmented, bright, scored, segmentation, squares

SEEDS = {"rule": "seeds", "seed": 0.75}
NOVELTY = {
    "limit": 0.5,
    "false_alarm_rate": 0.01,
    "catch_rate": 0.9,
    "foreign_set": "made up",
    "source": "made up for tests",
    "reason": "too bright",
}
NAMES = ["labels", "mask", "overlay"]


def opened(answer: Segmented, name: str) -> Array:
    """The pixels of a file of an answer."""
    [content] = [each.content for each in answer.artifacts if each.name == name]
    return np.asarray(Image.open(BytesIO(content)))


def decoded(rle: Mapping[str, Any]) -> Array:
    """The mask of a COCO RLE."""
    inside = np.arange(len(rle["counts"])) % 2 == 1
    return np.repeat(inside, rle["counts"]).reshape(rle["size"], order="F")


def test_each_instance_is_measured() -> None:
    [answer] = scored(segmentation(), png(squares()), files=NAMES)
    result = answer.result
    assert (result["width"], result["height"], result["count"]) == (70, 50, 3)
    assert [each["id"] for each in result["instances"]] == [1, 2, 3]
    first, third = result["instances"][0], result["instances"][2]
    assert (first["label"], first["area"], first["box"], first["centroid"]) == (
        "nucleus",
        24,
        [10, 5, 6, 4],
        [12.5, 6.5],
    )
    assert first["probability"] == pytest.approx(0.8, abs=1e-5)
    assert third["centroid"] == [41, 31]
    for each in result["instances"]:
        assert (decoded(each["rle"]) == (opened(answer, "labels.png") == each["id"])).all()
    [area] = result["classes"]
    assert (area["instances"], area["area"], area["share"]) == (3, 193, 193 / 3500)


def test_the_files_are_a_label_map_a_mask_of_classes_and_an_overlay() -> None:
    pixels = squares()
    [answer] = scored(segmentation(), png(pixels), files=["overlay", "labels", "mask"])
    assert [(each.name, each.media_type) for each in answer.artifacts] == [
        (f"{name}.png", "image/png") for name in NAMES
    ]
    labels = opened(answer, "labels.png")
    assert labels.dtype == np.uint16
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert (opened(answer, "mask.png") == (pixels > 0)).all()
    drawn = opened(answer, "overlay.png")
    assert drawn.shape == (50, 70, 3)
    changed = (drawn != pixels[:, :, None]).any(2)
    assert changed[5, 10:16].all()
    assert not changed[6:8, 11:15].any()
    assert not changed[pixels == 0].any()


def test_no_file_is_made_unless_asked_for_so_that_a_batch_keeps_every_answer() -> None:
    pipeline = segmentation()
    [answer] = scored(pipeline, png(squares()))
    assert answer.artifacts == ()
    assert wanted_of(pipeline).taken[:4] == ("width", "height", "count", "instances")


def test_options_change_threshold_least_area_and_overlap() -> None:
    pipeline = segmentation()
    areas = [
        [each["area"] for each in scored(pipeline, png(squares()), **options)[0].result["instances"]]
        for options in ({}, {"threshold": 0.7}, {"min_area": 20}, {"overlap": 0})
    ]
    assert areas == [[24, 160, 9], [24, 9], [24, 160], [24, 160, 9]]


def test_instances_far_smaller_than_the_typical_one_of_the_image_are_left_out() -> None:
    chosen: list[tuple[float, dict[str, Any]]] = [
        (0.05, {}), (0.1, {}), (0.15, {}), (0.16, {}), (0.0, {"min_area": 20}), (0.1, {"min_area": 30}),
    ]  # fmt: skip
    areas = [
        [
            each["area"]
            for each in scored(segmentation(min_area_share=share), png(squares()), **options)[0].result[
                "instances"
            ]
        ]
        for share, options in chosen
    ]
    assert areas == [
        [24, 160, 9],
        [24, 160],
        [24, 160],
        [160],
        [24, 160],
        [160],
    ]  # of 160: 8, 16, 24 and 25.6 pixels


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"threshold": 1.5}, "/threshold"),
        ({"min_area": 0}, "/min_area"),
        ({"overlap": 17}, "/overlap"),
        ({"files": ["picture"]}, "/files/0"),
        ({"colour": True}, "/colour"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InputRejected) as caught:
        segmentation().check_options(options)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


def test_the_options_say_their_defaults_and_limits() -> None:
    table: Any = segmentation(threshold=0.4, min_area=7).options_schema()["properties"]
    assert (table["threshold"]["default"], table["min_area"]["default"], table["files"]["default"]) == (
        0.4,
        7,
        [],
    )
    assert (table["overlap"]["default"], table["overlap"]["maximum"]) == (8, 16)


def test_a_batch_of_mixed_sizes_answers_as_each_alone() -> None:
    pipeline = segmentation(novelty={**NOVELTY, "limit": 0.9})
    files = [png(squares(width, height)) for width, height in ((70, 50), (43, 33), (16, 100), (200, 64))]
    together = scored(pipeline, *files, files=NAMES)
    assert together == [scored(pipeline, file, files=NAMES)[0] for file in files]


def test_several_tiles_go_in_a_run_and_none_is_larger_than_the_manifest_allows() -> None:
    shapes = []

    def run(feeds: Mapping[str, Array], graph: str = "") -> Mapping[str, Array]:
        shapes.append(feeds["image"].shape)
        return bright(feeds, graph)

    scored(segmentation(tiles_per_run=3), png(squares(100, 60)), run=run)
    assert shapes == [(3, 1, 32, 32)] * 4  # of 4 x 3 tiles
    shapes.clear()
    scored(segmentation(), png(squares(100, 60)), run=run, overlap=0)
    assert sum(shape[0] for shape in shapes) == 4 * 2
    shapes.clear()
    scored(segmentation(), png(np.zeros((16, 20), np.uint8)), run=run)
    assert shapes == [(1, 1, 16, 32)]


def test_a_graph_of_any_size_gets_small_tiles_and_one_of_fixed_size_whole_ones() -> None:
    assert segmentation().graphs["model"].feeds[0].shape == (1, -1, -1)
    parameters = {
        key: each for key, each in manifest("image-segmentation").parameters.items() if key != "multiple"
    }
    given = SegmentationParameters.model_validate({**parameters, "smallest": 1})
    whole = ImageSegmentation(given, lambda _: b"")
    assert whole.graphs["model"].feeds[0].shape == (1, 32, 32)
    shapes = []

    def run(feeds: Mapping[str, Array], graph: str = "") -> Mapping[str, Array]:
        shapes.append(feeds["image"].shape)
        return bright(feeds, graph)

    [answer] = scored(whole, png(np.full((1, 1), 255, np.uint8)), run=run)
    assert (answer.result["instances"][0]["area"], shapes) == (1, [(1, 1, 32, 32)])


def test_a_blank_image_has_no_instances_and_is_no_error() -> None:
    for level in (0, 255):
        pipeline = segmentation(percentiles=[1, 99.8], invert_bright=True)
        [answer] = scored(pipeline, png(np.full((40, 40), level, np.uint8)), files=NAMES)
        assert (answer.result["count"], answer.result["instances"], answer.result["abstained"]) == (
            0,
            [],
            False,
        )
        assert not opened(answer, "labels.png").any()


def test_an_image_unlike_the_training_data_is_not_answered() -> None:
    pipeline = segmentation(novelty=NOVELTY)
    known, strange = scored(pipeline, png(squares()), png(np.full((50, 70), 200, np.uint8)), files=NAMES)
    assert (known.result["abstained"], known.result["novelty"] < 0.5) == (False, True)
    assert (strange.result["abstained"], strange.result["abstain_reason"]) == (True, "too bright")
    assert (strange.result["count"], strange.result["instances"], strange.artifacts) == (None, None, ())


def test_the_novelty_of_an_image_is_the_mean_over_its_tiles() -> None:
    pixels = np.zeros((32, 56), np.uint8)
    pixels[:, :12] = 255
    [answer] = scored(segmentation(novelty=NOVELTY), png(pixels))
    assert answer.result["novelty"] == pytest.approx((12 / 32 + 0) / 2, abs=1e-6)


def test_more_instances_than_the_manifest_allows_are_not_answered() -> None:
    dots = np.zeros((40, 40), np.uint8)
    dots[::4, ::4] = 255
    many, few = segmentation(max_instances=99), segmentation(max_instances=100)
    assert scored(few, png(dots))[0].result["count"] == 100
    [answer] = scored(many, png(dots))
    assert answer.result["abstained"]
    assert str(answer.result["abstain_reason"]).startswith("more than 99 instances")


def test_instances_that_touch_are_told_apart_by_seeds() -> None:
    across = np.arange(40)
    line = np.maximum(1 - np.abs(across - 10) / 20, 1 - np.abs(across - 28) / 20)
    pixels = (255 * line)[None].repeat(20, 0).astype(np.uint8)
    assert scored(segmentation(), png(pixels))[0].result["count"] == 1
    [answer] = scored(segmentation(instances=SEEDS), png(pixels))
    assert [each["box"] for each in answer.result["instances"]] == [[1, 0, 18, 20], [19, 0, 19, 20]]


def test_classes_are_labels_each_or_one_of_all_with_a_background() -> None:
    labels = ["red", {"id": "blue", "display": "Blue", "system": "http://example.org", "code": "B"}]

    def run(feeds: Mapping[str, Array], graph: str = "") -> Mapping[str, Array]:
        red, blue = feeds["image"][:, :1], feeds["image"][:, 2:]
        return {
            "probabilities": np.concatenate([red, blue], 1),
            "logits": 9 * np.concatenate([red * 0 + 0.5, red, blue], 1),
        }

    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[2:6, 2:6, 0] = 255
    pixels[2:6, 6:9, 2] = 255
    for more in ({}, {"output": "logits", "activation": "softmax"}):
        [answer] = scored(
            segmentation(labels=labels, channels=3, **more), png(pixels), run=run, files=["mask"]
        )
        found = [(each["label"], each["area"]) for each in answer.result["instances"]]
        assert found == [("red", 16), ("blue", 12)]
        assert (opened(answer, "mask.png")[3, :10] == [0, 0, 1, 1, 1, 1, 2, 2, 2, 0]).all()
        assert answer.result["classes"][1]["code"] == {"system": "http://example.org", "code": "B"}
        assert answer.result["classes"][0]["code"] is None


def test_a_pixel_that_is_background_most_probably_belongs_to_no_class_at_any_threshold() -> None:
    def run(feeds: Mapping[str, Array], graph: str = "") -> Mapping[str, Array]:
        mean = bright(feeds, graph)["centre"]
        return {"probabilities": np.concatenate([0.45 + 0 * mean, 0.5 * mean], 1)}

    pixels = np.full((20, 20), 100, np.uint8)
    pixels[3:7, 3:7] = 250
    [answer] = scored(segmentation(activation="softmax"), png(pixels), run=run, threshold=0.0)
    assert [each["area"] for each in answer.result["instances"]] == [16]


def test_logits_are_made_probabilities() -> None:
    [answer] = scored(segmentation(output="logits"), png(squares()))
    assert answer.result["instances"][0]["probability"] == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        lambda maps: maps + 1,
        lambda maps: maps - 2,
        lambda maps: maps * np.nan,
        lambda maps: maps[:, :, 1:],
        lambda maps: np.concatenate([maps, maps], 1),
    ],
)
def test_maps_that_are_no_probabilities_of_the_tile_are_refused(change: Callable[[Array], Array]) -> None:
    def run(feeds: Mapping[str, Array], graph: str = "") -> Mapping[str, Array]:
        return {"probabilities": change(bright(feeds, graph)["probabilities"])}

    with pytest.raises(PredictionInvalid):
        scored(segmentation(), png(squares()), run=run)


def test_a_stored_file_that_cannot_be_read_is_the_fault_of_its_row() -> None:
    pipeline = segmentation()
    good = png(squares())
    with pytest.raises(RowFault) as caught:
        pipeline.open(None).score(bright, [Case(good), Case(good[:-40]), Case(good)])  # type: ignore[arg-type]
    assert caught.value.index == 1
