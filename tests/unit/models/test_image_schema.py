"""What is published of a model of images: the schema of its inputs, and the pictures that its graph is tried with."""

import base64
from typing import Any

import jsonschema
import numpy as np
import pytest

from models.pipelines.image_file import decode_image, read_image
from tests.unit.models.example_bundles import manifest, single_pass
from tests.unit.models.example_images import Pixels

PIPELINE = single_pass(manifest("image-classification", size=8, max_pixels=10_000))
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "oneOf": [
        {
            "properties": {
                "data": {
                    "type": "string",
                    "title": "PNG or JPEG file",
                    "description": "PNG or JPEG, 8 bits a sample, at least 8 pixels a side, at most 10000 pixels and "
                    "20000000 bytes.",
                    "contentEncoding": "base64",
                    "maxLength": 26_666_668,
                    "contentMediaType": "image/*",
                }
            },
            "required": ["data"],
            "additionalProperties": False,
        },
        {
            "properties": {
                "upload_id": {
                    "type": "string",
                    "title": "Upload",
                    "description": "An id that POST /v1/uploads answered, of a file of at most 20000000 bytes.",
                }
            },
            "required": ["upload_id"],
            "additionalProperties": False,
        },
    ],
}


def test_the_schema_takes_a_file_or_an_upload_and_not_both() -> None:
    schema: Any = PIPELINE.input_schema()
    assert {key: rule for key, rule in schema.items() if key != "examples"} == SCHEMA
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema).is_valid
    assert valid({"data": "AAAA"})
    assert valid({"upload_id": "u1"})
    assert not valid({"data": "AAAA", "upload_id": "u1"})
    assert not valid({})
    assert not valid({"data": "AAAA", "name": "x"})


@pytest.mark.parametrize("name", ["PNG", "JPEG"])
def test_the_schema_of_a_model_of_one_format_tells_its_media_type(name: str) -> None:
    schema: Any = single_pass(manifest("image-classification", formats=[name])).input_schema()
    data = schema["oneOf"][0]["properties"]["data"]
    assert (data["title"], data["contentMediaType"]) == (f"{name} file", f"image/{name.lower()}")


@pytest.mark.parametrize("formats", [("PNG", "JPEG"), ("JPEG",)])
def test_the_example_of_the_schema_is_a_file_that_is_taken(formats: tuple[str, ...]) -> None:
    pipeline = single_pass(manifest("image-classification", size=8, formats=list(formats)))
    schema: Any = pipeline.input_schema()
    (example,) = schema["examples"]
    assert jsonschema.Draft202012Validator(schema).is_valid(example)
    content = base64.b64decode(example["data"])
    row = np.asarray(decode_image(read_image(content), "L"))[0].astype(int)
    assert (np.abs(row - np.linspace(0, 255, 8)) < 3).all(), "it grows brighter from left to right"
    assert content.startswith(b"\x89PNG" if "PNG" in formats else b"\xff\xd8")
    assert pipeline.encode(content) == content


@pytest.mark.parametrize(
    ("most_bytes", "told"), [(None, 20_000_000), (10**9, 20_000_000), (8_388_608, 8_388_608)]
)
def test_the_schema_promises_the_smaller_of_the_models_limit_and_the_services(
    most_bytes: int | None, told: int
) -> None:
    schema: Any = PIPELINE.input_schema(most_bytes)
    data, upload = (form["properties"] for form in schema["oneOf"])
    assert f"at most 10000 pixels and {told} bytes." in data["data"]["description"]
    assert data["data"]["maxLength"] == len(base64.b64encode(bytes(told)))
    assert f"at most {told} bytes" in upload["upload_id"]["description"]


def extremes(**parameters: Any) -> list[Pixels]:
    """What a graph sees of the inputs at the ends of what is accepted, as whole numbers [C,8,8]."""
    pipeline: Any = single_pass(manifest("image-classification", size=8, **parameters))
    feed = pipeline.preprocess([pipeline.encode(file) for file in pipeline.extremes()])["image"]
    assert pipeline.further_extremes({}) == []
    return list(np.rint(feed * 255).astype(np.uint8))


def test_a_graph_is_tried_with_flat_pictures_halves_gratings_and_noise() -> None:
    tried = [picture[0] for picture in extremes(formats=["PNG"])]
    down, across = np.indices((8, 8))
    for mask in (down >= 4, across >= 4, down % 2, across % 2, (down + across) % 2, down // 4 % 2):
        for pattern in (mask * 255, 255 - mask * 255):
            assert any((picture == pattern).all() for picture in tried)
    flat = [picture for picture in tried if picture.min() == picture.max()]
    assert [picture[0, 0] for picture in flat] == [0, 255, 128]
    assert any((picture == down * 255 // 7).all() for picture in tried)
    noise = [picture for picture in tried if len(np.unique(picture)) > 40]
    dots = [
        picture for picture in tried if 0 < (picture == 255).mean() < 0.2 and len(np.unique(picture)) == 2
    ]
    assert (len(noise), len(dots), len(tried)) == (4, 4, 28)


def test_a_graph_of_colours_is_tried_with_each_of_them_alone() -> None:
    grey, colour = extremes(formats=["PNG"]), extremes(formats=["PNG"], channels=3)
    assert len(colour) == len(grey) + 3 * (len(grey) - 1)
    for picture, found in zip(grey, colour, strict=False):
        assert (found == picture).all()
    for index, found in enumerate(colour[len(grey) :]):
        expected = np.zeros((3, 8, 8), np.uint8)
        expected[index % 3] = grey[1 + index // 3][0]
        assert (found == expected).all()


def test_a_graph_is_tried_with_files_that_its_manifest_takes() -> None:
    pipeline: Any = single_pass(manifest("image-classification", formats=["JPEG", "PNG"]))
    files = pipeline.extremes()
    assert all(file.startswith(b"\xff\xd8") for file in files)
    limit = sorted(map(len, files))[9]
    pipeline = single_pass(manifest("image-classification", formats=["JPEG"], max_bytes=limit))
    assert pipeline.extremes() == [file for file in files if len(file) <= limit]
