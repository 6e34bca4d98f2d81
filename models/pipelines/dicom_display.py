"""What the elements of a DICOM file say about its display, where a mistake would change the picture without a trace.

Refused, with the tag: numbers that are not finite, windows that contradict themselves, a presentation that contradicts the
photometric interpretation (PS3.3 C.8.11.3.1.2 pairs INVERSE with MONOCHROME1, IDENTITY with MONOCHROME2), and pictures that do
not stand upright by their PatientOrientation (PS3.3 C.7.6.1.1.1). Which way left and right lie is not looked at.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from models.field_codes import FieldCode
from models.pipelines.image_header import ImageRefused

NUMBERS: Final = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
_TAGS: Final = {
    "RescaleSlope": "0028,1053", "RescaleIntercept": "0028,1052", "WindowCenter": "0028,1050", "WindowWidth": "0028,1051",
    "PresentationLUTShape": "2050,0020", "PatientOrientation": "0020,0020",
}  # fmt: skip
_SHAPES: Final = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
_LYING: Final = ("H", "F")  # of rows; columns that run to H stand on their head


def check_display(elements: Dataset) -> None:
    """Raises ImageRefused; see the module."""
    for name in NUMBERS:
        if not all(math.isfinite(float(each)) for each in listed(elements, name)):
            raise _wrong(name, "is not a finite number")
    centers, widths = listed(elements, "WindowCenter"), listed(elements, "WindowWidth")
    if centers and widths and len(centers) != len(widths):
        raise _wrong("WindowWidth", "has not as many values as WindowCenter (0028,1050)")
    exact = str(elements.get("VOILUTFunction") or "LINEAR") != "LINEAR"
    if not all(float(each) > 0 if exact else float(each) >= 1 for each in widths):
        raise _wrong("WindowWidth", "is less than 1, or for other functions than LINEAR not above 0")
    shape, grey = elements.get("PresentationLUTShape"), str(elements.get("PhotometricInterpretation"))
    if shape and grey in _SHAPES and shape != _SHAPES[grey]:
        raise _wrong(
            "PresentationLUTShape", f"does not belong to {grey}, so nobody can tell black from white"
        )
    _check_upright(listed(elements, "PatientOrientation"))


def check_window(values: NDArray[Any], shown: NDArray[np.uint8]) -> None:
    """Refuse a file whose own window leaves nothing of its `values` to be `shown`. Raises ImageRefused."""
    if shown.min() == shown.max() and values.min() < values.max():
        raise _wrong(
            "WindowCenter", "with WindowWidth (0028,1051) lies beyond the values, so that nothing is seen"
        )


def listed(elements: Dataset, name: str) -> list[Any]:
    """The values of an element; none if it is absent or empty."""
    value: Any = elements.get(name)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, MultiValue) else [value]


def _check_upright(directions: list[Any]) -> None:
    """Of the rows and of the columns, the letters of the directions in which they run: H to the head, F to the feet."""
    if len(directions) == 2:
        rows, columns = map(str, directions)
        if rows.startswith(_LYING) or columns.startswith("H"):
            raise ImageRefused(
                FieldCode.UNCLEAR_ORIENTATION,
                "By PatientOrientation (0020,0020) the picture lies on its side or stands on its head: turn it upright.",
            )


def _wrong(name: str, what: str) -> ImageRefused:
    detail = f"{name} ({_TAGS[name]}) of the DICOM file {what}: correct it, and export the file again."
    return ImageRefused(FieldCode.DAMAGED_IMAGE, detail)
