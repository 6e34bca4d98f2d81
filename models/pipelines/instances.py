"""Instances of a segmentation: numbered regions of a mask, grown from seeds or connected, with what is measured of each.

Own code on numpy alone, because scipy would add 110 MB to an image for its labelling, and has no watershed by levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from models.lazy import np

if TYPE_CHECKING:
    from models.pipelines.contract import Array

LEVELS: Final = 8  # steps from the seeds' height down to 0 in which regions grow


class Region(NamedTuple):
    """One instance: its number in the label map, its class (from 0), and what is measured of its pixels."""

    number: int
    label: int
    area: int
    box: tuple[int, int, int, int]  # left, top, width, height
    centroid: tuple[float, float]  # x, y of the mean of its pixels' places
    probability: float


def components(mask: Array) -> tuple[Array, int]:
    """The 8-connected regions of `mask` bool [H,W]: int32 [H,W] from 1 in the order of their first pixels, and how many.

    Runs of pixels in rows are joined where they touch those of the next row (Rosenfeld and Pfaltz 1966), all at once: each
    run points to the lowest run it is joined with, until nothing changes.
    """
    height, width = mask.shape
    line = np.zeros((height, width + 1), np.int8)  # a free column keeps the rows apart
    line[:, :width] = mask
    steps = np.diff(line.ravel(), prepend=np.int8(0))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    first = np.searchsorted(ends, starts + width, "right")  # of the next row: runs that end behind, ...
    past = np.searchsorted(starts, ends + width + 2, "left")  # ... and begin before the end, diagonally too
    touching = np.maximum(past - first, 0)
    upper = np.repeat(np.arange(len(starts)), touching)
    lower = np.repeat(first - np.cumsum(touching) + touching, touching) + np.arange(len(upper))
    roots, numbers = np.unique(_joined(len(starts), upper, lower), return_inverse=True)
    found = np.zeros(mask.shape, np.int32)
    found[mask] = np.repeat(numbers.astype(np.int32) + 1, ends - starts)
    return found, len(roots)


def _joined(count: int, left: Array, right: Array) -> Array:
    """For each of `count` nodes the lowest node that the edges left-right connect it with."""
    lowest = np.arange(count)
    while True:
        before = lowest.copy()
        least = np.minimum(before[left], before[right])
        np.minimum.at(lowest, before[left], least)
        np.minimum.at(lowest, before[right], least)
        while (lowest[lowest] != lowest).any():
            lowest = lowest[lowest]
        if (lowest == before).all():
            return lowest


def seeded(mask: Array, heights: Array, seed: float, smallest_seed: int) -> tuple[Array, int]:
    """Regions of `mask` bool [H,W] around seeds: int32 [H,W] from 1, and how many.

    Seeds are the regions of at least `smallest_seed` pixels where `heights` float [H,W] is `seed` or more. They grow within
    the mask from height to height, as in a watershed by flooding (Vincent and Soille 1991) with LEVELS levels. A region of
    the mask that no seed reaches is one of its own.
    """
    found, count = components(mask & (heights >= seed))
    areas = np.bincount(found.ravel(), minlength=count + 1)
    found[(areas < smallest_seed)[found]] = 0
    for level in np.linspace(seed, 0, LEVELS + 1)[1:]:
        _grow(found, mask & (heights >= level))
    _grow(found, mask)
    rest, more = components(mask & (found == 0))
    found[rest > 0] = rest[rest > 0] + count
    return found, count + more


def _grow(found: Array, room: Array) -> None:
    """Spread the numbers of `found` int32 [H,W] in place over the 8-connected pixels of `room`, each at the same speed."""
    wide = np.pad(found, 1)
    width, flat = wide.shape[1], wide.ravel()
    free = np.pad(room & (found == 0), 1).ravel()
    around = np.array([-1, 1, -width, width, -width - 1, -width + 1, width - 1, width + 1])
    front = np.flatnonzero(flat)
    while front.size:
        places = (front[:, None] + around).ravel()
        numbers = np.repeat(flat[front], len(around))
        reached = free[places]
        places, numbers = places[reached], numbers[reached]
        flat[places] = numbers  # where two meet, the one that comes last in the order of pixels
        free[places] = False
        front = np.unique(places)
    found[:] = wide[1:-1, 1:-1]


def without_small(found: Array, count: int, min_area: int) -> tuple[Array, int]:
    """The regions of at least `min_area` pixels, numbered from 1 in the order of their first pixels, and how many."""
    flat = found.ravel()
    areas = np.bincount(flat, minlength=count + 1)
    kept = areas >= min_area
    kept[0] = False
    places = np.flatnonzero(kept[flat])
    numbers, first = np.unique(flat[places], return_index=True)
    order = numbers[np.argsort(first)]
    renumbered = np.zeros(count + 1, np.int32)
    renumbered[order] = np.arange(1, len(order) + 1)
    return renumbered[found], len(order)


def large_enough(found: Array, count: int, min_area: int, share: float) -> tuple[Array, int]:
    """The regions of at least `min_area` pixels, and of at least `share` of the typical one's, as without_small has them.

    The typical one holds the middle one of all pixels of regions, which are put in the order of their regions' areas: specks
    hardly move it, other than the median region.
    """
    areas = np.sort(np.bincount(found.ravel(), minlength=count + 1)[1:])
    if share and len(areas):
        pixels = np.cumsum(areas)
        typical = areas[np.searchsorted(pixels, pixels[-1] / 2)]
        min_area = max(min_area, int(np.ceil(share * typical)))
    return without_small(found, count, min_area)


def measured(found: Array, count: int, classes: Array, scores: Array) -> list[Region]:
    """What is measured of each of `count` regions of `found` int32 [H,W], in the order of their numbers.

    `classes` uint8 [H,W] is the class of a pixel from 1, and `scores` float [H,W] its probability. A region's class is that
    of most of its pixels, the lower one of two.
    """
    if not count:
        return []
    places = np.flatnonzero(found)
    numbers = found.ravel()[places] - 1
    down, across = np.divmod(places, found.shape[1])
    areas = np.bincount(numbers, minlength=count)
    votes = np.bincount(numbers * 256 + classes.ravel()[places], minlength=count * 256).reshape(count, 256)
    means = [
        np.bincount(numbers, weights=each, minlength=count) / areas
        for each in (across, down, scores.ravel()[places].astype(np.float64))
    ]
    order = np.argsort(numbers, kind="stable")  # pixels of a region side by side, from top to bottom
    begin = np.cumsum(areas) - areas
    ends = [
        reduce.reduceat(axis[order], begin) for reduce in (np.minimum, np.maximum) for axis in (across, down)
    ]
    left, top, right, bottom = ends
    boxes = np.stack([left, top, right - left + 1, bottom - top + 1], 1).tolist()
    tables = zip(
        votes.argmax(1).tolist(), areas.tolist(), boxes, *(mean.tolist() for mean in means), strict=True
    )
    return [
        Region(number, label - 1, area, tuple(box), (x, y), probability)
        for number, (label, area, box, x, y, probability) in enumerate(tables, start=1)
    ]


def run_lengths(found: Array, regions: Sequence[Region]) -> Iterator[list[int]]:
    """For each region the lengths of runs of its mask, outside and inside by turns, beginning outside.

    Pixels are taken column by column from the left, each from top to bottom, as the uncompressed RLE of COCO has them
    (Lin et al. 2014; cocoapi, maskApi.h).
    """
    height = found.shape[0]
    for region in regions:
        left, top, width, tall = region.box
        part = np.equal(found[top : top + tall, left : left + width].T, region.number)
        across, down = np.nonzero(part)
        places = (across + left) * height + down + top
        breaks = np.flatnonzero(np.diff(places) > 1)
        starts = places[np.concatenate([[0], breaks + 1])]
        ends = places[np.concatenate([breaks, [len(places) - 1]])] + 1
        edges = np.stack([starts, ends], 1).ravel()
        counts = np.diff(np.concatenate([[0], edges, [found.size]]))
        yield (counts if counts[-1] else counts[:-1]).tolist()
