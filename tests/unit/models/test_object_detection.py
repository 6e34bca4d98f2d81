"""Boxes of an image: what is answered, what is refused, options, the picture, and columns of batches."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.manifest import MODEL, ManifestInvalid
from models.pipelines import Array, InputRejected, PredictionInvalid
from models.pipelines.schema_columns import result_columns, result_fields
from tests.unit.models.example_detections import NOVELTY, WIDE, Scripted, edges, one, pipeline, scored
from tests.unit.models.example_images import png

# What is answered


def test_boxes_are_in_pixels_of_the_file_with_class_score_and_counts() -> None:
    result = one(Scripted((10, 5, 20, 15, 0.9, 0), (30, 10, 60, 40, 0.95, 1), (0, 0, 5, 5, 0.6, 0)))
    assert edges(result) == [[60, 20, 120, 80], [20, 10, 40, 30], [0, 0, 10, 10]]
    assert [each["label"] for each in result["detections"]] == ["wbc", "rbc", "rbc"]
    assert result["detections"][0]["score"] == pytest.approx(0.95)
    assert result["detections"][0]["code"] == {"system": "http://example.org/cells", "code": "W"}
    assert result["detections"][1]["code"] is None
    assert result["counts"] == {"rbc": 2, "wbc": 1}
    assert (result["width"], result["height"], result["truncated"], result["abstained"]) == (
        160,
        80,
        False,
        False,
    )


def test_an_image_without_anything_has_an_empty_list() -> None:
    for run in (Scripted(), Scripted((0, 0, 0, 0, 0.0, -1))):
        result = one(run)
        assert result["detections"] == []
        assert result["counts"] == {"rbc": 0, "wbc": 0}
        assert not result["abstained"]


def test_each_class_has_its_threshold_and_options_set_one_for_all() -> None:
    run = Scripted((0, 0, 9, 9, 0.4, 0), (0, 0, 9, 9, 0.4, 1), (0, 0, 9, 9, 0.25, 1))
    assert one(run)["counts"] == {"rbc": 0, "wbc": 1}
    assert one(run, options={"score_threshold": 0.2})["counts"] == {"rbc": 1, "wbc": 2}
    assert one(run, options={"score_threshold": 0.41})["counts"] == {"rbc": 0, "wbc": 0}


def test_too_many_boxes_are_cut_to_the_best_and_it_says_so() -> None:
    run = Scripted(*((n, 0, n + 5, 5, 0.5 + n / 100, 0) for n in range(10)))
    result = one(run, max_detections=4)
    assert result["truncated"]
    assert result["counts"] == {"rbc": 4, "wbc": 0}
    assert [round(each["score"], 2) for each in result["detections"]] == [0.59, 0.58, 0.57, 0.56]
    assert one(run, options={"max_detections": 2}, max_detections=4)["counts"]["rbc"] == 2
    assert one(run, options={"max_detections": 9}, max_detections=4)["counts"]["rbc"] == 4
    assert not one(run)["truncated"]


def test_boxes_are_cut_off_at_the_edges_and_left_out_beyond_them() -> None:
    run = Scripted(
        (-10, -5, 20, 15, 0.9, 0), (70, 30, 500, 90, 0.8, 0), (90, 0, 99, 9, 0.7, 0), (5, 5, 5, 9, 0.6, 0)
    )
    assert edges(one(run)) == [[0, 0, 40, 30], [140, 60, 160, 80]]


def test_an_image_unlike_the_training_data_is_abstained_from() -> None:
    run = Scripted((10, 5, 20, 15, 0.9, 0), novelty=5.0)
    result = one(run, novelty=NOVELTY)
    assert (result["detections"], result["counts"], result["abstained"]) == (None, None, True)
    assert result["abstain_reason"] == "unlike any smear"
    assert one(Scripted(novelty=4.9), novelty=NOVELTY)["detections"] == []


def test_what_no_box_can_be_fails_its_own_image() -> None:
    class Mixed(Scripted):
        def __call__(self, feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
            outputs = dict(super().__call__(feeds, graph))
            outputs["boxes"][1, 0, 2] = np.nan
            return outputs

    with pytest.raises(PredictionInvalid) as invalid:
        scored(Mixed((10, 5, 20, 15, 0.9, 0)), WIDE, WIDE, WIDE)
    assert invalid.value.rows == (1,)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((np.nan, 0, 9, 9, 0.9, 0), "not of finite numbers"),
        ((0, 0, np.inf, 9, 0.9, 0), "not of finite numbers"),
        ((0, 0, 9, 9, np.nan, 0), "a score is not a finite number"),
        ((0, 0, 9, 9, 3.2, 0), "not between 0 and 1"),
        ((0, 0, 9, 9, -0.2, 0), "not between 0 and 1"),
        ((20, 0, 9, 9, 0.9, 0), "ends before it begins"),
        ((0, 0, 9, 9, 0.9, 2), "beyond `labels`"),
        ((0, 0, 9, 9, 0.9, -1), "beyond `labels`"),
    ],
)
def test_a_wrong_box_is_never_answered(box: Sequence[float], reason: str) -> None:
    with pytest.raises(PredictionInvalid, match=reason):
        one(Scripted(box))


def test_what_is_below_the_threshold_may_be_anything() -> None:
    assert one(Scripted((np.nan, 0, 9, 9, 0.1, 0), (20, 0, 9, 9, 0.1, 7)))["detections"] == []


def test_other_numbers_of_rows_are_refused() -> None:
    def fewer(feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
        return {name: value[:1] for name, value in Scripted((0, 0, 9, 9, 0.9, 0))(feeds, graph).items()}

    with pytest.raises(PredictionInvalid, match="1 rows for 2 images"):
        scored(fewer, WIDE, WIDE)


# Options, files of the result, columns


def test_options_are_checked() -> None:
    told = pipeline()
    assert told.check_options({"overlay": True}) == {"overlay": True}
    for wrong in (
        {"score_threshold": 0},
        {"score_threshold": 1.1},
        {"max_detections": 0},
        {"overlay": 1},
        {"top": 3},
    ):
        with pytest.raises(InputRejected):
            told.check_options(wrong)


def test_the_picture_shows_the_boxes_where_they_are() -> None:
    plain = png(np.full((800, 1600, 3), 200, np.uint8))
    [found] = scored(Scripted((10, 10, 40, 30, 0.9, 1)), plain, options={"overlay": True})
    [artifact] = found.artifacts
    assert (artifact.name, artifact.media_type) == ("overlay.png", "image/png")
    drawn = np.asarray(Image.open(io.BytesIO(artifact.content)).convert("RGB")).astype(int)
    changed = np.abs(drawn - 200).sum(2) > 0
    down, across = np.nonzero(changed)
    assert drawn.shape == (800, 1600, 3)
    assert (across.min(), down.min(), across.max(), down.max()) == (200, 200, 800, 600)
    assert not changed[300:500, 400:700].any()
    assert scored(Scripted(), plain)[0].artifacts == ()


def test_a_picture_of_a_large_image_is_made_smaller() -> None:
    large = png(np.full((1000, 4000), 200, np.uint8))
    [found] = scored(Scripted((20, 10, 60, 30, 0.9, 1)), large, options={"overlay": True})
    drawn = np.asarray(Image.open(io.BytesIO(found.artifacts[0].content)).convert("RGB")).astype(int)
    down, across = np.nonzero(np.abs(drawn - 200).sum(2) > 0)
    assert drawn.shape == (512, 2048, 3)
    assert (across.min(), down.min(), across.max(), down.max()) == (512, 128, 1536, 384)
    assert edges(found.result) == [[1000, 250, 3000, 750]]


def test_counts_are_columns_of_a_batch() -> None:
    fields = result_fields(pipeline().result_schema())
    result = one(Scripted((10, 5, 20, 15, 0.9, 0)))
    columns = {column.name: column.values[0] for column in result_columns(fields, [result])}
    assert (columns["count_rbc"], columns["count_wbc"], columns["width"]) == (1, 0, 160)
    assert json.loads(columns["detections"])[0]["label"] == "rbc"


# Manifests


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"labels": []}, "labels"),
        ({"labels": ["a", "a"]}, "parameters"),
        ({"labels": [{"id": "a", "display": "A", "threshold": 0.0}]}, "labels"),
        ({"output": "raw", "first_label": 1}, "parameters"),
        ({"fit": "crop"}, "fit"),
        ({"suppression": 1.0}, "suppression"),
        ({"max_detections": 5001}, "max_detections"),
    ],
)
def test_manifests_that_are_refused(parameters: dict[str, Any], key: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        pipeline(**parameters)
    assert key in str(refused.value)
