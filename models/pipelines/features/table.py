"""What all features of a table have in common: their keys in the manifest, and the frame of messages on a value."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.field_codes import FieldCode
from models.manifest import ManifestTable, Text
from models.manifest_words import SNAKE_CASE
from models.pipelines.contract import FieldFault, pointer_to

Stored = float | int | bool | str | None


class FeatureTable(ManifestTable):
    """What all features have, and one that may be absent."""

    name: Annotated[str, Field(pattern=SNAKE_CASE, max_length=64)]
    title: Text
    type: str = "number"
    required: bool = True
    description: str = ""

    @property
    def wanted(self) -> str:
        """What to send, such as "a number between 0 and 50 mg"."""
        raise NotImplementedError

    def check(self, value: object) -> Stored | FieldFault:
        """What to store of a value, or its fault."""
        if value is None:
            return self.missing_fault() if self.required else None
        return self._checked(value)

    def _checked(self, value: object) -> Stored | FieldFault:
        raise NotImplementedError

    def missing_fault(self) -> FieldFault:
        """The message where a required value is absent."""
        return self.fault(FieldCode.MISSING_FIELD, f"is missing: send {self.wanted}")

    def wrong_type(self, hint: str = "") -> FieldFault:
        """The message for a value of another type."""
        more = f". {hint}" if hint else ""
        return self.fault(FieldCode.WRONG_TYPE, f"must be {self.wanted}{more}")

    def fault(self, code: FieldCode, rule: str) -> FieldFault:
        """A fault of this feature."""
        return FieldFault(pointer_to(self.name), code, f"{self.name} {rule}.")

    def described(self, json_type: str, **rules: object) -> dict[str, object]:
        """JSON Schema of the feature."""
        return {
            "type": json_type if self.required else [json_type, "null"],
            "title": self.title,
            "description": self.description,
            **rules,
        }


def check_missing(required: bool, missing: object) -> None:
    """Raises ValueError where an optional value lacks `missing`, or a required one has it."""
    if required != (missing is None):
        raise ValueError(
            "give `missing`, which the graph is fed where the value is absent, with `required = false`, and only then"
        )


def with_example(schema: dict[str, object], example: object) -> dict[str, object]:
    """A schema with the example that the manifest gives, if it gives one."""
    return schema if example is None else {**schema, "examples": [example]}
