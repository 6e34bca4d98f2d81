"""`image-classification`: one PNG, JPEG or DICOM file in, one of a few classes out.

The graph takes `image` float32 [N,C,H,W], or [N,H,W,C] with `layout = "NHWC"`; see classification for its outputs. Samples from
0 to 255 become (sample / 255 - mean) / std, so 0 to 1 unless the manifest says otherwise. The stored input is the file as it
was sent, so that it can be shown again. See image_intake for the files that are taken, and image_fitting for their size.

By default the central square of an image, as wide as its short edge, is resized to S x S with Pillow's antialiased bicubic
filter; an image of S x S is used unchanged. MedMNIST made its images in the same two steps (see its on_medmnist_plus.md, which
does not name the filter), so larger files give images similar but not equal to its images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator

from models.lazy import np
from models.manifest import ModelManifest, parse_parameters
from models.pipelines import Answer, Case, InputRejected, ReadFile, RowFault, Run, TensorSpec
from models.pipelines.classification_parameters import ClassificationParameters
from models.pipelines.classification_pipeline import ClassificationPipeline
from models.pipelines.image_feed import ImageFeedParameters, Side
from models.pipelines.image_intake import ImageIntake, shown
from models.pipelines.image_reading import reader

if TYPE_CHECKING:
    from typing import Self

    from models.pipelines import Array
    from models.pipelines.image_fitting import Fitting


SYNTHETIC: Final = "synthetic"


class ImageParameters(ImageFeedParameters, ClassificationParameters):
    """The `[parameters]` table of an image classification manifest."""

    fit: Literal["crop", "pad", "stretch"] = "crop"
    shorter_side: Annotated[int | None, Field(ge=1, le=4096)] = None
    padding: Annotated[int, Field(ge=0, le=255)] = 0
    smallest: Side | None = None

    @model_validator(mode="after")
    def _check_image(self) -> Self:
        if self.shorter_side is not None and (self.fit != "crop" or self.shorter_side < max(self.sides)):
            raise ValueError(
                'shorter_side is for `fit = "crop"`, and at least as long as each side of the graph'
            )
        height, width = self.sides
        if (taken := self.proportions) and not taken.narrowest <= width / height <= taken.widest:
            raise ValueError("proportions must include those of size")
        return self

    @property
    def least_side(self) -> int:
        """How many pixels each side of a file must have."""
        return max(self.sides) if self.smallest is None else self.smallest


class ImageClassification(ClassificationPipeline):
    """The pipeline. Immutable after construction, so every thread may use one instance."""

    binary: Final = True

    def __init__(self, parameters: ImageParameters) -> None:
        super().__init__(parameters, TensorSpec("image", "float32", parameters.shape))
        self._parameters = parameters
        self._intake = ImageIntake(parameters, parameters.least_side)

    def encode(self, value: object) -> bytes:
        """Check one file by decoding all of it; returns its bytes unchanged. Raises InputRejected."""
        return self._intake.check(value)

    def decode(self, payload: bytes) -> dict[str, str]:
        """The stored file as it was sent, in base64."""
        return shown(payload)

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """See Scoring. The result of a picture that its file says is made up has `synthetic`: it is no finding of a patient."""
        answers = super().score(run, cases)
        return [
            answer._replace(result={**answer.result, SYNTHETIC: True})
            if reader().header(case.payload).synthetic
            else answer
            for case, answer in zip(cases, answers, strict=True)
        ]

    def preprocess(self, payloads: Sequence[bytes]) -> dict[str, Array]:
        """n stored files -> {"image": float32 [n,C,H,W] or [n,H,W,C]}. Raises RowFault."""
        rows = np.empty((len(payloads), *self._parameters.shape), dtype=np.float32)
        index = 0
        while index < len(payloads):
            for found in self.preprocess_files(payloads[index:]):
                if isinstance(found, InputRejected):
                    raise RowFault(index, found.faults[0])
                rows[index] = found["image"]
                index += 1
        return self.finish_files({"image": rows})

    def preprocess_files(self, contents: Sequence[bytes]) -> list[dict[str, Array] | InputRejected]:
        """The first files, at least one -> {"image": uint8 [C,H,W] or [H,W,C]} of each, or why it has none."""
        return [
            found if isinstance(found, InputRejected) else {"image": self._parameters.laid_out(found)}
            for found in reader().fitted(contents, self._intake, self._fitting)
        ]

    def finish_files(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """{"image": float32 in 0..255} -> the same as (x / 255 - mean) / std, in place."""
        self._parameters.standardize(feeds["image"])
        return feeds

    def extremes(self) -> list[bytes]:
        """See probing: black, white, halves, gratings, dots and noise, in grey and, where it is read, in each colour."""
        from PIL import Image

        height, width = self._parameters.sides
        side = self._parameters.least_side
        down, across = np.indices((max(height, side), max(width, side)))
        dots = np.random.default_rng(1).integers(0, 256, (4, *down.shape))
        edges = [
            (down >= down.shape[0] // 2),
            (across >= down.shape[1] // 2),
            down % 2,
            across % 2,
            (down + across) % 2,
            (down // 4) % 2,
        ]
        patterns = [
            np.zeros(down.shape), np.full(down.shape, 255), np.full(down.shape, 128),
            *(255 * edge for edge in edges), *(255 - 255 * edge for edge in edges),
            down * 255 // max(len(down) - 1, 1), *dots,
            *(255 * (dot > 240) for dot in dots), *(255 * (dot > 127) for dot in dots),
        ]  # fmt: skip
        pictures = [Image.fromarray(pattern.astype(np.uint8)) for pattern in patterns]
        if self._parameters.channels == 3:
            black = pictures[0]
            pictures += [
                Image.merge("RGB", [picture if band == index else black for band in range(3)])
                for picture in pictures[1:]
                for index in range(3)
            ]
        files = (self._intake.saved(picture) for picture in pictures)
        return [file for file in files if len(file) <= self._parameters.max_bytes]

    def further_extremes(self, outputs: Mapping[str, Array]) -> list[bytes]:  # noqa: ARG002 - see probing
        """See probing: none."""
        return []

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:
        """JSON Schema 2020-12 of one input: a file in base64, or the id of an upload."""
        height, width = (max(side, self._parameters.least_side) for side in self._parameters.sides)
        return {**self._intake.schema(most_bytes), "examples": [shown(self._intake.example(width, height))]}

    @property
    def _fitting(self) -> Fitting:
        """How pixels get the graph's size."""
        from models.pipelines.image_fitting import Fitting  # Pillow, when there is a file

        height, width = self._parameters.sides
        told = self._parameters
        return Fitting(width, height, told.fit, told.filter, told.shorter_side, told.padding)


def load(manifest: ModelManifest, read: ReadFile) -> ImageClassification:  # noqa: ARG001 - it has no side files
    """The pipeline of a manifest. Raises ManifestInvalid."""
    return ImageClassification(parse_parameters(ImageParameters, manifest))
