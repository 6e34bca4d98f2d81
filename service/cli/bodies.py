"""The bodies of requests, as JSON."""

import json
import math
import uuid
from typing import Any


def json_bytes(body: dict[str, Any]) -> bytes:
    """`body` as JSON. An infinity was past float64 in the caller's file: it is sent as such, for its field to be refused."""
    marks = {math.inf: uuid.uuid4().hex, -math.inf: uuid.uuid4().hex}

    def marked(value: object) -> object:
        if isinstance(value, dict):
            return {key: marked(part) for key, part in value.items()}
        if isinstance(value, list):
            return [marked(part) for part in value]
        return marks[value] if isinstance(value, float) and math.isinf(value) else value

    text = json.dumps(marked(body), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for number, mark in marks.items():
        text = text.replace(f'"{mark}"', "1e999" if number > 0 else "-1e999")
    return text.encode()
