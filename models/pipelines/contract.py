"""The contract of a pipeline: its two halves, and the types shared with the API, the workers and the bundle check.

The intake half, `Pipeline`, has the manifest and the small files that its parameters name; it is used in the API, the command
line and the check. The scoring half, `Scoring`, is opened with the folder of the whole bundle, in a worker and for golden
cases. Both must be thread-safe: one instance serves all threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

from pydantic_core import PydanticSerializationError, from_json, to_json

from models.field_codes import Code, FieldCode
from models.manifest import MODEL, BundleRefused, Fault
from models.pipelines.parts import Part, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:

    def __getattr__(name: str) -> Any:
        """`Array`, for who asks at run time: the API never does."""
        if name != "Array":
            raise AttributeError(name)
        from numpy.typing import NDArray

        return NDArray[Any]


# Reads a side file of at most SIDE_FILE_BYTES by its path inside the bundle. Raises SideFileUnusable.
ReadFile = Callable[[str], bytes]

ANY_LENGTH: Final = -1
ROW: Final = "row"
SIDE_FILE_BYTES: Final = 8 * 1024**2
_NAMED: Final = 20  # a client may send any number of options that are unknown
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class FieldFault:
    """One fault of an input. Never contains the submitted value.

    `pointer` is a JSON pointer (RFC 6901) relative to the input, "" for all of it; `detail` says what to
    change and names field, range and unit.
    """

    pointer: str
    code: Code
    detail: str


_DIGITS: Final = bytes.maketrans(b"123456789", b"0" * 9)
LONG_NUMBER: Final = 4300  # digits: longer integers are read back by nobody
UNFIT: Final = FieldFault(
    "", FieldCode.INPUT_UNFIT, "The model does not take this input: compare it with the model's card."
)


class InputRejected(Exception):
    """The input does not fit the model. `faults` names each field, its unit and its range; empty means the whole input."""

    def __init__(self, *faults: FieldFault) -> None:
        self.faults = faults or (UNFIT,)
        faults = self.faults
        super().__init__(", ".join(f"{fault.pointer or 'input'}: {fault.code}" for fault in faults))


class RowFault(Exception):
    """One stored input of a batch cannot be read back; the other rows are not affected."""

    def __init__(self, index: int, fault: FieldFault) -> None:
        self.index = index
        self.fault = fault
        super().__init__(f"row {index}: {fault.code}")


class PredictionInvalid(Exception):
    """The graph's output for these rows is not a valid result, such as NaN."""

    def __init__(self, rows: tuple[int, ...], reason: str) -> None:
        self.rows = rows
        self.reason = reason
        super().__init__(f"rows {', '.join(map(str, rows))}: {reason}")


@dataclass(frozen=True)
class Label:
    """One class a model can answer, with its code in a code system (`system` is the system's URI) where it has one.

    `positive`: the threshold is one of this label's probability.
    """

    id: str
    display: str
    system: str | None
    code: str | None
    positive: bool = False


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the graph. `shape` leaves out the first axis: the row, of any number.

    ANY_LENGTH in it stands for an axis whose length differs from run to run, such as that of a text.
    `classes` names the columns of an output of scores, for graphs that give them by class. `columns` names those of a
    feed [N, F], each with its own dtype, for graphs with inputs by column. Where these differ the feed is a structured
    array [N] of such fields, and its dtype ROW; a text has the dtype "string". `values` are those that a column of a
    closed set may be fed, but for what stands for an absent one. An `exact` feed goes to no input that holds less than its
    dtype. `one_of` are the labels of an output of one score, which is that of `positive`. A `lone` feed is of one row in
    each run, and goes to inputs without an axis of rows, too. An `optional` feed is left out of a graph without such an input.
    `without` says what to write in the manifest for a graph that has no such tensor, if that is another kind of graph.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    columns: tuple[TensorSpec, ...] = ()
    values: tuple[str, ...] | tuple[int, ...] = ()
    exact: bool = False
    lone: bool = False
    optional: bool = False
    one_of: tuple[str, ...] = field(default=(), compare=False)
    positive: str | None = field(default=None, compare=False)
    without: str = field(default="", compare=False)


@dataclass(frozen=True)
class GraphSpec:
    """What a pipeline feeds to one of its graphs, and which outputs it needs. A graph may have more outputs."""

    feeds: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Run(Protocol):
    """Runs a graph of the bundle, as often as a pipeline likes. The worker's limits, scheduling and heartbeat are inside."""

    def __call__(self, feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
        """The outputs of `graph` by name. Raises what the worker raises: let it through."""


class SideFileUnusable(BundleRefused):
    """A side file that a pipeline reads cannot be used. Its fault names the file and what to do."""

    def __init__(self, path: str, code: str, detail: str) -> None:
        super().__init__(Fault(path, code, detail))


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of a result. `name` is `[a-z0-9][a-z0-9._-]{0,63}`, and one result has it once."""

    name: str
    media_type: str
    content: bytes


class Case(NamedTuple):
    """One stored input: the bytes from `encode`, the options from `check_options`, and the parts stored separately.

    `sources` names the jobs of those parts that are results of other jobs; a part of a golden case has none.
    """

    payload: bytes
    options: Mapping[str, object] = _NOTHING
    parts: Mapping[str, bytes] = _NOTHING
    sources: Mapping[str, Source] = MappingProxyType({})


class Answer(NamedTuple):
    """One result, numbers as plain floats, and its files."""

    result: dict[str, object]
    artifacts: tuple[Artifact, ...] = ()


class Scoring(Protocol):
    """The half that scores, opened with the files of a bundle."""

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """One answer per case, each the same as if the case were scored alone.

        Raises RowFault, PredictionInvalid, and what `run` raises.
        """


@runtime_checkable
class Pipeline(Protocol):
    """The intake half: converts submitted values to stored bytes and back."""

    @property
    def binary(self) -> bool:
        """True: an input is one file. The API resolves `data` or `upload_id` to its bytes for `encode`."""

    @property
    def parts(self) -> Mapping[str, Part]:
        """The properties of an input that are stored separately, and not passed to `encode`; none if the input is a file."""

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """The graphs of a bundle by name; a pipeline's only graph is called MODEL."""

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:
        """JSON Schema 2020-12 of `input`, with titles, units, ranges and examples.

        `most_bytes` is the largest file that the reader of the schema accepts, if it is less than the model's limit.
        """

    def result_schema(self) -> dict[str, object]:
        """JSON Schema 2020-12 of one result."""

    def options_schema(self) -> dict[str, object]:
        """JSON Schema 2020-12 of the options of a job: an object, all of whose properties have defaults."""

    def labels(self) -> list[Label]:
        """The classes that the model can answer, in the graph's order; empty if it does not answer classes."""

    def encode(self, value: object) -> bytes:
        """Check one input and give the canonical bytes to store. Raises InputRejected with every fault."""

    def decode(self, payload: bytes) -> object:
        """The input that `encode` made these bytes of, as JSON values; a file as {"data": base64}. Raises InputRejected."""

    def check_options(self, value: object) -> dict[str, object]:
        """The options of one job, checked; defaults are left out. Raises InputRejected, pointers relative to the options."""

    def open(self, folder: Path) -> Scoring:
        """The scoring half, with the files of the bundle in `folder`. May raise anything if they cannot be used."""


@runtime_checkable
class NeedsExtra(Protocol):
    """A pipeline whose scoring half needs a library that medqueue installs with one of its extras alone."""

    def require_extra(self) -> None:
        """Raises BundleRefused with the one fault EXTRA_MISSING if the library is not installed."""


@runtime_checkable
class SinglePass(Protocol):
    """A pipeline that scores by one run of one graph: `score` is postprocess after run after preprocess.

    A batch then runs the graph itself, on columns; see rows.
    """

    @property
    def feeds(self) -> tuple[TensorSpec, ...]:
        """Every input of the graph, as `preprocess` makes them."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs of the graph that `postprocess` needs."""

    def preprocess(self, payloads: Sequence[bytes]) -> dict[str, Array]:
        """Stored inputs -> feeds, one row each. Raises RowFault."""

    def postprocess(self, outputs: Mapping[str, Array], count: int) -> list[dict[str, object]]:
        """Outputs -> one result per row. Raises PredictionInvalid."""


class SinglePassPipeline(Pipeline, SinglePass, Protocol):
    """A pipeline of a single pass."""


def score_in_one_pass(pipeline: SinglePass, run: Run, cases: Sequence[Case]) -> list[Answer]:
    """The `score` of a pipeline of a single pass."""
    outputs = run(pipeline.preprocess([case.payload for case in cases]))
    return [Answer(result) for result in pipeline.postprocess(outputs, len(cases))]


def result_json(result: object) -> bytes:
    """A result, or a part of one, as JSON. Raises PredictionInvalid for what JSON cannot hold, such as NaN."""
    try:
        content = to_json(result)
        read = from_json(content, allow_inf_nan=False)  # as those who read it will
        again = content if read == result else to_json(read)
        if has_digits(content, LONG_NUMBER):  # perhaps in a text
            json.loads(content)
    except (PydanticSerializationError, ValueError, TypeError, RecursionError):
        raise PredictionInvalid((0,), "the result cannot be written as JSON") from None
    if len(again) < len(content):  # such as 1 and "1": the last of them would be read
        raise PredictionInvalid((0,), "two keys of the result are written alike: make them texts")
    return content


def has_digits(content: bytes, count: int) -> bool:
    """Whether at least `count` digits stand side by side. Quicker than a pattern, which stops at every digit."""
    return len(content) >= count and b"0" * count in content.translate(_DIGITS)


def refuse_options(value: object) -> dict[str, object]:
    """The `check_options` of a pipeline that has none. Raises InputRejected."""
    if not isinstance(value, dict):
        raise InputRejected(FieldFault("", FieldCode.NOT_AN_OBJECT, "Send the options as a JSON object."))
    if value:
        detail = "The model takes no options: remove it."
        raise InputRejected(
            *(
                FieldFault(pointer_to(str(key)), FieldCode.UNKNOWN_OPTION, detail)
                for key in list(value)[:_NAMED]
            )
        )
    return {}


def no_options_schema() -> dict[str, object]:
    """JSON Schema of the options of a pipeline that has none."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


def pointer_to(*keys: str) -> str:
    """The JSON pointer of nested `keys` (RFC 6901 escapes)."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
