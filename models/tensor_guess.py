"""Guesses the parameters of the `tensor` pipeline from a graph: every input and output by name, type and shape."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from models.manifest import FILL_IN
from models.pipelines.tensor import FLOATS, INTEGERS, Element, TensorParameters
from models.signature import Signature, Tensor
from models.table_guess import encoded_values

ELEMENTS: Final = frozenset(get_args(Element))
MOST_SHOWN: Final = 10_000  # numbers of an example


@dataclass(frozen=True)
class GuessedTensors:
    """`parameters` are lines of the table; `inputs` and `outputs` map its names to the graph's where these differ."""

    parameters: tuple[str, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    examples: Sequence[dict[str, object]]
    unbounded: tuple[str, ...]  # inputs of whole numbers of an unknown range
    unlisted: tuple[str, ...]  # inputs of strings of which the graph does not say which it knows


def guessed_tensors(signature: Signature, graph: Any, examples: int) -> GuessedTensors | None:
    """None for a `graph` that takes or gives what is no tensor of numbers, truths or texts with rows first."""
    if not signature.inputs or not all(map(_fits, (*signature.inputs, *signature.outputs))):
        return None
    inputs, outputs = _named(signature.inputs), _named(signature.outputs)
    rows = {
        name: _table_rows(graph, tensor.name) for name, tensor in inputs.items() if tensor.element in INTEGERS
    }
    values = {
        name: [each for each in encoded_values(graph, tensor.name, None) if isinstance(each, str)]
        for name, tensor in inputs.items()
        if tensor.element == "string"
    }
    return GuessedTensors(
        (
            *_lines("inputs", inputs, rows, values),
            *_lines("outputs", outputs, {}, {}),
            *_elements(signature.inputs),
        ),
        {name: tensor.name for name, tensor in inputs.items() if name != tensor.name},
        {name: tensor.name for name, tensor in outputs.items() if name != tensor.name},
        [
            {
                name: _example(tensor, number % (rows.get(name) or examples), values.get(name))
                for name, tensor in inputs.items()
            }
            for number in range(examples)
        ],
        tuple(name for name, known in rows.items() if known is None),
        tuple(name for name, known in values.items() if not known),
    )


def _table_rows(graph: Any, name: str) -> int | None:
    """How many rows the smallest table has in which an input of whole numbers is looked up as it is; None if in none."""
    tables = {tensor.name: tensor.dims for tensor in graph.initializer}
    found = [
        tables[node.input[0]][_axis(node)]
        for node in graph.node
        if node.op_type == "Gather" and node.input[1] == name and node.input[0] in tables
    ]
    return min(found, default=None)


def _axis(gather: Any) -> int:
    return next((attribute.i for attribute in gather.attribute if attribute.name == "axis"), 0)


def _fits(tensor: Tensor) -> bool:
    return tensor.element in ELEMENTS and bool(tensor.shape) and 0 not in tensor.shape


def _named(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    """Tensors by names that a manifest may have, each once."""
    found: dict[str, Tensor] = {}
    for tensor in tensors:
        name = re.sub(r"[^a-z0-9]+", "_", tensor.name.lower()).strip("_") or "tensor"
        name = (name if name[0].isalpha() and not name.startswith("model_") else f"tensor_{name}")[:60]
        unique, number = name, 2
        while unique in found:
            unique, number = f"{name}_{number}", number + 1
        found[unique] = tensor
    return found


def _lines(
    key: str,
    tensors: Mapping[str, Tensor],
    rows: Mapping[str, int | None],
    values: Mapping[str, Sequence[str]],
) -> Sequence[str]:
    """Lines of the table `key`. A tensor of `rows` is the place of one of that many, one of `values` one of those."""
    lines = []
    for name, tensor in tensors.items():
        keys = f"name = {json.dumps(name)}, dtype = {json.dumps(tensor.element)}, shape = {json.dumps(_shape(tensor))}"
        if count := rows.get(name):
            keys += f", minimum = 0, maximum = {count - 1}"
        if known := values.get(name):
            keys += f", values = {json.dumps(list(known), ensure_ascii=False)}"
        lines.append(f"  {{ {keys} }},")
    return (f"{key} = [", *lines, "]")


def _elements(tensors: Iterable[Tensor]) -> Iterator[str]:
    """The line `elements`, where an input has more numbers than are accepted by default."""
    fewest = sum(math.prod(map(abs, _shape(tensor))) for tensor in tensors)
    if fewest > TensorParameters.model_fields["elements"].default:
        yield f"elements = {fewest}"


def _shape(tensor: Tensor) -> list[int]:
    """Without the rows; -1 for an axis of any length."""
    return [-1 if length is None else length for length in tensor.shape[1:]]


def _example(tensor: Tensor, number: int, values: Sequence[str] | None = None) -> object:
    """One row, filled with a number; a large one is left to the author."""
    if math.prod(map(abs, _shape(tensor))) > MOST_SHOWN:
        return FILL_IN
    value: object = float(number) if tensor.element in FLOATS else number
    if tensor.element in ("bool", "string"):
        value = number % 2 == 1 if tensor.element == "bool" else str(number)
    if values:
        value = values[number % len(values)]
    for length in reversed(tensor.shape[1:]):
        value = [value] * (length or 1)
    return value
