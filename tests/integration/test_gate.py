"""What a process needs before it takes work: each fault is named, and a process with one takes none."""

import base64
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from flask.testing import FlaskClient

from service import accounts, master_key, requirements
from service.app import Api, create_api
from service.bootstrap import bootstrap
from service.config import Settings
from service.crypto import Keyring, binding
from service.db import Database
from service.embedded import ServerUrls
from service.faults import Fault, Requirement, faults_file, read_faults
from service.gate import Gate, StartRefused
from service.master_key import MasterKeyWrong
from service.storage import NO_ROOT, FsspecBlobStore
from service.writable import data_dir
from tests import factories

STRANGER = b"o" * 32
NO_ROOM = "No space left on device"


@pytest.fixture
def opened() -> Iterator[Callable[[Settings], Api]]:
    apis: list[Api] = []

    def make(settings: Settings) -> Api:
        apis.append(create_api(settings))
        return apis[-1]

    yield make
    for api in apis:
        api.close()


def tenants(database: Database) -> list[str]:
    with database.transaction() as work:
        return [row[0] for row in work.execute("SELECT name FROM tenant ORDER BY id")]


def add_tenant(database: Database, keyring: Keyring, name: str) -> None:
    with database.transaction() as work:
        accounts.ensure_tenant(work, keyring, name=name, actor="test")


def verify(database: Database, keyring: Keyring) -> None:
    with database.transaction() as work:
        master_key.verify(work, keyring)


def test_the_first_key_on_an_empty_database_is_its_key(database: Database, keyring: Keyring) -> None:
    verify(database, keyring)
    verify(database, Keyring(factories.MASTER_KEY))
    with pytest.raises(MasterKeyWrong):
        verify(database, Keyring(STRANGER))


def test_of_two_hosts_that_start_with_different_keys_one_seals(database: Database) -> None:
    start, refused = threading.Barrier(8), []

    def begin(number: int) -> None:
        keyring = Keyring(bytes([number % 2]) * 32)
        start.wait()
        try:
            add_tenant(database, keyring, f"tenant-{number}")
        except MasterKeyWrong:
            refused.append(number)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number % 2 for number in refused} in ({0}, {1})
    assert len(refused) == 4
    assert len(tenants(database)) == 4


def test_a_database_of_the_release_before_takes_the_key_of_its_tenant(
    database: Database, keyring: Keyring
) -> None:
    add_tenant(database, keyring, "default")
    with database.transaction() as work:
        work.execute("DELETE FROM key_check")
    with pytest.raises(MasterKeyWrong):
        verify(database, Keyring(STRANGER))
    verify(database, keyring)
    with pytest.raises(MasterKeyWrong):
        add_tenant(database, Keyring(STRANGER), "second")
    assert tenants(database) == ["default"]


def test_a_tenants_data_key_under_another_master_key_is_found_though_the_check_opens(
    database: Database, keyring: Keyring
) -> None:
    add_tenant(database, keyring, "default")
    with database.transaction() as work:
        ((tenant_id,),) = work.execute("SELECT id FROM tenant")
        bound_to = binding("tenant.data_key", tenant_id, tenant_id)
        work.execute("UPDATE tenant SET data_key = %s", (Keyring(STRANGER).new_data_key(bound_to),))
    with pytest.raises(MasterKeyWrong):
        verify(database, Keyring(factories.MASTER_KEY))


def test_an_api_with_another_master_key_is_not_ready_and_seals_nothing(
    opened: Callable[[Settings], Api], settings: Settings, database: Database, keyring: Keyring
) -> None:
    """The example: it was ready, and sealed a new tenant under its own key."""
    token = factories.issue_token(database, keyring)
    other = settings.model_copy(update={"master_key": base64.b64encode(STRANGER).decode()})
    http = opened(other).app.test_client()
    told = readyz(http, 503)
    assert [fault["requirement"] for fault in told["faults"]] == ["master_key"]
    assert told["faults"][0]["setting"] == "MEDQUEUE_MASTER_KEY"
    answer = http.get("/v1/models", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.get_json(force=True)["code"]) == (503, "not_ready")
    with pytest.raises(MasterKeyWrong):
        add_tenant(database, Keyring(STRANGER), "second")
    assert tenants(database) == ["default"]
    ready = opened(settings).app.test_client()
    assert "faults" not in readyz(ready, 200)


def readyz(http: FlaskClient, status: int) -> dict[str, Any]:
    answer = http.get("/readyz")
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.get_json()
    return told


def test_a_database_that_takes_no_writes_is_named(
    settings: Settings, database: Database, keyring: Keyring
) -> None:
    name = urlsplit(settings.database_url).path.strip("/")
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    read_only = Database(settings.database_url)
    fault = requirements.database(read_only, keyring)
    read_only.close()
    assert fault is not None
    assert (fault.requirement, fault.wrong_setting) == (Requirement.POSTGRES, False)
    assert "takes no writes" in str(fault)


def test_a_server_that_is_away_is_waited_for_and_a_wrong_address_is_not(
    settings: Settings, keyring: Keyring, servers: ServerUrls
) -> None:
    password = urlsplit(settings.database_url).password or ""
    addresses = {
        "postgresql://u@127.0.0.1:1/x": False,
        settings.database_url.replace(password, "wrong"): True,
        settings.database_url.replace("/test_", "/none_"): True,
    }
    for address, wrong in addresses.items():
        away = Database(address)
        fault = requirements.database(away, keyring)
        away.close()
        assert fault is not None
        assert (fault.requirement, fault.setting) == (Requirement.POSTGRES, "MEDQUEUE_DATABASE_URL")
        assert fault.wrong_setting == wrong, fault


def test_a_schema_of_an_earlier_release_is_named(empty_database_url: str, keyring: Keyring) -> None:
    empty = Database(empty_database_url)
    fault = requirements.database(empty, keyring)
    empty.close()
    assert fault is not None
    assert fault.requirement is Requirement.SCHEMA
    assert "medqueue db upgrade" in fault.advice


@contextmanager
def small_volume(folder: Path) -> Iterator[Path]:
    """A file system of 256 KiB. Needs root."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_blob_volume_is_named_and_found_to_have_room_again(
    opened: Callable[[Settings], Api], settings: Settings, database: Database, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "blobs") as volume:
        api = opened(settings.model_copy(update={"blob_url": volume.as_uri()}))
        http = api.app.test_client()
        assert "faults" not in readyz(http, 200)
        (volume / "filler").write_bytes(b"x" * 250 * 1024)
        eventually(lambda: http.get("/readyz").status_code == 503)
        (fault,) = readyz(http, 503)["faults"]
        assert (fault["requirement"], fault["setting"]) == ("blob_store", "MEDQUEUE_BLOB_URL")
        assert NO_ROOM in fault["cause"]
        (volume / "filler").unlink()
        eventually(lambda: http.get("/readyz").status_code == 200)
        assert list((volume / "trials").iterdir()) == []
        api.close()


def eventually(holds: Callable[[], object], *, within_s: float = 15.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.2)


@pytest.mark.parametrize("below", ["file", "file/deeper"])
def test_a_data_folder_that_is_a_file_is_a_wrong_setting(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    fault = data_dir(tmp_path / below)
    assert fault is not None
    assert (fault.setting, fault.wrong_setting) == ("MEDQUEUE_DATA_DIR", True)


def test_a_data_folder_that_can_be_used_is_left_as_it_was(tmp_path: Path) -> None:
    assert data_dir(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_that_is_missing_is_a_wrong_setting_and_not_made(tmp_path: Path) -> None:
    fault = data_dir(tmp_path / "not" / "mounted")
    assert fault is not None
    assert (fault.setting, fault.wrong_setting) == ("MEDQUEUE_DATA_DIR", True)
    assert list(tmp_path.iterdir()) == []


def test_a_blob_folder_that_vanishes_is_named_and_not_made_anew(
    opened: Callable[[Settings], Api], settings: Settings
) -> None:
    api, blobs = opened(settings), settings.data_dir / "blobs"
    http = api.app.test_client()
    assert "faults" not in readyz(http, 200)
    blobs.rename(settings.data_dir / "elsewhere")
    api.gate.look()
    (fault,) = readyz(http, 503)["faults"]
    assert (fault["requirement"], fault["setting"]) == ("blob_store", "MEDQUEUE_DATA_DIR")
    assert NO_ROOT in fault["cause"]
    assert not blobs.exists()
    (settings.data_dir / "elsewhere").rename(blobs)
    api.gate.look()
    assert "faults" not in readyz(http, 200)


def test_the_folder_of_the_blobs_is_made_in_a_fresh_installation_alone(settings: Settings) -> None:
    blobs = settings.data_dir / "blobs"
    blobs.rmdir()
    bootstrap(settings)
    assert blobs.is_dir()
    blobs.rename(settings.data_dir / "elsewhere")
    with pytest.raises(StartRefused, match=NO_ROOT):
        bootstrap(settings)
    assert not blobs.exists()


def test_a_blob_folder_that_is_missing_is_a_wrong_setting(tmp_path: Path) -> None:
    blobs = FsspecBlobStore((tmp_path / "noblob").as_uri())
    fault = requirements.blob_store(blobs, "MEDQUEUE_BLOB_URL", "trials/x")
    assert fault is not None
    assert fault.wrong_setting
    assert not (tmp_path / "noblob").exists()


def test_a_blob_store_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    blobs = FsspecBlobStore((tmp_path / "file").as_uri())
    fault = requirements.blob_store(blobs, "MEDQUEUE_BLOB_URL", "trials/x")
    assert fault is not None
    assert "Not a directory" in str(fault)


AWAY = Fault(Requirement.POSTGRES, "MEDQUEUE_DATABASE_URL", "away", "Wait.")
WRONG = Fault(Requirement.MASTER_KEY, "MEDQUEUE_MASTER_KEY", "wrong", "Correct it.", wrong_setting=True)
FULL = Fault(Requirement.BLOB_STORE, "MEDQUEUE_BLOB_URL", "full", "Make room.")


def test_a_start_waits_for_what_comes_back_and_ends_for_what_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.gate.CLOSED_EVERY_S", 0.01)
    looks = iter([[AWAY], [AWAY], [FULL]])
    gate = Gate("w1", lambda: next(looks))
    gate.await_start()
    assert (gate.open, gate.faults) == (True, (FULL,))
    with pytest.raises(StartRefused, match="MEDQUEUE_MASTER_KEY: wrong"):
        Gate("w1", lambda: [WRONG, AWAY]).await_start()


def test_other_hosts_read_why_a_process_takes_no_work(database: Database, tmp_path: Path) -> None:
    found: list[Fault] = [WRONG]
    record = faults_file(tmp_path, "w1")
    gate = Gate("w1@ward", lambda: list(found), database=database, record=record)
    gate.look()
    stored = "SELECT process, setting, cause FROM process_fault"
    with database.statement() as work:
        assert work.execute(stored) == [("w1@ward", "MEDQUEUE_MASTER_KEY", "wrong")]
    assert read_faults(record) == [WRONG]
    found.clear()
    gate.look()
    with database.statement() as work:
        assert work.execute(stored) == []
    assert read_faults(record) == []
    gate.close()


def test_a_test_that_does_not_end_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gate.HANGS_AFTER_S", 0.1)
    ended = threading.Event()

    def hang() -> list[Fault]:
        ended.wait(30)
        return []

    gate = Gate("w1", hang)
    looking = threading.Thread(target=gate.look)
    looking.start()
    eventually(lambda: [fault.requirement for fault in gate.faults] == [Requirement.BLOB_STORE])
    ended.set()
    looking.join()
    assert gate.faults == ()


def test_what_work_ran_into_stays_until_it_is_over() -> None:
    gate = Gate("w1", tuple)
    models = Fault(Requirement.MODELS, "MEDQUEUE_BLOB_URL", "missing", "Publish it.")
    gate.note("model 1", models)
    gate.look()
    assert (gate.faults, gate.open) == ((models,), True)
    gate.note("model 1", None)
    assert gate.faults == ()


def test_the_master_key_of_an_unreadable_file_is_named(tmp_path: Path) -> None:
    from service.errors import SettingInvalid

    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    key = tmp_path / "master.key"
    key.write_text("x")
    key.chmod(0)
    with pytest.raises(SettingInvalid, match="cannot be read"):
        Settings(data_dir=tmp_path).master_key_bytes()
