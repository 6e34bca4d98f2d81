"""Whether a graph ends in a regression, whose numbers must not be taken for probabilities of classes."""

from typing import Any, Final

from models.signature import CLASS_MAPS, FLOATS, Signature

_REGRESSORS: Final = frozenset(("LinearRegressor", "TreeEnsembleRegressor", "SVMRegressor"))
# Operators that leave a number as it is, but for its type and axes.
_KEEPING: Final = frozenset(("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"))
_OF_SKLEARN: Final = "variable"  # what scikit-learn's converter calls the output of a regression
_PLAIN: Final = b"NONE"


def is_regression(signature: Signature, graph: Any) -> bool:
    """Whether each output of numbers of an ONNX `graph` is a regressor's, or is called as scikit-learn's converter does.

    A regressor may be a part of a classifier, as in gradient boosting: an activation then makes scores of its numbers.
    """
    outputs = [tensor for tensor in signature.outputs if tensor.element in {CLASS_MAPS, *FLOATS}]
    return bool(outputs) and all(
        tensor.name == _OF_SKLEARN or _is_regressor(_source(graph, tensor.name)) for tensor in outputs
    )


def _source(graph: Any, name: str) -> Any:
    """The operator that computes a tensor; None if the graph is fed it. Nodes are in the order of their computation."""
    for node in reversed(graph.node):
        if name in node.output:
            if node.op_type not in _KEEPING:
                return node
            name = node.input[0]
    return None


def _is_regressor(node: Any) -> bool:
    if node is None or node.op_type not in _REGRESSORS:
        return False
    made = [attribute.s for attribute in node.attribute if attribute.name == "post_transform"]
    return made in ([], [_PLAIN])
