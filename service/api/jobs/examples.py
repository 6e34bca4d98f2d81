"""Examples of jobs in the OpenAPI document: a real case of a bundled model, from public data."""

import json
from importlib.resources import files
from typing import Any

from service.api.http.examples import AT, DIGEST, ID, MODEL

_GOLDEN = json.loads((files("models") / "zoo" / MODEL / "golden.json").read_text())

ANOTHER_ID = "01a20178-34e2-71dd-924c-9e5807b634da"
CASE: dict[str, Any] = {"model": MODEL, "input": _GOLDEN["cases"][0]["input"]}

SUBMIT: dict[str, Any] = {
    "measurements": {"summary": "Thirty measurements of cell nuclei", "value": CASE},
    "urgent": {
        "summary": "The same, urgent, for a known patient",
        "value": CASE | {"priority": "urgent", "subject": "patient-17", "metadata": {"ward": "4b"}},
    },
    "chain": {
        "summary": "A case that is scored once two other jobs have succeeded, and not before a time",
        "value": CASE | {"after": [ID, ANOTHER_ID], "not_before": AT},
    },
    "chained result": {
        "summary": "A case with a file and the result of another job, for a model of your own whose input has such parts",
        "value": {
            "model": "second-look",
            "input": {
                "age": 61,
                "scan": {"upload_id": "01a20178-0cf7-709a-a48f-6fb21c091371"},
                "finding": {"job": ID},
            },
        },
    },
    "image": {
        "summary": "An image that was uploaded before",
        "value": {
            "model": "pneumonia-xray-28",
            "input": {"upload_id": "01a20178-0cf7-709a-a48f-6fb21c091371"},
        },
    },
}
TEXT = (
    'retry: 1000\n\nid: 1-15-f2c80f0e\nevent: text.appended\ndata: {"text":"He denies fever"}\n\n'
    'id: ended\nevent: job.succeeded\ndata: {"state":"succeeded","abstained":false}\n\n'
)
BULK: dict[str, Any] = {"two cases": {"summary": "Two cases at once", "value": {"jobs": [CASE, CASE]}}}

ACCEPTED: dict[str, Any] = {
    "id": ID,
    "model": MODEL,
    "model_version": "1.0.0",
    "model_digest": DIGEST,
    "kind": "diagnosis",
    "state": "queued",
    "priority": "routine",
    "created_at": AT,
    "started_at": None,
    "finished_at": None,
    "deadline": None,
    "not_before": None,
    "after": [],
    "origin": "caller",
    "attempt": 0,
    "subject": "patient-17",
    "metadata": {"ward": "4b"},
}
SUCCEEDED: dict[str, Any] = ACCEPTED | {
    "state": "succeeded",
    "started_at": AT,
    "finished_at": AT,
    "attempt": 1,
    "result": _GOLDEN["cases"][0]["expected"]
    | {
        "type": "classification",
        "model_digest": DIGEST,
        "runtime": "onnxruntime 1.31.1",
        "provider": "CPUExecutionProvider",
    },
}
JOBS: dict[str, Any] = {"items": [ACCEPTED], "next_cursor": None}
BULK_ANSWER: dict[str, Any] = {"items": [ACCEPTED]}
RESULTS: dict[str, Any] = {"items": [SUCCEEDED]}
RESULTS_REQUEST: dict[str, Any] = {"a job": {"summary": "The jobs of a bulk submit", "value": {"ids": [ID]}}}
CANCELED: dict[str, Any] = ACCEPTED | {"state": "canceled", "finished_at": AT}
DELAY: dict[str, Any] = {
    "state": "queued",
    "code": "queue",
    "detail": "It is queued: 12 jobs of its model are before it.",
    "ahead": 12,
    "after": [],
}
EVENTS: dict[str, Any] = {
    "items": [
        {
            "id": ID,
            "action": "job.submitted",
            "occurred_at": AT,
            "actor": "key:d01ba83033d8",
            "object": f"model:{MODEL}@1.0.0",
            "detail": {},
            "leaf": "27" * 32,
        }
    ],
    "next_cursor": None,
}
