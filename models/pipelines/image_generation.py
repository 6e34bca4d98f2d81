"""`image-generation`: a class and a seed in, pictures that the model makes up out, each marked as synthetic.

The graph takes `noise` float32 [N,...], standard normal numbers that the pipeline draws from the seed, and `label` int64 [N],
the class's place among `labels`, and gives `image` float32 [N,C,H,W]: a VAE's decoder, a GAN's generator, or a diffusion model
with its steps inside. A graph of one class may lack `label`.

Each picture has a seed of its own (that of the job, the next one, ...) and a run of its own, so it has the same pixels alone,
among others of its job or of its batch, and in any order. There is nothing to abstain from: an input is a class and a number.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, create_model, model_validator

from models.field_codes import FieldCode
from models.lazy import np
from models.manifest import MODEL, ManifestTable, ModelManifest, Text
from models.pipelines.classification_parameters import LabelParameters, Share
from models.pipelines.contract import (
    Artifact,
    FieldFault,
    GraphSpec,
    InputRejected,
    Label,
    PredictionInvalid,
    ReadFile,
    Run,
    TensorSpec,
    pointer_to,
)
from models.pipelines.image_feed import Side
from models.pipelines.seeded_noise import LARGEST_SEED, normal_noise
from models.pipelines.synthetic_marks import synthetic_png
from models.pipelines.typed import TypedCase, TypedInput, TypedOptions, TypedPipeline, TypedResult

if TYPE_CHECKING:
    from models.pipelines.contract import Array

NOISE: Final = "noise"
LABEL: Final = "label"
IMAGE: Final = "image"
MOST_NOISE: Final = 4_000_000
DECIMALS: Final = 6

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Level = Annotated[float, Field(ge=-1000, le=1000)]


class ImageGenerationParameters(ManifestTable):
    """The `[parameters]` table of an image generation manifest."""

    labels: Annotated[tuple[LabelParameters, ...], Field(min_length=1, max_length=1000, strict=False)]
    width: Side
    height: Side
    channels: Literal[1, 3] = 1
    noise: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...],
        Field(min_length=1, max_length=4, strict=False, description="shape of the noise of one picture"),
    ]
    black: Level = 0.0
    white: Level = 1.0
    max_count: Annotated[int, Field(ge=1, le=64, description="most pictures of a job")] = 16
    notice: Text = "Made up by a model: it shows no patient and is no finding."

    @model_validator(mode="after")
    def _check_generation(self) -> Self:
        ids = [label.id for label in self.labels]
        if len(set(ids)) < len(ids):
            raise ValueError("labels: give each label its own id")
        if self.black == self.white:
            raise ValueError("black and white must differ")
        if prod(self.noise) > MOST_NOISE:
            raise ValueError(f"noise: at most {MOST_NOISE:,} numbers for a picture")
        if not self.notice.isascii():
            raise ValueError("notice: write it in ASCII, because it goes into the metadata of files")
        return self


class GenerationInput(TypedInput):
    """What to draw; the manifest names the classes, and limits the count."""

    label: str
    seed: int
    count: int


class ImageGenerationOptions(TypedOptions):
    """How the pictures are handed over."""

    inline: bool = Field(
        False,
        description="true: as base64 in the answer; false: as files of the answer, which a batch does not keep",
    )


class GeneratedImage(TypedResult):
    """One picture."""

    seed: int = Field(description="which alone gives the same picture again")
    file: str | None = Field(description="the artifact's name")
    data: str | None = Field(description="the PNG file in base64, if it was asked for inline")
    brightness: Share = Field(description="mean of its pixels; 0 is black, 1 is white")
    contrast: Share = Field(description="standard deviation of its pixels")


class ImagesGenerated(TypedResult):
    """Pictures that show nobody."""

    type: Literal["image-generation"] = "image-generation"
    synthetic: Literal[True] = True
    notice: str
    label: str
    display: str
    seed: int = Field(description="of the first picture; the others have the next ones")
    count: int
    width: int = Field(description="of each picture, in pixels")
    height: int
    images: list[GeneratedImage]


Case = TypedCase[GenerationInput, ImageGenerationOptions]


class ImageGeneration(
    TypedPipeline[ImageGenerationParameters, GenerationInput, ImagesGenerated, ImageGenerationOptions]
):
    """The pipeline. Immutable once made."""

    model: str

    @classmethod
    def load(cls, manifest: ModelManifest, read: ReadFile) -> Self:
        """See TypedPipeline. Every file names the model and its version."""
        made = super().load(manifest, read)
        made.model = f"{manifest.name} {manifest.version}"
        return made

    def prepare(self, read: ReadFile) -> None:  # noqa: ARG002 - it has no side files
        """Make the input's type of the manifest's classes and limit."""
        ids, most = tuple(label.id for label in self.parameters.labels), self.parameters.max_count
        fields: dict[str, Any] = {
            "label": (Literal[ids], Field(description="class of what is drawn", examples=[ids[0]])),
            "seed": (Seed, Field(description="the same gives the same pictures", examples=[7])),
            "count": (
                Annotated[int, Field(ge=1, le=most)],
                Field(1, description="pictures, with the seed and those that follow it"),
            ),
        }
        self.input_type = create_model("GenerationInput", __base__=GenerationInput, **fields)

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See the module."""
        given = self.parameters
        feeds = (
            TensorSpec(NOISE, "float32", given.noise, lone=True),
            TensorSpec(LABEL, "int64", (), lone=True, optional=len(given.labels) == 1),
        )
        image = TensorSpec(IMAGE, "float32", (given.channels, given.height, given.width))
        return {MODEL: GraphSpec(feeds, (image,))}

    def labels(self) -> list[Label]:
        """The classes that can be drawn, in the graph's order."""
        return [Label(**label.model_dump()) for label in self.parameters.labels]

    def check(self, value: GenerationInput) -> None:
        """See TypedPipeline: the last picture has a seed, too."""
        if value.seed + value.count - 1 > LARGEST_SEED:
            detail = f"seed + count - 1 is the last picture's seed, at most {LARGEST_SEED}: send a smaller seed or count."
            raise InputRejected(FieldFault(pointer_to("seed"), FieldCode.OUT_OF_RANGE, detail))

    def open_bundle(self, folder: Path) -> Generator:  # noqa: ARG002 - it needs no file but the graph
        """See TypedPipeline."""
        return Generator(self.parameters, self.model)


class Generator:
    """What draws."""

    def __init__(self, parameters: ImageGenerationParameters, model: str) -> None:
        self._parameters = parameters
        self._model = model
        self._places = {label.id: place for place, label in enumerate(parameters.labels)}

    def score(self, run: Run, cases: Sequence[Case]) -> list[tuple[ImagesGenerated, list[Artifact]]]:
        """See TypedScoring."""
        return [self._answer(run, row, case) for row, case in enumerate(cases)]

    def _answer(self, run: Run, row: int, case: Case) -> tuple[ImagesGenerated, list[Artifact]]:
        asked, given = case.input, self._parameters
        label = given.labels[self._places[asked.label]]
        images, files = list[GeneratedImage](), list[Artifact]()
        for seed in range(asked.seed, asked.seed + asked.count):
            pixels = self._pixels(run, row, label.id, seed)
            file = synthetic_png(seed, label.id, pixels, {"Source": self._model, "Disclaimer": given.notice})
            inline = case.options.inline
            images.append(
                GeneratedImage(
                    seed=seed,
                    file=None if inline else file.name,
                    data=base64.b64encode(file.content).decode() if inline else None,
                    brightness=round(float(pixels.mean()) / 255, DECIMALS),
                    contrast=round(float(pixels.std()) / 255, DECIMALS),
                )
            )
            files += [] if inline else [file]
        result = ImagesGenerated(
            notice=given.notice,
            label=label.id,
            display=label.display,
            seed=asked.seed,
            count=asked.count,
            width=given.width,
            height=given.height,
            images=images,
        )
        return result, files

    def _pixels(self, run: Run, row: int, label: str, seed: int) -> Array:
        """One picture, uint8 [H,W] or [H,W,3], in a run of its own. Raises PredictionInvalid."""
        given = self._parameters
        place = np.array([self._places[label]], np.int64)
        drawn = run({NOISE: normal_noise(seed, given.noise)[np.newaxis], LABEL: place})[IMAGE][0]
        if not np.isfinite(drawn).all():
            raise PredictionInvalid((row,), "the graph gave a picture with NaN or infinite pixels")
        levels = np.clip((drawn.astype(np.float64) - given.black) / (given.white - given.black), 0, 1)
        grey = np.rint(levels * 255).astype(np.uint8)
        return np.ascontiguousarray(grey[0] if given.channels == 1 else grey.transpose(1, 2, 0))


load = ImageGeneration.load
