"""Figures of masks, by hand and against the definition written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.mask_agreement import Matches, dice, matches

MAPS = arrays.arrays(np.int32, (6, 7), elements=st.integers(0, 4))


def test_dice_counts_shared_pixels_twice_over_those_of_both() -> None:
    assert dice(np.array([[1, 1, 0]]), np.array([[0, 7, 7]])) == 0.5
    assert dice(np.zeros((2, 2)), np.zeros((2, 2))) == 1
    assert dice(np.zeros((2, 2)), np.ones((2, 2))) == 0


def test_instances_match_where_they_share_more_than_half_of_their_union() -> None:
    truth = np.array([[1, 1, 1, 0, 2, 2, 0, 3]])
    found = np.array([[5, 5, 5, 5, 0, 6, 6, 0]])
    assert matches(found, truth) == Matches(found=1, false=1, missed=2)
    assert matches(found, truth).precision == 0.25
    assert matches(found, truth, 0.75) == Matches(found=0, false=2, missed=3)


def test_nothing_found_where_nothing_is_agrees_wholly() -> None:
    nothing = np.zeros((3, 3), np.uint16)
    assert matches(nothing, nothing).precision == 1
    assert matches(nothing, nothing + 1).precision == 0


def test_maps_of_other_sizes_and_overlaps_at_which_two_could_match_are_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        matches(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="overlap"):
        matches(np.zeros((2, 3)), np.zeros((2, 3)), 0.4)


@given(found=MAPS, truth=MAPS, overlap=st.sampled_from([0.5, 0.6, 0.75, 0.9]))
def test_matches_are_those_of_the_definition(found: np.ndarray, truth: np.ndarray, overlap: float) -> None:
    ours, theirs = ([each == number for number in np.unique(each) if number] for each in (found, truth))
    same = sum((a & b).sum() > overlap * (a | b).sum() for a in ours for b in theirs)
    assert matches(found, truth, overlap) == Matches(same, len(ours) - same, len(theirs) - same)
