"""The base of typed pipelines whose input is one image file, and whose results may have files, such as an overlay.

The stored input is the file as it was sent, as with image-classification, so that it can be shown again. See image_intake for
the files that are accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_origin

from models.pipelines.contract import InputRejected, ReadFile, RowFault
from models.pipelines.image_intake import ImageFileParameters, ImageIntake, shown
from models.pipelines.typed import OptionsT, ResultT, TypedInput, TypedPipeline

if TYPE_CHECKING:
    from PIL import Image


class ImageInput(TypedInput):
    """One image file, as it was sent."""

    content: bytes


ParametersT = TypeVar("ParametersT", bound=ImageFileParameters)


class TypedImagePipeline(
    TypedPipeline[ParametersT, ImageInput, ResultT, OptionsT], Generic[ParametersT, ResultT, OptionsT]
):
    """The base of such a pipeline. Immutable once created."""

    binary = True

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for base in vars(cls).get("__orig_bases__", ()):
            if get_origin(base) is TypedImagePipeline:
                cls.parameters_type, cls.result_type, cls.options_type = get_args(base)
                cls.input_type = ImageInput

    def __init__(self, parameters: ParametersT, read: ReadFile) -> None:
        super().__init__(parameters, read)
        self.intake = ImageIntake(parameters, self.least_side)

    # What an author writes, beside the graphs and what scores.

    @property
    def least_side(self) -> int:
        """How many pixels each side of a file must have."""
        return 1

    @property
    def example_size(self) -> tuple[int, int]:
        """Width and height of the image that the schema shows; small, because it is shown in base64."""
        return (max(16, self.least_side),) * 2

    # What follows.

    def pixels(self, row: int, value: ImageInput) -> Image.Image:
        """The upright pixels of the file of a row that is scored, 8-bit grey ("L") or RGB. Raises RowFault."""
        try:
            return self.intake.pixels(value.content)
        except InputRejected as rejected:
            raise RowFault(row, rejected.faults[0]) from None

    def encode(self, value: object) -> bytes:
        """Check one file by decoding all of it; returns its bytes unchanged. Raises InputRejected."""
        return self.intake.check(value)

    def decode(self, payload: bytes) -> dict[str, object]:
        """The stored file as it was sent, in base64."""
        return dict(shown(payload))

    def read_input(self, payload: bytes) -> ImageInput:
        """See TypedPipeline; decoded by `pixels`."""
        return ImageInput.model_construct(content=payload)

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:
        """JSON Schema 2020-12 of one input: a file in base64, or the id of an upload."""
        example = self.intake.example(*self.example_size)
        return {**self.intake.schema(most_bytes), "examples": [shown(example)]}
