"""What a bundle's ONNX graph may be: built-in operators, weights inside the bundle, the tensors its pipeline names.

Reads the graph and never runs it. The rules exclude everything that an ONNX file can do beyond arithmetic: operators that
are not built into ONNX Runtime are native code, and external data is a path that the runtime would open.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf import descriptor, message  # type: ignore[import-untyped]  # protobuf ships no types

from models.category_faults import category_faults
from models.class_order import order_faults
from models.feeding import Feeding
from models.fitting import Fitting
from models.manifest import Fault, GraphTable, ManifestInvalid
from models.pipelines import GraphSpec
from models.runtime_operators import describe_operators
from models.signature import CLASS_MAPS, Signature, Tensor

MODEL_NAME = "model.onnx"
# Domains of the operators that every build of ONNX Runtime has; "com.microsoft" holds its contrib operators.
_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft"))
# What ONNX and ONNX Runtime know of external data.
_EXTERNAL_KEYS = frozenset(("location", "offset", "length", "checksum"))
_NOT_BY_BYTES = frozenset(("STRING", "UNDEFINED"))


def check_graph(
    path: Path,
    table: GraphTable,
    spec: GraphSpec | None,
    *,
    files: Collection[str] = (),
) -> list[Fault]:
    """Every reason to refuse the ONNX file at `path` for a pipeline that feeds and reads it by `spec`.

    Without a spec, tensors are not compared. `table` maps their names. `files` are the bundle's files that may hold
    weights, as paths relative to the folder of `path`.
    """
    faults = _faults_of(path, table, spec, files)
    return [replace(fault, place=table.file) if fault.place == MODEL_NAME else fault for fault in faults]


def _faults_of(path: Path, table: GraphTable, spec: GraphSpec | None, files: Collection[str]) -> list[Fault]:
    model, content = onnx.ModelProto(), path.read_bytes()
    if not content:
        return [_fault("onnx_invalid", "the file is empty: export the model again")]
    try:
        model.ParseFromString(content)
    except message.DecodeError:
        return [_fault("onnx_invalid", "the file is not an ONNX model: export it again")]
    if repeated := repeated_fault(model):
        return [_fault("onnx_invalid", repeated)]
    # Missing files and links are reported with the files of the bundle.
    lost = {file for file in external_locations(model) & {*files} if not _is_plain(path.parent, file)}
    reach = _check_reach(model, path.parent, {*files} - lost, lost)
    # The checker opens external data, so it sees only graphs whose weights are in the bundle.
    validity = [] if reach or lost else _check_validity(path, model)
    tensors = [] if validity or spec is None else _check_tensors(model.graph, table, spec)
    return reach + validity + tensors


def read_signature(path: Path) -> Signature:
    """The inputs and outputs of the ONNX file at `path`, in which `check_graph` found no fault."""
    return _signature(onnx.load(str(path), load_external_data=False).graph)


def external_locations(model: Any) -> set[str]:
    """The locations of a ModelProto's external weights."""
    return {_external(part).get("location", "") for part in _messages(model) if _is_external(part)}


def node_fault(model: Any) -> str | None:
    """Says which node has fewer inputs or outputs than its operator needs, of the operators that ONNX defines; else None."""
    versions = {each.domain: each.version for each in model.opset_import}
    for node in model.graph.node:
        try:
            operator = onnx.defs.get_schema(node.op_type, versions.get(node.domain, 1), node.domain)
        except onnx.defs.SchemaError:
            continue
        for what, given, least in (
            ("input", node.input, operator.min_input),
            ("output", node.output, operator.min_output),
        ):
            if len(given) < least:
                return f"a node {node.op_type} has {len(given)} {what}s and needs {least}: export the graph again"
    return None


def repeated_fault(model: Any) -> str | None:
    """Says which tensor of the graph two nodes, inputs or weights give, as where a file holds a model twice; else None.

    Protobuf merges messages that follow one another into one. ONNX demands static single assignment.
    """
    graph = model.graph
    given = (
        [tensor.name for tensor in graph.input],
        [tensor.name for tensor in graph.output],
        [tensor.name for tensor in graph.initializer]
        + [tensor.values.name for tensor in graph.sparse_initializer]
        + [name for node in graph.node for name in node.output if name],
    )
    for names in given:
        name, times = Counter(names).most_common(1)[0] if names else ("", 1)
        if times > 1:
            return f"tensor {name!r} is defined {times} times, as if the file held several models: export the graph again"
    return None


def _fault(code: str, detail: str) -> Fault:
    return Fault(MODEL_NAME, code, detail)


def _check_reach(model: Any, folder: Path, files: Collection[str], lost: Collection[str]) -> list[Fault]:
    """Faults of a model that needs more than its bundle and built-in operators. `lost` files are reported elsewhere."""
    nested = list(_messages(model))
    faults = [
        _fault(*fault)
        for part in nested
        if _is_external(part)
        and _external(part).get("location") not in lost
        and (fault := _external_fault(part, folder, files)) is not None
    ]
    faults += [
        _fault(
            "unknown_operator_domain",
            f"operators of {domain!r} are not built into ONNX Runtime: replace them",
        )
        for domain in sorted(_foreign_domains(model, nested))
    ]
    shadowing = sorted({function.name for function in model.functions if function.domain in _DOMAINS})
    faults += [
        _fault(
            "local_function", f"function {name!r} takes the place of a built-in operator: rename its domain"
        )
        for name in shadowing
    ]
    if len(model.training_info):
        faults.append(_fault("training_graph", "the model holds a training graph: export it for inference"))
    return faults


def _foreign_domains(model: Any, nested: list[Any]) -> set[str]:
    """Domains of operators that are neither built in nor defined as functions by the model.

    A domain that is only imported is none of them: ONNX Runtime imports all that it knows into a graph that it optimized.
    """
    own = {(function.domain, function.name) for function in model.functions}
    nodes = {(part.domain, part.op_type) for part in nested if isinstance(part, onnx.NodeProto)}
    return {domain for domain, name in nodes if (domain, name) not in own} - _DOMAINS


def _is_plain(folder: Path, file: str) -> bool:
    """Whether `file` in `folder` exists and is reached without links."""
    path = folder / file
    return path.is_file() and path.resolve() == folder.resolve() / file


def _is_external(part: Any) -> bool:
    if not isinstance(part, onnx.TensorProto):
        return False
    return part.data_location == onnx.TensorProto.EXTERNAL or len(part.external_data) > 0


def _external(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _external_fault(tensor: Any, folder: Path, files: Collection[str]) -> tuple[str, str] | None:
    """Why the weights of `tensor` cannot be read from the bundle: a code and what to do. None if they can."""
    entries, named = _external(tensor), f"the weights of tensor {tensor.name!r}"
    if len(entries) < len(tensor.external_data) or not entries.keys() <= _EXTERNAL_KEYS:
        known = ", ".join(sorted(_EXTERNAL_KEYS))
        return (
            "external_data_invalid",
            f"{named} are described by other keys than {known}, each once: export the model again",
        )
    location = entries.get("location", "")
    if str(PurePosixPath(location)) != location or location not in files:
        advice = "put that file into the bundle next to the graph and seal it, or embed the weights"
        return (
            "external_data_missing",
            f"{named} are in {location!r}, which is no file of the bundle: {advice}",
        )
    size = (folder / location).stat().st_size
    offset, length = _count(entries.get("offset", "0")), _count(entries.get("length", str(size)))
    if offset is None or length is None or ("length" in entries and offset + length > size) or offset > size:
        return (
            "external_data_outside",
            f"{named} are outside of {location!r} ({size} bytes): export the model again",
        )
    wanted, there = _size_bytes(tensor), length if "length" in entries else size - offset
    if wanted is not None and (there != wanted if "length" in entries else there < wanted):
        return (
            "external_data_size",
            f"{named} are {there} bytes in {location!r}, and by its shape {wanted}: export the model again",
        )
    return None


def _size_bytes(tensor: Any) -> int | None:
    """How many bytes the values of `tensor` take; None where an element is less than a byte, or no number."""
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    if name in _NOT_BY_BYTES or name.endswith(("INT4", "INT2", "E2M1")):
        return None
    element: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return element * math.prod(map(int, tensor.dims))


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _messages(parent: Any) -> Iterator[Any]:
    """`parent` and all messages nested in it, including nodes and tensors of subgraphs."""
    yield parent
    for field, value in parent.ListFields():
        if field.type == descriptor.FieldDescriptor.TYPE_MESSAGE:
            for child in [value] if isinstance(value, message.Message) else value:
                yield from _messages(child)


def _check_validity(path: Path, model: Any) -> list[Fault]:
    """Faults of the checker, and of types and shapes that contradict each other.

    Shapes that the graph declares of what its nodes give each other are hints and are left out: ONNX Runtime ignores wrong
    ones, which the model builder of onnxruntime-genai writes of constants.
    """
    describe_operators()
    try:
        onnx.checker.check_model(str(path))
        onnx.shape_inference.infer_shapes(_without_hints(model), check_type=True, strict_mode=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        RuntimeError,
        ValueError,
    ) as error:
        return [_fault("onnx_invalid", f"onnx.checker refuses the model: {error}")]
    return []


def _without_hints(model: Any) -> Any:
    """A copy that declares no shapes of tensors within its graphs."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for part in [each for each in _messages(bare) if isinstance(each, onnx.GraphProto)]:
        part.ClearField("value_info")
    return bare


def _check_tensors(graph: Any, table: GraphTable, spec: GraphSpec) -> list[Fault]:
    """Faults of tensors of the graph that do not match the pipeline's."""
    signature = _signature(graph)
    try:
        Fitting(table, spec, signature)
    except ManifestInvalid as error:
        return list(error.faults)
    return [
        *order_faults(graph, table, spec, signature),
        *category_faults(graph, Feeding(table, spec.feeds, signature.inputs)),
    ]


def _signature(graph: Any) -> Signature:
    constants = {tensor.name for tensor in graph.initializer}
    return Signature(
        tuple(_tensor(value) for value in graph.input if value.name not in constants),
        tuple(_tensor(value) for value in graph.output),
    )


def _tensor(value: Any) -> Tensor:
    """A ValueInfoProto as a tensor."""
    if value.type.WhichOneof("value") == "sequence_type":
        is_of_maps = value.type.sequence_type.elem_type.WhichOneof("value") == "map_type"
        return Tensor(value.name, CLASS_MAPS if is_of_maps else "sequence", ())
    tensor = value.type.tensor_type
    element = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else "unknown"
    if element == "object":
        element = "string"
    lengths = tensor.shape.dim
    return Tensor(
        value.name,
        element,
        tuple(length.dim_value if length.HasField("dim_value") else None for length in lengths),
    )
