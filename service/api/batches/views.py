"""Batches and schedules as they are answered."""

from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from service.batches import windows
from service.batches.queries import BatchView
from service.batches.requests import BatchRequest
from service.batches.schedules import ScheduleView
from service.batches.windows import Window
from service.catalog import PublishedModel
from service.lifecycle import BatchState


def as_opened(batch: BatchView) -> BatchView:
    """A batch as it was when it was opened: the answer to a submit, the same each time it is repeated."""
    window = Window.parsed(batch.window_hours, batch.window_zone or "") if batch.window_hours else None
    opening = windows.opening_of(
        window, batch.created_at, not_before=batch.not_before, deadline=batch.deadline
    )
    never: dict[str, Any] = dict.fromkeys(
        (
            *("scheduled_at", "started_at", "pausing_at", "paused_at", "finalizing_at", "finished_at"),
            *("rows_total", "chunks_total", "problem", "source_bytes", "source_sha256", "results", "errors"),
            *("pace", "expected_end", "retrying", "columns"),
        )
    )
    none: dict[str, Any] = dict.fromkeys(
        ("rows_succeeded", "rows_failed", "chunks_done", "chunks_running"), 0
    )
    return replace(batch, state=BatchState.VALIDATING, opening=opening, **never, **none)


def batch_fields(batch: BatchView, model: PublishedModel, *, with_source: bool = True) -> dict[str, Any]:
    """A batch. `with_source`: where its source and its copies lie, and which columns are carried over."""
    request = BatchRequest.from_json(batch.request)
    place = {"upload_id": request.upload_id} if request.uri is None else {"uri": request.uri}
    found = {"size_bytes": batch.source_bytes, "sha256": batch.source_sha256}
    return {
        "id": batch.id,
        "model": model.name,
        "model_version": model.version,
        "model_digest": model.digest,
        "kind": model.manifest.kind,
        "state": batch.state.value,
        "created_at": batch.created_at,
        "scheduled_at": batch.scheduled_at,
        "started_at": batch.started_at,
        "pausing_at": batch.pausing_at,
        "paused_at": batch.paused_at,
        "finalizing_at": batch.finalizing_at,
        "finished_at": batch.finished_at,
        "window": _window(batch.window_hours, batch.window_zone),
        "not_before": batch.not_before,
        "deadline": batch.deadline,
        "opens_at": batch.opening.opens_at,
        "closes_at": batch.opening.closes_at,
        "source": (place if with_source else {}) | {"format": request.format} | found,
        "output": _output(request, with_place=with_source),
        "on_error": _on_error(batch.error_limit),
        "id_column": request.id_column if with_source else None,
        "carry": request.carry if with_source else [],
        "ignore": request.ignore if with_source else [],
        "missing": request.missing,
        "decimal": request.decimal,
        "columns": asdict(batch.columns) if batch.columns is not None and with_source else None,
        "dry_run": request.dry_run_rows,
        "options": request.options if with_source else {},
        "counts": {
            "total": batch.rows_total,
            "succeeded": batch.rows_succeeded,
            "failed": batch.rows_failed,
            "remaining": batch.remaining,
        },
        "rows_per_s": batch.pace,
        "expected_end": batch.expected_end,
        "chunks": {
            "total": batch.chunks_total,
            "done": batch.chunks_done,
            "running": batch.chunks_running,
        },
        "results": _file(batch.id, "results", batch.results),
        "errors": _file(batch.id, "errors", batch.errors),
        "rerun_of": batch.rerun_of,
        "schedule_id": batch.schedule_id,
        "scheduled_for": batch.scheduled_for,
        "retrying": None if batch.retrying is None else asdict(batch.retrying),
        "problem": batch.problem,
    }


def schedule_fields(schedule: ScheduleView, *, with_source: bool = True) -> dict[str, Any]:
    """A schedule. `with_source` as for a batch."""
    request = BatchRequest.from_json(schedule.request)
    return {
        "id": schedule.id,
        "name": schedule.name,
        "cron": schedule.cron,
        "zone": schedule.zone,
        "model": schedule.model,
        "source": {"uri": request.uri if with_source else None, "format": request.format},
        "output": _output(request, with_place=with_source),
        "window": _window(schedule.window_hours, schedule.window_zone),
        "deadline_after_s": schedule.deadline_after_s,
        "wait_for_source_s": schedule.wait_for_source_s,
        "on_error": _on_error(schedule.error_limit),
        "id_column": request.id_column if with_source else None,
        "carry": request.carry if with_source else [],
        "ignore": request.ignore if with_source else [],
        "missing": request.missing,
        "decimal": request.decimal,
        "delimiter": request.delimiter,
        "index": request.index if with_source else None,
        "dry_run": request.dry_run_rows,
        "options": request.options if with_source else {},
        "created_at": schedule.created_at,
        "updated_at": schedule.updated_at,
        "paused_at": schedule.paused_at,
        "next_run_at": schedule.next_run_at,
        "last_run_at": schedule.last_run_at,
        "last_batch_id": schedule.last_batch_id,
        "last_problem": schedule.last_problem,
    }


def _on_error(error_limit: int | None) -> str | dict[str, int]:
    if error_limit is None:
        return "continue"
    return {"stop_after": error_limit} if error_limit else "stop"


def _window(hours: str | None, zone: str | None) -> dict[str, str | None] | None:
    return None if hours is None else {"hours": hours, "zone": zone}


def _output(request: BatchRequest, *, with_place: bool = True) -> dict[str, str | None]:
    return {"format": request.output.value, "place": request.place if with_place else None}


def _file(batch_id: UUID, kind: str, table: dict[str, Any] | None) -> dict[str, Any] | None:
    """What callers see of a joined file."""
    if table is None:
        return None
    kept = {name: table[name] for name in ("rows", "size_bytes", "sha256")}
    return {"url": f"/v1/batches/{batch_id}/{kind}"} | kept
