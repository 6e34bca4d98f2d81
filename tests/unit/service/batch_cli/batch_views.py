"""A batch and its files as the API shows them, for tests of what reads them."""

import hashlib
from typing import Any

from tests.unit.service.test_cli_commands import ID

Json = dict[str, Any]

CONTENT = b'{"row": 0, "label": "benign"}\n' * 50
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = {"url": f"/v1/batches/{ID}/results", "rows": 50, "size_bytes": len(CONTENT), "sha256": SHA256}
FAULTS = b"".join(
    b'{"row": %d, "column": "age", "code": "%s", "message": "age must be between 0 and 120."}\n' % (row, code)
    for row, code in [(4, b"missing_field"), (7, b"out_of_range"), (7, b"out_of_range"), (9, b"out_of_range")]
)
WHY = "Why rows failed: out_of_range in 2 rows, missing_field in 1 row. Row 4, age: age must be between 0 and 120."
ERRORS = {
    "url": f"/v1/batches/{ID}/errors",
    "rows": 4,
    "size_bytes": len(FAULTS),
    "sha256": hashlib.sha256(FAULTS).hexdigest(),
}
BATCH = f"/v1/batches/{ID}"


def view(state: str = "completed", done: int = 50, failed: int = 0, **more: Any) -> Json:
    """A batch of 50 rows as the API shows it."""
    return {
        "id": ID, "model": "m", "model_version": "1.0.0", "model_digest": "sha256:0", "kind": "diagnosis", "state": state,
        "created_at": "2026-11-22T18:00:00Z", "scheduled_at": "2026-11-22T18:00:05Z", "started_at": "2026-11-22T22:00:00Z",
        "pausing_at": None, "paused_at": None, "finalizing_at": None,
        "finished_at": "2026-11-22T22:40:00Z" if state == "completed" else None,
        "window": None, "not_before": None, "deadline": None, "opens_at": "2026-11-22T22:00:00Z", "closes_at": None,
        "source": {"upload_id": ID, "format": "csv", "size_bytes": 9, "sha256": "0"},
        "output": {"format": "ndjson", "place": None}, "on_error": "continue", "id_column": None, "carry": [],
        "dry_run": None, "counts": {"total": 50, "succeeded": done - failed, "failed": failed, "remaining": 50 - done},
        "rows_per_s": 812.4, "expected_end": None, "chunks": {"total": 5, "done": done // 10, "running": 0},
        "results": FILE if state == "completed" else None, "errors": None, "rerun_of": None, "schedule_id": None,
        "scheduled_for": None, "retrying": None, "problem": None, **more,
    }  # fmt: skip
