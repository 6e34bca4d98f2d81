"""`object-detection`: one PNG, JPEG or DICOM file in; the things that are seen on it out: their boxes, classes and counts.

The graph takes `image` float32 [N,C,H,W] (see image_feed), to whose size the whole image is brought: stretched, or padded to
its proportions. See detections for the forms of its answer. Overlapping boxes are suppressed in the graph, by ONNX's
NonMaxSuppression, but for the form `raw`, where it is done here. Boxes are answered in pixels of the image as it was sent,
turned upright if its orientation (Exif) says so, and cut off at its edges; a box that lies outside is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from models.lazy import np
from models.manifest import MODEL
from models.pipelines.classification import NOVELTY
from models.pipelines.contract import Artifact, GraphSpec, Label, PredictionInvalid, Run, TensorSpec
from models.pipelines.detection_types import (
    MOST,
    Box,
    Detection,
    DetectionOptions,
    DetectionParameters,
    DetectionResult,
)
from models.pipelines.detections import (
    Candidates,
    NotBoxes,
    candidates,
    in_edges,
    output_specs,
    suppressed,
)
from models.pipelines.overlays import OVERLAY, colour_of, overlay_canvas, png_artifact
from models.pipelines.schema_columns import COLUMN
from models.pipelines.typed import TypedCase
from models.pipelines.typed_classification import Coding
from models.pipelines.typed_image import ImageInput, TypedImagePipeline

if TYPE_CHECKING:
    from PIL import Image

    from models.pipelines.contract import Array
    from models.pipelines.image_fitting import Area

_ROUNDING: Final = 1e-4  # how far a score may leave [0, 1]

Case = TypedCase[ImageInput, DetectionOptions]


class ObjectDetection(TypedImagePipeline[DetectionParameters, DetectionResult, DetectionOptions]):
    """The pipeline. Immutable once made."""

    @property
    def least_side(self) -> int:
        """See TypedImagePipeline."""
        return self.parameters.smallest

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See the module."""
        given = self.parameters
        novelty = () if given.novelty is None else (TensorSpec(NOVELTY, "float32", (1,)),)
        feed = TensorSpec("image", "float32", given.shape, lone=given.output == "lists")
        return {MODEL: GraphSpec((feed,), (*output_specs(given.output, len(given.labels)), *novelty))}

    def labels(self) -> list[Label]:
        """The classes, in the graph's order."""
        return [Label(each.id, each.display, each.system, each.code) for each in self.parameters.labels]

    def result_schema(self) -> dict[str, object]:
        """See Pipeline: with the classes that are counted."""
        schema: dict[str, Any] = super().result_schema()
        ids = [label.id for label in self.parameters.labels]
        counts = {
            "type": ["object", "null"],
            "properties": {name: {"type": "integer", "minimum": 0} for name in ids},
            "required": ids,
            "additionalProperties": False,
            COLUMN: "count",
        }
        return {**schema, "properties": {**schema["properties"], "counts": counts}}

    def open_bundle(self, folder: Path) -> Finder:  # noqa: ARG002 - it needs no file but the graph
        """See TypedPipeline."""
        return Finder(self)


class Seen(NamedTuple):
    """What is kept of an image while the graph runs: its size, where the graph sees it, a copy to draw on and its scale."""

    size: tuple[int, int]
    area: Area
    canvas: tuple[Image.Image, float] | None


class Found(NamedTuple):
    """The boxes of an image in pixels of the graph, and whether the image is unlike the training data."""

    boxes: Candidates
    novel: bool


class Finder:
    """What scores: images of any sizes in one run, which a graph of `lists` has for each image."""

    def __init__(self, pipeline: ObjectDetection) -> None:
        self._pipeline = pipeline
        self._parameters = pipeline.parameters
        self._thresholds = np.array([label.threshold for label in pipeline.parameters.labels])

    def score(self, run: Run, cases: Sequence[Case]) -> list[tuple[DetectionResult, tuple[Artifact, ...]]]:
        """See TypedScoring. Raises PredictionInvalid for images of which the graph answers what cannot be boxes."""
        images = np.empty((len(cases), *self._parameters.shape), np.float32)
        seen = [self._prepared(row, case, images) for row, case in enumerate(cases)]
        self._parameters.standardize(images)
        alone = self._parameters.output == "lists"
        found, wrong, outputs = list[Found](), dict[int, str](), {} if alone else run({"image": images})
        for row, case in enumerate(cases):
            given = run({"image": images[row : row + 1]}) if alone else outputs
            try:
                read = candidates(self._parameters.output, given, row, len(cases))
                novel = self._is_novel(given, 0 if alone else row)
                found.append(Found(self._chosen(read, case.options), novel))
            except NotBoxes as error:
                wrong[row] = str(error)
        if wrong:
            raise PredictionInvalid(tuple(wrong), next(iter(wrong.values())))
        return [self._answer(*each) for each in zip(found, seen, cases, strict=True)]

    def _prepared(self, row: int, case: Case, images: Array) -> Seen:
        """Write the pixels of a case into `images`."""
        from models.pipelines.image_fitting import Fitting  # Pillow, when there is a file

        given = self._parameters
        pixels = self._pipeline.pixels(row, case.input)
        height, width = given.sides
        fitting = Fitting(width, height, given.fit, given.filter, None, given.padding)
        images[row] = given.samples(fitting(pixels))
        return Seen(
            pixels.size, fitting.area(pixels.size), overlay_canvas(pixels) if case.options.overlay else None
        )

    def _chosen(self, read: Candidates, options: DetectionOptions) -> Candidates:
        """The boxes of an image from the threshold on, the best first, in pixels of the graph. Raises NotBoxes."""
        given = self._parameters
        if not np.isfinite(read.scores).all():
            raise NotBoxes("a score is not a finite number")
        if len(read.scores) and not -_ROUNDING <= read.scores.min() <= read.scores.max() <= 1 + _ROUNDING:
            raise NotBoxes("a score is not between 0 and 1: end the graph with a sigmoid or a softmax")
        labels = read.labels - given.first_label
        known = (labels >= 0) & (labels < len(given.labels))
        least = np.where(known, self._thresholds[np.where(known, labels, 0)], self._thresholds.min())
        chosen = read.scores >= (least if options.score_threshold is None else options.score_threshold)
        if not known[chosen].all():
            raise NotBoxes(
                "a box has a label beyond `labels`: list every class of the graph, and see first_label"
            )
        kept = Candidates(self._edges(read.edges[chosen]), read.scores[chosen], labels[chosen])
        if given.output == "raw":
            kept = suppressed(kept, given.suppression)
        return kept.only(np.argsort(-kept.scores, kind="stable"))

    def _edges(self, boxes: Array) -> Array:
        """Boxes [k,4] as the graph writes them -> edges in pixels of its image. Raises NotBoxes."""
        if not np.isfinite(boxes).all():
            raise NotBoxes("a box is not of finite numbers")
        edges = in_edges(boxes, self._parameters.box_format)
        if (edges[:, 2:] < edges[:, :2]).any():
            raise NotBoxes("a box ends before it begins: compare box_format with the graph")
        height, width = self._parameters.sides
        return edges * np.array([width, height] * 2) if self._parameters.relative else edges

    def _is_novel(self, outputs: Mapping[str, Array], row: int) -> bool:
        if (novelty := self._parameters.novelty) is None:
            return False
        found = np.asarray(outputs[NOVELTY], np.float64).reshape(-1)
        if row >= len(found) or not np.isfinite(found[row]):
            raise NotBoxes("the novelty is not a finite number")
        return bool(found[row] >= novelty.limit)

    def _answer(self, found: Found, seen: Seen, case: Case) -> tuple[DetectionResult, tuple[Artifact, ...]]:
        given, novel = self._parameters, found.novel
        most = min(case.options.max_detections or MOST, given.max_detections)
        placed = self._placed(found.boxes, seen)
        kept = placed.only(np.arange(min(most, len(placed.scores))))
        listed = [] if novel else [self._detection(*each) for each in zip(*kept, strict=True)]
        counts = np.bincount(kept.labels, minlength=len(given.labels)).tolist()
        result = DetectionResult(
            width=seen.size[0],
            height=seen.size[1],
            detections=None if novel else listed,
            counts=None if novel else {label.id: counts[row] for row, label in enumerate(given.labels)},
            truncated=not novel and len(placed.scores) > most,
            abstained=novel,
            abstain_reason=given.novelty.reason if novel and given.novelty else None,
        )
        if seen.canvas is None:
            return result, ()
        return result, (png_artifact(OVERLAY, self._drawn(listed, *seen.canvas)),)

    def _placed(self, boxes: Candidates, seen: Seen) -> Candidates:
        """In pixels of the image as it was sent, cut off at its edges; without those that lie outside."""
        left, top, width, height = seen.area
        across, down = seen.size
        edges = (boxes.edges - [left, top] * 2) * ([across / width, down / height] * 2)
        edges = np.clip(edges, 0, [across, down] * 2)
        return Candidates(edges, boxes.scores, boxes.labels).only(np.all(edges[:, 2:] > edges[:, :2], axis=1))

    def _detection(self, edges: Array, score: float, label: int) -> Detection:
        told = self._parameters.labels[label]
        left, top, right, bottom = edges.tolist()
        return Detection(
            label=told.id,
            display=told.display,
            code=Coding(system=told.system, code=told.code) if told.system and told.code else None,
            score=min(max(float(score), 0.0), 1.0),
            box=Box(left=left, top=top, right=right, bottom=bottom),
        )

    def _drawn(self, listed: Sequence[Detection], canvas: Image.Image, scale: float) -> Image.Image:
        """The boxes with the ids of their classes, drawn on the copy; nothing where the model abstained."""
        from PIL import ImageDraw

        draw = ImageDraw.Draw(canvas)
        line = max(1, round(max(canvas.size) / 400))
        ids = [label.id for label in self._parameters.labels]
        for each in reversed(listed):  # the best on top
            colour = colour_of(ids.index(each.label))
            box = each.box
            draw.rectangle(
                [scale * edge for edge in (box.left, box.top, box.right, box.bottom)],
                outline=colour,
                width=line,
            )
            draw.text((scale * box.left + line + 1, scale * box.top + line), each.label, fill=colour)
        return canvas


load = ObjectDetection.load
