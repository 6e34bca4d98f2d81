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

_ID = "01a20178-34e2-71dd-924c-9e5807b634d9"
_AT = "2026-11-22T04:16:24.802169Z"
_DIGEST = "sha256:" + "b0" * 32

ACCEPTED: dict[str, Any] = {
    "id": _ID,
    "model": _MODEL,
    "model_version": "1.0.0",
    "model_digest": _DIGEST,
    "kind": "diagnosis",
    "state": "queued",
    "priority": "routine",
    "created_at": _AT,
    "started_at": None,
    "finished_at": None,
    "deadline": None,
    "attempt": 0,
    "subject": "patient-17",
    "metadata": {"ward": "4b"},
}
SUCCEEDED: dict[str, Any] = ACCEPTED | {
    "state": "succeeded",
    "started_at": _AT,
    "finished_at": _AT,
    "attempt": 1,
    "result": _GOLDEN["cases"][0]["expected"]
    | {
        "type": "classification",
        "model_digest": _DIGEST,
        "runtime": "onnxruntime 1.31.1",
        "provider": "CPUExecutionProvider",
    },
}
JOBS: dict[str, Any] = {"items": [ACCEPTED], "next_cursor": None}
BULK_ANSWER: dict[str, Any] = {"items": [ACCEPTED]}
CANCELED: dict[str, Any] = ACCEPTED | {"state": "canceled", "finished_at": _AT}
EVENTS: dict[str, Any] = {
    "items": [
        {
            "id": _ID,
            "action": "job.submitted",
            "occurred_at": _AT,
            "actor": "key:d01ba83033d8",
            "object": f"model:{_MODEL}@1.0.0",
            "detail": {},
            "leaf": "27" * 32,
        }
    ],
    "next_cursor": None,
}
UPLOAD: dict[str, Any] = {"id": _ID, "size_bytes": 48213, "sha256": "5e" * 32}
MODEL: dict[str, Any] = {
    "name": _MODEL,
    "title": "Breast mass: malignant or benign, from a fine needle aspirate",
    "summary": "Probability that a breast mass is malignant.",
    "kind": "diagnosis",
    "task": "tabular-classification",
    "version": "1.0.0",
    "digest": _DIGEST,
    "license": "CC-BY-4.0",
    "input_schema": {"type": "object"},
    "result_schema": {"type": "object"},
    "labels": [
        {
            "id": "benign",
            "display": "Benign neoplasm of breast",
            "system": "http://hl7.org/fhir/sid/icd-10",
            "code": "D24",
        }
    ],
    "metrics": {"auc": 0.995},
    "versions": [{"version": "1.0.0", "digest": _DIGEST, "published_at": _AT}],
    "aliases": {"stable": "1.0.0"},
    "card": "# Breast cancer Wisconsin",
}
MODELS: dict[str, Any] = {"items": [MODEL], "next_cursor": None}
LIVE: dict[str, Any] = {"status": "ok"}
READY: dict[str, Any] = {
    "status": "ready",
    "postgres": "ok",
    "schema": "ok",
    "redis": "ok",
    "consumption": "ok",
}
METRICS = 'medqueue_jobs{model="breast-cancer-wisconsin",version="1.0.0",state="queued"} 12.0'
OPENAPI: dict[str, Any] = {"openapi": "3.1.0"}
