"""The inputs and outputs of a graph, with its own names and types. Imports neither onnx nor ONNX Runtime."""

import re
from dataclasses import dataclass
from typing import Any, Final

# Element of an output that is a sequence of maps of class -> score, one map per row.
CLASS_MAPS: Final = "class maps"
# ONNX Runtime's names of element types -> numpy's, for those that can be read as scores.
ELEMENTS: Final = {
    "float": "float32", "double": "float64", "float16": "float16", "int64": "int64", "int32": "int32",
}  # fmt: skip
FLOATS: Final = ("float32", "float64", "float16")


@dataclass(frozen=True)
class Tensor:
    """One input or output of a graph. `shape` begins with the rows; None means a dynamic axis.

    `element` is numpy's name of the element type, "string", CLASS_MAPS, or the graph's own name for any other type.
    """

    name: str
    element: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a graph."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def signature_of(session: Any) -> Signature:
    """The signature of a session of ONNX Runtime."""
    return Signature(
        tuple(_tensor(value) for value in session.get_inputs()),
        tuple(_tensor(value) for value in session.get_outputs()),
    )


def _tensor(value: Any) -> Tensor:
    """A `NodeArg`, whose type reads like `tensor(float)` or `seq(map(string,tensor(float)))`."""
    if value.type.startswith("seq(map("):
        return Tensor(value.name, CLASS_MAPS, ())
    tensor = re.fullmatch(r"tensor\((\w+)\)", value.type)
    word = tensor[1] if tensor else value.type
    shape = tuple(length if isinstance(length, int) else None for length in value.shape)
    return Tensor(value.name, ELEMENTS.get(word, word), shape)
