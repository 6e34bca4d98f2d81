"""`text-pair-classification`: two texts in, one of a few classes out, such as whether two questions mean the same.

The graph takes both texts as one window, in the way the tokenizer's template of a pair says; see text_classification. With
`symmetric` each pair is read in both orders and the mean of the scores counts, so that the order never matters. The model
abstains from a pair that has more tokens than it reads and, if the manifest says so, does not call two texts the same that
differ in one place alone; see exchanged_words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, create_model, model_validator

from models.pipelines.exchanged_words import ExchangeParameters
from models.pipelines.text_classification import ClassificationOfTexts, ReadingClassifierParameters
from models.pipelines.text_tokens import ReadText, TextTokenizer, longest_feeds
from models.pipelines.texts import FieldName, check_texts, text_field
from models.pipelines.typed import TypedInput

if TYPE_CHECKING:
    from models.pipelines.contract import ReadFile, Run

Two: Any = Field(min_length=2, max_length=2, strict=False)


class TextPairParameters(ReadingClassifierParameters):
    """The `[parameters]` table of a manifest for pairs of texts."""

    fields: Annotated[tuple[FieldName, ...], Two] = ("text_a", "text_b")
    titles: Annotated[tuple[str, ...], Two] = ("First text", "Second text")
    examples: Annotated[tuple[str, ...], Two]
    symmetric: bool = True
    exchange: ExchangeParameters | None = None

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if self.fields[0] == self.fields[1]:
            raise ValueError("fields: give the two texts different names")
        if self.max_windows > 1:
            raise ValueError("max_windows: a pair is read in one window")
        if self.exchange is not None and self.exchange.label not in {label.id for label in self.labels}:
            raise ValueError("exchange: name one of the labels")
        return self


class TextPairInput(TypedInput):
    """Two texts, in the manifest's `fields`."""


class TextPairClassification(ClassificationOfTexts[TextPairParameters, TextPairInput]):
    """The pipeline. Immutable once made."""

    def prepare(self, read: ReadFile) -> None:  # noqa: ARG002 - the tokenizer is read by scoring alone
        """Make the input's type of the manifest's fields and limits."""
        given = self.parameters
        fields: dict[str, Any] = {
            name: (text_field(given, title, example, read="a pair"), ...)
            for name, title, example in zip(given.fields, given.titles, given.examples, strict=True)
        }
        self.input_type = create_model("TextPairInput", __base__=TextPairInput, **fields)

    def check(self, value: TextPairInput) -> None:
        """See texts."""
        check_texts(value.model_dump(), self.parameters.script)

    def try_longest(self, run: Run) -> None:
        """See longest_texts."""
        run(longest_feeds(self.parameters))

    def doubt(self, value: TextPairInput, label: str | None) -> str | None:
        """See TypedClassification."""
        exchange = self.parameters.exchange
        if exchange is None or label != exchange.label:
            return None
        first, second = (getattr(value, name) for name in self.parameters.fields)
        return exchange.reason if exchange.found_in(first, second) else None

    def read_by(self, tokenizer: TextTokenizer, value: TextPairInput) -> ReadText:
        """See ClassificationOfTexts: one window, or one for each order of the two texts."""
        first, second = (getattr(value, name) for name in self.parameters.fields)
        read = tokenizer.read_pair(first, second)
        if not self.parameters.symmetric:
            return read
        turned = tokenizer.read_pair(second, first)
        return read._replace(windows=[*read.windows, *turned.windows])


load = TextPairClassification.load
