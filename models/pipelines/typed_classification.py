"""Pipelines that answer one of a few classes for an input that is written as a type: a text, a sequence, a series.

The author writes the input's type, what the graph is fed, and how cases become feeds; results, thresholds, abstention and
schemas are those of every classification. Cases of unlike length go through the graph in groups of like length, so that
a long one makes no other slow, padded to the group's longest, which a graph that takes them tells by its mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import Field

from models.lazy import np
from models.manifest import MODEL
from models.pipelines.classification import Classifier
from models.pipelines.classification_parameters import ClassificationParameters, Share
from models.pipelines.contract import GraphSpec, Label, PredictionInvalid, ReadFile, Run, TensorSpec
from models.pipelines.typed import InputT, NoOptions, TypedCase, TypedPipeline, TypedResult, TypedScoring

if TYPE_CHECKING:
    from models.pipelines.contract import Array

_STEP: Final = 16  # lengths are rounded up to multiples of this


class Coding(TypedResult):
    """A code in a code system."""

    system: str
    code: str


class ClassificationResult(TypedResult):
    """The answer of a classifier. `label`, `display` and `code` are null when the model abstained."""

    type: Literal["classification"] = "classification"
    label: str | None
    display: str | None
    code: Coding | None
    probabilities: Annotated[dict[str, Share], Field(min_length=2)]
    threshold: float | None
    abstained: bool
    abstain_reason: str | None


ParametersT = TypeVar("ParametersT", bound=ClassificationParameters)


class TypedClassification(
    TypedPipeline[ParametersT, InputT, ClassificationResult, NoOptions], Generic[ParametersT, InputT]
):
    """The base of such a pipeline. Immutable once made."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for base in vars(cls).get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, TypedClassification):
                cls.parameters_type, cls.input_type = get_args(base)

    def __init__(self, parameters: ParametersT, read: ReadFile) -> None:
        super().__init__(parameters, read)
        self._classifier = Classifier(parameters)
        self._result_schema = self._classifier.result_schema()

    # What an author writes.

    @property
    def feeds(self) -> tuple[TensorSpec, ...]:
        """What the graph takes."""
        raise NotImplementedError

    def length_of(self, value: InputT) -> int:
        """How long an input is to the graph, in the unit of its axes of ANY_LENGTH."""
        raise NotImplementedError

    def feeds_of(self, values: Sequence[InputT], length: int) -> Mapping[str, Array]:
        """The feeds of some inputs, none longer than `length`, padded to it."""
        raise NotImplementedError

    def doubt(self, value: InputT, label: str | None) -> str | None:  # noqa: ARG002 - subclasses may look at it
        """Why `label` is not answered although the classifier says so; None if it is."""
        return None

    def result_of(self, result: Mapping[str, object], value: InputT) -> ClassificationResult:  # noqa: ARG002 - subclasses may tell of it
        """The result for an input, of what the classifier says."""
        return ClassificationResult.model_validate(result)

    # What follows.

    @property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """See Pipeline."""
        return {MODEL: GraphSpec(self.feeds, self._classifier.outputs)}

    def labels(self) -> list[Label]:
        """See Pipeline."""
        return self._classifier.labels()

    def open_bundle(  # it needs no file but the graph
        self,
        folder: Path,  # noqa: ARG002
    ) -> TypedScoring[InputT, ClassificationResult, NoOptions]:
        """See TypedPipeline."""
        return Scorer(self, self._classifier)


class Scorer(Generic[InputT]):
    """What scores: one run of the graph for each group of like length."""

    def __init__(self, pipeline: TypedClassification[Any, InputT], classifier: Classifier) -> None:
        self._pipeline = pipeline
        self._classifier = classifier

    def score(self, run: Run, cases: Sequence[TypedCase[InputT, NoOptions]]) -> list[ClassificationResult]:
        """See TypedScoring."""
        values = [case.input for case in cases]
        outputs: dict[str, Array] = {}
        for rows, length in groups_of_length([self._pipeline.length_of(value) for value in values]):
            given = run(self._pipeline.feeds_of([values[row] for row in rows], length))
            for spec in self._classifier.outputs:
                found = np.asarray(given[spec.name])
                if found.shape[:1] != (len(rows),):  # numpy would give one row to all
                    reason = f"{spec.name} has the shape {found.shape} for {len(rows)} rows"
                    raise PredictionInvalid(tuple(rows), reason)
                outputs.setdefault(spec.name, np.empty((len(cases), *found.shape[1:]), found.dtype))[rows] = (
                    found
                )
        return [
            self._result(result, value)
            for result, value in zip(self._classifier.results(outputs, len(cases)), values, strict=True)
        ]

    def _result(self, result: dict[str, object], value: InputT) -> ClassificationResult:
        label = result["label"]
        assert label is None or isinstance(label, str)
        return self._pipeline.result_of(without_label(result, self._pipeline.doubt(value, label)), value)


def without_label(result: dict[str, object], doubt: str | None) -> dict[str, object]:
    """The result of an input, without its label if there is a `doubt`, which is the reason to abstain."""
    if doubt is None:
        return result
    return result | {
        "label": None,
        "display": None,
        "code": None,
        "abstained": True,
        "abstain_reason": doubt,
    }


def groups_of_length(lengths: Sequence[int]) -> Iterator[tuple[list[int], int]]:
    """The rows of `lengths` by like length, with the length that each group is padded to: the next multiple of 16.

    So the padding of a row never depends on its company, and neither does its answer.
    """
    groups: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        groups.setdefault(-(-length // _STEP) * _STEP, []).append(row)
    for length in sorted(groups):
        yield groups[length], length
