"""The range of whole numbers that a graph looks up in a table is that of the table's rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.graph import read_signature
from models.manifest import FILL_IN, ModelManifest
from models.pipelines import InputRejected, load_pipeline
from models.signature import Signature, Tensor
from models.skeleton import write_skeleton
from models.tensor_guess import guessed_tensors
from tests.unit.models.test_skeleton import graph_of_tensors


def embedding(*gathers: Any, rows: int = 3) -> onnx.ModelProto:
    """Token ids looked up in a table of `rows` rows and 7 columns."""
    given = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", "length"])
    answered = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", "length", 7])
    table = numpy_helper.from_array(np.zeros((rows, 7), np.float32), "table")
    small = numpy_helper.from_array(np.zeros((2, 7), np.float32), "small")
    graph = helper.make_graph([*gathers], "g", [given], [answered], [table, small])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


LOOK_UP = helper.make_node("Gather", ["table", "tokens"], ["vectors"])
SMALL = helper.make_node("Gather", ["small", "tokens"], ["others"])
COLUMNS = helper.make_node("Gather", ["table", "tokens"], ["vectors"], axis=1)
OTHERWISE = [
    helper.make_node("Neg", ["tokens"], ["negative"]),
    helper.make_node("Gather", ["table", "negative"], ["vectors"]),
]


@pytest.mark.parametrize(
    ("nodes", "most"),
    [([LOOK_UP], 2), ([LOOK_UP, SMALL], 1), ([COLUMNS], 6), (OTHERWISE, None)],
)
def test_places_in_a_table_are_limited_to_its_rows(
    nodes: list[Any], most: int | None, tmp_path: Path
) -> None:
    onnx.save(embedding(*nodes), tmp_path / "m.onnx")
    left = write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own").left
    manifest = ModelManifest.parse((tmp_path / "own" / "manifest.toml").read_text())
    [tokens] = manifest.parameters["inputs"]
    assert (tokens.get("minimum"), tokens.get("maximum")) == (None if most is None else 0, most)
    advised = [what for place, what in left if place == "manifest.toml: parameters.inputs"]
    assert len(advised) == (most is None)
    assert all(what.startswith("give minimum and maximum of tokens: ") for what in advised)


def test_examples_are_places_in_the_table(tmp_path: Path) -> None:
    onnx.save(embedding(LOOK_UP), tmp_path / "m.onnx")
    found = guessed_tensors(read_signature(tmp_path / "m.onnx"), onnx.load(tmp_path / "m.onnx").graph, 5)
    assert found is not None
    assert [example["tokens"] for example in found.examples] == [[0], [1], [2], [0], [1]]


def test_the_range_of_fractions_is_not_asked_for(tmp_path: Path) -> None:
    model = graph_of_tensors(["n"])
    onnx.save(model, tmp_path / "m.onnx")
    found = guessed_tensors(read_signature(tmp_path / "m.onnx"), model.graph, 5)
    assert found is not None
    assert found.unbounded == ("token_ids",)


def ward(*, encoded: bool) -> onnx.ModelProto:
    """A graph of a string, as a regression: its place among the two that an encoder knows, or the number that it is."""
    ml = "ai.onnx.ml"
    known = helper.make_node(
        "OneHotEncoder", ["Ward"], ["variable"], domain=ml, cats_strings=["Med", "ICU"], zeros=1
    )
    node = known if encoded else helper.make_node("Cast", ["Ward"], ["variable"], to=TensorProto.FLOAT)
    given = helper.make_tensor_value_info("Ward", TensorProto.STRING, ["n", 1])
    shape: list[str | int | None] = ["n", 1, 2] if encoded else ["n", 1]
    found = helper.make_tensor_value_info("variable", TensorProto.FLOAT, shape)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(ml, 3)]
    return helper.make_model(
        helper.make_graph([node], "ward", [given], [found]), opset_imports=opsets, ir_version=9
    )


def test_strings_are_limited_to_those_that_the_encoder_knows(tmp_path: Path) -> None:
    onnx.save(ward(encoded=True), tmp_path / "m.onnx")
    left = write_skeleton(tmp_path / "m.onnx", tmp_path / "own", "own").left
    manifest = ModelManifest.parse((tmp_path / "own" / "manifest.toml").read_text())
    assert manifest.parameters["inputs"][0]["values"] == ["Med", "ICU"]
    golden = json.loads((tmp_path / "own" / "golden.json").read_text())
    assert [case["input"]["ward"] for case in golden["cases"][:3]] == [["Med"], ["ICU"], ["Med"]]
    assert not [what for place, what in left if place == "manifest.toml: parameters.inputs"]
    with pytest.raises(InputRejected) as refused:
        load_pipeline(manifest).encode({"ward": ["icu"]})
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [("/ward/0", "not_allowed")]
    load_pipeline(manifest).encode({"ward": ["ICU"]})


def test_strings_of_which_the_graph_does_not_tell_are_named(tmp_path: Path) -> None:
    for encoded, unlisted in ((True, ()), (False, ("ward",))):
        onnx.save(model := ward(encoded=encoded), tmp_path / "m.onnx")
        found = guessed_tensors(read_signature(tmp_path / "m.onnx"), model.graph, 5)
        assert found is not None
        assert found.unlisted == unlisted


def volume(side: int, name: str = "model_input") -> Tensor:
    return Tensor(name, "float32", (None, 1, side, side, side))


@pytest.mark.parametrize("side", [128, 10**9])
def test_of_a_large_tensor_no_example_is_made(side: int) -> None:
    found = guessed_tensors(Signature((volume(side),), (volume(2, "y"),)), onnx.GraphProto(), 5)
    assert found is not None
    assert found.examples == [{"tensor_model_input": FILL_IN}] * 5
    assert found.parameters[-1] == f"elements = {side**3}"


def test_of_a_small_tensor_every_number_is_written() -> None:
    found = guessed_tensors(Signature((volume(2, "x"),), (volume(2, "y"),)), onnx.GraphProto(), 5)
    assert found is not None
    assert found.examples[1] == {"x": [[[[1.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]]}
    assert found.parameters[-1] == "]"
