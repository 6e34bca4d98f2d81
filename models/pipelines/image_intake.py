"""What every pipeline of images shares: the limits of a file in a manifest, its pixels, and the JSON Schema of an input."""

from __future__ import annotations

import base64
import json
import math
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from models.field_codes import FieldCode
from models.manifest import ManifestTable
from models.pipelines import FieldFault, InputRejected
from models.pipelines.example_image import dicom, gray_dicom, gray_jpeg, gray_png
from models.pipelines.image_header import Format, ImageFile, ImageRefused
from models.pipelines.image_reading import reader
from models.pipelines.parts import only

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from PIL import Image

_MEDIA_TYPES: dict[Format, str] = {"PNG": "image/png", "JPEG": "image/jpeg", "DICOM": "application/dicom"}
_BYTE = 8
_ON_ITS_SIDE = 5  # Exif's orientations from here on turn an image by a quarter
_DEPTHS = "8 bits a sample, or 16 bits grey,"


class WindowParameters(ManifestTable):
    """Which samples become black and white: `center` and `width` by the linear function of DICOM PS3.3 C.11.2.1.2.1.

    In the unit of the samples: of a DICOM file, after its rescale slope and intercept (Hounsfield units for CT).
    """

    center: Annotated[float, Field(allow_inf_nan=False)]
    width: Annotated[float, Field(ge=1, allow_inf_nan=False)]


class ProportionParameters(ManifestTable):
    """Which files are taken by their width divided by their height, upright; both bounds are. Squares always are.

    A file of other proportions is a strip, or was squashed: what is seen in it has another shape than in the training data.
    """

    narrowest: Annotated[float, Field(gt=0, le=1)]
    widest: Annotated[float, Field(ge=1, allow_inf_nan=False)]


class ImageFileParameters(ManifestTable):
    """The parameters that every pipeline of images has."""

    channels: Literal[1, 3] = Field(1, description="1 for grey, 3 for RGB")
    max_pixels: int = Field(40_000_000, ge=1, le=200_000_000, description="most pixels of a file")
    max_bytes: int = Field(20_000_000, ge=1, le=1_000_000_000, description="most bytes of a file")
    formats: Annotated[tuple[Format, ...], Field(min_length=1, strict=False)] = ("PNG", "JPEG")
    window: WindowParameters | None = None
    modalities: Annotated[tuple[str, ...], Field(strict=False)] = ()
    proportions: ProportionParameters | None = None

    @model_validator(mode="after")
    def _check_modalities(self) -> Self:
        if self.modalities and "DICOM" not in self.formats:
            raise ValueError('modalities are of DICOM files: add "DICOM" to formats, or remove them')
        return self


class ImageIntake:
    """Checks and decodes files within the limits of a manifest. Each side must have `smallest` pixels."""

    def __init__(self, parameters: ImageFileParameters, smallest: int) -> None:
        self._parameters = parameters
        self._smallest = smallest

    def check(self, value: object) -> bytes:
        """The bytes of one file, all of it decoded once. Raises InputRejected."""
        if not isinstance(value, bytes):
            advice = 'Send one file, as {"data": base64} or {"upload_id": id}.'
            raise InputRejected(FieldFault("", FieldCode.WRONG_TYPE, advice))
        reader().check(value, self)
        return value

    def pixels(self, content: bytes) -> Image.Image:
        """The upright pixels of a file, 8-bit grey ("L") or RGB, as this process reads files. Raises InputRejected."""
        return reader().pixels(content, self)

    def decoded(self, content: bytes, begins: Callable[[ImageFile], object] = lambda _: None) -> Image.Image:
        """The upright pixels of a file, decoded in this process. Raises InputRejected.

        `begins` gets the header before the first pixel is decoded.
        """
        from models.pipelines.image_file import decode_image, read_image  # Pillow, when there is a file

        if len(content) > (limit := self._parameters.max_bytes):
            advice = f"The file may have at most {limit} bytes: export it smaller."
            raise InputRejected(FieldFault("", FieldCode.FILE_TOO_LARGE, advice))
        try:
            image = read_image(content)
            self._check_header(image)
            begins(image)
            return decode_image(image, self.mode, self._window())
        except ImageRefused as error:
            raise InputRejected(FieldFault("", error.code, error.detail)) from None

    @property
    def most_pixels(self) -> int:
        """How many pixels a file may have."""
        return self._parameters.max_pixels

    @property
    def most_bytes(self) -> int:
        """How many bytes a file may have."""
        return self._parameters.max_bytes

    @property
    def mode(self) -> Literal["L", "RGB"]:
        """How pixels are decoded."""
        return "L" if self.channels == 1 else "RGB"

    @property
    def channels(self) -> int:
        """How many samples a pixel has."""
        return self._parameters.channels

    def may_have_size(self, width: int, height: int) -> bool:
        """Whether upright pixels of this size can be those of a file that is taken."""
        return (
            width * height <= self._parameters.max_pixels
            and min(width, height) >= self._smallest
            and self._is_proportioned(width, height)
        )

    @cached_property
    def told(self) -> str:
        """The limits as JSON, of which `from_json` makes an equal intake."""
        own = self._parameters.model_dump(mode="json", include=set(ImageFileParameters.model_fields))
        return json.dumps({"parameters": own, "smallest": self._smallest})

    @classmethod
    def from_json(cls, told: str) -> Self:
        """The intake of which this was `told`."""
        found = json.loads(told)
        return cls(ImageFileParameters.model_validate(found["parameters"]), found["smallest"])

    def _check_header(self, image: ImageFile) -> None:
        """Refuse an image by its header, with every reason. Raises InputRejected."""
        limit, smallest = self._parameters.max_pixels, self._smallest
        modalities = " or ".join(self._parameters.modalities)
        rules = [
            (
                image.format not in self._parameters.formats,
                FieldCode.WRONG_FORMAT,
                f"Send {' or '.join(self._parameters.formats)}.",
            ),
            (image.animated, FieldCode.ANIMATED_IMAGE, "The image is animated: send one still image."),
            (
                image.width * image.height > limit,
                FieldCode.IMAGE_TOO_LARGE,
                f"The image may have at most {limit} pixels: export it smaller.",
            ),
            (
                min(image.width, image.height) < smallest,
                FieldCode.IMAGE_TOO_SMALL,
                f"Each side must have at least {smallest} pixels: send the original image.",
            ),
            (
                not self._proportioned(image),
                FieldCode.WRONG_PROPORTIONS,
                f"The image must be {self._proportions()}: send it as it was taken, or cut it, without squashing it.",
            ),
            (
                image.bit_depth > _BYTE and not self._windowed(image),
                FieldCode.UNSUPPORTED_BIT_DEPTH,
                "More than 8 bits a sample need a window to be seen: apply it and send 8 bits.",
            ),
            (image.colour == "cmyk", FieldCode.UNSUPPORTED_COLOR, "CMYK is for print: send grey or RGB."),
            (
                image.format == "DICOM" and bool(modalities) and image.modality not in self._parameters.modalities,
                FieldCode.NOT_ALLOWED,
                f"The model takes DICOM files of the modality {modalities}: send one of these.",
            ),
        ]  # fmt: skip
        if faults := [FieldFault("", code, detail) for broken, code, detail in rules if broken]:
            raise InputRejected(*faults)

    def _windowed(self, image: ImageFile) -> bool:
        """Whether samples of more than 8 bits have a window: a DICOM file may bring its own."""
        if image.format == "DICOM":
            return True
        return self._parameters.window is not None and image.format == "PNG" and image.colour == "grey"

    def _proportioned(self, image: ImageFile) -> bool:
        """Whether a file has the manifest's proportions, upright."""
        if image.orientation >= _ON_ITS_SIDE:
            return self._is_proportioned(image.height, image.width)
        return self._is_proportioned(image.width, image.height)

    def _is_proportioned(self, width: int, height: int) -> bool:
        """Whether a size has the manifest's proportions; one without pixels is refused as too small."""
        allowed = self._parameters.proportions
        if allowed is None or not min(width, height):
            return True
        return allowed.narrowest * height <= width <= allowed.widest * height

    def _proportions(self) -> str:
        allowed = self._parameters.proportions
        return "" if allowed is None else f"{allowed.narrowest:g} to {allowed.widest:g} times as wide as high"

    def schema(self, most_bytes: int | None = None) -> dict[str, object]:
        """JSON Schema 2020-12 of one input: a file in base64, or the id of an upload."""
        parameters = self._parameters
        limit = min(parameters.max_bytes, most_bytes or parameters.max_bytes)
        formats = " or ".join(parameters.formats)
        media_types = [_MEDIA_TYPES[name] for name in parameters.formats]
        any_type = "image/*" if "DICOM" not in parameters.formats else "application/octet-stream"
        depths = _DEPTHS if parameters.window is not None else "8 bits a sample,"
        proportions = f", {self._proportions()}" if parameters.proportions is not None else ""
        data: dict[str, object] = {
            "type": "string",
            "title": f"{formats} file",
            "description": f"{formats}, {depths} at least {self._smallest} pixels a side, "
            f"at most {parameters.max_pixels} pixels and {limit} bytes{proportions}.",
            "contentEncoding": "base64",
            "maxLength": 4 * math.ceil(limit / 3),
            "contentMediaType": media_types[0] if len(media_types) == 1 else any_type,
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
        }

    def example(self, width: int, height: int) -> bytes:
        """A file that the model accepts."""
        first = min(self._parameters.formats, key=("PNG", "JPEG", "DICOM").index)
        if first == "DICOM":
            return gray_dicom(width, height, *self._dicom_traits())
        return gray_png(width, height) if first == "PNG" else gray_jpeg(width, height)

    def saved(self, pixels: Image.Image) -> bytes:
        """`pixels` ("L" or "RGB") as a file of the first format that the model accepts."""
        first = self._parameters.formats[0]
        if first == "DICOM":
            return dicom(*pixels.size, pixels.tobytes(), *self._dicom_traits())
        file = BytesIO()
        pixels.save(file, first)
        return file.getvalue()

    def _dicom_traits(self) -> tuple[str, tuple[float, float] | None]:
        modality = next(iter(self._parameters.modalities), "OT")
        return modality, self._window()

    def _window(self) -> tuple[float, float] | None:
        window = self._parameters.window
        return None if window is None else (window.center, window.width)


def shown(payload: bytes) -> dict[str, str]:
    """A stored file as it was sent, in base64."""
    return {"data": base64.b64encode(payload).decode()}
