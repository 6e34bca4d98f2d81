"""The parameters, options and results of object detection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator

from models.manifest import Text
from models.pipelines.classification_parameters import LabelParameters, Novelty, Share
from models.pipelines.detections import BoxFormat, Form
from models.pipelines.image_feed import ImageFeedParameters, Side
from models.pipelines.typed import TypedOptions, TypedResult
from models.pipelines.typed_classification import Coding

if TYPE_CHECKING:
    from typing import Self

MOST: Final = 5000
Score = Annotated[float, Field(gt=0, le=1)]


class DetectionLabel(LabelParameters):
    """One class of things: from which score on it is answered, and what share is then found, and right."""

    threshold: Score = 0.5
    sensitivity: Share | None = None
    ppv: Share | None = None


class DetectionParameters(ImageFeedParameters):
    """The `[parameters]` table of an object detection manifest."""

    labels: Annotated[tuple[DetectionLabel, ...], Field(min_length=1, max_length=1000, strict=False)]
    threshold_source: Text | None = None
    fit: Literal["stretch", "pad"] = "stretch"
    padding: Annotated[int, Field(ge=0, le=255)] = 114
    smallest: Side = 16
    output: Form = "boxes"
    box_format: BoxFormat = "xyxy"
    relative: bool = False
    first_label: Annotated[int, Field(ge=0, le=1)] = 0
    suppression: Annotated[float, Field(gt=0, lt=1)] = 0.5
    max_detections: Annotated[int, Field(ge=1, le=MOST)] = 300
    novelty: Novelty | None = None

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if len({label.id for label in self.labels}) < len(self.labels):
            raise ValueError("labels: give each label its own id")
        if self.output == "raw" and self.first_label:
            raise ValueError("first_label: what is raw has no numbers of labels: remove it")
        return self


class DetectionOptions(TypedOptions):
    """What a job may ask for."""

    score_threshold: Annotated[
        Score | None,
        Field(title="Least score", description="of every class, in place of the thresholds of the model"),
    ] = None
    max_detections: Annotated[
        int | None,
        Field(title="Most boxes", description="no more than the model's own limit", ge=1, le=MOST),
    ] = None
    overlay: Annotated[
        bool, Field(title="Picture", description="adds the file overlay.png: the image with its boxes")
    ] = False


class Box(TypedResult):
    """Edges in pixels of the upright image, from its left upper corner."""

    left: Annotated[float, Field(ge=0)]
    top: Annotated[float, Field(ge=0)]
    right: Annotated[float, Field(ge=0)]
    bottom: Annotated[float, Field(ge=0)]


class Detection(TypedResult):
    """One thing that was found."""

    label: str
    display: str
    code: Coding | None
    score: Share
    box: Box


class DetectionResult(TypedResult):
    """What was found, the best score first; null when the model abstained. `counts` has every class."""

    type: Literal["detections"] = "detections"
    width: Annotated[int, Field(description="pixels of the image, upright")]
    height: int
    detections: list[Detection] | None
    counts: dict[str, int] | None
    truncated: Annotated[
        bool, Field(description="more was found than may be answered; counts are of the answered")
    ]
    abstained: bool
    abstain_reason: str | None
