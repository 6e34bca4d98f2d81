"""A worker process that answers a model's golden cases differently than its publisher's machine: what an operator sees."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from models.bundle import seal_bundle
from service.accounts import Scope
from service.app import create_api
from service.bootstrap import bootstrap
from service.broker import CeleryTaskQueue
from service.catalog import Catalog, PublishedModel, publishing
from service.cli import main
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.embedded import worker_command
from service.jobs import submission
from service.jobs.submission import NewJob
from service.queue import score_wake_up
from service.storage import FsspecBlobStore
from tests import factories
from tests.acceptance.stack import eventually
from tests.unit.workers.shelf import small_bundle

NAME = "worker-1"
ROOT = Path(__file__).parents[2]
STATE = "SELECT state::text, attempt FROM job WHERE id = %s"


def test_a_worker_refuses_the_model_by_name_leaves_its_jobs_and_scores_others(
    settings: Settings, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.data_dir.mkdir(exist_ok=True)
    bootstrap(settings)
    refused = published_otherwise(settings, database, tmp_path / "bundle")
    sound = Catalog(database, cache_s=0).resolve(factories.BREAST_CANCER)
    caller = factories.principal(database, Keyring(settings.master_key_bytes()))
    inputs = [(refused, {"dose": 1, "age": 2}), (sound, factories.case())]
    with database.statement() as work:
        jobs = [NewJob(caller, model, payload=model.encode(given)) for model, given in inputs]
        left, scored = (job.id for job in submission.submit(work, jobs))
    environment = {**os.environ, **settings.environment(), "MEDQUEUE_WORKER_NAME": NAME}
    with subprocess.Popen(worker_command(NAME), env=environment, cwd=ROOT) as process:
        try:
            eventually((settings.data_dir / "run" / f"{NAME}.ready").exists, within_s=90)
            wake(settings, refused, sound)
            eventually(lambda: state_of(database, scored) == ("succeeded", 1), within_s=30)
            assert state_of(database, left) == ("queued", 0)
            assert main(["health", "worker", "--name", NAME, "--data-dir", str(settings.data_dir)]) == 0
            said = capsys.readouterr().err
            assert (
                "worker-1 runs, but refuses otherwise 1.0.0: its golden cases come out differently on CPU"
                in said
            )
            assert "otherwise 1.0.0" in failed_finding(settings, capsys)
            with listing(settings, database) as models:
                eventually(lambda: problem_of(models, refused) is not None, within_s=60)
                problem, none = problem_of(models, refused), problem_of(models, sound)
            assert problem is not None
            assert problem["code"] == "model_refused"
            assert "its golden cases come out differently on CPU" in problem["detail"]
            assert "publish a version" in problem["detail"]
            assert none is None
            told = inspected(settings, capsys, left)
            assert "every worker refuses otherwise 1.0.0 (its golden cases" in told["next"]
            assert "publish a version" in told["advice"]
        finally:
            process.terminate()
            process.wait(30)
    assert not (settings.data_dir / "run" / f"{NAME}.refused").exists()


def published_otherwise(settings: Settings, database: Database, folder: Path) -> PublishedModel:
    """A model whose golden cases expect what another machine computed."""
    small_bundle(folder, "otherwise")
    golden = json.loads((folder / "golden.json").read_text())
    for case in golden["cases"]:
        case["expected"] = {"probabilities": {"ill": 0.123456}}
    (folder / "golden.json").write_text(json.dumps(golden))
    with database.transaction() as work:
        publishing.publish(work, FsspecBlobStore(settings.blob_location), seal_bundle(folder), actor="test")
    return Catalog(database, cache_s=0).resolve("otherwise")


def wake(settings: Settings, *models: PublishedModel) -> None:
    queue = CeleryTaskQueue(settings.redis_url)
    for model in models:
        queue.wake(score_wake_up(model.id))
    queue.close()


def state_of(database: Database, job_id: UUID) -> tuple[str, int]:
    with database.statement() as work:
        [(state, attempt)] = work.execute(STATE, (job_id,))
    return state, attempt


@contextmanager
def listing(settings: Settings, database: Database) -> Iterator[Callable[[str], Any]]:
    """What reads an address below /v1/models: one API, as its first answer takes seconds."""
    key = factories.issue_token(database, Keyring(settings.master_key_bytes()), scopes=[Scope.MODELS_READ])
    api = create_api(settings)
    try:
        http, headers = api.app.test_client(), {"Authorization": f"Bearer {key}"}
        yield lambda path: json.loads(http.get(f"/v1/models{path}", headers=headers).data)
    finally:
        api.close()


def problem_of(models: Callable[[str], Any], model: PublishedModel) -> dict[str, str] | None:
    """The model's problem in GET /v1/models, if GET /v1/models/NAME has it, too."""
    [listed] = [each for each in models("")["items"] if each["name"] == model.name]
    assert listed["input_schema"]
    problem: dict[str, str] | None = listed["problem"]
    return problem if models(f"/{model.name}") == listed else None


def inspected(settings: Settings, capsys: pytest.CaptureFixture[str], job_id: UUID) -> dict[str, str]:
    """What `jobs inspect` says."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in settings.environment().items():
            patched.setenv(name, value)
        main(["jobs", "inspect", str(job_id), "--json", "--data-dir", str(settings.data_dir)])
    told: dict[str, str] = json.loads(capsys.readouterr().out)
    return told


def failed_finding(settings: Settings, capsys: pytest.CaptureFixture[str]) -> str:
    """What `doctor` says of models that fails."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in settings.environment().items():
            patched.setenv(name, value)
        main(["doctor", "--json", "--data-dir", str(settings.data_dir)])
    found = json.loads(capsys.readouterr().out)["findings"]
    return str([each["found"] for each in found if (each["check"], each["status"]) == ("models", "fail")])
