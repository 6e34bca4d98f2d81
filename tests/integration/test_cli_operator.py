"""Operators' commands on a real database: keys, models, schema, requeue, and what `doctor` finds there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from service import accounts, master_key
from service.broker import message_of
from service.catalog import Catalog
from service.cli import main
from service.cli.installation import operator_name
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.errors import KeyInvalid
from service.faults import Fault, Requirement, faults_file, write_faults
from service.gate import Gate
from service.jobs import sweeps
from service.queue import score_wake_up
from service.redis_client import redis_client
from service.storage import FsspecBlobStore
from tests import factories
from tests.fakes import MemoryBlobStore
from tests.integration.operating import Run, actors, findings, found


def authenticated(database: Database, keyring: Keyring, token: str) -> accounts.Principal:
    with database.transaction() as work:
        return accounts.authenticate(work, keyring, token)


def test_a_new_key_opens_its_tenant_until_it_is_revoked(
    medqueue: Run, database: Database, keyring: Keyring
) -> None:
    words = ("--name", "ward-7", "--scope", "jobs:read", "--tenant", "clinic", "--new-tenant")
    code, made, _ = medqueue("keys", "create", *words, "--expires-in-days", "90")
    assert code == 0
    assert authenticated(database, keyring, made["key"]).scopes == {"jobs:read"}
    code, listed, _ = medqueue("keys", "list")
    (key,) = listed["items"]
    assert (key["name"], key["tenant"], key["scopes"]) == ("ward-7", "clinic", ["jobs:read"])
    assert key["expires_at"] == made["expires_at"]
    assert made["key"].split("_", 2)[2] not in json.dumps(listed)  # the secret may have a _ itself
    assert medqueue("keys", "revoke", made["id"])[0] == 0
    with pytest.raises(KeyInvalid):
        authenticated(database, keyring, made["key"])


def test_a_tenant_is_made_only_when_asked_for(medqueue: Run) -> None:
    code, _, stderr = medqueue("keys", "create", "--name", "x", "--scope", "admin", "--tenant", "typo")
    assert code == 4
    assert "--new-tenant" in stderr


def test_an_unknown_key_cannot_be_revoked(medqueue: Run) -> None:
    assert medqueue("keys", "revoke", "0123456789ab")[0] == 4


def test_the_account_of_the_operator_stands_in_the_trail(medqueue: Run, database: Database) -> None:
    medqueue("keys", "create", "--name", "x", "--scope", "admin", "--new-tenant")
    assert actors(database, "key.created") == [operator_name(os.getuid())]


def test_an_account_without_a_name_is_named_by_its_number() -> None:
    assert operator_name(4_000_000_001) == "operator:4000000001"


def test_a_bundle_is_published_and_another_version_of_it_promoted(
    medqueue: Run, database: Database, tmp_path: Path
) -> None:
    folder = factories.ZOO / factories.BREAST_CANCER
    code, first, _ = medqueue("models", "publish", str(folder))
    assert (code, first["name"]) == (0, factories.BREAST_CANCER)
    assert medqueue("models", "publish", str(folder))[:2] == (0, first)
    code, promoted, _ = medqueue("models", "promote", first["name"], first["version"], "--alias", "trial")
    assert (code, promoted["alias"]) == (0, "trial")
    found = Catalog(database, cache_s=0).resolve(f"{first['name']}@trial")
    assert found.digest == first["digest"]


def test_a_bad_bundle_is_refused_with_its_faults(medqueue: Run, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(factories.ZOO / factories.BREAST_CANCER, folder)
    (folder / "CARD.md").write_text("changed")
    code, document, _ = medqueue("models", "check", str(folder))
    assert code == 1
    assert [fault["code"] for fault in document["faults"]] == ["digest_differs"]
    code, document, stderr = medqueue("models", "publish", str(folder))
    assert (code, document) == (4, None)
    assert "[digest_differs]" in stderr


def test_a_good_bundle_is_said_to_be_publishable(medqueue: Run) -> None:
    code, document, _ = medqueue("models", "check", str(factories.ZOO / factories.BREAST_CANCER))
    assert (code, document["publishable"], document["faults"]) == (0, True, [])


def test_checking_a_bundle_leaves_no_trace_of_the_runtimes_telemetry(tmp_path: Path) -> None:
    places = dict.fromkeys(("TMPDIR", "HOME", "XDG_CACHE_HOME"), str(tmp_path))
    words = [
        sys.executable,
        "-m",
        "service.cli",
        "models",
        "check",
        str(factories.ZOO / factories.BREAST_CANCER),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(words, env=environment | places, check=True, capture_output=True)
    assert list(tmp_path.rglob("*")) == []


def test_an_unknown_version_cannot_be_promoted(medqueue: Run) -> None:
    assert medqueue("models", "promote", "nonsense", "1.0.0")[0] == 4


def test_an_empty_database_is_behind_until_it_is_upgraded(
    medqueue: Run, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDQUEUE_DATABASE_URL", empty_database_url)
    code, document, _ = medqueue("db", "check")
    assert (code, document["current"], document["schema"]) == (1, None, "behind")
    assert medqueue("db", "current")[0] == 0
    code, _, stderr = medqueue("keys", "list")
    assert code == 4
    assert "`medqueue db upgrade`" in stderr
    code, document, _ = medqueue("db", "upgrade")
    assert (code, document["schema"]) == (0, "ok")
    assert document["current"] == document["needed"]
    assert medqueue("db", "check")[0] == 0


@pytest.mark.parametrize("line", ["db check", "keys list", "models promote m 1.0.0"])
def test_a_database_that_does_not_answer_ends_with_3(
    medqueue: Run, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("MEDQUEUE_DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/x")
    code, _, stderr = medqueue(*line.split())
    assert code == 3
    assert "MEDQUEUE_DATABASE_URL" in stderr
    assert "`medqueue up`" not in stderr, "this server is not the data folder's"
    assert "hunter2" not in stderr


def test_only_a_quarantined_job_is_requeued(
    medqueue: Run, database: Database, blobs: MemoryBlobStore, keyring: Keyring
) -> None:
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    (job_id,) = factories.submitted(database, caller, model)
    assert medqueue("jobs", "requeue", str(job_id))[0] == 4
    factories.claimed(database, model, lease_s=-1)
    with database.statement() as work:
        assert sweeps.rescue(work, max_crashes=1).quarantined == (job_id,)
    assert medqueue("jobs", "requeue", str(job_id))[:2] == (0, {"id": str(job_id), "state": "queued"})
    with database.statement() as work:
        assert work.execute("SELECT state::text, crash_count FROM job WHERE id = %s", (job_id,)) == [
            ("queued", 0)
        ]
    assert medqueue("jobs", "requeue", str(uuid4()))[0] == 4


def test_a_job_is_inspected_without_what_is_sealed(
    medqueue: Run, settings: Settings, database: Database, blobs: MemoryBlobStore, keyring: Keyring
) -> None:
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    (job_id,) = factories.submitted(database, caller, model, subject="pat-17")
    code, queued, _ = medqueue("jobs", "inspect", str(job_id))
    assert code == 0
    assert (queued["state"], queued["tenant"], queued["model"]) == ("queued", "default", model.name)
    assert (queued["fence"], queued["events"], queued["wake_up_waits"]) == (0, 1, False)
    with redis_client(settings.redis_url) as redis:
        redis.lpush("score", message_of(score_wake_up(model.id)))
    factories.claimed(database, model, lease_s=60)
    _, running, _ = medqueue("jobs", "inspect", str(job_id))
    assert (running["lease_owner"], running["fence"], running["attempt"], running["claim_size"]) == (
        "w1",
        1,
        1,
        1,
    )
    assert 50 < running["lease_remaining_s"] <= 60
    assert (running["events"], running["results"], running["wake_up_waits"]) == (2, 0, True)
    assert "pat-17" not in json.dumps([queued, running])


def test_a_job_that_is_not_there_cannot_be_inspected(medqueue: Run) -> None:
    code, _, stderr = medqueue("jobs", "inspect", str(uuid4()))
    assert (code, "[job_not_found]" in stderr) == (4, True)


def test_without_redis_a_job_is_inspected_all_the_same(
    medqueue: Run,
    database: Database,
    blobs: MemoryBlobStore,
    keyring: Keyring,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    (job_id,) = factories.submitted(database, caller, model)
    monkeypatch.setenv("MEDQUEUE_REDIS_URL", "redis://127.0.0.1:1/0")
    code, found, _ = medqueue("jobs", "inspect", str(job_id))
    assert (code, found["wake_up_waits"]) == (0, None)
    assert "Redis does not answer" in found["next"]


def test_the_doctor_finds_what_is_well_and_that_these_servers_do_not_sync(
    medqueue: Run, settings: Settings, database: Database, keyring: Keyring
) -> None:
    factories.published(database, FsspecBlobStore(settings.blob_location))
    factories.principal(database, keyring)
    settings.data_dir.mkdir(exist_ok=True)
    code, worst = findings(medqueue)
    assert code == 1
    assert worst.pop("durability") == "fail"
    assert worst.pop("workers") == "warn"
    assert worst.pop("scheduler") == "warn"
    worst.pop("disk")
    worst.pop("runtime")
    assert worst == dict.fromkeys(
        ["settings", "master key", "postgres", "privileges", "clock", "schema", "redis", "redis eviction", "data keys",
         "models", "queue", "blob store", "api", "chemistry"], "ok",
    )  # fmt: skip


def test_the_doctor_finds_jobs_that_were_quarantined(
    medqueue: Run, database: Database, blobs: MemoryBlobStore, keyring: Keyring
) -> None:
    model, caller = factories.published(database, blobs), factories.principal(database, keyring)
    factories.submitted(database, caller, model)
    factories.claimed(database, model, lease_s=-1)
    with database.statement() as work:
        sweeps.rescue(work, max_crashes=1)
    assert findings(medqueue)[1]["quarantine"] == "warn"


def test_the_doctor_finds_that_the_master_key_is_another_one(
    medqueue: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.principal(database, Keyring(b"o" * 32))
    code, worst = findings(medqueue)
    assert (code, worst["master key"], worst["data keys"]) == (1, "ok", "fail")


def test_the_doctor_finds_that_an_empty_database_belongs_to_another_master_key(
    medqueue: Run, database: Database
) -> None:
    with database.transaction() as work:
        master_key.verify(work, Keyring(b"o" * 32))
    assert found(medqueue, "data keys") == ["the master key is not the one that this database belongs to"]


def test_the_doctor_tells_what_keeps_a_process_of_another_host_from_its_work(
    medqueue: Run, database: Database
) -> None:
    fault = Fault(Requirement.MASTER_KEY, "MEDQUEUE_MASTER_KEY", "it is another one", "Correct it.")
    Gate("worker@elsewhere", lambda: [fault], database=database).look()
    assert found(medqueue, "processes") == ["worker@elsewhere: MEDQUEUE_MASTER_KEY: it is another one"]
    with database.transaction() as work:
        work.execute("UPDATE process_fault SET reported_at = now() - interval '5 min'")
    assert found(medqueue, "processes") == []


def test_the_doctor_finds_files_of_a_bundle_that_are_missing(
    medqueue: Run, settings: Settings, database: Database
) -> None:
    store = FsspecBlobStore(settings.blob_location)
    model = factories.published(database, store)
    assert found(medqueue, "bundles") == []
    store.delete(f"models/{model.digest.removeprefix('sha256:')}/model.onnx")
    (told,) = found(medqueue, "bundles")
    assert told == f"{model.name} {model.version} lacks model.onnx in the blob store"


def test_the_doctor_finds_a_pipeline_whose_package_is_gone(
    medqueue: Run, settings: Settings, database: Database
) -> None:
    model = factories.published(database, FsspecBlobStore(settings.blob_location))
    assert found(medqueue, "pipelines") == []
    with database.transaction() as work:
        work.execute("""UPDATE model_version SET manifest = manifest || '{"pipeline": "second-look"}'""")
    (told,) = found(medqueue, "pipelines")
    assert told.startswith(f"{model.name} {model.version} needs the pipeline 'second-look', which no")


def test_the_doctor_says_why_a_blob_store_cannot_be_written(
    medqueue: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.data_dir.mkdir(exist_ok=True)
    (settings.data_dir / "file").write_text("x")
    monkeypatch.setenv("MEDQUEUE_BLOB_URL", (settings.data_dir / "file").as_uri())
    (told,) = found(medqueue, "blob store")
    assert told.startswith("MEDQUEUE_BLOB_URL: ")
    assert "Not a directory" in told


def test_a_health_check_names_what_a_worker_lacks(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = Fault(Requirement.MASTER_KEY, "MEDQUEUE_MASTER_KEY", "it is another one", "Correct it.")
    write_faults(faults_file(settings.data_dir, "w1"), [fault])
    code = main(["health", "worker", "--name", "w1", "--data-dir", str(settings.data_dir)])
    assert code == 1
    assert "MEDQUEUE_MASTER_KEY: it is another one. Correct it." in capsys.readouterr().err


def test_the_doctor_finds_a_schema_that_is_behind_and_goes_on(
    medqueue: Run, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDQUEUE_DATABASE_URL", empty_database_url)
    code, worst = findings(medqueue)
    assert (code, worst["schema"], worst["postgres"]) == (1, "fail", "ok")
    assert "models" not in worst


def test_the_doctor_finds_servers_that_are_away_and_goes_on(
    medqueue: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDQUEUE_DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/x")
    monkeypatch.setenv("MEDQUEUE_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    code, document, stderr = medqueue("doctor", "--url", "http://api.test")
    status = {finding["check"]: finding["status"] for finding in document["findings"]}
    assert (code, status["postgres"], status["redis"], status["api"]) == (1, "fail", "fail", "ok")
    assert "hunter2" not in json.dumps(document) + stderr


def test_the_doctor_asks_the_runtime_that_workers_use(medqueue: Run) -> None:
    _, document, _ = medqueue("doctor", "--url", "http://api.test")
    (runtime,) = [finding for finding in document["findings"] if finding["check"] == "runtime"]
    assert "onnxruntime" in runtime["found"]
    assert "ExecutionProvider" in runtime["found"]


def test_the_doctor_finds_that_a_gpu_was_asked_for_where_there_is_none(
    medqueue: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("MEDQUEUE_PROVIDER", "cuda")
    assert findings(medqueue)[1]["runtime"] == "fail"
