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
RESULTS: dict[str, Any] = {"items": [SUCCEEDED]}
RESULTS_REQUEST: dict[str, Any] = {"a job": {"summary": "The jobs of a bulk submit", "value": {"ids": [_ID]}}}
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
ENDPOINT_REQUEST: dict[str, Any] = {
    "ends of jobs": {
        "summary": "Told when a job has a result, or will have none",
        "value": {
            "url": "https://example.org/medqueue",
            "event_types": ["job.succeeded", "job.failed", "job.expired", "job.quarantined"],
            "description": "ward 4b",
        },
    },
    "alarms": {
        "summary": "Told when a job is later than its model promises",
        "value": {"url": "https://example.org/alarms?team=night", "event_types": ["job.overdue"]},
    },
}
ENDPOINT_CHANGE: dict[str, Any] = {
    "enable": {"summary": "Send again", "value": {"state": "enabled"}},
    "move": {"summary": "Another URL", "value": {"url": "https://example.org/v2/medqueue"}},
}
ENDPOINT: dict[str, Any] = {
    "id": _ID,
    "url": "https://example.org/medqueue",
    "description": "ward 4b",
    "event_types": ["job.succeeded", "job.failed"],
    "state": "enabled",
    "disabled_because": None,
    "created_at": _AT,
    "updated_at": _AT,
    "failures": 0,
    "failing_since": None,
    "closed_until": None,
}
CREATED_ENDPOINT: dict[str, Any] = ENDPOINT | {"secret": "whsec_" + "c2VjcmV0IQ" * 4}
ENDPOINTS: dict[str, Any] = {"items": [ENDPOINT], "next_cursor": None}
ROTATED_SECRET: dict[str, Any] = {"secret": "whsec_" + "bmV3ZXIhIQ" * 4, "previous_valid_until": _AT}
PING: dict[str, Any] = {"delivery_id": _ID}
REPLAY_REQUEST: dict[str, Any] = {
    "outage": {
        "summary": "What did not arrive in a night",
        "value": {"since": "2026-11-22T00:00:00Z", "until": "2026-11-22T08:00:00Z"},
    }
}
REPLAY: dict[str, Any] = {"replayed": 412, "planned": 0}
DELIVERY: dict[str, Any] = {
    "id": _ID,
    "endpoint_id": _ID,
    "event_id": _ID,
    "event_type": "job.succeeded",
    "job_id": _ID,
    "state": "queued",
    "tries": 1,
    "created_at": _AT,
    "next_try_at": _AT,
    "finished_at": None,
}
DELIVERIES: dict[str, Any] = {"items": [DELIVERY], "next_cursor": None}
DELIVERY_WITH_TRIES: dict[str, Any] = DELIVERY | {
    "history": [
        {"tried_at": _AT, "duration_ms": 31, "status": 503, "error": None, "excerpt": "back at eight"}
    ]
}
STREAM = (
    "retry: 1000\nid: @73114\n\n"
    f'id: {_ID}\nevent: job.succeeded\ndata: {{"type":"job.succeeded","timestamp":"{_AT}","data":{{...}}}}\n\n'
)
LIVE: dict[str, Any] = {"status": "ok"}
READY: dict[str, Any] = {
    "status": "ready",
    "postgres": "ok",
    "schema": "ok",
    "redis": "ok",
    "consumption": "ok",
    "scheduler": "ok",
}
METRICS = 'medqueue_jobs{model="breast-cancer-wisconsin",version="1.0.0",state="queued"} 12.0'
OPENAPI: dict[str, Any] = {"openapi": "3.1.0"}
