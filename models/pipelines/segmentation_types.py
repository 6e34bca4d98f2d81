"""What a manifest says of a segmentation, what a job may ask of it, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator

from models.manifest import ManifestTable
from models.pipelines.classification_parameters import LabelParameters, Novelty, Share
from models.pipelines.image_feed import Numbers, Side
from models.pipelines.image_intake import ImageFileParameters
from models.pipelines.image_tiles import Tiling
from models.pipelines.typed import TypedCase, TypedOptions, TypedResult
from models.pipelines.typed_classification import Coding
from models.pipelines.typed_image import ImageInput

if TYPE_CHECKING:
    from typing import Self

IMAGE: Final = "image"
CENTRE: Final = "centre"
NOVELTY: Final = "novelty"
MOST_INSTANCES: Final = 65_535  # numbers of a label map of 16 bits
FileName = Literal["labels", "mask", "overlay"]


class InstanceParameters(ManifestTable):
    """How the pixels of a class become instances.

    `components`: those that touch, diagonally too, are one. `seeds`: the graph's `centre` tells instances that touch
    apart; see instances.seeded.
    """

    rule: Literal["components", "seeds"] = "components"
    seed: Share = 0.5
    smallest_seed: Annotated[int, Field(ge=1, le=10_000)] = 1


class SegmentationParameters(ImageFileParameters):
    """The `[parameters]` table of an image segmentation manifest."""

    labels: Annotated[tuple[LabelParameters, ...], Field(min_length=1, max_length=255, strict=False)]
    output: Literal["probabilities", "logits"] = "probabilities"
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    tile: Annotated[int, Field(ge=16, le=2048)] = 256
    multiple: Annotated[int | None, Field(ge=1, le=2048)] = None
    overlap: Annotated[int, Field(ge=0, le=1024)] = 32
    tiles_per_run: Annotated[int, Field(ge=1, le=64)] = 4
    smallest: Side = 16
    max_pixels: int = Field(4_194_304, ge=1, le=40_000_000, description="most pixels of a file")
    percentiles: Annotated[
        tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]] | None,
        Field(strict=False),
    ] = None
    least_contrast: Annotated[int, Field(ge=1, le=255)] = 1
    invert_bright: bool = False
    mean: Numbers = (0.0,)
    std: Numbers = (1.0,)
    threshold: Share = 0.5
    min_area: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    min_area_share: Share = 0.0
    max_instances: Annotated[int, Field(ge=1, le=MOST_INSTANCES)] = 10_000
    instances: InstanceParameters = Field(default_factory=InstanceParameters)
    novelty: Novelty | None = None

    @model_validator(mode="after")
    def _check_segmentation(self) -> Self:
        ids = [label.id for label in self.labels]
        if len(set(ids)) < len(ids):
            raise ValueError("labels: give each label its own id")
        if any(len(values) not in {1, self.channels} for values in (self.mean, self.std)):
            raise ValueError("mean and std: give one number, or one for each channel")
        if min(self.std) <= 0:
            raise ValueError("std must be greater than 0")
        if self.percentiles is not None and self.percentiles[0] >= self.percentiles[1]:
            raise ValueError("percentiles: give the lower one first")
        if self.percentiles is None and (self.invert_bright or self.least_contrast > 1):
            raise ValueError("invert_bright and least_contrast are for percentiles: give those, too")
        if self.overlap > self.tile // 2:
            raise ValueError("overlap must not exceed half of tile")
        if self.multiple is not None and self.tile % self.multiple:
            raise ValueError("tile must be a multiple of multiple")
        return self

    @property
    def tiling(self) -> Tiling:
        """How an image is cut."""
        return Tiling(self.tile, self.multiple or self.tile, self.overlap, self.tiles_per_run)


class SegmentationOptions(TypedOptions):
    """What a job may ask for; the manifest's pipeline gives the numbers their defaults."""

    threshold: float
    min_area: int
    overlap: int
    files: tuple[FileName, ...]


class RunLengths(TypedResult):
    """A mask as runs of pixels, column by column, outside and inside by turns: COCO's uncompressed RLE."""

    size: tuple[int, int] = Field(description="height and width of the image")
    counts: list[int] = Field(
        description="lengths of the runs; the first one is outside, perhaps of 0 pixels"
    )


class Instance(TypedResult):
    """One region of a class, in pixels of the upright image."""

    id: int = Field(description="its number in the label map, from 1 in the order of the first pixels")
    label: str
    area: int = Field(description="its pixels")
    box: tuple[int, int, int, int] = Field(description="left, top, width, height")
    centroid: tuple[float, float] = Field(
        description="x and y of the mean of its pixels, from the centre of the first"
    )
    probability: float = Field(description="mean over its pixels of the probability of their class")
    rle: RunLengths


class ClassArea(TypedResult):
    """What was found of a class."""

    label: str
    display: str
    code: Coding | None
    instances: int
    area: int = Field(description="pixels of its instances")
    share: float = Field(description="of all pixels")


class SegmentationResult(TypedResult):
    """The instances and the classes of an image. Both are null when the model abstained."""

    type: Literal["image-segmentation"] = "image-segmentation"
    width: int = Field(description="of the image turned upright, in pixels")
    height: int
    count: int | None = Field(description="of instances")
    instances: list[Instance] | None
    classes: list[ClassArea] | None
    threshold: float
    min_area: int
    novelty: float | None = Field(
        description="null where the model has no detector of images unlike its training data"
    )
    abstained: bool
    abstain_reason: str | None


Case = TypedCase[ImageInput, SegmentationOptions]
