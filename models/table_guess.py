"""Guesses the features of a table from the inputs of a graph: their names, types, and the categories in its encoders.

The guess must be reviewed: a whole number may be the code of a category, and the values of some strings are unknown.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product
from typing import Any, Final

import onnx

from models.manifest import FILL_IN
from models.signature import Tensor

_TYPES: Final[Mapping[str, str]] = {
    "float32": "number", "float64": "number", "float16": "number",
    "int64": "integer", "int32": "integer", "bool": "boolean", "string": "category",
}  # fmt: skip
_EXAMPLES: Final[Mapping[str, tuple[object, ...]]] = {
    "number": (0.0, 1.0, 2.0, 3.0, 4.0), "integer": (0, 1, 2, 3, 4), "boolean": (False, True), "category": (FILL_IN,),
}  # fmt: skip
_OF_ANY_WIDTH: Final = frozenset(("number", "category"))
# Operators that a value may pass through on its way to its encoder.
_PASSED: Final = frozenset(("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"))
_PICKS: Final = frozenset(("ArrayFeatureExtractor", "Gather"))
# Encoders, and their attributes with the categories.
_ENCODED: Final[Mapping[str, tuple[str, ...]]] = {
    "OneHotEncoder": ("cats_strings", "cats_int64s"),
    "LabelEncoder": ("keys_strings", "keys_int64s"),
}
_LONGEST: Final = 60
Values = tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True)
class GuessedFeature:
    """A column of one of the graph's inputs. `values` are the categories of its encoder; empty if no encoder is found."""

    name: str
    title: str
    input: str
    type: str
    values: Values = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def open(self) -> bool:
        """Whether it is a number without a range."""
        return self.type in ("number", "integer") and not self.values and self.minimum is None

    def __str__(self) -> str:
        """As TOML on one line."""
        if self.type == "number" and self.title == self.name and self.open:
            return _quoted(self.name)
        keys = [f"name = {_quoted(self.name)}", f"title = {_quoted(self.title)}"]
        if self.type != "number":
            keys.append(f"type = {_quoted(self.type)}")
        if self.type == "category":
            keys.append(f"values = [{', '.join(_quoted(str(value)) for value in self.values or (FILL_IN,))}]")
        elif self.values:
            keys.append(f"minimum = {min(self.values)}, maximum = {max(self.values)}")
        elif not self.open and self.type in ("number", "integer"):
            keys.append(f"minimum = {json.dumps(self.minimum)}, maximum = {json.dumps(self.maximum)}")
        return f"{{ {', '.join(keys)} }}"

    @property
    def examples(self) -> tuple[object, ...]:
        """A few example values."""
        if self.minimum is not None and self.maximum is not None:
            return tuple(dict.fromkeys((self.minimum, self.maximum)))
        return self.values or _EXAMPLES[self.type]


def is_table(inputs: Sequence[Tensor]) -> bool:
    """Whether the graph can take rows of a table. Whole numbers of unknown count, or in matrices, are probably tokens."""
    if len(inputs) == 1 and _TYPES.get(inputs[0].element) in _OF_ANY_WIDTH:
        return len(inputs[0].shape) in (1, 2)
    if len(inputs) == 1:
        return inputs[0].element in _TYPES and _width(inputs[0]) is not None
    return bool(inputs) and all(
        tensor.element in _TYPES
        and (width := _width(tensor)) is not None
        and (width == 1 or _TYPES[tensor.element] in _OF_ANY_WIDTH)
        for tensor in inputs
    )


def guessed_features(inputs: Sequence[Tensor], graph: Any) -> list[GuessedFeature]:
    """The columns of the `inputs` of an ONNX `graph`, in order; none for an input of unknown width."""
    found: list[GuessedFeature] = []
    for tensor in inputs:
        width = _width(tensor) or 0
        for column in range(width):
            alone = len(inputs) == 1 and (width > 1 or tensor.element.startswith("float"))
            title = (
                f"feature_{column + 1}" if alone else tensor.name + (f"_{column + 1}" if width > 1 else "")
            )
            name = feature_name(title, {each.name for each in found})
            kind = _TYPES[tensor.element]
            coded = kind in ("category", "integer")
            values = _values(graph, tensor.name, column if width > 1 else None) if coded else ()
            found.append(GuessedFeature(name, title, tensor.name, kind, values))
    return found


def example_rows(features: Sequence[GuessedFeature], most: int) -> list[dict[str, object]]:
    """Up to `most` different inputs. Consecutive ones differ in as many columns as possible."""
    choices = [feature.examples for feature in features]
    in_turn = (tuple(each[turn % len(each)] for each in choices) for turn in range(most))
    in_order = islice(product(*choices), 2 * most)  # of these, `most` at least are not in turn
    rows = islice(dict.fromkeys(chain(in_turn, in_order)), most)
    return [{feature.name: value for feature, value in zip(features, row, strict=True)} for row in rows]


def mapped(features: Sequence[GuessedFeature], inputs: Sequence[Tensor]) -> dict[str, str]:
    """The content of `[graph] inputs`: only names that differ between pipeline and graph."""
    apart = {each.name: each.input for each in features if each.name != each.input}
    return {"features": inputs[0].name} if len(inputs) == 1 and (apart or not features) else apart


def _width(tensor: Tensor) -> int | None:
    """How many columns an input has; None if it does not say, or is not a table."""
    match tensor.shape:
        case (_,):
            return 1
        case (_, width):
            return width
        case _:
            return None


def feature_name(title: str, taken: Iterable[str]) -> str:
    """A name for a feature with this title that is not in `taken`."""
    plain = unicodedata.normalize("NFKD", title.casefold()).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_LONGEST] or "feature"
    name = name if name[0].isalpha() else f"feature_{name}"
    if name not in taken:
        return name
    return next(other for number in range(2, 10**6) if (other := f"{name}_{number}") not in taken)


def encoded_values(graph: Any, name: str, column: int | None) -> Values:
    """All that a graph distinguishes of an input, or of one `column` of it: the categories of the only operator it goes to.

    Empty if that is no encoder, or if there are several that know different categories.
    """
    found = {_categories(node) for node in _readers(graph, name, column) if node.op_type not in _PICKS}
    return found.pop() if len(found) == 1 else ()


def _values(graph: Any, name: str, column: int | None) -> Values:
    """The categories that a graph distinguishes for an input, or for one `column` of it."""
    found = map(_categories, _readers(graph, name, column))
    return next((values for values in found if values), ())


def _readers(graph: Any, name: str, column: int | None) -> Iterator[Any]:
    """The nodes that an input, or one `column` of it, goes to in the end; a node of other columns may be among them."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    ways = [(name, column)]
    for node in graph.node:
        for way in [way for way in ways if way[0] in node.input]:
            step = _step(node, constants, way[1])
            if step == "passes":
                ways.append((node.output[0], way[1]))
            elif step == "picks":
                ways.append((node.output[0], None))
            elif way[1] is None or node.op_type not in _ENCODED:
                yield node


def _step(node: Any, constants: Mapping[str, Any], column: int | None) -> str | None:
    """What a node does with a value: "passes" it on, or "picks" the column from it."""
    if node.op_type in _PASSED:
        return "passes"
    if node.op_type in _PICKS and node.input[1] in constants:
        picked = onnx.numpy_helper.to_array(constants[node.input[1]]).reshape(-1).tolist()
        return "picks" if picked == [column or 0] else None
    return None


def _categories(node: Any) -> Values:
    """The strings, or consecutive whole numbers, that an encoder knows."""
    known = {attribute.name: attribute for attribute in node.attribute}
    for name in _ENCODED.get(node.op_type, ()):
        if name in known:
            numbers = sorted(known[name].ints)
            if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
                return tuple(numbers)
            return tuple(text.decode(errors="replace") for text in known[name].strings)
    return ()


def _quoted(text: str) -> str:
    """A string, quoted in a way that is valid in TOML and JSON."""
    return json.dumps(text, ensure_ascii=False)
