"""Figures of detection, against values worked out by hand and a plain reckoning."""

import numpy as np
import pytest

from models.detection_figures import (
    Boxes,
    average_precision,
    average_precisions,
    count_errors,
    counts,
    matched,
    overlaps,
    precision_curves,
)

SQUARE = [0.0, 0.0, 10.0, 10.0]
BESIDE = [20.0, 0.0, 30.0, 10.0]
HALF = [0.0, 0.0, 10.0, 5.0]


def boxes(*edges: list[float], labels: list[int] | None = None, scores: list[float] | None = None) -> Boxes:
    return Boxes(
        np.array(edges, float).reshape(-1, 4),
        np.array(labels if labels is not None else [0] * len(edges), np.int64),
        None if scores is None else np.array(scores),
    )


def test_overlap_is_intersection_over_union() -> None:
    shares = overlaps(boxes(SQUARE).edges, boxes(SQUARE, HALF, BESIDE, [5, 5, 5, 5], [5, 5, 15, 15]).edges)
    assert shares.tolist() == [[1.0, 0.5, 0.0, 0.0, pytest.approx(25 / 175)]]
    assert overlaps(boxes([5, 5, 5, 5]).edges, boxes([5, 5, 5, 5]).edges).tolist() == [[0.0]]


def test_a_drawn_box_is_taken_once_and_by_the_best_score() -> None:
    found = boxes(SQUARE, SQUARE, BESIDE, scores=[0.6, 0.9, 0.5])
    assert matched(found, boxes(SQUARE, BESIDE)).right.tolist() == [False, True, True]


def test_a_box_is_right_from_half_an_overlap_on_and_in_its_class_alone() -> None:
    assert matched(boxes(HALF, scores=[0.9]), boxes(SQUARE)).right.tolist() == [True]
    assert matched(boxes([0, 0, 10, 4.9], scores=[0.9]), boxes(SQUARE)).right.tolist() == [False]
    assert matched(boxes(SQUARE, labels=[1], scores=[0.9]), boxes(SQUARE)).right.tolist() == [False]
    assert matched(boxes(scores=[]), boxes(SQUARE)).right.tolist() == []
    assert matched(boxes(SQUARE, scores=[0.9]), boxes()).right.tolist() == [False]


def test_average_precision_by_hand() -> None:
    # Right, wrong, right of 4: precision 1 up to recall 1/4, then 2/3 up to 2/4.
    scores, right = np.array([0.9, 0.8, 0.7]), np.array([True, False, True])
    assert average_precision(scores, right, 4) == pytest.approx((1 + 2 / 3) / 4)
    assert average_precision(scores[::-1], right[::-1], 4) == pytest.approx((1 + 2 / 3) / 4)
    # A later, better precision counts for what came before: wrong, right, right of 2.
    assert average_precision(scores, np.array([False, True, True]), 2) == pytest.approx(2 / 3)
    assert average_precision(scores[:0], right[:0], 3) == 0.0
    assert np.isnan(average_precision(scores, right, 0))


def test_average_precision_equals_a_plain_reckoning() -> None:
    chance = np.random.default_rng(3)
    for _ in range(50):
        count = int(chance.integers(1, 30))
        scores, right = chance.permutation(count) / 30, chance.random(count) < 0.6
        drawn = int(right.sum() + chance.integers(0, 5)) or 1
        hits = right[np.argsort(-scores)]
        curve = [(hits[:end].sum() / drawn, hits[:end].mean()) for end in range(1, count + 1)]
        recalls = sorted({recall for recall, _ in curve})
        steps = zip([0.0, *recalls], recalls, strict=False)
        plain = sum(
            (end - start) * max(best for recall, best in curve if recall >= end) for start, end in steps
        )
        assert average_precision(scores, right, drawn) == pytest.approx(plain)


def test_classes_are_told_apart_over_all_images() -> None:
    images = [
        matched(boxes(SQUARE, BESIDE, labels=[0, 1], scores=[0.9, 0.4]), boxes(SQUARE, labels=[0])),
        matched(boxes(BESIDE, labels=[1], scores=[0.8]), boxes(BESIDE, labels=[1])),
    ]
    found = average_precisions(images, 3)
    assert found[:2].tolist() == [1.0, 1.0]
    assert np.isnan(found[2])


def test_errors_of_counts_are_absolute_and_by_class() -> None:
    found = counts([np.array([0, 0, 1]), np.array([], np.int64)], 2)
    assert found.tolist() == [[2, 1], [0, 0]]
    assert count_errors(found, np.array([[3, 1], [2, 0]])).tolist() == [1.5, 0.0]


def test_a_class_that_was_not_drawn_or_not_found_has_no_curve() -> None:
    one = matched(
        boxes(SQUARE, BESIDE, labels=[0, 1], scores=[0.9, 0.8]), boxes(SQUARE, BESIDE, labels=[0, 2])
    )
    curves = precision_curves([one, one], 4)
    assert {kind: (recall.tolist(), precision.tolist()) for kind, (recall, precision) in curves.items()} == {
        0: ([0.5, 1.0], [1.0, 1.0])
    }
