"""Celery's output outside the log: its banner is suppressed, and its messages on signals become log lines."""

from typing import Any

from celery import signals
from celery.apps import worker

from service import logs


def write_to_the_log() -> None:
    """Once, before the worker is made. Celery has no setting for either."""
    signals.celeryd_init.connect(_without_banner, weak=False)
    worker.safe_say = logs.write_at_once


def _without_banner(*, instance: Any, **_: object) -> None:
    instance.quiet = True
