"""The base of pipelines that are declared by types: of parameters, inputs, results and options, with graphs and scoring.

Everything else that a Pipeline needs is derived from the types: JSON Schemas, checks and their messages, encoding and decoding
of stored inputs. See docs/models.md, "A pipeline of your own".
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, NamedTuple, Protocol, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from models.field_codes import FieldCode
from models.manifest import ManifestTable, ModelManifest, parse_parameters
from models.pipelines.arrivals import Arrivals, ReadArrivals
from models.pipelines.canonical import canonical
from models.pipelines.contract import (
    Answer,
    Artifact,
    Case,
    FieldFault,
    GraphSpec,
    InputRejected,
    Label,
    PredictionInvalid,
    ReadFile,
    RowFault,
    Run,
    Scoring,
)
from models.pipelines.parts import Source
from models.pipelines.side_files import READ
from models.pipelines.typed_parts import parts_of
from models.pipelines.typed_schemas import derived_schema, with_file_limits
from models.pipelines.typed_values import checked, refuse_swapped, stored

# The first byte of a stored input: how the rest of it is written. 1 is canonical JSON; 2 is the same of an input that
# may have parts, which a pipeline without them must not score.
CODEC: Final = b"\x01"
CODEC_WITH_PARTS: Final = b"\x02"
_DAMAGED: Final = FieldFault("", FieldCode.STORED_INPUT_DAMAGED, "The stored input is damaged.")


class TypedInput(BaseModel):
    """An input: an object. Unknown fields, numbers as text and NaN are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class TypedOptions(BaseModel):
    """The options of a job; every field has a default. See TypedInput."""

    model_config = TypedInput.model_config


class NoOptions(TypedOptions):
    """The options of a pipeline that has none."""


class TypedResult(BaseModel):
    """A result, identified by its field `type`. It is checked before it is stored, and NaN is refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        revalidate_instances="always",
        ser_json_inf_nan="constants",  # so that it is seen where a field may hold anything
    )


ParametersT = TypeVar("ParametersT", bound=ManifestTable)
InputT = TypeVar("InputT", bound=TypedInput)
ResultT = TypeVar("ResultT", bound=TypedResult)
OptionsT = TypeVar("OptionsT", bound=TypedOptions)
InputT_co = TypeVar("InputT_co", bound=TypedInput, covariant=True)
ResultT_co = TypeVar("ResultT_co", bound=TypedResult, covariant=True)
OptionsT_co = TypeVar("OptionsT_co", bound=TypedOptions, covariant=True)
InputT_contra = TypeVar("InputT_contra", bound=TypedInput, contravariant=True)
OptionsT_contra = TypeVar("OptionsT_contra", bound=TypedOptions, contravariant=True)


class TypedCase(NamedTuple, Generic[InputT_co, OptionsT_co]):
    """One stored input, decoded, with the options of its job; parts and sources as in Case."""

    input: InputT_co
    options: OptionsT_co
    parts: Mapping[str, bytes]
    sources: Mapping[str, Source] = MappingProxyType({})


class TypedScoring(Protocol[InputT_contra, ResultT_co, OptionsT_contra]):
    """What an author's pipeline opens in a worker."""

    def score(
        self, run: Run, cases: Sequence[TypedCase[InputT_contra, OptionsT_contra]]
    ) -> Sequence[ResultT_co | tuple[ResultT_co, Sequence[Artifact]]]:
        """One result per case, with its files if it has some; each as if the case had come alone."""


class TypedPipeline(Generic[ParametersT, InputT, ResultT, OptionsT]):
    """The base of typed pipelines. Immutable once created."""

    binary: ClassVar[bool] = False
    parameters_type: ClassVar[type[ManifestTable]]
    input_type: type[InputT]
    result_type: type[ResultT]
    options_type: type[OptionsT]

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for base in vars(cls).get("__orig_bases__", ()):
            if get_origin(base) is TypedPipeline:
                cls.parameters_type, cls.input_type, cls.result_type, cls.options_type = get_args(base)

    def __init__(self, parameters: ParametersT, read: ReadFile) -> None:
        self.parameters: Final = parameters
        self.prepare(read)
        self.parts: Final = parts_of(self.input_type)
        self._input_schema = derived_schema(self.input_type, "validation", self.parts)
        self._result_schema = derived_schema(self.result_type, "serialization")
        self._options_schema = derived_schema(self.options_type, "validation")
        self._no_options = self.options_type()

    @classmethod
    def load(cls, manifest: ModelManifest, read: ReadFile) -> Self:
        """The pipeline of a manifest; what the registry calls. Raises ManifestInvalid."""
        return cls(parse_parameters(cls.parameters_type, manifest, {READ: read}), read)  # type: ignore[arg-type]  # its own type

    # What an author writes.

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """The graphs of a bundle by name; the one of a pipeline that has no more is called MODEL."""
        raise NotImplementedError

    def open_bundle(self, folder: Path) -> TypedScoring[InputT, ResultT, OptionsT]:
        """What scores, with the files of the bundle in `folder`. Never called in the API."""
        raise NotImplementedError

    def prepare(self, read: ReadFile) -> None:
        """Read side files, and set an `input_type` of this manifest's own where it depends on the parameters."""

    def check(self, value: InputT) -> None:
        """Rules beyond the type, such as on the number of tokens. Raises InputRejected, never quoting the value."""

    def check_file(self, name: str, content: bytes) -> None:
        """Rules of a file that is a part of an input, such as its format. Raises InputRejected, pointers relative to it."""

    def labels(self) -> list[Label]:
        """The classes the model can answer, in the graph's order. Empty where it answers no classes."""
        return []

    # What follows from the types.

    def input_schema(self, most_bytes: int | None = None) -> dict[str, object]:
        """See Pipeline."""
        return with_file_limits(self._input_schema, self.parts, most_bytes)

    def result_schema(self) -> dict[str, object]:
        """See Pipeline."""
        return self._result_schema

    def options_schema(self) -> dict[str, object]:
        """See Pipeline."""
        return self._options_schema

    def encode(self, value: object) -> bytes:
        """See Pipeline: a codec and canonical JSON, with the defaults of fields that were left out."""
        read = checked(self.input_type, value, self._input_schema)
        table = _as_json(read)
        refuse_swapped(self.input_type, value, table, self._input_schema)
        self.check(read)
        return canonical(table, before=CODEC_WITH_PARTS if self.parts else CODEC)

    def decode(self, payload: bytes) -> dict[str, object]:
        """See Pipeline."""
        return self.read_input(payload).model_dump(mode="json", by_alias=True)

    def read_input(self, payload: bytes) -> InputT:
        """The typed input that is stored as `payload`. Raises InputRejected."""
        if payload[:1] != CODEC and not (self.parts and payload[:1] == CODEC_WITH_PARTS):
            version = payload[0] if payload else "none"
            read = f"{CODEC[0]} and {CODEC_WITH_PARTS[0]}" if self.parts else f"{CODEC[0]}"
            detail = (
                f"The stored input is of codec version {version}; this release of the pipeline reads {read}."
            )
            raise InputRejected(FieldFault("", FieldCode.STORED_INPUT_CODEC, detail))
        try:
            return stored(self.input_type, payload[1:])
        except ValidationError:
            raise InputRejected(_DAMAGED) from None

    def check_options(self, value: object) -> dict[str, object]:
        """See Pipeline."""
        try:
            read = checked(self.options_type, value, self._options_schema)
            refuse_swapped(self.options_type, value, _as_json(read), self._options_schema)
        except InputRejected as rejected:
            raise InputRejected(*map(_of_option, rejected.faults)) from None
        return read.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def read_options(self, options: Mapping[str, object]) -> OptionsT:
        """What `check_options` gave, typed."""
        return self.options_type.model_validate_json(to_json(options)) if options else self._no_options

    def open(self, folder: Path) -> Scoring:
        """See Pipeline."""
        opened = self.open_bundle(folder)
        kind = _CheckedContinuousScoring if hasattr(opened, "score_arrivals") else _CheckedScoring
        return kind(self, opened)


class _CheckedScoring(Generic[ParametersT, InputT, ResultT, OptionsT]):
    """Between stored cases and an author's typed ones, and from typed results to answers."""

    def __init__(
        self,
        pipeline: TypedPipeline[ParametersT, InputT, ResultT, OptionsT],
        scoring: TypedScoring[InputT, ResultT, OptionsT],
    ) -> None:
        self._pipeline = pipeline
        self._scoring = scoring

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """See Scoring."""
        typed = [self._typed(index, case) for index, case in enumerate(cases)]
        try:
            found = self._scoring.score(run, typed)
        except ValidationError as error:
            if error.title != self._pipeline.result_type.__name__:
                raise
            raise PredictionInvalid(tuple(range(len(cases))), _misfit(error)) from None
        return self._answers(found)

    def _typed(self, index: int, case: Case) -> TypedCase[InputT, OptionsT]:
        try:
            read = self._pipeline.read_input(case.payload)
        except InputRejected as rejected:
            raise RowFault(index, rejected.faults[0]) from None
        return TypedCase(read, self._pipeline.read_options(case.options), case.parts, case.sources)

    def _answers(self, found: Sequence[ResultT | tuple[ResultT, Sequence[Artifact]]]) -> list[Answer]:
        """The results as they are stored. Raises PredictionInvalid for those that do not fit their type."""
        answers, wrong, reason = [], [], ""
        for row, each in enumerate(found):
            result, artifacts = each if isinstance(each, tuple) else (each, ())
            try:
                checked = self._pipeline.result_type.model_validate(result)
                dumped = checked.model_dump(mode="json", by_alias=True)
                written = checked.model_dump_json(by_alias=True)
                if len(to_json(dumped)) < len(written.encode()):  # of keys such as 1 and "1" the last is left
                    wrong.append(row)
                    reason = "two keys of the result are written alike: make them texts"
                answers.append(Answer(dumped, tuple(artifacts)))
            except ValidationError as error:
                wrong.append(row)
                reason = _misfit(error)
        if wrong:
            raise PredictionInvalid(tuple(wrong), reason)
        return answers


class _CheckedContinuousScoring(_CheckedScoring[ParametersT, InputT, ResultT, OptionsT]):
    """The same of a pipeline whose `score_arrivals` lets cases join; see ContinuousScoring."""

    def score_arrivals(self, run: Run, arrivals: Arrivals[Case, Answer]) -> None:
        """See ContinuousScoring."""
        typed = ReadArrivals[TypedCase[InputT, OptionsT], ResultT](
            arrivals, self._typed, lambda result: self._answers([result])[0]
        )
        self._scoring.score_arrivals(run, typed)  # type: ignore[attr-defined]  # it has it, or this were another class


def _of_option(fault: FieldFault) -> FieldFault:
    """A fault of the options, with the code of an unknown one in place of an unknown field's."""
    if fault.code is not FieldCode.UNKNOWN_FIELD or fault.pointer.count("/") != 1:
        return fault
    detail = fault.detail.replace("does not take this field", "offers no such option", 1)
    return FieldFault(fault.pointer, FieldCode.UNKNOWN_OPTION, detail)


def _as_json(value: BaseModel) -> dict[str, object]:
    """What it is written of: long lists of numbers among its fields are arrays still."""
    arrays = {name: each for name, each in vars(value).items() if isinstance(each, array)}
    table = value.model_dump(mode="json", by_alias=True, exclude=set(arrays) or None)
    return table | arrays


def _misfit(error: ValidationError) -> str:
    """Which field of a result does not fit its type, without values; the keys of an object in it may be words of an input."""
    found = error.errors()[0]
    field = str(found["loc"][0]) if found["loc"] else "all of it"
    return f"the result does not fit its type: {field} ({found['type']})"
