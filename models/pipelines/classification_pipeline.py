"""The common part of pipelines that answer one of a few classes: one run of one graph, no side files, no options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from models.pipelines.classification import Classifier
from models.pipelines.classification_parameters import ClassificationParameters
from models.pipelines.contract import Label, TensorSpec
from models.pipelines.one_graph import OneGraphPipeline

if TYPE_CHECKING:
    from models.pipelines.columns import ResultColumn
    from models.pipelines.contract import Array


class ClassificationPipeline(OneGraphPipeline):
    """Everything except the input; subclasses implement `encode`, `decode` and `preprocess`."""

    def __init__(self, parameters: ClassificationParameters, feed: TensorSpec) -> None:
        self._classifier = Classifier(parameters)
        super().__init__(feed, self._classifier.outputs)

    def postprocess(self, outputs: Mapping[str, Array], count: int) -> list[dict[str, object]]:
        """Probabilities -> results; see classification. Raises PredictionInvalid."""
        return self._classifier.results(outputs, count)

    def result_columns(self, outputs: Mapping[str, Array], count: int) -> tuple[ResultColumn, ...]:
        """Probabilities -> columns of results; see classification. Raises PredictionInvalid."""
        return self._classifier.result_columns(outputs, count)

    def labels(self) -> list[Label]:
        """The classes, in the graph's order."""
        return self._classifier.labels()

    def result_schema(self) -> dict[str, object]:
        """JSON Schema 2020-12 of one result."""
        return self._classifier.result_schema()
