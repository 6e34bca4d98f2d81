"""A pipeline of segmentation, a graph that takes the brightness for the probability, and pictures to segment."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from models.pipelines import Array, Artifact, Case, load_pipeline
from models.pipelines.artifacts import answer_fault
from models.pipelines.image_segmentation import ImageSegmentation
from tests.unit.models.example_bundles import manifest
from tests.unit.models.example_images import Pixels
from tests.unit.models.schemas import assert_fits

Graph = Callable[[Mapping[str, Array], str], Mapping[str, Array]]


class Segmented(NamedTuple):
    """An answer whose result may be read by its keys."""

    result: Any
    artifacts: tuple[Artifact, ...]


def segmentation(**parameters: Any) -> ImageSegmentation:
    """The pipeline with these parameters beside those of the example."""
    found = load_pipeline(manifest("image-segmentation", **parameters))
    assert isinstance(found, ImageSegmentation)
    return found


def bright(feeds: Mapping[str, Array], graph: str = "") -> Mapping[str, Array]:
    """A graph that takes the mean of the channels for the probability, and for the centre; its novelty is the tile's mean."""
    mean = feeds["image"].mean(1, keepdims=True)
    return {
        "probabilities": mean,
        "logits": np.log(mean + 1e-6) - np.log(1 - mean + 1e-6),
        "centre": mean,
        "novelty": mean.mean((1, 2, 3))[:, None],
    }


def scored(
    pipeline: ImageSegmentation, *files: bytes, run: Graph = bright, **options: Any
) -> list[Segmented]:
    """The answers to files in one batch, as they are stored."""
    told = pipeline.check_options(options)
    cases = [Case(pipeline.encode(file), told) for file in files]
    answers = pipeline.open(None).score(run, cases)  # type: ignore[arg-type]  # it reads no file
    for answer in answers:
        assert_fits(answer.result, pipeline.result_schema())
        assert answer_fault(answer) is None
    return [Segmented(*answer) for answer in answers]


def squares(width: int = 70, height: int = 50) -> Pixels:
    """Three bright rectangles on black: 6 x 4 at (10, 5), 3 x 3 at (40, 30), and one over an edge of tiles."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[5:9, 10:16] = 204
    pixels[30:33, 40:43] = 255
    pixels[20:28, 22:42] = 153
    return pixels
