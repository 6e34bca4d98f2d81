"""What can be read from a graph of texts, as Hugging Face exports it: its vocabulary, and how many tokens it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.signature import Signature, Tensor

TOKENIZER: Final = "tokenizer.json"
IDS: Final = "input_ids"
TYPES: Final = "token_type_ids"
_INPUTS: Final = frozenset((IDS, "attention_mask", TYPES))
_STEP: Final = 16  # of max_tokens
_MOST: Final = 512  # where the graph tells nothing: BERT's
_SHORT: Final = 4096  # rows of a table of positions, at most


@dataclass(frozen=True)
class TextGuess:
    """`vocabulary` is None if no table of words is found."""

    vocabulary: int | None
    max_tokens: int
    token_types: bool


def is_text(signature: Signature) -> bool:
    """Whether the graph classifies texts: it takes ids and mask of any length, and gives logits or probabilities."""
    inputs = signature.inputs
    whole = all(tensor.element in {"int64", "int32"} and len(tensor.shape) == 2 for tensor in inputs)
    scores = any(word in tensor.name.lower() for tensor in signature.outputs for word in ("logit", "prob"))
    return whole and scores and {IDS, "attention_mask"} <= {tensor.name for tensor in inputs} <= _INPUTS


def guessed_text(inputs: Sequence[Tensor], graph: Any) -> TextGuess:
    """From the tables that the graph looks up: that of `input_ids` holds words, the longest other short one places."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    lookups = [
        node for node in graph.node if node.op_type == "Gather" and len(shapes.get(node.input[0], ())) == 2
    ]
    words = [shapes[node.input[0]][0] for node in lookups if node.input[1] == IDS]
    places = [
        shapes[node.input[0]][0]
        for node in lookups
        if node.input[1] not in _INPUTS and _STEP <= shapes[node.input[0]][0] <= _SHORT
    ]
    most = max(places, default=_MOST) // _STEP * _STEP
    return TextGuess(words[0] if words else None, most, any(tensor.name == TYPES for tensor in inputs))


def beside(model: Path) -> Path | None:
    """The tokenizer in the folder of the ONNX file."""
    path = model.parent / TOKENIZER
    return path if path.is_file() else None
