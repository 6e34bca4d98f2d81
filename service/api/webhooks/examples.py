"""Examples of webhook endpoints and deliveries in the OpenAPI document."""

from typing import Any

from service.api.http.examples import AT, ID

ENDPOINT_REQUEST: dict[str, Any] = {
    "ends of jobs": {
        "summary": "Notified when a job has a result, or will have none",
        "value": {
            "url": "https://example.org/medqueue",
            "event_types": ["job.succeeded", "job.failed", "job.expired", "job.quarantined"],
            "description": "ward 4b",
        },
    },
    "alarms": {
        "summary": "Notified when a job is later than its model promises",
        "value": {"url": "https://example.org/alarms?team=night", "event_types": ["job.overdue"]},
    },
}
ENDPOINT_CHANGE: dict[str, Any] = {
    "enable": {"summary": "Send again", "value": {"state": "enabled"}},
    "move": {"summary": "Another URL", "value": {"url": "https://example.org/v2/medqueue"}},
}
ENDPOINT: dict[str, Any] = {
    "id": ID,
    "url": "https://example.org/medqueue",
    "description": "ward 4b",
    "event_types": ["job.succeeded", "job.failed"],
    "state": "enabled",
    "disabled_because": None,
    "created_at": AT,
    "updated_at": AT,
    "failures": 0,
    "failing_since": None,
    "closed_until": None,
}
CREATED_ENDPOINT: dict[str, Any] = ENDPOINT | {"secret": "whsec_" + "c2VjcmV0IQ" * 4}
ENDPOINTS: dict[str, Any] = {"items": [ENDPOINT], "next_cursor": None}
ROTATED_SECRET: dict[str, Any] = {"secret": "whsec_" + "bmV3ZXIhIQ" * 4, "previous_valid_until": AT}
PING: dict[str, Any] = {"delivery_id": ID}
REPLAY_REQUEST: dict[str, Any] = {
    "outage": {
        "summary": "What did not arrive during one night",
        "value": {"since": "2026-11-22T00:00:00Z", "until": "2026-11-22T08:00:00Z"},
    }
}
REPLAY: dict[str, Any] = {"replayed": 412, "planned": 0}
DELIVERY: dict[str, Any] = {
    "id": ID,
    "endpoint_id": ID,
    "event_id": ID,
    "event_type": "job.succeeded",
    "job_id": ID,
    "state": "queued",
    "tries": 1,
    "created_at": AT,
    "next_try_at": AT,
    "finished_at": None,
}
DELIVERIES: dict[str, Any] = {"items": [DELIVERY], "next_cursor": None}
DELIVERY_WITH_TRIES: dict[str, Any] = DELIVERY | {
    "history": [{"tried_at": AT, "duration_ms": 31, "status": 503, "error": None, "excerpt": "back at eight"}]
}
