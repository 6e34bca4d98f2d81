"""Labelling, growing and measuring of regions, against scipy and against the definitions written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import ndimage

from models.pipelines.instances import (
    components,
    large_enough,
    measured,
    run_lengths,
    seeded,
    without_small,
)

EIGHT = np.ones((3, 3))
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
MASKS = arrays.arrays(bool, SHAPES)


def decoded(counts: list[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of runs as COCO decodes them: column by column, outside first."""
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(shape, order="F")


@given(mask=MASKS)
def test_components_are_those_of_scipy_in_the_order_of_their_first_pixels(mask: NDArray[np.bool_]) -> None:
    found, count = components(mask)
    expected, expected_count = ndimage.label(mask, EIGHT)
    assert (found == expected).all()
    assert count == expected_count
    assert found.dtype == np.int32


@pytest.mark.parametrize("seed", range(3))
def test_components_of_a_large_noisy_mask_are_those_of_scipy(seed: int) -> None:
    mask = np.random.default_rng(seed).random((300, 257)) < 0.4
    found, count = components(mask)
    expected, expected_count = ndimage.label(mask, EIGHT)
    assert count == expected_count
    assert (found == expected).all()


def test_a_spiral_is_one_component() -> None:
    mask = np.zeros((41, 41), bool)
    for ring in range(0, 20, 2):
        mask[ring, ring : 41 - ring] = mask[40 - ring, ring : 41 - ring] = True
        mask[ring : 41 - ring, 40 - ring] = mask[ring + 2 : 41 - ring, ring] = True
        mask[ring + 2, ring : ring + 3] = True
    assert components(mask)[1] == 1


@given(mask=MASKS, chance=st.integers(0, 1000), smallest=st.integers(1, 4))
def test_seeded_regions_cover_the_mask_and_hold_one_seed_each(
    mask: NDArray[np.bool_], chance: int, smallest: int
) -> None:
    heights = np.random.default_rng(chance).random(mask.shape).astype(np.float32)
    found, _ = seeded(mask, heights, 0.7, smallest)
    assert ((found > 0) == mask).all()
    seeds, count = components(mask & (heights >= 0.7))
    large = [number for number in range(1, count + 1) if (seeds == number).sum() >= smallest]
    numbers = [np.unique(found[seeds == number]) for number in large]
    assert all(len(each) == 1 for each in numbers)
    assert len({int(each[0]) for each in numbers}) == len(large)
    for number in np.unique(found[found > 0]):
        assert ndimage.label(found == number, EIGHT)[1] == 1


def test_two_that_touch_are_told_apart_where_the_height_is_low_and_not_halfway() -> None:
    across = np.arange(20)
    heights = np.maximum(1 - np.abs(across - 5) / 12, 1 - np.abs(across - 17) / 3)[None].repeat(3, 0)
    assert (
        heights[0, 10:16].argmin() == 4
    )  # at 14, far from halfway between the seeds, which end at 9 and begin at 16
    found, count = seeded(np.ones((3, 20), bool), heights, 0.6, 1)
    assert count == 2
    assert (found[:, :14] == 1).all()
    assert (found[:, 16:] == 2).all()


def test_a_seed_that_is_too_small_and_a_region_without_one_still_count_once() -> None:
    mask = np.array([[1, 1, 1, 1, 0, 1]], bool)
    heights = np.array([[0.9, 0.9, 0.1, 0.9, 0.0, 0.2]])
    found, _ = seeded(mask, heights, 0.5, 2)
    assert without_small(found, int(found.max()), 1)[0].tolist() == [[1, 1, 1, 1, 0, 2]]


@given(mask=MASKS, least=st.integers(1, 6))
def test_small_regions_go_and_the_others_are_numbered_in_order(mask: NDArray[np.bool_], least: int) -> None:
    found, count = components(mask)
    kept, left = without_small(found[::-1], count, least)
    kept = kept[::-1]
    large = [number for number in range(1, count + 1) if (found == number).sum() >= least]
    assert left == len(large)
    assert ((kept > 0) == np.isin(found, large)).all()
    _, first = np.unique(kept[::-1][kept[::-1] > 0], return_index=True)
    assert (np.diff(first) > 0).all()


def test_specks_are_judged_by_the_typical_region_of_their_image() -> None:
    specks = np.zeros((12, 60), np.int32)
    specks[0, :40:2] = specks[1, :40:2] = np.arange(1, 21)  # 20 regions of 2 pixels
    large = specks.copy()
    large[4:8, 0:10], large[4:8, 20:30] = 21, 22  # of 40
    assert large_enough(specks, 20, 1, 0.1)[1] == 20
    assert large_enough(large, 22, 1, 0.1)[1] == 2
    assert large_enough(large, 22, 1, 0.05)[1] == 22
    assert large_enough(np.zeros((3, 3), np.int32), 0, 1, 0.1)[1] == 0


@given(mask=MASKS, chance=st.integers(0, 1000))
def test_regions_measure_what_scipy_measures(mask: NDArray[np.bool_], chance: int) -> None:
    found, count = components(mask)
    draw = np.random.default_rng(chance)
    scores = draw.random(mask.shape).astype(np.float32)
    classes = draw.integers(1, 4, mask.shape).astype(np.uint8)
    regions = measured(found, count, classes, scores)
    assert [region.number for region in regions] == list(range(1, count + 1))
    for region, place in zip(regions, ndimage.find_objects(found), strict=True):
        inside = found == region.number
        assert place is not None
        down, across = place
        assert region.box == (
            across.start,
            down.start,
            across.stop - across.start,
            down.stop - down.start,
        )
        assert region.area == inside.sum()
        assert region.centroid == pytest.approx(ndimage.center_of_mass(inside)[::-1])
        assert region.probability == pytest.approx(scores[inside].mean(), abs=1e-6)
        assert region.label == np.bincount(classes[inside]).argmax() - 1


@given(mask=MASKS)
def test_runs_are_read_back_as_cocos_are(mask: NDArray[np.bool_]) -> None:
    found, count = components(mask)
    regions = measured(found, count, (found > 0).astype(np.uint8), mask.astype(np.float32))
    for region, counts in zip(regions, run_lengths(found, regions), strict=True):
        assert all(counts[1:])
        assert (decoded(counts, mask.shape) == (found == region.number)).all()
