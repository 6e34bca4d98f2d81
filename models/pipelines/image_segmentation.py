"""`image-segmentation`: one PNG, JPEG or DICOM file in; which pixels belong to which class, and each instance of it, out.

The graph takes `image` float32 [N,C,h,w], tiles of the image (see image_tiles), and gives `probabilities` or `logits`
[N,K,h,w]: a map for each label or, with `activation = "softmax"`, one for the background before them. With instances by seeds
it gives `centre` [N,1,h,w], too: high in the middle of an instance and low where two touch; with `novelty`, `novelty` [N,1] of
each tile, whose mean over the tiles is the image's. The stored input is the file as it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, create_model

from models.manifest import MODEL
from models.pipelines.classification_parameters import Share
from models.pipelines.contract import (
    ANY_LENGTH,
    GraphSpec,
    Label,
    ReadFile,
    TensorSpec,
)
from models.pipelines.segmentation_scoring import Segmenter
from models.pipelines.segmentation_types import (
    CENTRE,
    IMAGE,
    NOVELTY,
    FileName,
    SegmentationOptions,
    SegmentationParameters,
    SegmentationResult,
)
from models.pipelines.typed_image import TypedImagePipeline


class ImageSegmentation(TypedImagePipeline[SegmentationParameters, SegmentationResult, SegmentationOptions]):
    """The pipeline. Immutable once made."""

    def prepare(self, read: ReadFile) -> None:  # noqa: ARG002 - it has no side files
        """Give the options the manifest's defaults and limits."""
        given = self.parameters
        fields: dict[str, Any] = {
            "threshold": (
                Share,
                Field(given.threshold, description="least probability of a pixel that belongs to a class"),
            ),
            "min_area": (
                Annotated[int, Field(ge=1, le=1_000_000)],
                Field(given.min_area, description="least pixels of an instance"),
            ),
            "overlap": (
                Annotated[int, Field(ge=0, le=given.tile // 2)],
                Field(given.overlap, description="pixels that neighbouring tiles share at least"),
            ),
            "files": (
                Annotated[tuple[FileName, ...], Field(max_length=3, strict=False)],
                Field(
                    (),
                    description="files of the answer: label map, mask of classes, overlay; a batch keeps none",
                ),
            ),
        }
        self.options_type = create_model("SegmentationOptions", __base__=SegmentationOptions, **fields)

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See the module."""
        given = self.parameters
        sides = (given.tile,) * 2 if given.multiple is None else (ANY_LENGTH,) * 2
        maps = len(given.labels) + (given.activation == "softmax")
        outputs = [TensorSpec(given.output, "float32", (maps, *sides))]
        if given.instances.rule == "seeds":
            outputs.append(TensorSpec(CENTRE, "float32", (1, *sides)))
        if given.novelty is not None:
            outputs.append(TensorSpec(NOVELTY, "float32", (1,)))
        return {MODEL: GraphSpec((TensorSpec(IMAGE, "float32", (given.channels, *sides)),), tuple(outputs))}

    def labels(self) -> list[Label]:
        """The classes, in the order of the graph's maps."""
        return [Label(**label.model_dump()) for label in self.parameters.labels]

    @property
    def least_side(self) -> int:
        """How many pixels each side of a file must have."""
        return self.parameters.smallest

    def open_bundle(self, folder: Path) -> Segmenter:  # noqa: ARG002 - it needs no file but the graph
        """See TypedPipeline."""
        return Segmenter(self.parameters, self.pixels)


load = ImageSegmentation.load
