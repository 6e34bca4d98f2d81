"""Detects the seam in a JPEG where bits of its scan were lost or changed and libjpeg resynchronized.

The mean of each block is coded as the difference from the previous block (ITU-T T.81, F.1.1.5.1), so a wrong difference shifts
all later blocks by the same amount. In the rows of blocks the seam is a step: along the upper edges of the blocks from the
damage to the end of its row, and in the next row along the blocks before that position. Edges in a picture do not have this
form: both parts must jump by the same amount, nearly everywhere, and their neighbours must not.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Set so that none of 12,409 sound files was refused (photographs of blood smears, micrographs of nuclei, plots and
# icons, grey and in colour, at qualities 40 to 95): photographs and micrographs came to a certainty of 4 at most, plots
# to 15, but then with a share of 0.3. Of most losses, both are far above.
_LEAST_CERTAINTY: Final = 10.0  # mean of the jumps in standard errors
_LEAST_SHARE: Final = 0.8  # of the edges that jump by about the mean, in each part
_ALIKE: Final = 0.6  # of the mean: how far from it an edge may be that counts as alike
_LEAST_JUMP: Final = 2.0  # levels of 255
_MOST_BESIDE: Final = 0.35  # of the jump, in what comes before and after
_MOST_APART: Final = 0.3  # of the jump: how far the means of the two parts may be from it
_EVEN: Final = 0.02  # variance of rounding: the edges of a flat picture have none
_LEAST_BLOCKS: Final = 6  # in a row; and 4 rows
_ENDS: Final = 12  # neither part may be less than a twelfth of a row

Plane = NDArray[np.uint8]
Jumps = NDArray[np.float64]


def has_seam(pixels: Plane, across: int, down: int) -> bool:
    """Whether `pixels` [height,width] or [height,width,channels] show a seam of blocks of `across` x `down` pixels."""
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    if planes.shape[1] <= across * (_LEAST_BLOCKS - 1) or planes.shape[0] <= 3 * down + 1:
        return False
    return any(_has_seam(*_jumps(planes[..., index], across, down)) for index in range(planes.shape[2]))


def _jumps(plane: Plane, across: int, down: int) -> tuple[Jumps, int]:
    """By how much the brightness jumps at the upper edge of each block but those of the first row; blocks in a row.

    Beyond what the rows on both sides lead to expect, so that slopes do not count.
    """
    width, row = plane.shape[1], -(-plane.shape[1] // across)
    rows = len(range(down, plane.shape[0] - 1, down))
    before, above, below, after = (plane[down + at :: down][:rows] for at in (-2, -1, 0, 1))
    doubled = np.zeros((rows, row * across), np.int16)
    jump = doubled[:, :width]
    np.subtract(below, above, out=jump, dtype=np.int16)
    jump *= 3
    jump += before
    jump -= after
    sums = doubled.reshape(-1, across).astype(np.float32) @ np.ones(across, np.float32)
    widths = np.full(row, 2.0 * across)
    widths[-1] -= 2 * (row * across - width)
    return (sums.reshape(rows, row) / widths).ravel(), row


def _has_seam(jumps: Jumps, row: int) -> bool:
    """Whether a run of `row` jumps, from any block on, is a seam."""
    total = np.concatenate(([0.0], np.cumsum(jumps)))
    first = np.flatnonzero(np.abs(total[row:] - total[:-row]) >= _LEAST_JUMP * row)
    least = max(2, row // _ENDS)
    first = first[(first % row >= least) & (first % row <= row - least)]
    if not first.size:
        return False
    squares = np.concatenate(([0.0], np.cumsum(jumps * jumps)))
    mean = (total[first + row] - total[first]) / row
    spread = np.maximum((squares[first + row] - squares[first]) / row - mean**2, 0)
    certain = np.abs(mean) > _LEAST_CERTAINTY * np.sqrt((spread + _EVEN) / row)
    return any(_is_seam(jumps, int(place), row) for place in first[certain])


def _is_seam(jumps: Jumps, first: int, row: int) -> bool:
    """Whether the run from `first` on jumps alike in both of its parts, and what is beside it does not."""
    end, below = first + row, first + row - first % row
    mean = jumps[first:end].mean()
    for part in (jumps[first:below] / mean, jumps[below:end] / mean):
        if abs(part.mean() - 1) >= _MOST_APART or (np.abs(part - 1) < _ALIKE).mean() < _LEAST_SHARE:
            return False
    beside = (jumps[max(first - row // 2, 0) : first], jumps[end : end + row // 2])
    return all(part.size == 0 or abs(part.mean() / mean) < _MOST_BESIDE for part in beside)
