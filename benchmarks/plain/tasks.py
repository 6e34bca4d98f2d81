"""The twin's worker: `celery -A benchmarks.plain.tasks worker`. One task a job; a session a pool process."""

from datetime import UTC, datetime
from uuid import UUID

from celery import Celery, signals
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.plain.schema import Job, engine_for, sessions_for
from benchmarks.plain.settings import CELERY, Addresses

addresses = Addresses.from_environment()
app = Celery("plain", broker=addresses.redis_url)
app.conf.update(CELERY)


class Process:
    """What one pool process keeps between tasks."""

    def __init__(self) -> None:
        from benchmarks.plain.model import Model

        self.model = Model()
        self.engine: Engine = engine_for(addresses.database_url)
        self.sessions: sessionmaker[Session] = sessions_for(self.engine)


processes: list[Process] = []


def start(**_: object) -> None:
    """Load the model and connect, once a pool process."""
    processes.append(Process())


def score_job(job_id: str) -> None:
    """Score one job. Safe to run twice: a job that has succeeded is left alone."""
    process = processes[0]
    with process.sessions() as session:
        job = session.get(Job, UUID(job_id))
        if job is None or job.state == "succeeded":
            return
        job.result = process.model.score(job.input)
        job.state = "succeeded"
        job.finished_at = datetime.now(UTC)
        session.commit()


signals.worker_process_init.connect(start, weak=False)
score = app.task(score_job, name="score")
