"""Which files a segmentation takes, at which levels the graph sees them, and manifests that are refused."""

from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from models.manifest import ManifestInvalid
from models.pipelines import InputRejected
from models.pipelines.example_image import dicom
from models.pipelines.segmentation_scoring import levels
from tests.unit.models.example_images import jpeg, png, raw_png, saved
from tests.unit.models.example_segmentations import scored, segmentation, squares


def turned() -> bytes:
    """A JPEG of 40 x 20 pixels that its EXIF turns to 20 x 40, bright where the upright one has its top."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((20, 40), np.uint8)
    pixels[:, :8] = 255
    return jpeg(pixels, exif=exif.tobytes(), quality=100)


def test_places_are_of_the_upright_image() -> None:
    [answer] = scored(segmentation(), turned())
    assert (answer.result["width"], answer.result["height"]) == (20, 40)
    assert answer.result["instances"][0]["box"] == [0, 0, 20, 8]


def test_a_palette_is_read_in_its_colours() -> None:
    image = Image.fromarray(squares()).convert("RGB").quantize(4)
    assert image.mode == "P"
    [answer] = scored(segmentation(channels=3), saved(image, "PNG"))
    assert answer.result["count"] == 3


def test_grey_of_16_bits_needs_a_window() -> None:
    file = saved(Image.fromarray(squares().astype(np.uint16) << 4), "PNG")
    with pytest.raises(InputRejected) as caught:
        segmentation().encode(file)
    assert [fault.code for fault in caught.value.faults] == ["unsupported_bit_depth"]
    [answer] = scored(segmentation(window={"center": 2048.0, "width": 4096.0}), file)
    assert answer.result["count"] == 3


def test_a_dicom_file_is_read_where_the_manifest_takes_it() -> None:
    file = dicom(70, 50, squares().tobytes(), "OT", (127.5, 256.0))
    window = {"center": 127.5, "width": 256.0}
    assert scored(segmentation(formats=["PNG", "DICOM"], window=window), file)[0].result["count"] == 3
    with pytest.raises(InputRejected) as caught:
        segmentation().encode(file)
    assert [fault.code for fault in caught.value.faults] == ["wrong_format"]


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (png(np.zeros((1, 1), np.uint8)), "image_too_small"),
        (png(np.zeros((15, 400), np.uint8)), "image_too_small"),
        (raw_png(20_000, 20_000, b"\0" * 1000), "image_too_large"),
        (raw_png(2049, 2048, b"\0" * 1000), "image_too_large"),
        (saved(Image.fromarray(squares()).convert("CMYK"), "JPEG"), "unsupported_color"),
        (png(squares(), save_all=True, append_images=[Image.fromarray(255 - squares())]), "animated_image"),
        (b"GIF89a" + bytes(100), "not_an_image"),
        (png(squares())[:-40], "truncated_image"),
        (b"", "not_an_image"),
        ("text", "wrong_type"),
    ],
)
def test_files_beyond_the_limits_are_refused_at_submission(file: Any, code: str) -> None:
    with pytest.raises(InputRejected) as caught:
        segmentation().encode(file)
    assert code in [fault.code for fault in caught.value.faults]


def test_the_input_is_stored_and_shown_as_it_was_sent() -> None:
    pipeline = segmentation()
    file = png(squares())
    assert pipeline.encode(file) == file
    shown: Any = pipeline.decode(file)
    jsonschema.validate(shown, pipeline.input_schema())
    jsonschema.validate(pipeline.input_schema()["examples"][0], pipeline.input_schema())  # type: ignore[index]


# Levels


def table(pixels: Any, **parameters: Any) -> Any:
    """What is fed for samples 0 to 255 of grey `pixels`."""
    given = segmentation(**parameters).parameters
    return levels(given, np.array(pixels, np.uint8)[:, :, None])[0]


def test_levels_are_0_to_1_then_less_the_mean_over_the_deviation() -> None:
    assert table([[0, 255]])[[0, 51, 255]] == pytest.approx([0, 0.2, 1])
    assert table([[0, 255]], mean=[0.2], std=[0.5])[[0, 51, 255]] == pytest.approx([-0.4, 0, 1.6])


def test_percentiles_stretch_an_image_and_a_bright_one_is_inverted() -> None:
    dim = [[10] * 90 + [30] * 10]
    assert table(dim, percentiles=[1, 99])[[0, 10, 20, 30, 200]] == pytest.approx([0, 0, 0.5, 1, 1])
    assert table(dim, percentiles=[1, 99], least_contrast=40)[[10, 30]] == pytest.approx([0, 0.5])
    light = [[240] * 90 + [140] * 10]
    assert table(light, percentiles=[1, 99])[[140, 240]] == pytest.approx([0, 1])
    assert table(light, percentiles=[1, 99], invert_bright=True)[[140, 190, 240]] == pytest.approx(
        [1, 0.5, 0]
    )


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"labels": ["a", "a"]}, "own id"),
        ({"labels": []}, "labels"),
        ({"mean": [0.1, 0.2]}, "one for each channel"),
        ({"std": [0.0]}, "greater than 0"),
        ({"percentiles": [99, 1]}, "lower one first"),
        ({"invert_bright": True}, "for percentiles"),
        ({"overlap": 17}, "half of tile"),
        ({"tile": 40}, "multiple"),
        ({"max_instances": 70_000}, "65535"),
        ({"instances": {"rule": "watershed"}}, "seeds"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        segmentation(**parameters)
    assert words in str(caught.value)
