"""What surrounds an ONNX graph: check an input, feed the graph, word its answer.

One file a pipeline, in numpy (and Pillow for images) and nothing else. A manifest names one of the
pipelines registered here and gives its parameters; so a new model needs no Python. Pipelines hold no
mutable state: one instance serves every thread of the API and of a worker.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from models.manifest import MODEL, Fault, ManifestInvalid, ModelManifest

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


# Registered name -> module with `load(manifest) -> Pipeline`. Imported when first asked for, so that a
# deployment without images never loads Pillow.
_PIPELINES = {
    "image-classification": "models.pipelines.image_classification",
    "tabular-classification": "models.pipelines.tabular_classification",
}


@dataclass(frozen=True)
class FieldFault:
    """One thing wrong with an input. Never holds the submitted value.

    `pointer` is a JSON pointer (RFC 6901) relative to the input, "" for all of it; `detail` says what to
    change and names field, range and unit.
    """

    pointer: str
    code: str
    detail: str


class InputRejected(Exception):
    """The input does not fit the model. `faults` names each field, its unit and its range."""

    def __init__(self, *faults: FieldFault) -> None:
        self.faults = faults
        super().__init__(", ".join(f"{fault.pointer or 'input'}: {fault.code}" for fault in faults))


class RowFault(Exception):
    """One stored input of a batch cannot be read back; the other rows are well."""

    def __init__(self, index: int, fault: FieldFault) -> None:
        self.index = index
        self.fault = fault
        super().__init__(f"row {index}: {fault.code}")


class PredictionInvalid(Exception):
    """The graph gave, for these rows, something that cannot be worded as a result, such as NaN."""

    def __init__(self, rows: tuple[int, ...], reason: str) -> None:
        self.rows = rows
        self.reason = reason
        super().__init__(f"rows {', '.join(map(str, rows))}: {reason}")


@dataclass(frozen=True)
class Label:
    """One class a model can answer, with its code in a code system (`system` is the system's URI) where it has one."""

    id: str
    display: str
    system: str | None
    code: str | None


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the graph. `shape` leaves out the first axis: the row, of any number.

    `classes` names the columns of an output of scores, for graphs that give them by class.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphSpec:
    """What a pipeline feeds one of its graphs, and what it needs of what the graph gives. A graph may give more."""

    feeds: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Run(Protocol):
    """Runs a graph of the bundle, as often as a pipeline likes. Limits, turns and progress are the worker's, inside it."""

    def __call__(self, feeds: Mapping[str, Array], graph: str = MODEL) -> Mapping[str, Array]:
        """The outputs of `graph` by name. Raises what the worker raises: let it through."""


class Pipeline(Protocol):
    """One task: from a submitted input to its stored bytes and back, and from those, by runs of graphs, to a result."""

    @property
    def binary(self) -> bool:
        """True: an input is one file. The API resolves `data` or `upload_id` to its bytes for `encode`."""

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """The graphs of a bundle by name; the one of a pipeline that has no more is called MODEL."""

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:
        """JSON Schema 2020-12 of `input`, with titles, units, ranges and examples.

        `most_bytes` is what its reader takes of a file, where that may be less than the model does.
        """

    def result_schema(self) -> dict[str, object]:
        """JSON Schema 2020-12 of one result."""

    def labels(self) -> list[Label]:
        """The classes the model can answer, in the graph's order. Empty where it answers no classes."""

    def encode(self, value: object) -> bytes:
        """Check one input and give the canonical bytes to store. Raises InputRejected with every fault."""

    def decode(self, payload: bytes) -> object:
        """The input that `encode` made these bytes of, as JSON values; a file as {"data": base64}. Raises InputRejected."""

    def score(self, run: Run, payloads: Sequence[bytes]) -> list[dict[str, object]]:
        """One JSON-able result per stored input, numbers as plain floats, each as if it had come alone.

        Raises RowFault, PredictionInvalid, and what `run` raises.
        """


@runtime_checkable
class SinglePass(Protocol):
    """A pipeline that scores by one run of one graph: `score` is postprocess after run after preprocess."""

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
    """Both."""


def single_pass(manifest: ModelManifest) -> SinglePassPipeline:
    """The manifest's pipeline, which must be one of a single pass. Raises ManifestInvalid or TypeError."""
    pipeline = load_pipeline(manifest)
    if not isinstance(pipeline, SinglePass):
        raise TypeError(f"{manifest.pipeline} takes more than one pass")
    return pipeline


def score_in_one_pass(pipeline: SinglePass, run: Run, payloads: Sequence[bytes]) -> list[dict[str, object]]:
    """The `score` of such a pipeline."""
    return pipeline.postprocess(run(pipeline.preprocess(payloads)), len(payloads))


def registered_pipelines() -> list[str]:
    """The names a manifest may give for `pipeline`, sorted."""
    return sorted(_PIPELINES)


def load_pipeline(manifest: ModelManifest) -> Pipeline:
    """The manifest's pipeline with the manifest's parameters. Raises ManifestInvalid."""
    module_name = _PIPELINES.get(manifest.pipeline)
    if module_name is None:
        known = ", ".join(registered_pipelines())
        raise ManifestInvalid(
            Fault("manifest.toml: pipeline", "unknown_pipeline", f"name a registered pipeline: {known}")
        )
    module: Any = importlib.import_module(module_name)
    return cast(Pipeline, module.load(manifest))


def pointer_to(*keys: str) -> str:
    """The JSON pointer of nested `keys` (RFC 6901 escapes)."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
