"""`text-classification`: a text in, one of a few classes out.

The graph takes `input_ids` and `attention_mask` int64 [N,L] (and `token_type_ids`, if the manifest says so), as exports from
Hugging Face do. What it gives for the windows of a long text is averaged, weighted by their tokens. The model abstains from a
text that it cannot read to the end, and from one with too many tokens that its vocabulary lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from models.lazy import np
from models.pipelines.classification import Classifier
from models.pipelines.classification_parameters import ClassificationParameters
from models.pipelines.contract import Run, TensorSpec
from models.pipelines.one_text import (
    OneText,
    OneTextParameters,
    TextInput,
    TokenCount,
    Truncated,
    WindowCount,
)
from models.pipelines.text_tokens import (
    ReadText,
    TextTokenizer,
    feeds_of_windows,
    runs_of_windows,
    text_feeds,
)
from models.pipelines.texts import TextParameters
from models.pipelines.typed import InputT, NoOptions, TypedCase
from models.pipelines.typed_classification import ClassificationResult, TypedClassification, without_label

if TYPE_CHECKING:
    from models.pipelines.contract import Array, ReadFile


class ReadingClassifierParameters(ClassificationParameters, TextParameters):
    """The parameters of every classification of what a tokenizer reads."""


class TextClassificationParameters(ReadingClassifierParameters, OneTextParameters):
    """The `[parameters]` table of a text classification manifest."""


class ReadResult(ClassificationResult):
    """A classification, with what was read: how many tokens, and whether some were left out."""

    tokens: TokenCount
    truncated: Truncated


class TextResult(ReadResult):
    """The same of a text that may be read in windows."""

    windows: WindowCount


TextParametersT = TypeVar("TextParametersT", bound=ReadingClassifierParameters)


class ClassificationOfTexts(TypedClassification[TextParametersT, InputT], Generic[TextParametersT, InputT]):
    """The base of pipelines that classify what a tokenizer reads. Immutable once made."""

    result_type: type[ReadResult] = ReadResult

    def __init__(self, parameters: TextParametersT, read: ReadFile) -> None:
        super().__init__(parameters, read)
        self._result_schema = _with_reading(self._classifier.result_schema(), self.result_type)

    def read_by(self, tokenizer: TextTokenizer, value: InputT) -> ReadText:
        """The windows of an input."""
        raise NotImplementedError

    @property
    def feeds(self) -> tuple[TensorSpec, ...]:
        """See the module."""
        return text_feeds(self.parameters)

    def open_bundle(self, folder: Path) -> TextScorer[InputT]:
        """See TypedPipeline. Raises BundleRefused if the tokenizer is damaged or another model's."""
        return TextScorer(self, self._classifier, TextTokenizer(folder, self.parameters))


class TextScorer(Generic[InputT]):
    """What scores: windows of like length in one run, then the mean over those of each input."""

    def __init__(
        self, pipeline: ClassificationOfTexts[Any, InputT], classifier: Classifier, tokenizer: TextTokenizer
    ) -> None:
        self._pipeline = pipeline
        self._classifier = classifier
        self._tokenizer = tokenizer

    def score(self, run: Run, cases: Sequence[TypedCase[InputT, NoOptions]]) -> list[ClassificationResult]:
        """See TypedScoring."""
        read = [self._pipeline.read_by(self._tokenizer, case.input) for case in cases]
        results = self._classifier.results(self._outputs(run, read), len(cases))
        return [
            self._result(result, text, case.input)
            for result, text, case in zip(results, read, cases, strict=True)
        ]

    def _outputs(self, run: Run, read: Sequence[ReadText]) -> dict[str, Array]:
        """The graph's outputs for each text: the mean over its windows, weighted by their tokens."""
        windows = [window for text in read for window in text.windows]
        texts = np.repeat(np.arange(len(read)), [len(text.windows) for text in read])
        weights = np.array([max(window.tokens, 1) for window in windows], np.float64)
        shares = weights / np.bincount(texts, weights, len(read))[texts]
        names = [spec.name for spec in self._classifier.outputs]
        found: dict[str, Array] = {}
        for rows, length in runs_of_windows(windows):
            given = run(feeds_of_windows([windows[row] for row in rows], length, self._pipeline.parameters))
            for name in names:
                part = np.asarray(given[name], np.float64) * shares[rows, None]
                total = found.setdefault(name, np.zeros((len(read), part.shape[1])))
                np.add.at(total, texts[rows], part)
        return found

    def _result(self, result: dict[str, object], text: ReadText, value: InputT) -> ReadResult:
        label = result["label"]
        assert label is None or isinstance(label, str)
        reason = text.unread(self._pipeline.parameters) or self._pipeline.doubt(value, label)
        kind = self._pipeline.result_type
        reading = {"tokens": text.tokens, "truncated": text.truncated, "windows": len(text.windows)}
        known = {name: each for name, each in reading.items() if name in kind.model_fields}
        return kind.model_validate(without_label(result, reason) | known)


class TextClassification(OneText, ClassificationOfTexts[TextClassificationParameters, TextInput]):
    """The pipeline. Immutable once made."""

    result_type = TextResult

    def read_by(self, tokenizer: TextTokenizer, value: TextInput) -> ReadText:
        """See ClassificationOfTexts."""
        text: str = getattr(value, self.parameters.field)
        return tokenizer.read(text)


def _with_reading(schema: dict[str, object], kind: type[ReadResult]) -> dict[str, object]:
    """The schema of a classification, and what `kind` adds to it."""
    own = kind.model_json_schema(mode="serialization")["properties"]
    added = {name: own[name] for name in own if name not in ClassificationResult.model_fields}
    properties: dict[str, Any] = {**schema["properties"], **added}  # type: ignore[dict-item]  # a table
    return {**schema, "properties": properties, "required": list(properties)}


load = TextClassification.load
