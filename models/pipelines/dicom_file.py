"""DICOM files of one still image: what their elements say, and their pixels as a screen would show them (PS3.3, PS3.5).

Parsed by pydicom, which is asked for the elements below and nothing else: no name, date or other identifying element is
ever turned into a value, so no warning can quote one. What would need a guess is refused: a file without a window, compressed
pixels, several frames, lookup tables, pixels that are not square; and what dicom_display finds.
"""

from io import BytesIO
from typing import Any, Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_windowing
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from models.field_codes import FieldCode
from models.pipelines.dicom_display import check_display, check_window
from models.pipelines.image_header import Colour, ImageFile, ImageRefused, damaged, truncated

Window = tuple[float, float]  # centre and width

_META_GROUP: Final = 0x0002
_UNCOMPRESSED: Final = frozenset((ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian))
_COLOURS: Final[dict[str, Colour]] = {
    "MONOCHROME1": "grey",
    "MONOCHROME2": "grey",
    "RGB": "rgb",
    "YBR_FULL": "rgb",
}
_ELEMENTS: Final = (
    "Modality", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns",
    "PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "ModalityLUTSequence", "VOILUTSequence", "PixelData", "PresentationLUTShape", "PatientOrientation",
)  # fmt: skip
_SHAPES: Final = ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio")
_SQUARE: Final = 0.01  # difference of the sides of a pixel that counts as rounding
_WHITE: Final = 2**16 - 1  # of a window, before it becomes eight bits


def read_dicom(content: bytes) -> ImageFile:
    """The header of a DICOM file; no pixel is decoded. Raises ImageRefused."""
    elements = read_elements(content)
    try:
        return _header(elements, content)
    except ImageRefused:
        raise
    except Exception:  # noqa: BLE001 - a value of another type or number than the standard says
        raise damaged("a header without meaning") from None


def decode_dicom(image: ImageFile, window: Window | None) -> Image.Image:
    """Every pixel in 8 bits, "L" or "RGB", black 0. Grey is windowed by `window`, else by the file's first one.

    Raises ImageRefused, and what pydicom raises.
    """
    elements = read_elements(image.content)
    if image.colour == "rgb":
        return Image.fromarray(np.asarray(pixel_array(elements), np.uint8))  # luma and chroma as RGB, too
    values = apply_modality_lut(pixel_array(elements), elements)
    shown = _windowed(values, _voi(elements, window))
    if window is None:
        check_window(values, shown)
    if elements.PhotometricInterpretation == "MONOCHROME1":
        shown = 255 - shown
    return Image.fromarray(shown)


def windowed(samples: NDArray[np.uint16], window: Window) -> NDArray[np.uint8]:
    """Samples of any type as 8-bit grey by a window, the linear function of PS3.3 C.11.2.1.2.1."""
    return _windowed(samples, _voi(Dataset(), window))


def read_elements(content: bytes) -> FileDataset:
    """The elements that this module reads, none of which identifies a patient. Raises ImageRefused.

    The transfer syntax is looked at first, because pydicom would inflate a deflated file whatever its size.
    """
    try:
        _check_transfer_syntax(content)
        return pydicom.dcmread(BytesIO(content), specific_tags=list(_ELEMENTS))
    except EOFError:
        raise truncated() from None
    except (ImageRefused, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - pydicom raises what it likes; all of it is the fault of this file alone
        raise damaged("its elements cannot be read") from None


def _check_transfer_syntax(content: bytes) -> None:
    """Refuse a file that is compressed, by its meta information. Raises ImageRefused, and what pydicom raises."""
    file = BytesIO(content)
    read_preamble(file, force=False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != _META_GROUP)
    if meta.TransferSyntaxUID not in _UNCOMPRESSED:
        raise ImageRefused(
            FieldCode.UNSUPPORTED_ENCODING,
            "The DICOM file is compressed: convert it to Explicit VR Little Endian (1.2.840.10008.1.2.1).",
        )


def _header(elements: Dataset, content: bytes) -> ImageFile:
    if "PixelData" not in elements:
        raise ImageRefused(FieldCode.NOT_AN_IMAGE, "The DICOM file holds no image: send one that does.")
    if int(elements.get("NumberOfFrames") or 1) != 1:
        raise ImageRefused(
            FieldCode.ANIMATED_IMAGE, "The DICOM file holds several frames: send one of them as a file."
        )
    colour = _COLOURS.get(elements.PhotometricInterpretation)
    depth = int(elements.BitsStored)
    if colour is None or (colour == "rgb" and (elements.BitsAllocated, depth) != (8, 8)):
        raise ImageRefused(
            FieldCode.UNSUPPORTED_COLOR,
            "The model takes DICOM files in grey (MONOCHROME1 or 2), or in colours of 8 bits (RGB or YBR_FULL): convert it.",
        )
    _check_allocated(elements.BitsAllocated)
    if "ModalityLUTSequence" in elements or ("VOILUTSequence" in elements and "WindowCenter" not in elements):
        raise _unwindowed("has a lookup table in place of a window")
    if ("RescaleSlope" in elements) != ("RescaleIntercept" in elements):
        raise damaged("only one of rescale slope and intercept")
    check_display(elements)
    if not float(elements.get("RescaleSlope", 1)):
        raise damaged("a header without meaning")
    _check_shape(elements)
    samples = 1 if colour == "grey" else 3
    if elements.SamplesPerPixel != samples or elements.HighBit != depth - 1:
        raise damaged("a header without meaning")
    expected = elements.Rows * elements.Columns * samples * elements.BitsAllocated // 8
    if not expected or len(elements.PixelData) < expected:
        raise truncated()
    if len(elements.PixelData) > expected + expected % 2:
        raise damaged("more pixels than its header says")
    return ImageFile(
        format="DICOM", width=elements.Columns, height=elements.Rows, bit_depth=depth, colour=colour, animated=False,
        orientation=1, content=content, modality=str(elements.get("Modality", "")),
    )  # fmt: skip


def _check_allocated(bits: int) -> None:
    """Refuse samples of other sizes than one or two bytes. They are of one bit or of whole bytes (PS3.5 8.1.1)."""
    if bits != 1 and (bits <= 0 or bits % 8):
        raise damaged("a header without meaning")
    if bits not in (8, 16):
        raise ImageRefused(
            FieldCode.UNSUPPORTED_BIT_DEPTH,
            f"The DICOM file has {bits} bits allocated per sample: convert it to 8 or 16 bits allocated.",
        )


def _check_shape(elements: Dataset) -> None:
    """Refuse pixels that are not square: shown as they lie, the picture would be distorted."""
    for name in _SHAPES:
        if (shape := elements.get(name)) is not None and len(shape) == 2:
            down, across = map(float, shape)
            if not abs(down - across) <= _SQUARE * across:
                raise ImageRefused(
                    FieldCode.UNSUPPORTED_ENCODING,
                    "The pixels of the DICOM file are not square: resample it.",
                )


def _voi(elements: Dataset, window: Window | None) -> Dataset:
    """A window in the form that pydicom applies: of the model, of the file (its first), or of samples of 8 bits the range."""
    given: Any = elements
    voi = Dataset()
    voi.PhotometricInterpretation, voi.BitsStored, voi.PixelRepresentation = "MONOCHROME2", 16, 0
    if window is not None:
        voi.WindowCenter, voi.WindowWidth = window
    elif "WindowCenter" in elements and "WindowWidth" in elements:
        voi.WindowCenter, voi.WindowWidth = _first(given.WindowCenter), _first(given.WindowWidth)
        voi.VOILUTFunction = str(elements.get("VOILUTFunction") or "LINEAR")
    elif _is_plain(elements):
        voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = 127.5, 255.0, "LINEAR_EXACT"
    else:
        raise _unwindowed("has no window (0028,1050 and 0028,1051)")
    return voi


def _is_plain(elements: Dataset) -> bool:
    """Whether samples are levels from 0 to 255 that nothing is said of."""
    unsaid = not any(name in elements for name in ("RescaleSlope", "WindowCenter", "WindowWidth"))
    return bool(unsaid and elements.BitsStored == 8 and elements.PixelRepresentation == 0)


def _first(values: Any) -> float:
    return float(values[0] if isinstance(values, MultiValue) else values)


def _windowed(values: NDArray[Any], voi: Dataset) -> NDArray[np.uint8]:
    shown: NDArray[np.uint8] = np.rint(apply_windowing(values, voi) * (255 / _WHITE)).astype(np.uint8)
    return shown


def _unwindowed(reason: str) -> ImageRefused:
    return ImageRefused(
        FieldCode.UNSUPPORTED_BIT_DEPTH,
        f"The DICOM file {reason}, so nobody can tell which values are black and white: store one in it.",
    )
