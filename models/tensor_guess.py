"""Guesses the parameters of the `tensor` pipeline from a graph: every input and output by name, type and shape."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from models.pipelines.tensor import FLOATS, Element
from models.signature import Signature, Tensor

ELEMENTS: Final = frozenset(get_args(Element))


@dataclass(frozen=True)
class GuessedTensors:
    """`parameters` are lines of the table; `inputs` and `outputs` map its names to the graph's where these differ."""

    parameters: tuple[str, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    examples: Sequence[dict[str, object]]


def guessed_tensors(signature: Signature, examples: int) -> GuessedTensors | None:
    """None for a graph that takes or gives what is no tensor of numbers, truths or texts with rows first."""
    if not signature.inputs or not all(map(_fits, (*signature.inputs, *signature.outputs))):
        return None
    inputs, outputs = _named(signature.inputs), _named(signature.outputs)
    return GuessedTensors(
        (*_lines("inputs", inputs), *_lines("outputs", outputs)),
        {name: tensor.name for name, tensor in inputs.items() if name != tensor.name},
        {name: tensor.name for name, tensor in outputs.items() if name != tensor.name},
        [{name: _example(tensor, number) for name, tensor in inputs.items()} for number in range(examples)],
    )


def _fits(tensor: Tensor) -> bool:
    return tensor.element in ELEMENTS and bool(tensor.shape) and 0 not in tensor.shape


def _named(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    """Tensors by names that a manifest may have, each once."""
    found: dict[str, Tensor] = {}
    for tensor in tensors:
        name = re.sub(r"[^a-z0-9]+", "_", tensor.name.lower()).strip("_") or "tensor"
        name = (name if name[0].isalpha() else f"tensor_{name}")[:60]
        unique, number = name, 2
        while unique in found:
            unique, number = f"{name}_{number}", number + 1
        found[unique] = tensor
    return found


def _lines(key: str, tensors: Mapping[str, Tensor]) -> Sequence[str]:
    tables = [
        f"  {{ name = {json.dumps(name)}, dtype = {json.dumps(tensor.element)}, shape = {json.dumps(_shape(tensor))} }},"
        for name, tensor in tensors.items()
    ]
    return (f"{key} = [", *tables, "]")


def _shape(tensor: Tensor) -> list[int]:
    """Without the rows; -1 for an axis of any length."""
    return [-1 if length is None else length for length in tensor.shape[1:]]


def _example(tensor: Tensor, number: int) -> object:
    """One row, filled with a number."""
    value: object = float(number) if tensor.element in FLOATS else number
    if tensor.element in ("bool", "string"):
        value = number % 2 == 1 if tensor.element == "bool" else str(number)
    for length in reversed(tensor.shape[1:]):
        value = [value] * (length or 1)
    return value
