"""Composition root of the workers: `celery -A workers.app worker`."""

from service.broker import celery_app
from service.config import Settings
from workers import tasks
from workers.schedule import beat_table
from workers.signals import Process

settings = Settings.from_environment()
app = celery_app(settings.redis_url)
app.conf.beat_schedule = beat_table(settings.sweep_s)
process = Process(settings)
process.connect(app)
tasks.register(app, lambda: process.parts)
