"""Graphs in float16 and in eight bits: valid, as near as these formats allow, and with the inputs and outputs they had."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.variants.eight_bits import with_int8_weights
from models.variants.half import rounding_visibly, with_float16
from models.weights import UNPACKED_WEIGHTS

Weights = Mapping[str, np.ndarray[Any, Any]]
WEIGHT = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
ROWS = np.random.default_rng(2).normal(size=(3, 8)).astype(np.float32)


def model(
    nodes: list[onnx.NodeProto], weights: Weights, *, rank: int = 2, inputs: bool = False
) -> onnx.ModelProto:
    """From x float32 [N, 8] to y of this `rank`; with `inputs`, weights are listed as inputs, as old exporters do."""
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])]
    if inputs:
        given += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, list("ABCD"[:rank]))
    graph = helper.make_graph(nodes, "g", given, [result], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(found: onnx.ModelProto) -> Any:
    """The answer as the check gets it: weights in eight bits are unpacked once, products stay in float32."""
    onnx.checker.check_model(found, full_check=True)
    options = ort.SessionOptions()
    for key, value in UNPACKED_WEIGHTS.items():
        options.add_session_config_entry(key, value)
    return ort.InferenceSession(found.SerializeToString(), options).run(None, {"x": ROWS})[0]


def computed(found: onnx.ModelProto) -> Any:
    """The answer with every rounding of float16."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(rounding_visibly(found).SerializeToString(), options)
    return session.run(None, {"x": ROWS})[0]


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def kinds(found: onnx.ModelProto) -> list[str]:
    return [each.op_type for each in found.graph.node]


def half(found: onnx.ModelProto, among: Any = None) -> onnx.ModelProto:
    return with_float16(found, among=among)


def softmax(*, inputs: bool = False) -> onnx.ModelProto:
    """A product whose value two operators read, one of them in float32 when Softmax is kept."""
    nodes = [node("MatMul", "x w", "p"), node("Softmax", "p", "s"), node("Add", "p s", "y")]
    return model(nodes, {"w": WEIGHT}, inputs=inputs)


@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("among", [None, ("MatMul",), ()])
def test_a_graph_in_float16_is_valid_and_near_whatever_is_kept(inputs: bool, among: Any) -> None:
    before = softmax(inputs=inputs)
    expected = run(before)
    found = half(softmax(inputs=inputs), among)
    answers = run(found)
    assert answers.dtype == np.float32
    assert np.abs(answers - expected).max() < 0.01
    types = {numpy_helper.to_array(tensor).dtype for tensor in found.graph.initializer}
    assert types == ({np.dtype(np.float32)} if among == () else {np.dtype(np.float16)})


def test_a_value_is_cast_once_for_all_who_read_it_in_float32() -> None:
    found = half(softmax(), ("MatMul",))
    assert kinds(found) == ["Cast", "MatMul", "Cast", "Softmax", "Add"]


def test_computing_really_takes_place_in_float16() -> None:
    """1 + 2^-12 is 1 in float16."""
    step = np.full((1,), 2.0**-12, np.float32)
    nodes = [
        node("Mul", "x zero", "o"),
        node("Add", "o one", "a"),
        node("Add", "a step", "b"),
        node("Sub", "b one", "y"),
    ]
    weights = {"zero": np.zeros(1, np.float32), "one": np.ones(1, np.float32), "step": step}
    assert run(model(nodes, weights)).max() == 2.0**-12
    assert computed(half(model(nodes, weights))).max() == 0


def test_what_float16_does_not_hold_is_infinite_where_the_cpu_would_hide_it() -> None:
    nodes = [node("Mul", "x large", "l"), node("Mul", "l large", "y")]
    weights = {"large": np.array([1000], np.float32)}
    assert np.isinf(computed(half(model(nodes, weights)))).any()
    assert np.isfinite(computed(model(nodes, weights))).all()


def test_an_operator_with_a_weight_beyond_float16_stays_in_float32() -> None:
    nodes = [node("Mul", "x large", "l"), node("Mul", "l small", "y")]
    weights = {"large": np.array([70_000], np.float32), "small": np.array([1e-4], np.float32)}
    found = half(model(nodes, weights), ("Mul",))
    assert {tensor.name: tensor.data_type for tensor in found.graph.initializer}["large"] == TensorProto.FLOAT
    alone = half(model([*nodes[:1], node("Identity", "l", "y")], weights), ("Mul",))
    assert kinds(alone) == ["Mul", "Identity"]


def test_constants_of_nodes_become_float16_too() -> None:
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(WEIGHT))
    found = half(model([constant, node("MatMul", "x w", "y")], {}))
    assert [tensor.data_type for tensor in found.graph.initializer] == [TensorProto.FLOAT16]
    assert np.abs(run(found) - ROWS @ WEIGHT).max() < 0.02


def test_inputs_that_have_to_be_float32_stay_so() -> None:
    """The scales of Resize, whatever the type of the image."""
    shape, scales = np.array([0, 1, 1, 8], np.int64), np.array([1, 1, 2, 1], np.float32)
    nodes = [node("Reshape", "x shape", "i"), helper.make_node("Resize", ["i", "", "scales"], ["y"])]
    found = half(model(nodes, {"shape": shape, "scales": scales}, rank=4))
    (resize,) = (each for each in found.graph.node if each.op_type == "Resize")
    assert resize.input[0].endswith("_half")
    assert np.abs(run(found)[:, 0, 0] - ROWS).max() < 0.01
    assert [each.data_type for each in found.graph.initializer if each.name == "scales"] == [
        TensorProto.FLOAT
    ]


def test_what_inner_graphs_read_is_there_in_float32() -> None:
    def branch(name: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["A", "B"])
        return helper.make_graph([node("Neg", "p", name)], name, [], [out])

    nodes = [
        node("MatMul", "x w", "p"),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch("t"), else_branch=branch("e")),
    ]
    found = half(model(nodes, {"w": WEIGHT, "yes": np.array(True)}))
    assert np.abs(run(found) + ROWS @ WEIGHT).max() < 0.02


def test_indices_and_other_types_are_left_alone() -> None:
    nodes = [node("Gather", "x first", "g", axis=1), node("Cast", "g", "whole", to=TensorProto.INT64),
             node("Cast", "whole", "y", to=TensorProto.FLOAT)]  # fmt: skip
    found = half(model(nodes, {"first": np.array([0], np.int64)}))
    assert (run(found) == np.trunc(ROWS[:, :1])).all()


@pytest.mark.parametrize(
    ("nodes", "shape", "axis"),
    [
        ([node("MatMul", "x w", "y")], (8, 4), 1),
        ([node("Gemm", "x w", "y", transB=1)], (4, 8), 0),
        ([node("Reshape", "x to", "i"), node("Conv", "i w", "y")], (4, 2, 1, 2), 0),
    ],
    ids=["matmul", "gemm", "conv"],
)
def test_each_output_channel_has_its_own_scale_in_eight_bits(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...], axis: int
) -> None:
    """Channels of very different size: with one scale for all, the small ones would be lost."""
    sizes = 10.0 ** np.arange(-4, 0)
    along = [-1 if each == axis else 1 for each in range(len(shape))]
    values = np.random.default_rng(3).normal(size=shape) * sizes.reshape(along)
    weights: Weights = {"w": values.astype(np.float32), "to": np.array([-1, 2, 1, 4], np.int64)}
    rank = len(shape)
    before = run(model(nodes, weights, rank=rank))
    found = with_int8_weights(model(nodes, weights, rank=rank), least=1, kernels=True)
    assert [t.data_type for t in found.graph.initializer if t.name == "w_codes"] == [TensorProto.INT8]
    channels = before.reshape(3, 4, -1) if axis == 0 and len(shape) == 4 else before[:, :, None]
    after = run(found).reshape(channels.shape)
    off = np.abs(after - channels).max(axis=(0, 2)) / np.abs(channels).max(axis=(0, 2))
    assert off.max() < 0.1


def test_small_tensors_and_vectors_and_by_default_kernels_keep_float32() -> None:
    nodes = [node("MatMul", "x w", "p"), node("Add", "p b", "y")]
    weights = {"w": WEIGHT, "b": np.zeros(4, np.float32), "k": np.zeros((4, 2, 8), np.float32)}
    assert kinds(with_int8_weights(model(nodes, weights), least=33)) == ["MatMul", "Add"]
    found = with_int8_weights(model(nodes, weights, inputs=True), least=1)
    assert {t.name for t in found.graph.initializer} == {"w_codes", "w_scales", "b", "k"}
    assert {value.name for value in found.graph.input} == {"x", "b", "k"}
    assert np.abs(run(found) - ROWS @ WEIGHT).max() < 0.1
