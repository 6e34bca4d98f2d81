"""Examples of the catalogue in the OpenAPI document."""

from typing import Any

from service.api.http.examples import AT, DIGEST
from service.api.http.examples import MODEL as NAME

MODEL: dict[str, Any] = {
    "name": NAME,
    "title": "Breast mass: malignant or benign, from a fine needle aspirate",
    "summary": "Probability that a breast mass is malignant.",
    "kind": "diagnosis",
    "task": "tabular-classification",
    "version": "1.0.0",
    "digest": DIGEST,
    "precision": "fp32",
    "license": "CC-BY-4.0",
    "input_schema": {"type": "object"},
    "result_schema": {"type": "object"},
    "options_schema": {"type": "object", "properties": {}, "additionalProperties": False},
    "labels": [
        {
            "id": "benign",
            "display": "Benign neoplasm of breast",
            "system": "http://hl7.org/fhir/sid/icd-10",
            "code": "D24",
            "positive": False,
        }
    ],
    "metrics": {"auc": 0.995},
    "versions": [{"version": "1.0.0", "digest": DIGEST, "precision": "fp32", "published_at": AT}],
    "aliases": {"stable": "1.0.0"},
    "card": "# Breast cancer Wisconsin",
    "problem": None,
}
MODELS: dict[str, Any] = {"items": [MODEL], "next_cursor": None}
