"""Typed pipelines over one image file: what is stored is the file, and results may have pictures."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import jsonschema
import numpy as np
import pytest
from PIL import Image

from models.field_codes import FieldCode
from models.pipelines import Artifact, Case, GraphSpec, InputRejected, RowFault
from models.pipelines.contract import Pipeline, Run
from models.pipelines.image_intake import ImageFileParameters
from models.pipelines.overlays import OVERLAY, overlay_canvas, png_artifact
from models.pipelines.side_files import no_files
from models.pipelines.typed import TypedCase, TypedOptions, TypedResult
from models.pipelines.typed_image import ImageInput, TypedImagePipeline
from tests.unit.models.example_images import gradient, jpeg, png


class Options(TypedOptions):
    overlay: bool = False


class Result(TypedResult):
    type: Literal["size"] = "size"
    width: int
    height: int


class Sizes(TypedImagePipeline[ImageFileParameters, Result, Options]):
    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        return {}

    @property
    def least_side(self) -> int:
        return 4

    def open_bundle(self, folder: Path) -> Any:
        return self

    def score(
        self, run: Run, cases: Sequence[TypedCase[ImageInput, Options]]
    ) -> list[tuple[Result, Sequence[Artifact]]]:
        del run
        found: list[tuple[Result, Sequence[Artifact]]] = []
        for row, case in enumerate(cases):
            pixels = self.pixels(row, case.input)
            files = (png_artifact(OVERLAY, overlay_canvas(pixels, 16)[0]),) if case.options.overlay else ()
            found.append((Result(width=pixels.width, height=pixels.height), files))
        return found


PIPELINE = Sizes(ImageFileParameters.model_validate({}), no_files)
FILE = png(gradient(40, 24))


def no_run(feeds: Mapping[str, Any], graph: str = "model") -> Any:
    raise AssertionError("no graph is run")


def test_it_is_a_pipeline_of_one_file() -> None:
    assert isinstance(PIPELINE, Pipeline)
    assert PIPELINE.binary
    assert not PIPELINE.parts


def test_the_stored_input_is_the_file_and_reads_back() -> None:
    assert PIPELINE.encode(FILE) == FILE
    shown = PIPELINE.decode(FILE)
    jsonschema.validate(shown, PIPELINE.input_schema())
    examples: Any = PIPELINE.input_schema()["examples"]
    jsonschema.validate(examples[0], PIPELINE.input_schema())


def test_a_file_that_cannot_be_scored_is_refused_at_submit() -> None:
    for wrong, code in (
        (b"no image", FieldCode.NOT_AN_IMAGE),
        (FILE[:-20], FieldCode.TRUNCATED_IMAGE),
        (png(gradient(3, 24)), FieldCode.IMAGE_TOO_SMALL),
        ({"data": "x"}, FieldCode.WRONG_TYPE),
    ):
        with pytest.raises(InputRejected) as refused:
            PIPELINE.encode(wrong)
        assert [fault.code for fault in refused.value.faults] == [code]


def test_a_stored_file_that_is_damaged_fails_its_own_row() -> None:
    with pytest.raises(RowFault) as fault:
        PIPELINE.open(Path()).score(no_run, [Case(FILE), Case(FILE[:40])])
    assert fault.value.index == 1
    assert fault.value.fault.code == FieldCode.TRUNCATED_IMAGE


def test_results_have_pictures_where_the_options_ask_for_them() -> None:
    options = PIPELINE.check_options({"overlay": True})
    plain, drawn = PIPELINE.open(Path()).score(no_run, [Case(FILE), Case(jpeg(gradient(40, 24)), options)])
    assert plain == ({"type": "size", "width": 40, "height": 24}, ())
    [artifact] = drawn.artifacts
    assert (artifact.name, artifact.media_type) == ("overlay.png", "image/png")
    assert Image.open(BytesIO(artifact.content)).size == (16, 10)


def test_a_canvas_is_a_copy() -> None:
    pixels = Image.fromarray(np.zeros((5, 5, 3), np.uint8))
    canvas, scale = overlay_canvas(pixels)
    canvas.putpixel((0, 0), (9, 9, 9))
    assert scale == 1.0
    assert pixels.getpixel((0, 0)) == (0, 0, 0)
