"""The intake of every pipeline that takes one text, in the field that the manifest names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import Field, create_model

from models.pipelines.text_tokens import longest_feeds
from models.pipelines.texts import FieldName, TextParameters, check_texts, text_field
from models.pipelines.typed import TypedInput

if TYPE_CHECKING:
    from models.pipelines.contract import ReadFile, Run

Count = Annotated[int, Field(ge=0)]
TokenCount = Annotated[Count, Field(description="of the text, as the model's tokenizer cuts it")]
WindowCount = Annotated[Count, Field(description="in which it was read")]
Truncated = Annotated[bool, Field(description="the text is longer than was read; the model then abstains")]


class OneTextParameters(TextParameters):
    """What every such pipeline has in its `[parameters]`."""

    field: FieldName = "text"
    title: str = "Text"
    example: str


class TextInput(TypedInput):
    """A text, in the manifest's `field`."""


class _Pipeline(Protocol):
    """What the intake needs of the pipeline that it is mixed into."""

    input_type: type[Any]

    @property
    def parameters(self) -> OneTextParameters: ...


class OneText:
    """Mixed into a pipeline in front of its base."""

    def prepare(self: _Pipeline, read: ReadFile) -> None:  # noqa: ARG002 - the tokenizer is read by scoring alone
        """Make the input's type of the manifest's field and limits."""
        given = self.parameters
        fields: dict[str, Any] = {given.field: (text_field(given, given.title, given.example), ...)}
        self.input_type = create_model(self.input_type.__name__, __base__=self.input_type, **fields)

    def try_longest(self: _Pipeline, run: Run) -> None:
        """See longest_texts."""
        run(longest_feeds(self.parameters))

    def check(self: _Pipeline, value: TypedInput) -> None:
        """See texts."""
        check_texts(value.model_dump(), self.parameters.script)
