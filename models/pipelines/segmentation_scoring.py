"""Scores images with a graph that segments tiles: from the file to instances, areas and files of a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from models.lazy import np
from models.pipelines import mask_pictures
from models.pipelines.contract import Artifact, PredictionInvalid, Run
from models.pipelines.image_tiles import blended
from models.pipelines.instances import Region, components, large_enough, measured, run_lengths, seeded
from models.pipelines.segmentation_types import (
    CENTRE,
    IMAGE,
    NOVELTY,
    Case,
    ClassArea,
    FileName,
    Instance,
    RunLengths,
    SegmentationParameters,
    SegmentationResult,
)
from models.pipelines.typed_classification import Coding
from models.pipelines.typed_image import ImageInput

if TYPE_CHECKING:
    from PIL import Image

    from models.pipelines.contract import Array

_ROUNDING: Final = 1e-4  # how far from 0 and 1 a probability may be


class Segmenter:
    """Scores images one after the other, each in as many runs as its tiles need."""

    def __init__(
        self, parameters: SegmentationParameters, pixels_of: Callable[[int, ImageInput], Image.Image]
    ) -> None:
        self._parameters = parameters
        self._pixels_of = pixels_of

    def score(
        self, run: Run, cases: Sequence[Case]
    ) -> list[SegmentationResult | tuple[SegmentationResult, Sequence[Artifact]]]:
        """See TypedScoring."""
        return [self._scored(run, row, case) for row, case in enumerate(cases)]

    def _scored(
        self, run: Run, row: int, case: Case
    ) -> SegmentationResult | tuple[SegmentationResult, Sequence[Artifact]]:
        image = self._pixels_of(row, case.input)
        given, options = self._parameters, case.options
        pixels = np.asarray(image).reshape(image.height, image.width, given.channels)
        novelties: list[float] = []

        def maps(tiles: Array) -> Array:
            outputs = run({IMAGE: tiles})
            if given.novelty is not None:
                novelties.extend(np.asarray(outputs[NOVELTY], np.float64).reshape(len(tiles)).tolist())
            return self._maps(outputs, tiles, row)

        tiling = given.tiling._replace(overlap=options.overlap)
        found = blended(pixels, levels(given, pixels), tiling, maps)
        novelty = sum(novelties) / len(novelties) if novelties else None
        told = {
            "width": image.width, "height": image.height, "novelty": novelty,
            "threshold": options.threshold, "min_area": options.min_area,
        }  # fmt: skip
        if given.novelty is not None and novelty is not None and not novelty < given.novelty.limit:
            return _abstained(told, given.novelty.reason)
        classes, scores = self._classes(found, options.threshold)
        labels, count = self._instances(classes, found[-1], options.min_area)
        if count > given.max_instances:
            return _abstained(
                told, f"more than {given.max_instances} instances: the image is not of the kind it segments"
            )
        regions = measured(labels, count, classes, scores)
        result = self._result(told, labels, regions)
        return result, _files(options.files, image, labels, regions)

    def _maps(self, outputs: Mapping[str, Array], tiles: Array, row: int) -> Array:
        """What the graph gave of some tiles as probabilities float32 [n,K,h,w], the centre last.

        Raises PredictionInvalid.
        """
        given = self._parameters
        maps = [np.asarray(outputs[given.output], np.float32)]
        if given.instances.rule == "seeds":
            maps.append(np.asarray(outputs[CENTRE], np.float32))
        count = len(given.labels) + (given.activation == "softmax")
        shapes = [(len(tiles), each, *tiles.shape[2:]) for each in (count, 1)]
        if any(each.shape != shape for each, shape in zip(maps, shapes, strict=False)):
            raise PredictionInvalid((row,), "the graph gives maps of another shape than its tiles have")
        if given.output == "logits":
            first = _softmax(maps[0]) if given.activation == "softmax" else _sigmoid(maps[0])
            maps = [first, *map(_sigmoid, maps[1:])]
        found = np.concatenate(maps, axis=1)
        if not (found.min() >= -_ROUNDING and found.max() <= 1 + _ROUNDING):  # NaN is neither
            raise PredictionInvalid((row,), "a map of the graph is no probability: name its output as logits")
        return found

    def _classes(self, found: Array, threshold: float) -> tuple[Array, Array]:
        """The class of each pixel from 1, uint8 [H,W], 0 for none; and its probability float32 [H,W]."""
        count, background = len(self._parameters.labels), self._parameters.activation == "softmax"
        maps = found[int(background) : int(background) + count]
        best, scores = maps.argmax(0), maps.max(0)
        belongs = scores >= threshold
        if background:
            belongs &= scores > found[0]
        return np.where(belongs, best + 1, 0).astype(np.uint8), scores

    def _instances(self, classes: Array, centre: Array, min_area: int) -> tuple[Array, int]:
        """The label map int32 [H,W] of instances that are large enough, and how many; see instances.large_enough."""
        rule = self._parameters.instances
        if rule.rule == "seeds":
            found, count = seeded(classes > 0, centre, rule.seed, rule.smallest_seed)
        else:
            found, count = np.zeros(classes.shape, np.int32), 0
            for number in range(1, len(self._parameters.labels) + 1):
                some, more = components(classes == number)
                found[some > 0] = some[some > 0] + count
                count += more
        return large_enough(found, count, min_area, self._parameters.min_area_share)

    def _result(
        self, told: Mapping[str, Any], labels: Array, regions: Sequence[Region]
    ) -> SegmentationResult:
        given, size = self._parameters.labels, labels.shape
        instances = [
            Instance(
                id=region.number, label=given[region.label].id, area=region.area, box=region.box,
                centroid=region.centroid, probability=min(1.0, max(0.0, region.probability)),
                rle=RunLengths(size=size, counts=counts),
            )
            for region, counts in zip(regions, run_lengths(labels, regions), strict=True)
        ]  # fmt: skip
        areas = [
            self._class_area(
                number, [region.area for region in regions if region.label == number], labels.size
            )
            for number in range(len(given))
        ]
        return SegmentationResult(
            **told,
            count=len(regions),
            instances=instances,
            classes=areas,
            abstained=False,
            abstain_reason=None,
        )

    def _class_area(self, number: int, areas: Sequence[int], pixels: int) -> ClassArea:
        label, area = self._parameters.labels[number], sum(areas)
        coding = Coding(system=label.system, code=label.code) if label.system and label.code else None
        return ClassArea(
            label=label.id,
            display=label.display,
            code=coding,
            instances=len(areas),
            area=area,
            share=area / pixels,
        )


def levels(parameters: SegmentationParameters, pixels: Array) -> Array:
    """What the graph is fed for each sample of an image uint8 [H,W,C]: float32 [C,256].

    With percentiles, the samples between these two of all samples of the image become 0 to 1, as in Caicedo et al. 2019
    (Nat Methods 16:1247), and an image whose median is above the middle is inverted, if asked; else 0 to 255 do.
    """
    table = np.arange(256, dtype=np.float32)
    if parameters.percentiles is None:
        table /= 255
    else:
        least, most = parameters.percentiles
        low, median, high = np.percentile(pixels, [least, 50, most])
        width = max(high - low, parameters.least_contrast)
        table = np.clip((table - np.float32(low)) / np.float32(width), 0, 1)
        if parameters.invert_bright and (median - low) / width > 0.5:
            table = 1 - table
    mean, std = (
        np.resize(np.array(values, np.float32), parameters.channels)[:, None]
        for values in (parameters.mean, parameters.std)
    )
    found: Array = (table - mean) / std
    return found


def _abstained(told: Mapping[str, Any], reason: str) -> SegmentationResult:
    return SegmentationResult(
        **told, count=None, instances=None, classes=None, abstained=True, abstain_reason=reason
    )


def _files(
    names: Sequence[FileName], image: Image.Image, labels: Array, regions: Sequence[Region]
) -> list[Artifact]:
    """The files that a job asked for."""
    drawn: dict[FileName, Callable[[], Artifact]] = {
        "labels": lambda: mask_pictures.label_map(labels),
        "mask": lambda: mask_pictures.class_mask(
            np.array([0, *(each.label + 1 for each in regions)])[labels]
        ),
        "overlay": lambda: mask_pictures.overlay(image, labels),
    }
    return [draw() for name, draw in drawn.items() if name in names]


def _sigmoid(values: Array) -> Array:
    with np.errstate(over="ignore"):
        found: Array = 1 / (1 + np.exp(-values))
    return found


def _softmax(values: Array) -> Array:
    exps = np.exp(values - values.max(axis=1, keepdims=True))
    found: Array = exps / exps.sum(axis=1, keepdims=True)
    return found
