"""The schemas of typed pipelines, as they are published."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from models.pipelines.typed_schemas import derived_schema


class Inner(BaseModel):
    value: float | None = None


class Example(BaseModel):
    text: Annotated[str, Field(max_length=9, examples=["x", "y"])]
    dose: Annotated[float | None, Field(ge=0, description="in mg", examples=[5.0])] = None
    sex: Literal["female", "male"] | None = None
    side: Literal["left"] | None = None
    either: int | str = 0
    inner: Inner | None = None
    three: int | str | None = None
    several: list[int | None] = []


def test_a_value_that_may_be_null_has_one_schema_with_both_types() -> None:
    schema: Any = derived_schema(Example, "validation")
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    properties = schema["properties"]
    assert properties["dose"] == {
        "type": ["number", "null"],
        "minimum": 0,
        "description": "in mg",
        "title": "Dose",
        "default": None,
        "examples": [5.0],
    }
    assert properties["sex"]["enum"] == ["female", "male", None]
    assert properties["sex"]["type"] == ["string", "null"]
    assert (properties["side"]["enum"], properties["side"]["type"]) == (["left", None], ["string", "null"])
    assert "const" not in properties["side"]
    assert not any("anyOf" in properties[name] for name in ("dose", "sex", "side"))
    assert properties["several"]["items"] == {"type": ["integer", "null"]}
    assert schema["$defs"]["Inner"]["properties"]["value"]["type"] == ["number", "null"]


def test_other_alternatives_stay_as_they_are() -> None:
    schema: Any = derived_schema(Example, "validation")
    properties = schema["properties"]
    assert properties["either"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert properties["three"]["anyOf"] == [{"type": "integer"}, {"type": "string"}, {"type": "null"}]
    assert properties["inner"]["anyOf"] == [{"$ref": "#/$defs/Inner"}, {"type": "null"}]


def test_an_example_is_made_of_the_first_of_each_field_where_the_needed_ones_have_some() -> None:
    class Bare(BaseModel):
        text: str
        dose: Annotated[float, Field(examples=[5.0])] = 0

    class Silent(BaseModel):
        dose: float = 0

    assert derived_schema(Example, "validation")["examples"] == [{"text": "x", "dose": 5.0}]
    assert "examples" not in derived_schema(Bare, "validation")
    assert "examples" not in derived_schema(Silent, "validation")


def test_an_example_of_the_author_is_kept() -> None:
    class Own(BaseModel):
        model_config = {"json_schema_extra": {"examples": [{"text": "own"}]}}
        text: Annotated[str, Field(examples=["x"])]

    assert derived_schema(Own, "validation")["examples"] == [{"text": "own"}]


def test_the_schema_of_what_is_sent_is_told_from_that_of_what_is_answered() -> None:
    class Answer(BaseModel):
        value: Decimal

    sent: Any = derived_schema(Answer, "validation")
    answered: Any = derived_schema(Answer, "serialization")
    assert [each["type"] for each in sent["properties"]["value"]["anyOf"]] == ["number", "string"]
    assert answered["properties"]["value"]["type"] == "string"
