"""Batches and their schedules as a reader sees them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from service.cli.tables import NOTHING, fields, listing, moment, problem, seconds, text
from service.lifecycle import BatchState

if TYPE_CHECKING:
    from rich.console import RenderableType

    from service.cli.client import Json

TIMES = (
    *(
        "created_at",
        "not_before",
        "deadline",
        "opens_at",
        "closes_at",
        "scheduled_at",
        "started_at",
        "pausing_at",
    ),
    *("paused_at", "finalizing_at", "finished_at", "expected_end", "scheduled_for"),
)
BATCH_FIELDS = ("id", "state", "model", "model_version", "kind")
WORK_FIELDS = (
    "source",
    "output",
    "window",
    "on_error",
    "id_column",
    "carry",
    "ignore",
    "missing",
    "decimal",
    "dry_run",
    "options",
)
PROGRESS_FIELDS = ("counts", "chunks", "rows_per_s", "results", "errors", "rerun_of", "schedule_id")
SCHEDULE_FIELDS = ("id", "name", "cron", "zone", "model", "deadline_after_s", "last_batch_id")
SCHEDULE_TIMES = ("next_run_at", "last_run_at", "paused_at")

__all__ = ["batch", "batches", "outcome", "parted", "progress", "rows_done", "schedule", "schedules", "text"]


def batches(items: Sequence[Json]) -> RenderableType:
    """A list of batches."""
    return listing(
        ("ID", "STATE", "MODEL", "ROWS", "DONE", "FAILED", "CREATED", "EXPECTED END"),
        (
            (
                view["id"],
                view["state"],
                f"{view['model']}@{view['model_version']}",
                rows(view["counts"]["total"]),
                rows(rows_done(view)),
                rows(view["counts"]["failed"]),
                moment(view["created_at"]),
                moment(view["expected_end"]),
            )
            for view in items
        ),
        empty="No batches. `medqueue batch submit FILE --model NAME` submits one.",
    )


def batch(view: Json) -> RenderableType:
    """A batch with what it was asked to do, how far it is, and its problem."""
    from rich.console import Group

    pairs = [
        *((name, view.get(name)) for name in BATCH_FIELDS),
        *_times(view, TIMES),
        *((name, _told(view.get(name))) for name in (*WORK_FIELDS, *PROGRESS_FIELDS)),
    ]
    parts = [fields(pairs)]
    if view.get("columns") is not None:
        parts += [text("\nColumns", "bold"), fields(_column_names(view["columns"]).items())]
    if view.get("retrying") is not None:
        again = view["retrying"] | {"next_try_at": moment(view["retrying"]["next_try_at"])}
        parts += [text("\nRetrying", "bold"), fields(again.items())]
    if view.get("problem") is not None:
        parts += [text("\nProblem", "bold"), fields(view["problem"].items())]
    return Group(*parts)


def schedules(items: Sequence[Json]) -> RenderableType:
    """A list of schedules."""
    return listing(
        ("ID", "NAME", "STATE", "CRON", "ZONE", "MODEL", "NEXT RUN", "LAST RUN", "LAST PROBLEM"),
        (
            (
                found["id"],
                found["name"],
                "paused" if found["paused_at"] else "active",
                found["cron"],
                found["zone"],
                found["model"],
                moment(found["next_run_at"]),
                moment(found["last_run_at"]),
                _trouble(found["last_problem"]),
            )
            for found in items
        ),
        empty="No schedules. `medqueue batch schedules create` makes one.",
    )


def schedule(found: Json) -> RenderableType:
    """A schedule with its runs and what it has done."""
    pairs = [
        *((name, found.get(name)) for name in SCHEDULE_FIELDS),
        *_times(found, SCHEDULE_TIMES),
        *((name, _told(found.get(name))) for name in ("format", *WORK_FIELDS)),
        ("last_problem", _trouble(found["last_problem"]) if found.get("last_problem") else None),
    ]
    return fields(pairs)


def rows_done(view: Json) -> int:
    """How many rows have been processed, successfully or not."""
    return int(view["counts"]["succeeded"]) + int(view["counts"]["failed"])


def progress(view: Json) -> str:
    """How far a batch is: rows, failed rows, how fast, when it ends, or when it opens; empty before that is known."""
    counts, told = view["counts"], []
    if counts["total"] is not None:
        told = [f"{rows_done(view):,} of {counts['total']:,} rows", f"{counts['failed']:,} failed"]
    if view["rows_per_s"] and view["state"] == BatchState.RUNNING:
        told.append(f"{view['rows_per_s']:,.0f} rows/s")
    if view["opens_at"] and view["state"] == BatchState.SCHEDULED:
        told.append(f"opens {moment(view['opens_at'])}")
    if view["expected_end"]:
        told.append(f"ends about {moment(view['expected_end'])}")
    if again := view.get("retrying"):
        told.append(f"retrying after try {again['attempt']}: {again['code']}")
    return ", ".join(told)


def outcome(view: Json) -> str:
    """How a batch ended, in one line."""
    counts = view["counts"]
    of_all = "" if counts["total"] is None else f" of {counts['total']:,}"
    verb = "scored" if view.get("dry_run") is None else "good in a dry run"
    told = [f"{counts['succeeded']:,}{of_all} rows {verb}", f"{counts['failed']:,} failed"]
    if view["started_at"] and view["finished_at"]:
        ended, began = (datetime.fromisoformat(view[name]) for name in ("finished_at", "started_at"))
        told.append(f"took {seconds((ended - began).total_seconds())}")
    trouble = "" if view["problem"] is None else f". {problem(view['problem'])}"
    return f"{view['state']}: {', '.join(told)}{trouble}"


def parted(words: str) -> str:
    """Words behind a colon; nothing for none."""
    return f": {words}" if words else ""


def rows(count: int | None) -> str:
    """A number of rows, with commas; a dash before it is known."""
    return NOTHING if count is None else f"{count:,}"


def _times(found: Json, names: Sequence[str]) -> list[tuple[str, object]]:
    return [(name, moment(found[name])) for name in names if found.get(name)]


def _told(value: object) -> object:
    """A value without what is not known in it; None for nothing."""
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if part is not None} or None
    return value or None


def unused_columns(view: Json) -> str:
    """Which fields have no column, which columns are not read, and how many files the index does not list; empty if none."""
    columns = view.get("columns") or {}
    said = {
        "The file has no column for these fields of the model": columns.get("absent"),
        "Columns that are not read": columns.get("ignored"),
    }
    told = [f"{words}: {', '.join(names)}." for words, names in said.items() if names]
    if count := columns.get("unlisted"):
        told.append(f"Files of the archive that its index does not list, not scored: {count:,}.")
    return " ".join(told)


def _column_names(columns: Json) -> Json:
    """How many columns were used, which were ignored and absent, and how many files of an archive are unlisted."""
    named = {name: ", ".join(columns[name]) or "none" for name in ("ignored", "absent")}
    used = f"{len(columns['used'])} of {len(columns['used']) + len(columns['absent'])}"
    return {"used": used, **named, "unlisted": columns.get("unlisted") or None}


def _trouble(found: object) -> object:
    """A problem, which is a document or just its code."""
    return problem(found) if isinstance(found, dict) and "code" in found else found
