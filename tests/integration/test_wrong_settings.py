"""A wrong setting stops the start of every process by its name: no half a worker, no traceback."""

import base64
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.bootstrap import ADMIN_KEY_FILE, bootstrap, ensure_admin
from service.cli.exits import ExitCode
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.embedded.commands import scheduler_command, worker_command
from service.faults import faults_file, read_faults
from service.process import WRONG_SETTING_STATUS
from tests.acceptance.stack import free_port
from tests.forking.commands import MEDQUEUE, run

ROOT = Path(__file__).parent.parent.parent
STARTS_WITHIN_S = 90.0


@dataclass(frozen=True)
class Start:
    """How a process began: its exit status, and all that it wrote."""

    status: int
    words: str


@pytest.fixture
def deployed(settings: Settings, database: Database, keyring: Keyring) -> Settings:
    """An installation without models: no process gets as far as looking for one."""
    ensure_admin(database, keyring, settings.data_dir / ADMIN_KEY_FILE)
    return settings.model_copy(update={"worker_name": "w"})


def started(settings: Settings, command: tuple[str, ...], **variables: str) -> Start:
    environment = {"PATH": os.environ["PATH"], **settings.environment(), **variables}
    done = run(command, env=environment, cwd=ROOT, timeout=STARTS_WITHIN_S)
    return Start(done.returncode, done.stderr + done.stdout)


def check(start: Start, setting: str) -> None:
    assert start.status == WRONG_SETTING_STATUS, start.words
    assert f"{setting}: " in start.words
    assert "Traceback" not in start.words
    assert "AssertionError" not in start.words


@pytest.mark.parametrize(
    "command", [worker_command("w"), scheduler_command("w")], ids=["worker", "scheduler"]
)
def test_another_master_key_stops_the_start_and_is_left_for_those_who_look(
    command: tuple[str, ...], deployed: Settings
) -> None:
    key = base64.b64encode(b"o" * 32).decode()
    start = started(deployed, command, MEDQUEUE_MASTER_KEY=key)
    check(start, "MEDQUEUE_MASTER_KEY")
    assert key not in start.words
    assert not (deployed.data_dir / "run" / "w.ready").exists()
    (fault,) = read_faults(faults_file(deployed.data_dir, "w"))
    assert fault.setting == "MEDQUEUE_MASTER_KEY"


def test_a_wrong_database_password_stops_the_start(deployed: Settings) -> None:
    password = urlsplit(deployed.database_url).password or ""
    wrong = deployed.database_url.replace(password, "not-this-one")
    start = started(deployed, worker_command("w"), MEDQUEUE_DATABASE_URL=wrong)
    check(start, "MEDQUEUE_DATABASE_URL")
    assert "not-this-one" not in start.words


@pytest.mark.parametrize("setting", ["MEDQUEUE_DATABASE_URL", "MEDQUEUE_REDIS_URL"])
def test_an_empty_address_stops_the_start(setting: str, deployed: Settings) -> None:
    check(started(deployed, worker_command("w"), **{setting: ""}), setting)


@pytest.mark.parametrize("address", ["postgresql://u:p@host:port/name", "postgresql://u:p@[::1/name"])
def test_a_malformed_address_stops_the_start(address: str, deployed: Settings) -> None:
    check(started(deployed, scheduler_command("w"), MEDQUEUE_DATABASE_URL=address), "MEDQUEUE_DATABASE_URL")


def test_a_data_folder_that_is_a_file_stops_the_start(deployed: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    check(
        started(deployed, worker_command("w"), MEDQUEUE_DATA_DIR=str(tmp_path / "file")), "MEDQUEUE_DATA_DIR"
    )


def test_an_unknown_kind_of_blob_store_stops_the_start(deployed: Settings) -> None:
    check(started(deployed, worker_command("w"), MEDQUEUE_BLOB_URL="nowhere://x"), "MEDQUEUE_BLOB_URL")


API = (sys.executable, "-m", "service.serving")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("MEDQUEUE_MASTER_KEY", "short"),
        ("MEDQUEUE_DATABASE_URL", ""),
        ("MEDQUEUE_REDIS_URL", ""),
        ("MEDQUEUE_API_HOST", "203.0.113.7"),  # TEST-NET-3: no address of this machine
        ("MEDQUEUE_BLOB_URL", "nowhere://x"),
        ("MEDQUEUE_DATA_DIR", "/dev/null/data"),
    ],
)
def test_a_wrong_setting_stops_the_api(setting: str, value: str, settings: Settings) -> None:
    check(started(settings, API, **{setting: value}), setting)


def test_a_port_that_is_taken_stops_the_api(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        check(started(settings, API, MEDQUEUE_API_PORT=port), "MEDQUEUE_API_PORT")


def test_a_wrong_setting_stops_the_whole_stack(deployed: Settings, tmp_path: Path) -> None:
    """Nothing is started where the database belongs to another master key, or the blob store cannot be written."""
    (tmp_path / "file").write_text("x")
    wrong = {
        "MEDQUEUE_MASTER_KEY": base64.b64encode(b"o" * 32).decode(),
        "MEDQUEUE_BLOB_URL": (tmp_path / "file").as_uri(),
    }
    bootstrap(deployed)
    command = (*MEDQUEUE, "up", "--port", str(free_port()))
    for setting, value in wrong.items():
        check(started(deployed, command, **{setting: value}), setting)
    password = urlsplit(deployed.database_url).password or ""
    other = deployed.database_url.replace(password, "wrong")
    start = started(deployed, command, MEDQUEUE_DATABASE_URL=other)
    assert start.status == ExitCode.UNREACHABLE
    assert "MEDQUEUE_DATABASE_URL" in start.words
    assert "Traceback" not in start.words
