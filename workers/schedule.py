"""The beat table: what is done every few seconds, and the thread that sends it."""

from typing import Any

from celery import Celery
from celery.beat import EmbeddedService

from service.queue import TaskName


def beat_table(sweep_s: float) -> dict[str, dict[str, Any]]:
    """Entries for Celery beat. A message that waited longer than two sweeps is dropped: the next one does its work."""
    expires = {"expires": 2 * sweep_s}
    return {
        "rescue": {"task": TaskName.RESCUE.value, "schedule": sweep_s, "options": expires},
        "overdue": {"task": TaskName.OVERDUE.value, "schedule": sweep_s, "options": expires},
        "rewake": {"task": TaskName.REWAKE.value, "schedule": sweep_s, "options": expires},
    }


def start_beat(app: Celery) -> None:
    """Run beat in a thread of this process, its schedule in memory: nothing is left behind by a crash."""
    service = EmbeddedService(app, thread=True, scheduler_cls="celery.beat:Scheduler")
    service.daemon = True
    service.start()
