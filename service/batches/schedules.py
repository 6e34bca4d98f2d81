"""Schedules open batches repeatedly: creates, lists, pauses, resumes, deletes and runs them.

A due run is opened in the transaction that sets the next run, so no run is opened twice. Of the runs missed while the
scheduler was down or the schedule was paused, only the last is made up for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic_core import from_json, to_json
from uuid_utils.compat import uuid7

from service import audit, rows
from service.accounts import Principal
from service.audit import Action
from service.batches import opening, recurrence
from service.batches.opening import NewBatch, Opened
from service.batches.windows import Window, zone_named
from service.catalog import PublishedModel
from service.crypto import Cipher, binding
from service.db import Param, UnitOfWork
from service.errors import (
    DatabaseUnavailable,
    ScheduleNameTaken,
    ScheduleNotFound,
    ServiceError,
    TooManySchedules,
)
from service.rows import Row

MOST_SCHEDULES = 100
SWEEP_ROWS = 100
ACTOR = "scheduler"

GIVEN = """id, tenant_id, name, cron, zone, model, request, window_hours, window_zone, deadline_after_s, error_limit,
    wait_for_source_s, submitted_by"""
CREATE = f"""
INSERT INTO batch_schedule ({GIVEN}, next_run_at)
VALUES ({", ".join(f"%({name.strip()})s" for name in GIVEN.split(","))}, %(next_run_at)s)
ON CONFLICT (tenant_id, name) WHERE deleted_at IS NULL DO NOTHING RETURNING id
"""
COLUMNS = """id, name, cron, zone, model, window_hours, window_zone, deadline_after_s, error_limit, created_at, updated_at,
    paused_at, next_run_at, last_run_at, last_problem, wait_for_source_s, request,
    (SELECT batch.id FROM batch WHERE schedule_id = batch_schedule.id ORDER BY scheduled_for DESC LIMIT 1) AS last_batch_id"""
COUNT = "SELECT count(*) AS count FROM batch_schedule WHERE tenant_id = %(tenant_id)s AND deleted_at IS NULL"
LIST = f"""
SELECT {COLUMNS} FROM batch_schedule
WHERE tenant_id = %(tenant_id)s AND deleted_at IS NULL AND (%(before)s::uuid IS NULL OR batch_schedule.id < %(before)s)
ORDER BY batch_schedule.id DESC LIMIT %(limit)s
"""
NAMED = "id = %(id)s AND tenant_id = %(tenant_id)s AND deleted_at IS NULL"
GET = f"SELECT {COLUMNS} FROM batch_schedule WHERE {NAMED}"
PAUSE = f"""
UPDATE batch_schedule SET paused_at = coalesce(paused_at, now()), updated_at = now() WHERE {NAMED} RETURNING id
"""
# Runs missed in the meantime are made up for once, by the sweep.
RESUME = f"UPDATE batch_schedule SET paused_at = NULL, updated_at = now() WHERE {NAMED} RETURNING id"
DELETE = f"UPDATE batch_schedule SET deleted_at = now(), updated_at = now() WHERE {NAMED} RETURNING id"
DUE = f"""
SELECT {GIVEN}, now() AS now FROM batch_schedule WHERE paused_at IS NULL AND deleted_at IS NULL AND next_run_at <= now()
ORDER BY next_run_at LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
"""
RAN = """
UPDATE batch_schedule SET next_run_at = %(next_run_at)s, last_run_at = %(run_at)s, last_problem = %(problem)s
WHERE id = %(id)s
"""


@dataclass(frozen=True)
class NewSchedule:
    """A schedule to be stored. The patterns `uri` and `place` in `request` may hold `{date}`, the date of the run.

    `deadline_after_s` and `wait_for_source_s`, how long a batch waits for a missing source, count from each run.
    """

    name: str
    cron: str
    zone: str
    model: str
    request: dict[str, Any]
    window: Window | None = None
    deadline_after_s: int | None = None
    error_limit: int | None = None
    wait_for_source_s: int | None = None


@dataclass(frozen=True)
class ScheduleView:
    """A schedule as its owner sees it. `last_problem` says why its last run opened no batch."""

    id: UUID
    name: str
    cron: str
    zone: str
    model: str
    window_hours: str | None
    window_zone: str | None
    deadline_after_s: int | None
    error_limit: int | None
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None
    next_run_at: datetime
    last_run_at: datetime | None
    last_problem: dict[str, str] | None
    wait_for_source_s: int | None
    last_batch_id: UUID | None
    request: dict[str, Any]


@dataclass(frozen=True)
class _Due:
    id: UUID
    tenant_id: UUID
    name: str
    cron: str
    zone: str
    model: str
    request: bytes
    window_hours: str | None
    window_zone: str | None
    deadline_after_s: int | None
    error_limit: int | None
    wait_for_source_s: int | None
    submitted_by: str
    now: datetime


def create(work: UnitOfWork, principal: Principal, new: NewSchedule) -> UUID:
    """Store a schedule; returns its id. `work` is a transaction of several statements.

    Raises ScheduleInvalid, WindowInvalid (its zone), ScheduleNameTaken or TooManySchedules.
    """
    if work.execute(COUNT, {"tenant_id": principal.tenant_id})[0].count >= MOST_SCHEDULES:
        raise TooManySchedules(
            f"The tenant has {MOST_SCHEDULES} schedules, as many as it may have. Delete one that is not needed."
        )
    now = opening.now_of(work)
    next_run_at = recurrence.next_run(new.cron, zone_named(new.zone), now)
    _filled(new.request, now, new.cron, new.zone)
    schedule_id, tenant_id = uuid7(), principal.tenant_id
    created = work.execute(
        CREATE,
        {
            **vars(new),
            "id": schedule_id,
            "tenant_id": tenant_id,
            "request": principal.cipher.seal(to_json(new.request), _bound_to(tenant_id, schedule_id)),
            "window_hours": new.window and new.window.hours,
            "window_zone": new.window and new.window.zone.key,
            "submitted_by": principal.key_id,
            "next_run_at": next_run_at,
        },
    )
    if not created:
        raise ScheduleNameTaken
    _note(work, principal, Action.SCHEDULE_CREATED, schedule_id, {"cron": new.cron, "zone": new.zone})
    return schedule_id


def newest(work: UnitOfWork, principal: Principal, *, before: UUID | None, limit: int) -> list[ScheduleView]:
    """The tenant's schedules, newest first, older than `before`."""
    asked = {"tenant_id": principal.tenant_id, "before": before, "limit": limit}
    return [_view(principal, row) for row in work.execute(LIST, asked)]


def get(work: UnitOfWork, principal: Principal, schedule_id: UUID) -> ScheduleView:
    """A schedule. Raises ScheduleNotFound."""
    found = work.execute(GET, _named(principal, schedule_id))
    if not found:
        raise ScheduleNotFound
    return _view(principal, found[0])


def pause(work: UnitOfWork, principal: Principal, schedule_id: UUID) -> None:
    """Open no more batches. Raises ScheduleNotFound."""
    if not work.execute(PAUSE, _named(principal, schedule_id)):
        raise ScheduleNotFound
    _note(work, principal, Action.SCHEDULE_CHANGED, schedule_id, {"changed": ["paused"]})


def resume(work: UnitOfWork, principal: Principal, schedule_id: UUID) -> None:
    """Open batches again; runs missed in the meantime are made up for once. Raises ScheduleNotFound."""
    if not work.execute(RESUME, _named(principal, schedule_id)):
        raise ScheduleNotFound
    _note(work, principal, Action.SCHEDULE_CHANGED, schedule_id, {"changed": ["resumed"]})


def delete(work: UnitOfWork, principal: Principal, schedule_id: UUID) -> None:
    """Delete a schedule; the batches that it opened are kept. Raises ScheduleNotFound."""
    if not work.execute(DELETE, _named(principal, schedule_id)):
        raise ScheduleNotFound
    _note(work, principal, Action.SCHEDULE_DELETED, schedule_id, {})


def run_due(
    work: UnitOfWork, *, cipher_of: Callable[[UUID], Cipher], resolve: Callable[[str], PublishedModel]
) -> list[Opened]:
    """Open a batch for each schedule that is due, and set its next run; `work` is a transaction of several statements.

    A run that cannot be opened, because its model no longer exists or its deadline has passed, is recorded and not retried.
    """
    return [
        opened
        for row in work.execute(DUE)
        if (opened := _run(work, rows.build(_Due, row), cipher_of, resolve)) is not None
    ]


def _run(
    work: UnitOfWork, due: _Due, cipher_of: Callable[[UUID], Cipher], resolve: Callable[[str], PublishedModel]
) -> Opened | None:
    zone = zone_named(due.zone)
    run_at = recurrence.latest_run(due.cron, zone, due.now)
    ran = {"id": due.id, "run_at": run_at, "next_run_at": recurrence.next_run(due.cron, zone, due.now)}
    try:
        new = _batch(due, run_at, cipher_of(due.tenant_id), resolve(due.model))
        opened = opening.open_batch(work, new, actor=ACTOR)
    except DatabaseUnavailable:
        raise
    except ServiceError as error:
        problem = {"code": error.code, "detail": error.detail}
        work.execute(RAN, ran | {"problem": Jsonb(problem)})
        audit.append(
            *(work, Action.SCHEDULE_RUN_FAILED),
            actor=ACTOR,
            tenant_id=due.tenant_id,
            subject=_name(due.id),
            detail={"code": error.code, "scheduled_for": run_at.isoformat()},
        )
        return None
    work.execute(RAN, ran | {"problem": None})
    return opened


def _batch(due: _Due, run_at: datetime, cipher: Cipher, model: PublishedModel) -> NewBatch:
    request = from_json(cipher.open(due.request, _bound_to(due.tenant_id, due.id)))
    after_s, wait_s = due.deadline_after_s, due.wait_for_source_s
    return NewBatch(
        tenant_id=due.tenant_id,
        cipher=cipher,
        submitted_by=due.submitted_by,
        model_version_id=model.id,
        model=f"model:{model.name}@{model.version}",
        request=_filled(request, run_at, due.cron, due.zone),
        window=Window.parsed(due.window_hours, due.window_zone)
        if due.window_hours and due.window_zone
        else None,
        deadline=None if after_s is None else run_at + timedelta(seconds=after_s),
        error_limit=due.error_limit,
        schedule_id=due.id,
        scheduled_for=run_at,
        source_by=None if wait_s is None else run_at + timedelta(seconds=wait_s),
    )


def _filled(request: dict[str, Any], run_at: datetime, cron: str, zone_name: str) -> dict[str, Any]:
    """The request of one run, with `{date}` filled in in source and place."""
    zone = zone_named(zone_name)
    meant = recurrence.scheduled_time(cron, zone, run_at)
    patterns = {name: request[name] for name in ("uri", "place") if name in request}
    return request | {name: recurrence.filled(pattern, meant, zone) for name, pattern in patterns.items()}


def _view(principal: Principal, row: Row) -> ScheduleView:
    request = principal.cipher.open(row.request, _bound_to(principal.tenant_id, row.id))
    return rows.build(ScheduleView, row, request=from_json(request))


def _named(principal: Principal, schedule_id: UUID) -> dict[str, Param]:
    return {"id": schedule_id, "tenant_id": principal.tenant_id}


def _note(
    work: UnitOfWork, principal: Principal, action: Action, schedule_id: UUID, detail: dict[str, Any]
) -> None:
    audit.append(
        *(work, action),
        actor=principal.actor,
        tenant_id=principal.tenant_id,
        subject=_name(schedule_id),
        detail=detail,
    )


def _bound_to(tenant_id: UUID, schedule_id: UUID) -> bytes:
    return binding("batch_schedule.request", tenant_id, schedule_id)


def _name(schedule_id: UUID) -> str:
    return f"batch-schedule:{schedule_id}"
