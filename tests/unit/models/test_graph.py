"""ONNX files that reach beyond themselves, are broken, or do not fit their pipeline."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.graph import check_graph
from models.manifest import Fault
from models.pipelines import load_pipeline
from tests.unit.models.example_bundles import graph, manifest

PIPELINE = load_pipeline(manifest())


def faults_of(model: onnx.ModelProto) -> list[Fault]:
    return check_graph(model.SerializeToString(), PIPELINE.feeds, PIPELINE.outputs)


def identity(**attributes: Any) -> list[onnx.NodeProto]:
    return [helper.make_node("Identity", ["logit"], ["mixed"], **attributes)]


def external(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """`tensor` as if its values were in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def in_initializer() -> onnx.ModelProto:
    model = graph()
    external(model.graph.initializer[0])
    return model


def in_constant() -> onnx.ModelProto:
    value = external(numpy_helper.from_array(np.zeros(1, np.float32), "hidden"))
    return graph([helper.make_node("Constant", [], ["zero"], value=value), *identity()])


def in_subgraph() -> onnx.ModelProto:
    value = external(numpy_helper.from_array(np.zeros(1, np.float32), "hidden"))
    branch = helper.make_graph(
        [helper.make_node("Identity", ["hidden"], ["chosen"])],
        "branch",
        [],
        [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [1])],
        [value],
    )
    condition = numpy_helper.from_array(np.array(True), "yes")
    return graph(
        [
            helper.make_node("Constant", [], ["which"], value=condition),
            helper.make_node("If", ["which"], ["mixed"], then_branch=branch, else_branch=branch),
        ]
    )


@pytest.mark.parametrize("build", [in_initializer, in_constant, in_subgraph])
def test_external_data_is_refused_wherever_it_hides(build: Callable[[], onnx.ModelProto]) -> None:
    assert {fault.code for fault in faults_of(build())} == {"external_data"}


def with_domain_of_a_node() -> onnx.ModelProto:
    return graph(identity(domain="com.example"))


def with_declared_domain() -> onnx.ModelProto:
    model = graph()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def with_domain_in_a_subgraph() -> onnx.ModelProto:
    branch = helper.make_graph(
        [helper.make_node("Trick", [], ["chosen"], domain="com.example")],
        "branch",
        [],
        [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [1])],
    )
    return graph([helper.make_node("If", ["logit"], ["mixed"], then_branch=branch, else_branch=branch)])


@pytest.mark.parametrize("build", [with_domain_of_a_node, with_declared_domain, with_domain_in_a_subgraph])
def test_operators_of_other_domains_are_refused(build: Callable[[], onnx.ModelProto]) -> None:
    [fault] = faults_of(build())
    assert fault.code == "unknown_operator_domain"
    assert "com." in fault.detail


def test_operators_of_classic_machine_learning_are_accepted() -> None:
    model = graph([helper.make_node("Binarizer", ["logit"], ["mixed"], domain="ai.onnx.ml")])
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    assert faults_of(model) == []


def test_local_functions_are_refused() -> None:
    model = graph()
    opset = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("", "Loop", ["x"], ["y"], [], opset))
    assert "local_function" in {fault.code for fault in faults_of(model)}


def test_a_training_graph_is_refused() -> None:
    model = graph()
    model.training_info.add()
    assert [fault.code for fault in faults_of(model)] == ["training_graph"]


@pytest.mark.parametrize("content", [b"", b"not ONNX", graph().SerializeToString()[:-20]])
def test_bytes_that_are_no_model_are_refused(content: bytes) -> None:
    [fault] = check_graph(content, PIPELINE.feeds, PIPELINE.outputs)
    assert fault.code == "onnx_invalid"


def test_a_graph_that_contradicts_itself_is_refused() -> None:
    [fault] = faults_of(graph([helper.make_node("Identity", ["nowhere"], ["mixed"])]))
    assert fault.code == "onnx_invalid"
    assert "nowhere" in fault.detail


def test_a_graph_whose_shapes_cannot_meet_is_refused() -> None:
    model = graph(features=3)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
    [fault] = faults_of(model)
    assert fault.code == "onnx_invalid"
    assert "MatMul" in fault.detail


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"feed": "input"}, "input_differs", "'features' is missing"),
        ({"feed": "input"}, "input_differs", "no feed 'input'"),
        ({"features": 3}, "input_differs", "another shape"),
        ({"element": TensorProto.DOUBLE}, "input_differs", "another element type"),
        ({"element": TensorProto.DOUBLE}, "output_differs", "another element type"),
        ({"rows": 1}, "input_differs", "dynamic first axis"),
        ({"rows": 1}, "output_differs", "dynamic first axis"),
        ({"output": "score"}, "output_differs", "'probability' is missing"),
    ],
)
def test_tensors_that_the_pipeline_does_not_speak_of_are_refused(
    changes: dict[str, Any], code: str, words: str
) -> None:
    assert any(fault.code == code and words in fault.detail for fault in faults_of(graph(**changes)))


def test_a_graph_may_give_more_than_the_pipeline_needs() -> None:
    model = graph()
    model.graph.output.append(helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["rows", 1]))
    assert faults_of(model) == []


def test_the_good_graph_has_no_faults() -> None:
    assert faults_of(graph()) == []
