"""How an image gets the size, the proportions and the scale of values that a graph takes."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.manifest import ManifestInvalid
from models.pipelines import InputRejected
from tests.unit.models.example_bundles import manifest, single_pass
from tests.unit.models.example_images import gradient, jpeg, noise, png, raw_png, saved


def fed(file: bytes, **parameters: Any) -> NDArray[np.float32]:
    """The feed of one file, float32 [C,H,W] or [H,W,C]."""
    pipeline = single_pass(manifest("image-classification", **parameters))
    [feed] = pipeline.preprocess([pipeline.encode(file)])["image"]
    assert feed.dtype == np.float32
    assert feed.shape == pipeline.feeds[0].shape
    values: NDArray[np.float32] = feed
    return values


def grey(file: bytes, **parameters: Any) -> NDArray[np.float32]:
    """The same times 255, [H,W]."""
    values: NDArray[np.float32] = fed(file, **parameters)[0] * 255
    return values


def test_a_graph_that_is_wider_than_high_gets_the_centre_in_its_proportions() -> None:
    canvas = np.zeros((20, 16), np.uint8)
    canvas[6:14] = noise(16, 8)
    assert np.abs(grey(png(canvas), size=[8, 16]) - noise(16, 8)).max() < 1e-3
    assert np.abs(grey(png(canvas.T.copy()), size=[16, 8]) - noise(16, 8).T).max() < 1e-3


def test_what_is_cut_depends_on_the_proportions_of_both() -> None:
    canvas = np.zeros((16, 20), np.uint8)
    canvas[5:10] = noise(20, 5)
    assert np.abs(grey(png(canvas), size=[5, 20], smallest=1) - noise(20, 5)).max() < 1e-3
    shown = grey(png(np.full((16, 20), 200, np.uint8)), size=[8, 40], smallest=1, fit="pad")
    assert (np.rint(shown) == 200).all(axis=0).sum() == 10
    assert (np.rint(shown) == 0).all(axis=0).sum() == 30


def test_stretch_shows_all_of_an_image_in_other_proportions() -> None:
    bars = np.repeat(np.array([0, 80, 160, 240], np.uint8), 10)[None].repeat(8, 0)
    shown = grey(png(bars), size=8, fit="stretch", filter="box")
    assert np.abs(shown - np.repeat([0, 80, 160, 240], 2)).max() < 1e-3


@pytest.mark.parametrize(("shape", "rows"), [((8, 16), slice(4, 12)), ((16, 8), slice(0, 16))])
def test_pad_shows_all_of_an_image_and_fills_the_rest(shape: tuple[int, int], rows: slice) -> None:
    shown = grey(png(np.full(shape, 200, np.uint8)), size=16, fit="pad", padding=30, smallest=1)
    columns = slice(0, 16) if shape[1] == 16 else slice(4, 12)
    expected = np.full((16, 16), 30)
    expected[rows, columns] = 200
    assert np.abs(shown - expected).max() < 1e-3


def test_pad_keeps_at_least_a_line_of_a_long_image() -> None:
    shown = grey(png(np.full((1, 400), 200, np.uint8)), size=8, fit="pad", smallest=1)
    assert (np.rint(shown) == 200).any(axis=1).sum() == 1


def test_padding_of_colours_is_grey() -> None:
    white = np.full((8, 16, 3), 255, np.uint8)
    shown = fed(png(white), size=16, fit="pad", padding=51, channels=3, smallest=1)
    assert np.abs(shown[:, 0, 0] - 0.2).max() < 1e-6
    assert (shown[:, 8, 8] == 1).all()


def test_a_graph_trained_on_the_centre_of_a_smaller_image_gets_that() -> None:
    picture = noise(90, 60)
    shown = grey(png(picture), size=24, shorter_side=30, filter="bilinear")
    smaller = np.asarray(Image.fromarray(picture).resize((45, 30), Image.Resampling.BILINEAR))
    assert np.abs(shown - smaller[3:27, 10:34]).max() < 1e-3


@pytest.mark.parametrize("name", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_the_filter_is_pillows_of_that_name(name: str) -> None:
    picture = noise(40, 40)
    expected = np.asarray(Image.fromarray(picture).resize((8, 8), Image.Resampling[name.upper()]))
    assert np.abs(grey(png(picture), size=8, filter=name) - expected).max() < 1e-3


def test_a_small_image_is_enlarged_only_if_the_manifest_says_so() -> None:
    small = png(gradient(5, 4))
    with pytest.raises(InputRejected, match="image_too_small"):
        fed(small, size=8)
    assert grey(small, size=8, smallest=4).shape == (8, 8)
    with pytest.raises(InputRejected, match="image_too_small"):
        fed(png(gradient(5, 3)), size=8, smallest=4)
    with pytest.raises(InputRejected, match="image_too_small"):
        fed(png(gradient(1, 1)), size=8, smallest=4)


def test_values_are_normalised_by_mean_and_std_of_each_channel() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    shown = fed(png(colours), size=8, channels=3, mean=mean, std=std)
    expected = (colours / 255 - mean) / std
    assert np.abs(shown - expected.transpose(2, 0, 1)).max() < 1e-5


def test_one_mean_and_std_are_of_all_channels() -> None:
    picture = noise(8, 8)
    assert np.abs(fed(png(picture), size=8, mean=[0.5], std=[0.5])[0] - (picture / 127.5 - 1)).max() < 1e-5
    assert np.abs(fed(png(picture), size=8, std=[1 / 255])[0] - picture).max() < 1e-3
    shown = fed(png(picture), size=8, channels=3, mean=[0.5])
    assert np.abs(shown - (picture / 255 - 0.5)).max() < 1e-5


def test_channels_may_come_last() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (8, 16, 3), np.uint8)
    mean = [0.1, 0.2, 0.3]
    shown = fed(png(colours), size=[8, 16], smallest=8, channels=3, layout="NHWC", mean=mean)
    assert np.abs(shown - (colours / 255 - mean)).max() < 1e-5


def test_the_extremes_of_a_model_of_any_shape_are_files_that_it_takes() -> None:
    parameters = {"size": [8, 16], "channels": 3, "layout": "NHWC", "smallest": 4, "fit": "pad"}
    pipeline: Any = single_pass(manifest("image-classification", **parameters))
    tried = pipeline.preprocess([pipeline.encode(file) for file in pipeline.extremes()])["image"]
    assert tried.shape[1:] == (8, 16, 3)
    assert (tried.min(), tried.max()) == (0.0, 1.0)


COLOURS = {"size": 8, "channels": 3, "smallest": 2, "fit": "pad", "window": {"center": 100.0, "width": 200.0}}


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (png(gradient(1, 1)), "image_too_small"),
        (raw_png(20_000, 20_000, b""), "image_too_large"),
        (saved(Image.fromarray(gradient(8, 8)).convert("CMYK"), "JPEG"), "unsupported_color"),
        (png(gradient(8, 8), save_all=True, append_images=[Image.fromarray(noise(8, 8))]), "animated_image"),
        (raw_png(8, 8, bytes(8 * (1 + 8 * 6)), depth=16, colour=2), "unsupported_bit_depth"),
        (raw_png(8, 8, bytes(8 * (1 + 8 * 4)), depth=16, colour=4), "unsupported_bit_depth"),
        (
            saved(Image.fromarray(noise(8, 8).astype(np.uint16)), "PNG", transparency=7),
            "unsupported_bit_depth",
        ),
    ],
)
def test_what_cannot_be_seen_as_it_was_meant_is_refused(file: bytes, code: str) -> None:
    with pytest.raises(InputRejected) as caught:
        fed(file, **COLOURS)
    assert [fault.code for fault in caught.value.faults] == [code]


def test_a_palette_and_a_turned_photograph_are_seen_as_they_were_meant() -> None:
    picture = Image.fromarray(gradient(8, 8)).convert("RGB").quantize(16)
    plain = saved(picture.convert("RGB"), "PNG")
    assert (fed(saved(picture, "PNG"), **COLOURS) == fed(plain, **COLOURS)).all()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = fed(jpeg(gradient(8, 8), exif=exif.tobytes(), quality=95), **COLOURS)
    straight = fed(jpeg(gradient(8, 8), quality=95), **COLOURS)
    assert np.abs(turned - np.rot90(straight, -1, (1, 2))).max() < 1e-6


def test_the_schema_tells_of_windows_and_dicom_files() -> None:
    schema: Any = single_pass(
        manifest("image-classification", **COLOURS, formats=["PNG", "DICOM"])
    ).input_schema()
    data = schema["oneOf"][0]["properties"]["data"]
    assert data["title"] == "PNG or DICOM file"
    assert data["description"].startswith(
        "PNG or DICOM, 8 bits a sample, or 16 bits grey, at least 2 pixels a side"
    )
    assert data["contentMediaType"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("parameters", "place"),
    [
        ({"size": [8]}, "parameters.size"),
        ({"size": [8, 0]}, "parameters.size"),
        ({"mean": [0.1, 0.2]}, "mean and std"),
        ({"std": [0.1, 0.2, 0.3]}, "mean and std"),
        ({"std": [0.0]}, "std must be greater than 0"),
        ({"shorter_side": 7}, "shorter_side"),
        ({"shorter_side": 9, "fit": "pad"}, "shorter_side"),
        ({"padding": 256}, "parameters.padding"),
        ({"fit": "cover"}, "parameters.fit"),
        ({"filter": "cubic"}, "parameters.filter"),
        ({"layout": "CHWN"}, "parameters.layout"),
        ({"window": {"center": 40.0, "width": 0.5}}, "parameters.window.width"),
        ({"modalities": ["CT"]}, "modalities"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], place: str) -> None:
    with pytest.raises(ManifestInvalid, match=place):
        single_pass(manifest("image-classification", **parameters))
