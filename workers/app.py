"""Composition root of the workers: `celery -A workers.app worker`."""

from service.consuming import celery_app
from service.entry import settings_of_process, wrong_settings_end_the_process
from service.images.reading import read_apart
from workers.process import tasks
from workers.process.celery_output import write_to_the_log
from workers.process.consumer import consumer_class
from workers.process.signals import Process

write_to_the_log()
with wrong_settings_end_the_process():
    settings = settings_of_process("worker")
    app = celery_app(settings.redis_url)
read_apart()
process = Process(settings)
process.connect()
app.conf.worker_consumer = consumer_class(begins=process.begin, fails=process.note_redis_fault)
tasks.register(app, lambda: process.parts)
