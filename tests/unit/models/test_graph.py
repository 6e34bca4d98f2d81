"""ONNX files that reach beyond themselves, are broken, or do not fit their pipeline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.graph import check_graph
from models.manifest import Fault, GraphTable
from tests.unit.models.example_bundles import graph, manifest, single_pass, told

PIPELINE = single_pass(manifest())


def faults_of(model: onnx.ModelProto | bytes, folder: Path, *files: str) -> list[Fault]:
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    faults = check_graph(path, GraphTable.model_validate({}), PIPELINE.graphs["model"], files=files)
    assert {place for place, _ in told(faults)} <= {
        "model.onnx", "manifest.toml: graph.inputs", "manifest.toml: graph.outputs",
    }  # fmt: skip
    return faults


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


def test_an_empty_file_is_refused_as_empty(tmp_path: Path) -> None:
    [fault] = faults_of(b"", tmp_path)
    assert fault.code == "onnx_invalid"
    assert fault.detail.startswith("the file is empty")


def test_a_file_that_holds_its_model_twice_is_refused(tmp_path: Path) -> None:
    content = graph().SerializeToString()
    [fault] = faults_of(content * 2, tmp_path)
    assert (fault.code, fault.place) == ("onnx_invalid", "model.onnx")
    assert "defined 2 times, as if the file held several models" in fault.detail


@pytest.mark.parametrize("build", [in_initializer, in_constant, in_subgraph])
def test_weights_outside_of_the_bundle_are_refused_wherever_they_hide(
    build: Callable[[], onnx.ModelProto], tmp_path: Path
) -> None:
    assert {fault.code for fault in faults_of(build(), tmp_path)} == {"external_data_missing"}


def with_weights_in(location: str, **entries: str) -> onnx.ModelProto:
    """The good graph with its first tensor's eight bytes in another file."""
    model = graph()
    tensor = external(model.graph.initializer[0])
    del tensor.external_data[:]
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return model


def write_weights(folder: Path, name: str = "weights.bin") -> None:
    (folder / name).write_bytes(bytes(64) + np.array([0.1, 0.02], np.float32).tobytes())


@pytest.mark.parametrize("entries", [{"offset": "64", "length": "8"}, {"offset": "64"}])
def test_weights_in_a_file_of_the_bundle_are_accepted(entries: dict[str, str], tmp_path: Path) -> None:
    write_weights(tmp_path)
    assert faults_of(with_weights_in("weights.bin", **entries), tmp_path, "weights.bin") == []


@pytest.mark.parametrize(
    "location", ["weights.bin", "", "./weights.bin", "../weights.bin", "/etc/hostname", "a/../weights.bin"]
)
def test_weights_in_a_file_that_the_bundle_does_not_list_are_refused(location: str, tmp_path: Path) -> None:
    write_weights(tmp_path)
    [fault] = faults_of(with_weights_in(location, offset="64", length="8"), tmp_path, "other.bin")
    assert fault.code == "external_data_missing"
    assert fault.detail == (
        f"the weights of tensor 'weight' are in {location!r}, which is no file of the bundle: "
        "put that file into the bundle next to the graph and seal it, or embed the weights"
    )


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "72", "length": "8"},
        {"offset": "-8", "length": "8"},
        {"offset": "64", "length": "-8"},
        {"offset": "64", "length": "9" * 30},
        {"offset": "1e3"},
        {"offset": "80"},
    ],
)
def test_weights_past_the_end_of_their_file_are_refused(entries: dict[str, str], tmp_path: Path) -> None:
    write_weights(tmp_path)
    [fault] = faults_of(with_weights_in("weights.bin", **entries), tmp_path, "weights.bin")
    assert fault.code == "external_data_outside"
    words = "are outside of 'weights.bin' (72 bytes): export the model again"
    assert fault.detail == f"the weights of tensor 'weight' {words}"


def test_a_tensor_that_names_a_file_is_external_whatever_else_it_says(tmp_path: Path) -> None:
    model = graph()
    model.graph.initializer[0].external_data.add(key="location", value="../../etc/passwd")
    assert {fault.code for fault in faults_of(model, tmp_path)} == {"external_data_missing"}


def test_weights_in_a_listed_file_that_is_not_there_are_said_among_the_files(tmp_path: Path) -> None:
    assert faults_of(with_weights_in("weights.bin"), tmp_path, "weights.bin") == []


@pytest.mark.parametrize(
    ("entries", "there"),
    [
        ({"offset": "64", "length": "4"}, 4),
        ({"length": "72"}, 72),
        ({"offset": "68"}, 4),
        ({"offset": "72"}, 0),
    ],
)
def test_weights_of_another_size_than_their_shape_says_are_refused(
    entries: dict[str, str], there: int, tmp_path: Path
) -> None:
    write_weights(tmp_path)
    [fault] = faults_of(with_weights_in("weights.bin", **entries), tmp_path, "weights.bin")
    assert fault.code == "external_data_size"
    assert f"are {there} bytes in 'weights.bin', and by its shape 8" in fault.detail


@pytest.mark.parametrize("key", ["location", "basepath"])
def test_keys_of_external_data_that_are_given_twice_or_unknown_are_refused(key: str, tmp_path: Path) -> None:
    write_weights(tmp_path)
    model = with_weights_in("weights.bin", offset="64", length="8")
    model.graph.initializer[0].external_data.add(key=key, value="weights.bin")
    [fault] = faults_of(model, tmp_path, "weights.bin")
    assert fault.code == "external_data_invalid"


def with_domain_of_a_node() -> onnx.ModelProto:
    return graph(identity(domain="com.example"))


def with_domain_in_a_subgraph() -> onnx.ModelProto:
    branch = helper.make_graph(
        [helper.make_node("Trick", [], ["chosen"], domain="com.example")],
        "branch",
        [],
        [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [1])],
    )
    return graph([helper.make_node("If", ["logit"], ["mixed"], then_branch=branch, else_branch=branch)])


@pytest.mark.parametrize("build", [with_domain_of_a_node, with_domain_in_a_subgraph])
def test_operators_of_other_domains_are_refused(build: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    [fault] = faults_of(build(), tmp_path)
    assert fault.code == "unknown_operator_domain"
    assert "com." in fault.detail


def test_domains_that_are_imported_and_not_used_are_accepted(tmp_path: Path) -> None:
    """ONNX Runtime writes them into a graph that it optimized, as `optimum-cli export onnx --optimize O2` has it do."""
    model = graph()
    for domain in ("ai.onnx.preview.training", "com.microsoft.nchwc", "org.pytorch.aten"):
        model.opset_import.append(helper.make_opsetid(domain, 1))
    assert faults_of(model, tmp_path) == []


def test_operators_of_classic_machine_learning_are_accepted(tmp_path: Path) -> None:
    model = graph([helper.make_node("Binarizer", ["logit"], ["mixed"], domain="ai.onnx.ml")])
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    assert faults_of(model, tmp_path) == []


def test_operators_that_come_with_the_runtime_are_accepted(tmp_path: Path) -> None:
    model = graph([helper.make_node("Gelu", ["logit"], ["mixed"], domain="com.microsoft")])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert faults_of(model, tmp_path) == []


@pytest.mark.parametrize(
    ("operator", "opset"), [("SimplifiedLayerNormalization", 20), ("LayerNormalization", 14)]
)
def test_operators_that_the_runtime_adds_to_the_domain_of_onnx_are_accepted(
    operator: str, opset: int, tmp_path: Path
) -> None:
    """Graphs that ONNX Runtime optimized have them, and all of onnxruntime-genai's model builder."""
    model = graph([helper.make_node(operator, ["logit", "bias"], ["mixed"], axis=-1, epsilon=1e-6)])
    model.opset_import[0].version = opset
    assert faults_of(model, tmp_path) == []


def test_a_wrong_shape_that_is_declared_within_the_graph_is_no_fault(tmp_path: Path) -> None:
    """The model builder of onnxruntime-genai declares constants of one number as if they had no axis."""
    model = graph()
    model.graph.value_info.append(helper.make_tensor_value_info("logit", TensorProto.FLOAT, []))
    assert faults_of(model, tmp_path) == []


def test_shapes_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    model = graph([helper.make_node("MatMul", ["logit", "weight"], ["mixed"])])
    [fault] = faults_of(model, tmp_path)
    assert fault.code == "onnx_invalid"
    assert "MatMul" in fault.detail


def with_function(inner: onnx.NodeProto, domain: str = "own.functions") -> onnx.ModelProto:
    """The good graph with a function `Mix` of one node between logit and sigmoid."""
    opsets = (
        [helper.make_opsetid("", 20), helper.make_opsetid(inner.domain, 1)]
        if inner.domain
        else [helper.make_opsetid("", 20)]
    )
    model = graph([helper.make_node("Mix", ["logit"], ["mixed"], domain=domain)])
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    model.functions.append(helper.make_function(domain, "Mix", ["x"], ["y"], [inner], opsets))
    return model


def test_functions_of_built_in_operators_are_accepted(tmp_path: Path) -> None:
    assert faults_of(with_function(helper.make_node("Identity", ["x"], ["y"])), tmp_path) == []


def test_a_function_of_foreign_operators_is_refused(tmp_path: Path) -> None:
    model = with_function(helper.make_node("Trick", ["x"], ["y"], domain="com.example"))
    [fault] = faults_of(model, tmp_path)
    assert fault.code == "unknown_operator_domain"
    assert "com.example" in fault.detail


def test_a_function_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    model = with_function(helper.make_node("Identity", ["x"], ["y"]))
    model.graph.node[2].op_type = "Other"
    assert [fault.code for fault in faults_of(model, tmp_path)] == ["unknown_operator_domain"]


def test_a_function_in_the_place_of_a_built_in_operator_is_refused(tmp_path: Path) -> None:
    model = with_function(helper.make_node("Identity", ["x"], ["y"]), domain="")
    assert [fault.code for fault in faults_of(model, tmp_path)] == ["local_function"]


def test_a_training_graph_is_refused(tmp_path: Path) -> None:
    model = graph()
    model.training_info.add()
    assert [fault.code for fault in faults_of(model, tmp_path)] == ["training_graph"]


@pytest.mark.parametrize("content", [b"", b"not ONNX", graph().SerializeToString()[:-20]])
def test_bytes_that_are_no_model_are_refused(content: bytes, tmp_path: Path) -> None:
    [fault] = faults_of(content, tmp_path)
    assert fault.code == "onnx_invalid"


def test_a_graph_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    [fault] = faults_of(graph([helper.make_node("Identity", ["nowhere"], ["mixed"])]), tmp_path)
    assert fault.code == "onnx_invalid"
    assert "nowhere" in fault.detail


def test_a_graph_whose_shapes_cannot_meet_is_refused(tmp_path: Path) -> None:
    model = graph(features=3)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
    [fault] = faults_of(model, tmp_path)
    assert fault.code == "onnx_invalid"
    assert "MatMul" in fault.detail


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"feed": "input"}, "input_differs", "'features' is missing"),
        ({"feed": "input"}, "input_differs", "no feed 'input'"),
        ({"features": 3}, "input_differs", "another shape"),
        ({"rows": 2}, "input_differs", "dynamic first axis"),
        ({"rows": 2}, "output_differs", "dynamic first axis"),
        (
            {"output": "score"},
            "output_differs",
            "'probability' is missing: the graph's outputs are 'score', so write `outputs.probability = ",
        ),
    ],
)
def test_tensors_that_the_pipeline_does_not_speak_of_are_refused(
    changes: dict[str, Any], code: str, words: str, tmp_path: Path
) -> None:
    assert any(
        fault.code == code and words in fault.detail for fault in faults_of(graph(**changes), tmp_path)
    )


def test_a_sequence_of_tensors_is_no_map_of_classes(tmp_path: Path) -> None:
    model = graph()
    model.graph.node.append(helper.make_node("SequenceConstruct", ["probability"], ["several"]))
    listed = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["rows", 1]))
    model.graph.output.append(helper.make_value_info("several", listed))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    table = GraphTable.model_validate({"outputs": {"probability": "several"}})
    [fault] = check_graph(tmp_path / "model.onnx", table, PIPELINE.graphs["model"])
    assert (fault.place, fault.code) == ("manifest.toml: graph.outputs", "output_differs")
    assert "has another element type, sequence" in fault.detail


def test_a_graph_may_give_more_than_the_pipeline_needs(tmp_path: Path) -> None:
    model = graph()
    model.graph.output.append(helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["rows", 1]))
    assert faults_of(model, tmp_path) == []


def test_the_good_graph_has_no_faults(tmp_path: Path) -> None:
    assert faults_of(graph(), tmp_path) == []
