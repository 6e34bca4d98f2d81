"""What a graph calls its classes, in the order of its columns of scores, and whether a manifest names them in that order.

A graph tells if it ends in a classifier of ONNX-ML, or in scikit-learn's look-up of the largest score's class. Of a graph
that does not, such as one of PyTorch, nothing is known.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import onnx

from models.manifest import MANIFEST_NAME, Fault, GraphTable
from models.pipelines import GraphSpec, TensorSpec
from models.signature import CLASS_MAPS, Signature
from models.tensor_faults import fault, listed

Classes = tuple[str, ...] | tuple[int, ...]

_LONGEST_ID: Final = 50
_CLASSIFIERS: Final = frozenset(("LinearClassifier", "TreeEnsembleClassifier", "SVMClassifier"))
# Operators whose output has the columns of their first input, in the same order.
_KEEPING: Final = frozenset(("Identity", "Cast", "Softmax", "Sigmoid", "Abs", "Clip", "Normalizer", "Div"))
# Operators that a class's place may pass through on its way to the look-up of its name.
_PASSED: Final = frozenset(("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze"))
_COLUMNS: Final = (1, -1)  # the axis of the columns of a matrix
_LOOK_UPS: Final = frozenset(("ArrayFeatureExtractor", "Gather"))


def column_classes(graph: Any, output: str) -> Classes:
    """The classes whose scores are the columns of `output`, a tensor of an ONNX `graph`; empty if it does not tell."""
    sources = {name: node for node in graph.node for name in node.output}
    scores = [output]
    while (source := sources.get(scores[-1])) is not None:
        if source.op_type in _CLASSIFIERS:
            return _labels(source) if list(source.output[1:2]) == scores[-1:] else ()
        if (
            source.op_type not in _KEEPING or source.input[0] in scores
        ):  # the graph may be unchecked, and a circle
            break
        scores.append(source.input[0])
    return next(_looked_up(graph, scores), ())


def class_ids(classes: Classes) -> list[str]:
    """Ids of labels that resemble the graph's classes."""
    ids: list[str] = []
    for number, each in enumerate(classes):
        text = re.sub(r"[^a-z0-9_-]+", "_", str(each).lower())[:_LONGEST_ID]
        name = text if re.match("[a-z]", text) else f"class_{text}"
        ids.append(name if name not in ids else f"class_{number}_of_{len(classes)}")
    return ids


def order_faults(graph: Any, table: GraphTable, spec: GraphSpec, signature: Signature) -> list[Fault]:
    """Faults of labels, and of `classes` in the manifest, that are not those of the graph's columns in their order."""
    maps = {tensor.name for tensor in signature.outputs if tensor.element == CLASS_MAPS}
    found: list[Fault] = []
    for each in spec.outputs:
        name = table.outputs.get(each.name, each.name)
        if each.classes and name not in maps:
            found += _faults(column_classes(graph, name), table.classes, each)
        elif each.one_of:
            found += _positive_faults(graph, name, each)
    return found


def _positive_faults(graph: Any, name: str, spec: TensorSpec) -> Iterator[Fault]:
    """The fault of a single score that the graph takes from the column of another class than the label `positive`."""
    found = sliced_class(graph, name)
    if found is None:
        return
    known, column = found
    for names in (tuple(known), tuple(class_ids(known))):
        if set(names) == set(spec.one_of) and names[column] != spec.positive:
            reason = (
                f"the graph's {name!r} is column {column} of its scores of {listed(known)}, that of {names[column]!r}: name "
                "this label as `positive`, with its own threshold, or export the other column"
            )
            yield Fault(f"{MANIFEST_NAME}: parameters.positive", "classes_differ", reason)
            return


def sliced_class(graph: Any, output: str) -> tuple[Classes, int] | None:
    """The graph's classes and the place of the one whose score alone is `output`, a column cut from those of all."""
    sources = {name: node for node in graph.node for name in node.output}
    seen = {output}
    while (source := sources.get(output)) is not None and source.op_type in _KEEPING | _PASSED:
        output = next(iter(source.input), "")
        if output in seen:  # the graph may be unchecked, and a circle
            return None
        seen.add(output)
    column = None if source is None else _column(source, output, _constants(graph))
    if source is None or column is None:
        return None
    known = column_classes(graph, source.input[0])
    return (known, column % len(known)) if known and -len(known) <= column < len(known) else None


def _column(node: Any, output: str, constants: Mapping[str, Any]) -> int | None:
    """The one column of a matrix that a node takes; None if it does anything else."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    if node.op_type == "Split" and axis in _COLUMNS:  # into single columns
        return list(node.output).index(output)
    if node.op_type == "Slice":
        axes = _numbers(constants, node.input[3]) if len(node.input) > 3 else []
        takes = axes in ([1], [-1])
    else:
        takes = node.op_type == "ArrayFeatureExtractor" or (node.op_type == "Gather" and axis in _COLUMNS)
    places = _numbers(constants, node.input[1]) if takes and len(node.input) > 1 else []
    return places[0] if len(places) == 1 else None


def _numbers(constants: Mapping[str, Any], name: str) -> list[int]:
    """The whole numbers of a constant; empty for anything else."""
    if name not in constants:
        return []
    values = onnx.numpy_helper.to_array(constants[name])
    return [int(each) for each in values.reshape(-1).tolist()] if values.dtype.kind == "i" else []


def _constants(graph: Any) -> dict[str, Any]:
    """The tensors of a graph whose values are in it."""
    inside = {tensor.name: tensor for tensor in graph.initializer if not tensor.external_data}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                inside[node.output[0]] = attribute.t
    return inside


def _faults(known: Classes, told: Sequence[int | str] | None, spec: TensorSpec) -> Iterator[Fault]:
    """The fault of one output whose columns are the classes `known`; maps, whose scores have names, are no such output."""
    if told is not None:
        if not known:
            reason = "the graph does not say what it calls the columns of its scores: remove the key"
            yield fault("classes", "classes_differ", reason)
        elif list(told) != list(known):
            reason = (
                f"the graph's scores are those of {listed(known)}, in this order: list `classes`, and `labels` with "
                "them, in the order of the graph"
            )
            yield fault("classes", "classes_differ", reason)
        return
    ids = class_ids(known)
    if len(known) != len(spec.classes) or list(spec.classes) in (list(known), ids):
        return
    if set(spec.classes) in (set(known), set(ids)):
        advice = "list `labels` in this order, or each answer is another class's"
    elif isinstance(known[0], str):
        advice = (
            f"which `labels` ({listed(spec.classes)}) do not name: bring them into this order, and copy the graph's names "
            "to `classes` in [graph]"
        )
    else:
        return  # whole numbers say nothing of other names
    reason = f"the graph's scores are those of {listed(known)}, in this order: {advice}"
    yield Fault(f"{MANIFEST_NAME}: parameters.labels", "classes_differ", reason)


def _labels(classifier: Any) -> Classes:
    """The classes of a classifier of ONNX-ML."""
    known = {attribute.name: attribute for attribute in classifier.attribute}
    for name in ("classlabels_strings", "classlabels_ints", "classlabels_int64s"):
        if name in known:
            strings = known[name].strings
            return tuple(_text(each) for each in strings) if strings else tuple(known[name].ints)
    return ()


def _looked_up(graph: Any, scores: Sequence[str]) -> Iterator[Classes]:
    """The classes that are looked up by the place of the largest of `scores`, tensors of the same columns."""
    constants = _constants(graph)
    places: set[str] = set()
    for node in graph.node:
        if (node.op_type == "ArgMax" and node.input[0] in scores) or (
            node.op_type in _PASSED and node.input[0] in places
        ):
            places.add(node.output[0])
        elif node.op_type in _LOOK_UPS and node.input[1] in places and node.input[0] in constants:
            values = onnx.numpy_helper.to_array(constants[node.input[0]]).reshape(-1).tolist()
            if all(isinstance(each, bytes | str) for each in values):
                yield tuple(_text(each) for each in values)
            elif all(isinstance(each, int) for each in values):
                yield tuple(values)


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode(errors="replace")
