"""What a bundle's ONNX graph may be: standard operators, no outside files, the tensors its pipeline names.

Reads the graph and never runs it. The rules close what an ONNX file can do beyond arithmetic: operators of
other domains are native code, and external data is a path the runtime would open.
"""

from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf import descriptor, message  # type: ignore[import-untyped]  # protobuf ships no types

from models.manifest import Fault
from models.pipelines import TensorSpec

MODEL_NAME = "model.onnx"
_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml"))


def check_graph(
    content: bytes, feeds: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> list[Fault]:
    """Every reason to refuse the ONNX file `content` for a pipeline with these `feeds` and `outputs`."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except message.DecodeError:
        return [_fault("onnx_invalid", "the file is not an ONNX model: export it again")]
    # The checker follows external data and local functions, so it sees only graphs that have neither.
    return _check_reach(model) or _check_validity(model) or _check_tensors(model.graph, feeds, outputs)


def _fault(code: str, detail: str) -> Fault:
    return Fault(MODEL_NAME, code, detail)


def _check_reach(model: Any) -> list[Fault]:
    """Faults of a model that reaches beyond itself and the standard operators."""
    nested = list(_messages(model))
    tensors = [part for part in nested if isinstance(part, onnx.TensorProto) and _is_external(part)]
    faults = [
        _fault("external_data", f"tensor {part.name!r} is in another file: embed it") for part in tensors
    ]
    domains = {part.domain for part in nested if isinstance(part, onnx.NodeProto | onnx.OperatorSetIdProto)}
    faults += [
        _fault("unknown_operator_domain", f"operators of {domain!r} are not accepted: replace them")
        for domain in sorted(domains - _DOMAINS)
    ]
    if len(model.functions):
        faults.append(_fault("local_function", "the model defines functions: inline them when exporting"))
    if len(model.training_info):
        faults.append(_fault("training_graph", "the model holds a training graph: export it for inference"))
    return faults


def _is_external(tensor: Any) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data) > 0


def _messages(parent: Any) -> Iterator[Any]:
    """`parent` and all messages nested in it: nodes and tensors wherever a subgraph hides them."""
    yield parent
    for field, value in parent.ListFields():
        if field.type == descriptor.FieldDescriptor.TYPE_MESSAGE:
            for child in [value] if isinstance(value, message.Message) else value:
                yield from _messages(child)


def _check_validity(model: Any) -> list[Fault]:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        RuntimeError,
        ValueError,
    ) as error:
        return [_fault("onnx_invalid", f"onnx.checker refuses the model: {error}")]
    return []


def _check_tensors(graph: Any, feeds: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> list[Fault]:
    """Faults where the graph's inputs are not the pipeline's feeds, or an output it needs is lacking."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in constants}
    given = {value.name: value for value in graph.output}
    unknown = [
        _fault("input_differs", f"the pipeline has no feed {name!r}: rename or remove this input")
        for name in sorted(inputs.keys() - {spec.name for spec in feeds})
    ]
    wanted = [("input_differs", spec, inputs.get(spec.name)) for spec in feeds]
    wanted += [("output_differs", spec, given.get(spec.name)) for spec in outputs]
    return unknown + [
        _fault(code, f"{spec.name!r} {reason}")
        for code, spec, value in wanted
        if (reason := _difference(spec, value)) is not None
    ]


def _difference(spec: TensorSpec, value: Any) -> str | None:
    """Why the graph's `value` (a ValueInfoProto or None) is not `spec`, or None where it is."""
    wanted = f"{spec.dtype} [N, {', '.join(map(str, spec.shape))}]"
    if value is None:
        return f"is missing: the pipeline needs {wanted}"
    tensor = value.type.tensor_type
    if tensor.elem_type == 0 or onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name != spec.dtype:
        return f"has another element type: the pipeline needs {wanted}"
    lengths = [
        dimension.dim_value if dimension.HasField("dim_value") else None for dimension in tensor.shape.dim
    ]
    if lengths[:1] != [None]:
        return f"has a fixed number of rows: export it with a dynamic first axis, {wanted}"
    return None if lengths[1:] == list(spec.shape) else f"has another shape: the pipeline needs {wanted}"
