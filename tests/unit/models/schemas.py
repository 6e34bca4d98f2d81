"""Whether values fit a JSON schema, which is itself checked only once: that takes longer than most values do."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonschema.protocols import Validator
from jsonschema.validators import validator_for


def assert_fits(value: Any, schema: Mapping[str, object]) -> None:
    """Raises ValidationError where a value does not fit, and SchemaError where the schema is none."""
    _validator(json.dumps(schema)).validate(value)


@lru_cache(maxsize=16)
def _validator(text: str) -> Validator:
    schema = json.loads(text)
    kind = validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)
