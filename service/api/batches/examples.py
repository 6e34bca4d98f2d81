"""Examples of overnight batches in the OpenAPI document."""

from typing import Any

from service.api.http.examples import AT, DIGEST, ID, MODEL
from service.api.jobs import examples

_SHA = "5e" * 32
_WINDOW = {"hours": "22:00-06:00", "zone": "Europe/Berlin"}

SUBMIT: dict[str, Any] = {
    "upload": {
        "summary": "A CSV file that was uploaded before, at once",
        "value": {"model": MODEL, "source": {"upload_id": ID}, "format": "csv", "id_column": "case"},
    },
    "night": {
        "summary": "A Parquet file of the hospital's store, at night, with a copy of the results",
        "value": {
            "model": MODEL,
            "source": {"uri": "s3://hospital/night/2026-11-22.parquet"},
            "format": "parquet",
            "window": _WINDOW,
            "deadline": "2026-11-24T06:00:00Z",
            "on_error": {"stop_after": 1000},
            "output": {"format": "parquet", "place": "s3://hospital/scored"},
            "id_column": "case",
            "carry": ["ward"],
        },
    },
    "dry run": {
        "summary": "The first 1,000 rows are checked and none is scored",
        "value": {"model": MODEL, "source": {"upload_id": ID}, "format": "ndjson", "dry_run": 1000},
    },
}
OPENED: dict[str, Any] = {
    "id": ID,
    "model": MODEL,
    "model_version": "1.0.0",
    "model_digest": DIGEST,
    "kind": "diagnosis",
    "state": "validating",
    "created_at": AT,
    "scheduled_at": None,
    "started_at": None,
    "pausing_at": None,
    "paused_at": None,
    "finalizing_at": None,
    "finished_at": None,
    "window": _WINDOW,
    "not_before": None,
    "deadline": "2026-11-24T06:00:00Z",
    "opens_at": "2026-11-22T21:00:00Z",
    "closes_at": "2026-11-23T05:00:00Z",
    "source": {"upload_id": ID, "format": "csv", "size_bytes": None, "sha256": None},
    "output": {"format": "ndjson", "place": None},
    "on_error": {"stop_after": 1000},
    "id_column": "case",
    "carry": ["ward"],
    "ignore": [],
    "missing": [],
    "decimal": None,
    "columns": None,
    "dry_run": None,
    "options": {},
    "counts": {"total": None, "succeeded": 0, "failed": 0, "remaining": None},
    "rows_per_s": None,
    "expected_end": None,
    "chunks": {"total": None, "done": 0, "running": 0},
    "results": None,
    "errors": None,
    "rerun_of": None,
    "schedule_id": None,
    "scheduled_for": None,
    "retrying": None,
    "problem": None,
}
RUNNING: dict[str, Any] = OPENED | {
    "state": "running",
    "scheduled_at": AT,
    "started_at": "2026-11-22T21:00:00Z",
    "source": {"upload_id": ID, "format": "csv", "size_bytes": 412_000_000, "sha256": _SHA},
    "columns": {"used": ["mean_radius", "mean_texture"], "ignored": ["remark"], "absent": [], "unlisted": 0},
    "counts": {"total": 1_000_000, "succeeded": 261_120, "failed": 1024, "remaining": 737_856},
    "rows_per_s": 84_000.0,
    "expected_end": "2026-11-22T21:00:12Z",
    "chunks": {"total": 4, "done": 1, "running": 1},
}
PAUSED: dict[str, Any] = RUNNING | {
    "state": "paused",
    "paused_at": AT,
    "rows_per_s": None,
    "expected_end": None,
}
CANCELED: dict[str, Any] = PAUSED | {"state": "canceled", "finished_at": AT}
RERUN: dict[str, Any] = OPENED | {"rerun_of": ID}
RERUN_REQUEST: dict[str, Any] = {
    "corrected": {
        "summary": "The failed rows from a corrected file",
        "value": {"source": {"upload_id": ID}, "rows": "failed"},
    }
}
BATCHES: dict[str, Any] = {"items": [RUNNING], "next_cursor": None}
EVENTS: dict[str, Any] = {
    "items": [
        examples.EVENTS["items"][0] | {"action": "batch.opened"},
        examples.EVENTS["items"][0] | {"action": "batch.output_read", "detail": {"file": "results"}},
    ],
    "next_cursor": None,
}
RESULTS = (
    '{"row":1,"case":"c-17","label":"benign","probability_benign":0.98,"threshold":0.5,"abstained":false}\n'
)
ERRORS = '{"row":2,"case":"c-18","column":"radius_mean","code":"missing_field","message":"..."}\n'

SCHEDULE_REQUEST: dict[str, Any] = {
    "every evening": {
        "summary": "Each evening at ten the file of that day",
        "value": {
            "name": "ward 4b",
            "cron": "0 22 * * *",
            "zone": "Europe/Berlin",
            "model": MODEL,
            "source": {"uri": "s3://hospital/night/{date}.parquet"},
            "format": "parquet",
            "window": _WINDOW,
            "deadline_after_s": 28_800,
            "id_column": "case",
        },
    }
}
SCHEDULE: dict[str, Any] = {
    "id": ID,
    "name": "ward 4b",
    "cron": "0 22 * * *",
    "zone": "Europe/Berlin",
    "model": MODEL,
    "source": {"uri": "s3://hospital/night/{date}.parquet", "format": "parquet"},
    "output": {"format": "ndjson", "place": None},
    "window": _WINDOW,
    "deadline_after_s": 28_800,
    "on_error": "continue",
    "id_column": "case",
    "carry": [],
    "delimiter": None,
    "index": None,
    "dry_run": None,
    "options": {},
    "created_at": AT,
    "updated_at": AT,
    "paused_at": None,
    "next_run_at": "2026-11-22T21:00:00Z",
    "last_run_at": None,
    "last_batch_id": None,
    "last_problem": None,
}
PAUSED_SCHEDULE: dict[str, Any] = SCHEDULE | {"paused_at": AT}
SCHEDULES: dict[str, Any] = {"items": [SCHEDULE], "next_cursor": None}
