"""The common part of pipelines that answer one of a few classes: one run of one graph, no side files, no options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from models.manifest import MODEL
from models.pipelines.classification import Classifier
from models.pipelines.classification_parameters import ClassificationParameters
from models.pipelines.contract import (
    Answer,
    Case,
    GraphSpec,
    Label,
    Run,
    TensorSpec,
    no_options_schema,
    refuse_options,
    score_in_one_pass,
)
from models.pipelines.parts import Part

if TYPE_CHECKING:
    from models.pipelines.columns import ResultColumn
    from models.pipelines.contract import Array


class ClassificationPipeline:
    """Everything except the input; subclasses implement `encode`, `decode` and `preprocess`."""

    parts: Final[Mapping[str, Part]] = {}

    def __init__(self, parameters: ClassificationParameters, feed: TensorSpec) -> None:
        self._classifier = Classifier(parameters)
        self.feeds: Final = (feed,)
        self.outputs: Final = self._classifier.outputs
        self.graphs: Final = {MODEL: GraphSpec(self.feeds, self.outputs)}

    def preprocess(self, payloads: Sequence[bytes]) -> dict[str, Array]:
        """See SinglePass."""
        raise NotImplementedError

    def open(self, folder: Path) -> Self:  # noqa: ARG002 - it needs no file but the graph
        """See Pipeline: this pipeline is both halves."""
        return self

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """One run of the graph; see Scoring."""
        return score_in_one_pass(self, run, cases)

    def postprocess(self, outputs: Mapping[str, Array], count: int) -> list[dict[str, object]]:
        """Probabilities -> results; see classification. Raises PredictionInvalid."""
        return self._classifier.results(outputs, count)

    def result_columns(self, outputs: Mapping[str, Array], count: int) -> tuple[ResultColumn, ...]:
        """Probabilities -> columns of results; see classification. Raises PredictionInvalid."""
        return self._classifier.result_columns(outputs, count)

    def options_schema(self) -> dict[str, object]:
        """See Pipeline: no options."""
        return no_options_schema()

    def check_options(self, value: object) -> dict[str, object]:
        """See Pipeline: any option is refused."""
        return refuse_options(value)

    def labels(self) -> list[Label]:
        """The classes, in the graph's order."""
        return self._classifier.labels()

    def result_schema(self) -> dict[str, object]:
        """JSON Schema 2020-12 of one result."""
        return self._classifier.result_schema()
