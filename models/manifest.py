"""ModelManifest, the typed form of a bundle's manifest.toml, and the faults for which one is refused.

Defines the keys that every model has. The `[parameters]` table belongs to the pipeline that the manifest names: it is read
here with the pipeline's pydantic model (`parse_parameters`), so faults of both get the same messages. Reads no files and
checks no digests; models/bundle does.
"""

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.manifest_words import KEBAB_CASE, SEMVER, advice, told

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Plain names joined by /: never a root, a drive, `..` or a hidden file on any system.
_PATH_INSIDE = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)

MANIFEST_NAME = "manifest.toml"
# Some editors write it at the start of a file; it is not part of the text.
BYTE_ORDER_MARK = "\ufeff"
# The name of the graph of a bundle with one graph.
MODEL = "model"
# The code of the fault of a bundle whose pipeline needs a library that is not installed here.
EXTRA_MISSING = "extra_missing"
# Marks what must be filled in before a bundle can be published; see models.skeleton.
FILL_IN = "FILL IN"

# Of most weights of a graph.
Precision = Literal["fp32", "fp16", "int8"]
# Of a variant of lower precision, by default: a hundredth of a probability, and half a point of a figure such as an AUC.
DEVIATION = 0.01
LOSS = 0.005

LONGEST_NAME = 64
Name = Annotated[str, Field(pattern=KEBAB_CASE, max_length=LONGEST_NAME)]
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Fault:
    """One reason to refuse a bundle: where it is, which rule, what to change.

    `place` is a file and the key in it, such as "manifest.toml: runtime.max_batch" or "golden.json: case 3".
    """

    place: str
    code: str
    detail: str

    def __str__(self) -> str:
        return f"{self.place}: {self.detail} [{self.code}]"


class BundleRefused(Exception):
    """The bundle cannot be published. `faults` holds every reason found."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("\n".join(map(str, faults)))


class ManifestInvalid(BundleRefused):
    """The manifest cannot be used. `faults` names every key that is wrong."""


class ManifestTable(BaseModel):
    """A table of the manifest: frozen, without unknown keys, strings in place of numbers, or NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class RuntimeLimits(ManifestTable):
    """How a worker runs the model, and within what time the API promises a result."""

    max_batch: int = Field(64, ge=1, le=4096, description="largest number of jobs scored in one run")
    max_wait_ms: int = Field(
        0, ge=0, le=10_000, description="how long a claim may wait for more jobs to fill its batch"
    )
    run_timeout_s: float = Field(30.0, gt=0, le=3600, description="the longest that one session.run may take")
    promised_s: float = Field(60.0, gt=0, le=86_400, description="promised time from submit to result")
    tolerance: float = Field(
        1e-5,
        ge=0,
        le=1e-2,
        description="largest absolute difference of an output between alone, batched and reordered",
    )
    # The rest is stored only if set, because a release that does not know the key or the value refuses it.
    precision: Precision | None = Field(
        None,
        description="in which precision the graph holds most of its weights; not stated if omitted",
        exclude_if=lambda stated: stated is None,
    )
    variant_tolerance: float = Field(
        DEVIATION,
        gt=0,
        le=0.1,
        description="largest absolute difference of a number in an answer of a variant of lower precision",
        exclude_if=lambda allowed: allowed == DEVIATION,
    )
    variant_loss: float = Field(
        LOSS,
        ge=0,
        le=0.1,
        description="largest loss of a figure that such a variant may have, of figures above 1 as a share",
        exclude_if=lambda allowed: allowed == LOSS,
    )
    allow_tf32: bool = Field(
        False,
        description="let a GPU round the factors of products to ten bits (TF32): faster, and less exact",
        exclude_if=lambda allowed: not allowed,
    )


class GraphTable(ManifestTable):
    """The ONNX file, and the graph's names of tensors where they differ from the pipeline's.

    `inputs` and `outputs` map the pipeline's names to the graph's. A feed may go to several inputs of one column each: list
    their names in the order of the columns.
    """

    file: str = Field("model.onnx", description="path of the ONNX file inside the bundle")
    inputs: dict[str, str | Annotated[tuple[str, ...], Field(min_length=1, strict=False)]] = Field(
        default_factory=dict, description="feed of the pipeline = input of the graph, or a list of inputs"
    )
    outputs: dict[str, str] = Field(
        default_factory=dict, description="output of the pipeline = output of the graph"
    )
    row_by_row: bool = Field(
        False,
        description="run one row at a time: for graphs whose rows affect each other, as with dynamic int8 scales",
    )
    # Stored only if set, because a release that does not know the key refuses it.
    classes: Annotated[tuple[int | str, ...], Field(strict=False)] | None = Field(
        None,
        description="what the graph calls its classes, in the order of `labels`: for maps of class to score, as of ZipMap",
        exclude_if=lambda classes: classes is None,
    )

    @field_validator("file")
    @classmethod
    def _check_file(cls, path: str) -> str:
        if not _PATH_INSIDE.fullmatch(path):
            raise ValueError("it must be a path inside the bundle: plain names with / between")
        return path

    @field_validator("inputs", mode="before")
    @classmethod
    def _check_inputs(cls, inputs: object) -> object:
        """Check the names before the union is tried, whose faults would name its branches instead of the key."""
        for name, names in inputs.items() if isinstance(inputs, dict) else ():
            several = (
                isinstance(names, list | tuple) and names and all(isinstance(each, str) for each in names)
            )
            if not isinstance(names, str) and not several:
                raise ValueError(f"{name!r} must be an input of the graph, in quotes, or a list of some")
        return inputs

    @field_validator("classes", mode="before")
    @classmethod
    def _check_classes(cls, classes: object) -> object:
        """Check the classes before the union is tried, whose faults would name its branches instead of the key."""
        if not isinstance(classes, list | tuple) or any(type(each) not in (int, str) for each in classes):
            raise ValueError("list whole numbers or strings, one for each of `labels`")
        if len(set(classes)) < len(classes):
            raise ValueError("list each class once")
        return classes


class ModelManifest(ManifestTable):
    """The manifest of one model version: its name, pipeline, limits, metrics and files."""

    name: Name
    version: Annotated[str, Field(pattern=SEMVER, max_length=64)]
    kind: Literal["diagnosis", "recommendation", "generation"]
    pipeline: Name
    title: Text
    summary: Text
    license: Text
    runtime: RuntimeLimits = Field(default_factory=lambda: RuntimeLimits.model_validate({}))
    # Stored only if set, because a release that does not know the key refuses it.
    method: Literal["rules"] | None = Field(
        None,
        description="`rules`: written rules answer, and the bundle has no graph",
        exclude_if=lambda method: method is None,
    )
    example_case: int | None = Field(
        None,
        ge=0,
        description="which case of golden.json, counted from 0, is shown as the example of an input",
        exclude_if=lambda number: number is None,
    )
    graph: GraphTable | None = None
    graphs: dict[Name, GraphTable] = Field(
        default_factory=dict,
        description="the graphs of a pipeline that runs several, by the pipeline's names",
    )
    metrics: dict[str, float | str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    # Any, because the pipeline defines the types of this table; see parse_parameters.
    parameters: dict[str, Any] = Field(default_factory=dict)

    @field_validator("metrics", mode="before")
    @classmethod
    def _check_metrics(cls, metrics: object) -> object:
        """Check metrics before the union is tried, whose faults would name its branches instead of the key."""
        for name, figure in metrics.items() if isinstance(metrics, dict) else ():
            if not isinstance(figure, str) and not (type(figure) in (int, float) and _is_finite(figure)):
                raise ValueError(f"{name!r} must be a finite number or a string")
        return metrics

    @field_validator("files")
    @classmethod
    def _check_files(cls, files: dict[str, str]) -> dict[str, str]:
        for path, digest in files.items():
            if not _PATH_INSIDE.fullmatch(path):
                raise ValueError(f"{path!r} must be a path inside the bundle: plain names with / between")
            if not _SHA256.fullmatch(digest):
                raise ValueError(
                    f'the digest of {path!r} must be "sha256:" and 64 hex digits: seal the bundle'
                )
        return files

    @property
    def graph_tables(self) -> dict[str, GraphTable]:
        """The graphs of the bundle by name: those of `[graphs]`, or the one of `[graph]` with its defaults; none of rules."""
        if self.method is not None:
            return {}
        return dict(self.graphs) or {MODEL: self.graph or GraphTable.model_validate({})}

    @model_validator(mode="after")
    def _check_graphs(self) -> Self:
        if self.graph is not None and self.graphs:
            names = ", ".join(f"[graphs.{name}]" for name in self.graphs)
            raise ValueError(
                f"[graph] is for a bundle of one graph: move its keys into {names}, and remove it"
            )
        if self.method is not None and (self.graph is not None or self.graphs):
            raise ValueError(
                'a bundle of rules has no graph: remove [graph] and [graphs], or `method = "rules"`'
            )
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """The manifest written in `text` (TOML). Raises ManifestInvalid with every fault."""
        return parse_table(cls, toml_table(text))


def toml_table(text: str) -> dict[str, Any]:
    """The values written in `text` (TOML). Raises ManifestInvalid."""
    try:
        return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except RecursionError:
        reason = "it is nested too deeply"
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
    except ValueError:  # an integer with thousands of digits, which tomllib passes to int()
        reason = "a number has too many digits"
    raise ManifestInvalid(Fault(MANIFEST_NAME, "manifest_not_toml", reason))


def text_faults(value: object, path: tuple[str | int, ...] = ()) -> list[Fault]:
    """Faults of the strings in a manifest's `value`, in any table: control characters.

    Postgres cannot store U+0000, and terminals interpret the others.
    """
    place = f"{MANIFEST_NAME}: {_key(path)}"
    match value:
        case dict():
            names = [fault for name in value for fault in text_faults(name, path)]
            return names + [
                fault for name, part in value.items() for fault in text_faults(part, (*path, name))
            ]
        case list():
            return [fault for at, part in enumerate(value) for fault in text_faults(part, (*path, at))]
        case str():
            return control_characters(value, place, "manifest_invalid")
        case _:
            return []


def control_characters(text: str, place: str, code: str) -> list[Fault]:
    """A fault if `text` contains a control character other than tabs and line ends."""
    found = _CONTROL.search(text)
    if found is None:
        return []
    return [Fault(place, code, f"a string contains the control character U+{ord(found[0]):04X}: remove it")]


def is_name(text: str) -> bool:
    """Whether `text` is a valid name of a model."""
    return len(text) <= LONGEST_NAME and re.fullmatch(KEBAB_CASE, text) is not None


def _is_finite(number: float) -> bool:
    return -sys.float_info.max <= number <= sys.float_info.max


Table = TypeVar("Table", bound=ManifestTable)


def parse_table(
    model: type[Table],
    table: object,
    prefix: tuple[str, ...] = (),
    file: str = MANIFEST_NAME,
    code: str = "manifest_invalid",
    *,
    context: Mapping[str, object] | None = None,
) -> Table:
    """`table` as `model`. Raises ManifestInvalid; its faults name `file` and the key, after `prefix`.

    `context` is for validators of `model`. If a validator's error has its own `code`, the fault gets that code.
    """
    try:
        return model.model_validate(table, context=context)
    except ValidationError as error:
        details = told(error.errors())
    raise ManifestInvalid(
        *(
            Fault(
                f"{file}: {_key((*prefix, *detail['loc']))}",
                detail.get("ctx", {}).get("code", code),
                advice(detail),
            )
            for detail in details
        )
    )


def parse_parameters(
    model: type[Table], manifest: ModelManifest, context: Mapping[str, object] | None = None
) -> Table:
    """The manifest's `[parameters]` table as the pipeline's own `model`. Raises ManifestInvalid."""
    return parse_table(model, manifest.parameters, ("parameters",), context=context)


def _key(path: tuple[str | int, ...]) -> str:
    """("parameters", "features", 2, "unit") as `parameters.features[2].unit`, without control characters."""
    written = ""
    for part in path:
        written += f"[{part}]" if isinstance(part, int) else f".{_CONTROL.sub('?', part)}"
    return written.lstrip(".") or "the whole table"
