"""`image-classification`: one PNG or JPEG file in, one of a few classes out.

The graph takes `image` float32 [N,C,S,S] in 0..1; see classification for its outputs. The stored input is the file as it was
sent, so that it can be shown again. The central square of an image, as wide as its short edge, is resized to S x S with
Pillow's antialiased bicubic filter; an image of S x S is used unchanged. MedMNIST made its images in the same two steps (see
its on_medmnist_plus.md, which does not name the filter), so larger files give images similar but not equal to its images.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from models.field_codes import FieldCode
from models.lazy import np
from models.manifest import ModelManifest, parse_parameters
from models.pipelines import (
    FieldFault,
    InputRejected,
    ReadFile,
    RowFault,
    TensorSpec,
)
from models.pipelines.classification_parameters import ClassificationParameters
from models.pipelines.classification_pipeline import ClassificationPipeline
from models.pipelines.example_image import gray_jpeg, gray_png
from models.pipelines.image_header import ImageFile, ImageRefused
from models.pipelines.parts import only

if TYPE_CHECKING:
    from PIL import Image

    from models.pipelines import Array


class ImageParameters(ClassificationParameters):
    """The `[parameters]` table of an image classification manifest."""

    size: int = Field(ge=1, le=2048, description="side of the square the graph takes, in pixels")
    channels: Literal[1, 3] = Field(1, description="1 for grey, 3 for RGB")
    max_pixels: int = Field(40_000_000, ge=1, le=200_000_000, description="most pixels of a file")
    max_bytes: int = Field(20_000_000, ge=1, le=1_000_000_000, description="most bytes of a file")
    formats: Annotated[tuple[Literal["PNG", "JPEG"], ...], Field(min_length=1, strict=False)] = (
        "PNG",
        "JPEG",
    )


class ImageClassification(ClassificationPipeline):
    """The pipeline. Immutable after construction, so every thread may use one instance."""

    binary: Final = True

    def __init__(self, parameters: ImageParameters) -> None:
        size = parameters.size
        super().__init__(parameters, TensorSpec("image", "float32", (parameters.channels, size, size)))
        self._parameters = parameters

    def encode(self, value: object) -> bytes:
        """Check one file by decoding all of it; returns its bytes unchanged. Raises InputRejected."""
        if not isinstance(value, bytes):
            advice = 'Send one file, as {"data": base64} or {"upload_id": id}.'
            raise InputRejected(FieldFault("", FieldCode.WRONG_TYPE, advice))
        self._pixels(value)
        return value

    def decode(self, payload: bytes) -> dict[str, str]:
        """The stored file as it was sent, in base64."""
        return {"data": base64.b64encode(payload).decode()}

    def preprocess(self, payloads: Sequence[bytes]) -> dict[str, Array]:
        """n stored files -> {"image": float32 [n,C,S,S] in 0..1}. Raises RowFault."""
        size, channels = self._parameters.size, self._parameters.channels
        rows = np.empty((len(payloads), channels, size, size), dtype=np.float32)
        for index, payload in enumerate(payloads):
            try:
                rows[index] = self.preprocess_file(payload)["image"]
            except InputRejected as error:
                raise RowFault(index, error.faults[0]) from None
        return self.finish_files({"image": rows})

    def preprocess_file(self, content: bytes) -> dict[str, Array]:
        """One file -> {"image": uint8 [C,S,S]}. Raises InputRejected."""
        size, channels = self._parameters.size, self._parameters.channels
        square = _square(self._pixels(content), size)
        return {"image": np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)}

    def finish_files(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """{"image": float32 [n,C,S,S] in 0..255} -> the same in 0..1, in place."""
        feeds["image"] /= 255
        return feeds

    def extremes(self) -> list[bytes]:
        """See probing: black, white, halves, gratings, dots and noise, in grey and, where it is read, in each colour."""
        from PIL import Image

        size, channels = self._parameters.size, self._parameters.channels
        down, across = np.indices((size, size))
        dots = np.random.default_rng(1).integers(0, 256, (4, size, size))
        edges = [
            (down >= size // 2),
            (across >= size // 2),
            down % 2,
            across % 2,
            (down + across) % 2,
            (down // 4) % 2,
        ]
        patterns = [
            np.zeros((size, size)), np.full((size, size), 255), np.full((size, size), 128),
            *(255 * edge for edge in edges), *(255 - 255 * edge for edge in edges),
            down * 255 // max(size - 1, 1), *dots, *(255 * (dot > 240) for dot in dots), *(255 * (dot > 127) for dot in dots),
        ]  # fmt: skip
        pictures = [Image.fromarray(pattern.astype(np.uint8)) for pattern in patterns]
        if channels == 3:
            black = pictures[0]
            pictures += [
                Image.merge("RGB", [picture if band == index else black for band in range(3)])
                for picture in pictures[1:]
                for index in range(3)
            ]
        files = (_saved(picture, self._parameters.formats[0]) for picture in pictures)
        return [file for file in files if len(file) <= self._parameters.max_bytes]

    def further_extremes(self, outputs: Mapping[str, Array]) -> list[bytes]:  # noqa: ARG002 - see probing
        """See probing: none."""
        return []

    def _pixels(self, content: bytes) -> Image.Image:
        """The upright pixels of a file within the manifest's limits. Raises InputRejected."""
        from models.pipelines.image_file import decode_image, read_image  # Pillow, when there is a file

        if len(content) > (limit := self._parameters.max_bytes):
            advice = f"The file may have at most {limit} bytes: export it smaller."
            raise InputRejected(FieldFault("", FieldCode.FILE_TOO_LARGE, advice))
        try:
            image = read_image(content)
            self._check_header(image)
            return decode_image(image, "L" if self._parameters.channels == 1 else "RGB")
        except ImageRefused as error:
            raise InputRejected(FieldFault("", error.code, error.detail)) from None

    def _check_header(self, image: ImageFile) -> None:
        """Refuse an image by its header, with every reason. Raises InputRejected."""
        size, limit = self._parameters.size, self._parameters.max_pixels
        formats = " or ".join(self._parameters.formats)
        rules = [
            (image.format not in self._parameters.formats, FieldCode.WRONG_FORMAT, f"Send {formats}."),
            (image.animated, FieldCode.ANIMATED_IMAGE, "The image is animated: send one still image."),
            (
                image.width * image.height > limit,
                FieldCode.IMAGE_TOO_LARGE,
                f"The image may have at most {limit} pixels: export it smaller.",
            ),
            (
                min(image.width, image.height) < size,
                FieldCode.IMAGE_TOO_SMALL,
                f"Each side must have at least {size} pixels: send the original image.",
            ),
            (
                image.bit_depth > 8,
                FieldCode.UNSUPPORTED_BIT_DEPTH,
                "More than 8 bits a sample need a window to be seen: apply it and send 8 bits.",
            ),
            (image.colour == "cmyk", FieldCode.UNSUPPORTED_COLOR, "CMYK is for print: send grey or RGB."),
        ]
        if faults := [FieldFault("", code, detail) for broken, code, detail in rules if broken]:
            raise InputRejected(*faults)

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:
        """JSON Schema 2020-12 of one input: a file in base64, or the id of an upload."""
        limit = min(self._parameters.max_bytes, most_bytes or self._parameters.max_bytes)
        formats = " or ".join(self._parameters.formats)
        media_types = [f"image/{name.lower()}" for name in self._parameters.formats]
        data: dict[str, object] = {
            "type": "string",
            "title": f"{formats} file",
            "description": f"{formats}, 8 bits a sample, at least {self._parameters.size} pixels a side, "
            f"at most {self._parameters.max_pixels} pixels and {limit} bytes.",
            "contentEncoding": "base64",
            "maxLength": 4 * math.ceil(limit / 3),
            "contentMediaType": media_types[0] if len(media_types) == 1 else "image/*",
        }
        upload: dict[str, object] = {
            "type": "string",
            "title": "Upload",
            "description": f"An id that POST /v1/uploads answered, of a file of at most {limit} bytes.",
        }
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "oneOf": [only("data", data), only("upload_id", upload)],
            "examples": [{"data": base64.b64encode(self._example()).decode()}],
        }

    def _example(self) -> bytes:
        """A file that the model accepts."""
        made = gray_png if "PNG" in self._parameters.formats else gray_jpeg
        return made(self._parameters.size)


def load(manifest: ModelManifest, read: ReadFile) -> ImageClassification:  # noqa: ARG001 - it has no side files
    """The pipeline of a manifest. Raises ManifestInvalid."""
    return ImageClassification(parse_parameters(ImageParameters, manifest))


def _saved(image: Image.Image, form: Literal["PNG", "JPEG"]) -> bytes:
    file = BytesIO()
    image.save(file, form)
    return file.getvalue()


def _square(pixels: Image.Image, size: int) -> Image.Image:
    """The square in the centre of `pixels`, `size` pixels a side."""
    from PIL import Image

    side = min(pixels.size)
    left, top = (pixels.width - side) // 2, (pixels.height - side) // 2
    cut = pixels.crop((left, top, left + side, top + side))
    return cut if side == size else cut.resize((size, size), Image.Resampling.BICUBIC)
