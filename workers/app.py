"""Composition root of the workers: `celery -A workers.app worker`."""

from service.broker import celery_app
from service.entry import settings_of_process
from workers import tasks
from workers.signals import Process

settings = settings_of_process("worker")
app = celery_app(settings.redis_url)
process = Process(settings)
process.connect()
tasks.register(app, lambda: process.parts)
