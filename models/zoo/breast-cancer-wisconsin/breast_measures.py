"""The thirty measurements of breast-cancer-wisconsin: their words and ranges in the manifest."""

import math
from collections.abc import Sequence
from string import Template

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

# Words of the source (wdbc.names). It gives no units: lengths and areas are in the scale of its own images.
MEASURES = {
    "radius": "radius, the mean distance from the centre to the outline. The source gives no unit.",
    "texture": "texture, the standard deviation of grey values.",
    "perimeter": "length of the outline. The source gives no unit.",
    "area": "area. The source gives no unit.",
    "smoothness": "smoothness, the local variation of radius lengths.",
    "compactness": "compactness, perimeter squared over area, minus 1.",
    "concavity": "concavity, how deep the dents of the outline are.",
    "concave_points": "concave points, how many dents the outline has (scaled by the source).",
    "symmetry": "symmetry.",
    "fractal_dimension": "fractal dimension of the outline by the coastline approximation, minus 1.",
}

FEATURE = Template("""\
[[parameters.features]]
name = "$name"
title = "$title"
unit = "1"
minimum = 0.0
maximum = $maximum
example = $example
description = "$description"
""")


def plausible_maximum(largest: float) -> float:
    """Twice the largest value seen, rounded up to two digits: a limit for slips, not of biology."""
    step = 10.0 ** (math.floor(math.log10(2 * largest)) - 1)
    return round(math.ceil(2 * largest / step) * step, 6)


def measure_of(name: str) -> str:
    """Such as radius for worst_radius."""
    return name.removeprefix("mean_").removeprefix("worst_").removesuffix("_error")


def describe(name: str) -> str:
    """What a field measures, after the source's own description."""
    measure = measure_of(name)
    if name.startswith("mean_"):
        return f"Mean over the cell nuclei of the image: {MEASURES[measure]}"
    if name.startswith("worst_"):
        return f"Mean of the three largest values among the cell nuclei of the image: {MEASURES[measure]}"
    return f"Standard error over the cell nuclei of the image: {MEASURES[measure]}"


def feature_table(name: str, column: Vector) -> str:
    """One [[parameters.features]] table; the example is the median."""
    return FEATURE.substitute(
        name=name,
        title=name.replace("_", " ").capitalize(),
        maximum=plausible_maximum(float(column.max())),
        example=f"{np.median(column):.6g}",
        description=describe(name),
    )


def feature_tables(names: Sequence[str], rows: Matrix) -> str:
    """All of them."""
    return "\n".join(map(feature_table, names, rows.T)).rstrip()
