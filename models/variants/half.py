"""Weights and computing of an ONNX graph in float16, with inputs and outputs as they are.

Which operators take float16 is read from ONNX's own schemas. ONNX Runtime's converter (onnxruntime.transformers.float16) was
tried and rejected: it adds its casts at the end of the graph, names those of a value that two operators read alike, and clips
weights beyond float16 silently, so many of its graphs are refused or wrong.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MOST: Final = 65504.0  # the largest number of float16
# The type of their outputs is an attribute, or the type is what they are about.
NEVER: Final = frozenset(
    ("Cast", "CastLike", "Constant", "ConstantOfShape", "QuantizeLinear", "DequantizeLinear", "EyeLike")
)
_HALF: Final = "tensor(float16)"
_SINGLE: Final = "tensor(float)"


def with_float16(model: onnx.ModelProto, *, among: Collection[str] | None = None) -> onnx.ModelProto:
    """The model with the operators `among` in float16, by default all that take it.

    An operator stays in float32, too, if it has a weight beyond float16, a graph of its own, or no schema in ONNX.
    """
    _hoist_constants(model.graph)
    inferred = onnx.shape_inference.infer_shapes(model)
    return _Conversion(inferred, among).converted()


def rounding_visibly(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with each result in float16 passed on by two operators that do nothing.

    ONNX Runtime computes in float32 on the CPU, and drops a rounding to float16 that is undone at once, or around one
    operator alone, so that its answers would not show what a GPU rounds and where it overflows. It keeps a rounding before two
    operators that take float16 themselves, if the session optimizes nothing.
    """
    model = onnx.shape_inference.infer_shapes(model)
    values = [*model.graph.output, *model.graph.value_info]
    half = {each.name for each in values if each.type.tensor_type.elem_type == TensorProto.FLOAT16}
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in half:
                node.output[place] = f"{name}_computed"
                nodes.append(helper.make_node("Identity", [f"{name}_computed"], [f"{name}_rounded"]))
                nodes.append(helper.make_node("Identity", [f"{name}_rounded"], [name]))
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return model


class _Conversion:
    """One conversion of a model, whose types were inferred."""

    def __init__(self, model: onnx.ModelProto, among: Collection[str] | None) -> None:
        self._model = model
        self._among = among
        self._versions = {each.domain: each.version for each in model.opset_import}
        graph = model.graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        values = [*graph.input, *graph.output, *graph.value_info]
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._types |= {name: tensor.data_type for name, tensor in self._weights.items()}
        self._beyond = {name for name, tensor in self._weights.items() if _is_beyond(tensor)}
        self._halves: dict[str, str] = {}  # value in float32 -> its name in float16
        self._names = set(self._types) | {name for node in graph.node for name in node.output}

    def converted(self) -> onnx.ModelProto:
        graph = self._model.graph
        changed = [(node, self._changed(node)) for node in graph.node]
        single = {value.name for value in graph.output}
        for node, (places, _) in changed:
            single |= {name for place, name in enumerate(node.input) if place not in places}
            single |= set(_captured(node))
        nodes = [each for node, found in changed for each in self._rewritten(node, *found, single)]
        weights = [tensor for tensor in graph.initializer if tensor.name in single]
        weights += [
            _half_tensor(self._weights[name], half)
            for name, half in self._halves.items()
            if name in self._weights
        ]
        dropped = self._weights.keys() - single
        inputs = [value for value in graph.input if value.name not in dropped]
        del graph.node[:], graph.initializer[:], graph.value_info[:], graph.input[:]
        graph.node.extend(nodes)
        graph.initializer.extend(weights)
        graph.input.extend(inputs)
        return self._model

    def _changed(self, node: Any) -> tuple[frozenset[int], frozenset[int]]:
        """The places of the inputs and outputs of a node that become float16; none if it stays in float32."""
        nothing: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
        if node.op_type in NEVER or any(_captured(node)):
            return nothing
        if self._among is not None and node.op_type not in self._among:
            return nothing
        try:
            schema = onnx.defs.get_schema(node.op_type, self._versions.get(node.domain, 1), node.domain)
        except onnx.defs.SchemaError:
            return nothing
        if any(each.name in {"dtype", "to"} for each in node.attribute) or self._beyond & set(node.input):
            return nothing
        inputs = self._places(node.input, schema.inputs, schema)
        outputs = self._places(node.output, schema.outputs, schema)
        return nothing if inputs is None or outputs is None else (inputs, outputs)

    def _places(self, names: Any, formal: Any, schema: Any) -> frozenset[int] | None:
        """Which of a node's values are float32 and may be float16; None if one must be float32 or its type is unknown."""
        allowed = {each.type_param_str: each.allowed_type_strs for each in schema.type_constraints}
        found = set()
        for place, name in enumerate(names):
            if not name:
                continue
            if name not in self._types or not self._types[name]:
                return None
            if self._types[name] != TensorProto.FLOAT:
                continue
            kind = formal[min(place, len(formal) - 1)].type_str
            if kind == _SINGLE:  # such as the scales of Resize, whatever the type of the image
                continue
            if _HALF not in allowed.get(kind, ()):
                return None
            found.add(place)
        return frozenset(found)

    def _rewritten(
        self, node: Any, inputs: frozenset[int], outputs: frozenset[int], single: set[str]
    ) -> Iterator[Any]:
        """The node with its values in float16, the casts that it needs before it, and those of its outputs after it."""
        for place in sorted(inputs):
            name = node.input[place]
            if name not in self._halves:
                self._halves[name] = self._named(name)
                if name not in self._weights:
                    yield helper.make_node("Cast", [name], [self._halves[name]], to=TensorProto.FLOAT16)
            node.input[place] = self._halves[name]
        after = []
        for place in sorted(outputs):
            name = node.output[place]
            half = self._halves[name] = self._named(name)
            node.output[place] = half
            if name in single:
                after.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
        yield node
        yield from after

    def _named(self, name: str) -> str:
        half = f"{name}_half"
        while half in self._names:
            half += "_"
        self._names.add(half)
        return half


def _captured(node: Any) -> Iterator[str]:
    """Every name that the graphs inside a node use."""
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                yield from inner.input
                yield from _captured(inner)
            yield from (value.name for value in graph.output)


def _hoist_constants(graph: Any) -> None:
    """Make the tensors of Constant nodes initializers."""
    kept = []
    for node in graph.node:
        tensor = next((each.t for each in node.attribute if each.name == "value"), None)
        if node.op_type != "Constant" or tensor is None:
            kept.append(node)
            continue
        weight = graph.initializer.add()
        weight.CopyFrom(tensor)
        weight.name = node.output[0]
    del graph.node[:]
    graph.node.extend(kept)


def _is_beyond(tensor: Any) -> bool:
    if tensor.data_type != TensorProto.FLOAT:
        return False
    values = numpy_helper.to_array(tensor)
    return bool((np.abs(values[np.isfinite(values)]) > MOST).any())


def _half_tensor(tensor: Any, name: str) -> Any:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name)
