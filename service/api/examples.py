"""Examples in the OpenAPI document: a real case of a bundled model, from public data."""

import json
from importlib.resources import files
from typing import Any

_MODEL = "breast-cancer-wisconsin"
_GOLDEN = json.loads((files("models") / "zoo" / _MODEL / "golden.json").read_text())

CASE: dict[str, Any] = {"model": _MODEL, "input": _GOLDEN["cases"][0]["input"]}

SUBMIT: dict[str, Any] = {
    "measurements": {"summary": "Thirty measurements of cell nuclei", "value": CASE},
    "urgent": {
        "summary": "The same, urgent, for a known patient",
        "value": CASE | {"priority": "urgent", "subject": "patient-17", "metadata": {"ward": "4b"}},
    },
    "image": {
        "summary": "An image that was uploaded before",
        "value": {
            "model": "pneumonia-xray-28",
            "input": {"upload_id": "01a20178-0cf7-709a-a48f-6fb21c091371"},
        },
    },
}
BULK: dict[str, Any] = {"two cases": {"summary": "Two cases at once", "value": {"jobs": [CASE, CASE]}}}
