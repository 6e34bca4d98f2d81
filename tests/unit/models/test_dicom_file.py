"""DICOM files: what a graph sees of them, and every reason to refuse one. Their patients never become a value."""

import base64
import logging
import warnings
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from models.pipelines import InputRejected
from models.pipelines.dicom_file import read_elements
from models.pipelines.image_classification import ImageClassification
from tests.unit.models.example_bundles import manifest, single_pass
from tests.unit.models.example_images import Pixels, gradient, saved

NAME = "Doe^Jane"


def pipeline(**parameters: Any) -> ImageClassification:
    made = single_pass(
        manifest("image-classification", **{"size": 8, "formats": ["DICOM", "PNG"], **parameters})
    )
    assert isinstance(made, ImageClassification)
    return made


def dicom(samples: NDArray[Any], **elements: Any) -> bytes:
    """A DICOM file of `samples` [H,W] or [H,W,3]; an element that is None is left out."""
    data = Dataset()
    data.PatientName, data.PatientID, data.PatientBirthDate = NAME, "0815", "19700101"
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", generate_uid()
    data.Modality = "DX"
    data.Rows, data.Columns = samples.shape[:2]
    data.SamplesPerPixel = 1 if samples.ndim == 2 else 3
    data.PhotometricInterpretation = "MONOCHROME2" if samples.ndim == 2 else "RGB"
    if samples.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * samples.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(samples.dtype.kind == "i")
    content = samples.tobytes()
    data.PixelData = content + bytes(len(content) % 2)
    for name, value in elements.items():
        setattr(data, name, value)
        if value is None:
            delattr(data, name)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written = BytesIO()
    data.save_as(written, enforce_file_format=True)
    return written.getvalue()


def seen(file: bytes, **parameters: Any) -> NDArray[np.float32]:
    """What the graph would see, times 255: [H,W] of grey, [H,W,3] of colours."""
    model = pipeline(**parameters)
    feed = model.preprocess([model.encode(file)])["image"][0] * 255
    values: NDArray[np.float32] = feed[0] if len(feed) == 1 else feed.transpose(1, 2, 0)
    return values


def refused(file: bytes, **parameters: Any) -> str:
    with pytest.raises(InputRejected) as caught:
        pipeline(**parameters).encode(file)
    [fault] = caught.value.faults
    assert NAME not in fault.detail
    assert "Doe" not in fault.detail
    return str(fault.code)


SQUARE: Pixels = gradient(8, 8)
DEEP = (np.arange(64, dtype=np.uint16) * 60).reshape(8, 8)


def linear(values: NDArray[Any], center: float, width: float) -> NDArray[np.float64]:
    """PS3.3 C.11.2.1.2.1 in its own words, for an output from 0 to 255."""
    x = values.astype(np.float64)
    ramp = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.where(
        x <= center - 0.5 - (width - 1) / 2, 0, np.where(x > center - 0.5 + (width - 1) / 2, 255, ramp)
    )


@pytest.mark.parametrize(("center", "width"), [(2000, 1000), (100, 1), (1890.5, 3780)])
def test_grey_is_shown_by_the_window_of_the_file(center: float, width: float) -> None:
    file = dicom(DEEP, WindowCenter=center, WindowWidth=width)
    with np.errstate(divide="ignore", invalid="ignore"):
        assert np.abs(seen(file) - linear(DEEP, center, width)).max() <= 0.5001


def test_the_first_of_several_windows_counts() -> None:
    file = dicom(DEEP, WindowCenter=[500, 2000], WindowWidth=[200, 1000])
    assert np.abs(seen(file) - linear(DEEP, 500, 200)).max() <= 0.5001


def test_a_window_without_rounding_at_its_ends_is_applied_as_the_standard_says() -> None:
    file = dicom(DEEP, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    ramp = np.clip((DEEP - 2000.0) / 1000 + 0.5, 0, 1) * 255
    assert np.abs(seen(file) - ramp).max() <= 0.5001


def test_a_sigmoid_window_is_applied_as_the_standard_says() -> None:
    file = dicom(DEEP, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    assert np.abs(seen(file) - 255 / (1 + np.exp(-4 * (DEEP - 2000.0) / 1000))).max() <= 0.5001


def test_a_window_is_of_the_values_after_slope_and_intercept() -> None:
    stored = DEEP.astype(np.int16) - 1000
    file = dicom(stored, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=40, WindowWidth=400)
    assert np.abs(seen(file) - linear(stored * 2.0 - 100, 40, 400)).max() <= 0.5001


def test_the_window_of_the_model_counts_before_that_of_the_file() -> None:
    file = dicom(DEEP, WindowCenter=2000, WindowWidth=1000)
    found = seen(file, window={"center": 500.0, "width": 200.0})
    assert np.abs(found - linear(DEEP, 500, 200)).max() <= 0.5001


def test_a_png_of_16_bits_is_shown_by_the_window_of_the_model() -> None:
    found = seen(saved(Image.fromarray(DEEP), "PNG"), window={"center": 500.0, "width": 200.0})
    assert np.abs(found - linear(DEEP, 500, 200)).max() <= 0.5001


def test_the_least_value_of_monochrome1_is_white() -> None:
    plain = seen(dicom(DEEP, WindowCenter=2000, WindowWidth=3000))
    file = dicom(DEEP, WindowCenter=2000, WindowWidth=3000, PhotometricInterpretation="MONOCHROME1")
    assert np.abs(seen(file) - (255 - plain)).max() < 1e-3


def test_bits_that_are_not_stored_are_not_seen() -> None:
    plain = dicom(DEEP, WindowCenter=2000, WindowWidth=4000, BitsStored=12, HighBit=11)
    overlaid = dicom(DEEP | 0xF000, WindowCenter=2000, WindowWidth=4000, BitsStored=12, HighBit=11)
    assert (seen(plain) == seen(overlaid)).all()
    assert seen(plain).max() > 200


def test_grey_of_8_bits_without_a_window_is_seen_as_it_is() -> None:
    assert np.abs(seen(dicom(SQUARE)) - SQUARE).max() < 1e-3


def test_colours_are_seen_as_they_are() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    assert np.abs(seen(dicom(colours), channels=3) - colours).max() < 1e-3
    planes = dicom(colours, PlanarConfiguration=1, PixelData=colours.transpose(2, 0, 1).tobytes())
    assert np.abs(seen(planes, channels=3) - colours).max() < 1e-3


def test_luma_and_chroma_become_rgb() -> None:
    yellow = np.tile(np.array([225, 0, 148], np.uint8), (8, 8, 1))  # ITU-R 601, full range
    shown = seen(dicom(yellow, PhotometricInterpretation="YBR_FULL"), channels=3)
    assert np.abs(shown - [253, 255, 0]).max() <= 2


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"]
)
def test_files_of_scanners_are_read(name: str) -> None:
    content = _test_file(name)
    window = {"center": 600.0, "width": 1600.0}
    found = seen(content, window=window, size=64)
    data = pydicom.dcmread(BytesIO(content))
    values = data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    upright = Image.fromarray(np.rint(linear(values, 600, 1600)).astype(np.uint8))
    if upright.size != (64, 64):
        upright = upright.resize((64, 64), Image.Resampling.BICUBIC)
    assert np.abs(found - np.asarray(upright)).max() <= 2


def _test_file(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (dicom(DEEP), "unsupported_bit_depth"),
        (dicom(DEEP, WindowCenter=100), "unsupported_bit_depth"),
        (dicom(SQUARE, RescaleSlope=2, RescaleIntercept=0), "unsupported_bit_depth"),
        (dicom(SQUARE, PixelRepresentation=1), "unsupported_bit_depth"),
        (dicom(SQUARE, WindowWidth=100), "unsupported_bit_depth"),
        (dicom(DEEP, WindowCenter=100, WindowWidth=10, RescaleSlope=2), "damaged_image"),
        (dicom(DEEP, WindowCenter=100, WindowWidth=10, RescaleIntercept=2), "damaged_image"),
        (dicom(DEEP, VOILUTSequence=[Dataset()]), "unsupported_bit_depth"),
        (
            dicom(DEEP, ModalityLUTSequence=[Dataset()], WindowCenter=1, WindowWidth=2),
            "unsupported_bit_depth",
        ),
        (dicom(DEEP, WindowCenter=100, WindowWidth=0), "damaged_image"),
        (dicom(DEEP, WindowCenter=100, WindowWidth=10, VOILUTFunction="CURVE"), "damaged_image"),
        (dicom(DEEP, WindowCenter=100, WindowWidth=10, RescaleSlope=0, RescaleIntercept=1), "damaged_image"),
        (dicom(np.tile(DEEP, (2, 1)), NumberOfFrames=2, Rows=8), "animated_image"),
        (dicom(SQUARE, PhotometricInterpretation="PALETTE COLOR"), "unsupported_color"),
        (dicom(np.zeros((8, 8, 3), np.uint16)), "unsupported_color"),
        (dicom(SQUARE, PixelAspectRatio=[1, 2]), "unsupported_encoding"),
        (dicom(SQUARE, PixelSpacing=[0.1, 0.2]), "unsupported_encoding"),
        (dicom(SQUARE, PixelData=None), "not_an_image"),
        (dicom(SQUARE, Rows=9), "truncated_image"),
        (dicom(SQUARE, Rows=0), "truncated_image"),
        (dicom(gradient(8, 9), Rows=8), "damaged_image"),
        (dicom(SQUARE, HighBit=5), "damaged_image"),
        (dicom(SQUARE, SamplesPerPixel=3), "damaged_image"),
        (dicom(SQUARE, BitsAllocated=12), "damaged_image"),
        (dicom(SQUARE, BitsAllocated=0), "damaged_image"),
        (dicom(SQUARE, BitsStored=None), "damaged_image"),
        (dicom(SQUARE, Rows=None), "damaged_image"),
        (dicom(SQUARE)[:-10], "truncated_image"),
        (dicom(SQUARE)[:200], "damaged_image"),
        (dicom(SQUARE)[:132], "damaged_image"),
        (dicom(gradient(7, 8)), "image_too_small"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # pydicom's, which a service only prints
def test_a_file_that_would_need_a_guess_is_refused_with_the_reason(file: bytes, code: str) -> None:
    assert refused(file) == code


@pytest.mark.parametrize(
    ("file", "bits"),
    [
        (dicom(SQUARE, BitsAllocated=32), 32),
        (_test_file("liver_1frame.dcm"), 1),
        (_test_file("rtdose_1frame.dcm"), 32),
    ],
)
def test_samples_of_other_sizes_are_said_to_be_so_and_not_damaged(file: bytes, bits: int) -> None:
    with pytest.raises(InputRejected) as caught:
        pipeline().encode(file)
    [fault] = caught.value.faults
    assert fault.code == "unsupported_bit_depth"
    assert f"has {bits} bits allocated" in fault.detail


@pytest.mark.parametrize(
    ("elements", "tag"),
    [
        ({"WindowCenter": "nan"}, "0028,1050"),
        ({"WindowWidth": "inf"}, "0028,1051"),
        ({"WindowWidth": "1e400"}, "0028,1051"),
        ({"WindowWidth": 0}, "0028,1051"),
        ({"WindowWidth": 0.5}, "0028,1051"),
        ({"WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"}, "0028,1051"),
        ({"WindowCenter": [100, 200]}, "0028,1051"),
        ({"WindowWidth": None}, "0028,1051"),
        ({"WindowCenter": 1e6}, "0028,1050"),
        ({"WindowCenter": -1e6}, "0028,1050"),
        ({"RescaleSlope": 1, "RescaleIntercept": "nan"}, "0028,1052"),
        ({"RescaleSlope": 1, "RescaleIntercept": "1e400"}, "0028,1052"),
        ({"RescaleSlope": "inf", "RescaleIntercept": 0}, "0028,1053"),
        ({"PresentationLUTShape": "INVERSE"}, "2050,0020"),
        ({"PresentationLUTShape": "IDENTITY", "PhotometricInterpretation": "MONOCHROME1"}, "2050,0020"),
        ({"PatientOrientation": ["L", "H"]}, "0020,0020"),
        ({"PatientOrientation": ["F", "R"]}, "0020,0020"),
        ({"PatientOrientation": ["HL", "LF"]}, "0020,0020"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # pydicom's, of such values
def test_a_display_that_has_no_meaning_or_contradicts_itself_is_refused_by_its_tag(
    elements: dict[str, Any], tag: str
) -> None:
    file = dicom(DEEP, **{"WindowCenter": 1000, "WindowWidth": 4000, **elements})
    with pytest.raises(InputRejected) as caught:
        pipeline().encode(file)
    [fault] = caught.value.faults
    assert tag in fault.detail


@pytest.mark.parametrize(
    "elements",
    [
        {"PresentationLUTShape": "IDENTITY", "PatientOrientation": ["L", "F"]},
        {"PresentationLUTShape": "INVERSE", "PhotometricInterpretation": "MONOCHROME1"},
        {"WindowCenter": [1000, 50], "WindowWidth": [4000, 10]},
        {"PatientOrientation": ["R", "F"]},
        {"PatientOrientation": None},
    ],
)
def test_a_display_that_agrees_with_itself_is_taken(elements: dict[str, Any]) -> None:
    file = dicom(DEEP, **{"WindowCenter": 1000, "WindowWidth": 4000, "PatientOrientation": "", **elements})
    assert pipeline().encode(file) == file


def test_an_even_picture_is_within_its_window() -> None:
    file = dicom(np.zeros((8, 8), np.uint16), WindowCenter=1000, WindowWidth=100)
    assert pipeline().encode(file) == file


@pytest.mark.parametrize(
    "name",
    ["image_dfl.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "JPGExtended.dcm", "MR_small_jpeg_ls_lossless.dcm"],
)
def test_compressed_files_are_refused(name: str) -> None:
    assert refused(_test_file(name)) == "unsupported_encoding"


def test_a_deflated_file_is_refused_before_it_is_inflated() -> None:
    data = pydicom.dcmread(BytesIO(dicom(SQUARE)))
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    written = BytesIO()
    data.save_as(written)
    assert refused(written.getvalue()[:-5] + b"\0\0\0\0\0") == "unsupported_encoding"


@pytest.mark.parametrize(
    "name", ["MR_truncated.dcm", "rtplan.dcm", "reportsi.dcm", "waveform_ecg.dcm", "no_meta.dcm"]
)
def test_files_without_a_whole_image_are_refused(name: str) -> None:
    assert refused(_test_file(name)) in {"truncated_image", "not_an_image", "damaged_image"}


def test_a_model_may_name_the_modalities_that_it_takes() -> None:
    assert pipeline(modalities=["CR", "DX"]).encode(dicom(SQUARE))
    assert refused(dicom(SQUARE, Modality="CT"), modalities=["CR", "DX"]) == "not_allowed"
    assert refused(dicom(SQUARE, Modality=None), modalities=["CR", "DX"]) == "not_allowed"


def test_a_model_takes_dicom_files_only_if_it_says_so() -> None:
    assert refused(dicom(SQUARE), formats=["PNG", "JPEG"]) == "wrong_format"


@pytest.mark.parametrize("window", [None, {"center": 40.0, "width": 400.0}])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_of_dicom_files_alone_shows_one_that_it_takes(
    window: dict[str, float] | None, channels: int
) -> None:
    model = pipeline(formats=["DICOM"], channels=channels, modalities=["CT"], window=window)
    examples: Any = model.input_schema()["examples"]
    content = base64.b64decode(examples[0]["data"])
    row = model.preprocess([model.encode(content)])["image"][0, 0, 0] * 255
    assert np.abs(row - np.linspace(0, 255, 8)).max() < 2, "it grows brighter from left to right"
    tried = model.preprocess(model.extremes())["image"]
    assert (tried.min(), tried.max()) == (0.0, 1.0)


def test_no_element_that_identifies_a_patient_is_read() -> None:
    assert "PatientName" in pydicom.dcmread(BytesIO(WHOLE))
    assert not [element for element in read_elements(WHOLE) if element.tag.group == 0x0010]


def test_values_of_another_form_are_neither_warned_of_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    file = dicom(SQUARE, WindowCenter=127, WindowWidth=255)
    strange = file.replace(b"CS\x02\x00DX", b"CS\x02\x00d^")
    broken = file.replace(b"DS\x06\x00127.0", b"DS\x06\x00Doe^J")
    assert len({file, strange, broken}) == 3
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert (seen(strange) == seen(file)).all()
        assert refused(broken) == "damaged_image"
    assert caplog.text == ""
    assert warned == []


def test_the_stored_input_is_the_file_as_it_was_sent() -> None:
    file = dicom(SQUARE)
    assert pipeline().encode(file) == file


@given(st.binary(max_size=60), st.integers(100, 1200))
def test_a_file_damaged_anywhere_is_read_or_refused_but_never_an_accident(junk: bytes, place: int) -> None:
    broken = WHOLE[:place] + junk + WHOLE[place + len(junk) :]
    with suppress(InputRejected):
        pipeline().encode(broken)


WHOLE = dicom(DEEP, WindowCenter=2000, WindowWidth=1000)
