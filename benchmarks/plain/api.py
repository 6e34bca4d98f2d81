"""The twin's API: submit a case, poll a job. `gunicorn benchmarks.plain.api:app`."""

from typing import Any
from uuid import UUID

from flask import Flask, request
from pydantic import ValidationError

from benchmarks.plain.model import Submit
from benchmarks.plain.schema import Job, engine_for, sessions_for
from benchmarks.plain.settings import Addresses
from benchmarks.plain.tasks import score

Answer = tuple[dict[str, Any], int]

app = Flask("plain")
sessions = sessions_for(engine_for(Addresses.from_environment().database_url))


@app.post("/jobs")
def submit() -> Answer:
    """Store the case, then send its task."""
    wanted = Submit.model_validate_json(request.get_data())
    job = Job(model=wanted.model, input=wanted.input.model_dump())  # type: ignore[attr-defined]
    with sessions() as session:
        session.add(job)
        session.commit()
    score.delay(str(job.id))
    return {"id": str(job.id), "state": "queued"}, 202


@app.get("/jobs/<uuid:job_id>")
def read(job_id: UUID) -> Answer:
    """A job and its result."""
    with sessions() as session:
        job = session.get(Job, job_id)
    if job is None:
        return {"error": "there is no such job"}, 404
    return {"id": str(job.id), "model": job.model, "state": job.state, "result": job.result}, 200


@app.get("/readyz")
def ready() -> Answer:
    """Whether requests are answered."""
    return {}, 200


@app.errorhandler(ValidationError)
def refuse(error: ValidationError) -> Answer:
    """A bad body, with what is wrong in it."""
    return {"error": error.errors(include_url=False, include_input=False, include_context=False)}, 422
