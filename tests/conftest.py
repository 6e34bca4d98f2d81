"""Real servers for all tests that need them: started once from the wheels, one database a test, none left behind."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import structlog

from service import logs
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls, embedded_servers
from service.process import settle
from service.redis_client import redis_client
from service.schema import migrate
from tests import older_postgres
from tests.factories import MASTER_KEY, MASTER_KEY_TEXT
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.server_folders import server_folder

pytest_plugins = ["tests.processes"]

TEMPLATE = "medqueue_template"


@pytest.fixture(autouse=True)
def _logs_as_in_production() -> None:
    """Without it structlog prints whole local variables of a fault.

    Anew for each test, and looked up at each line: commands that a test runs in this process log errors alone.
    """
    logs.configure("INFO")
    structlog.configure(cache_logger_on_first_use=False)
    structlog.contextvars.clear_contextvars()  # a request that a test made in this thread keeps its id until the next


@pytest.fixture(scope="module", autouse=True)
def _kept_from_garbage_collections() -> Iterator[None]:
    """What a module of tests leaves is walked once: each model that a later test loads causes a collection."""
    yield
    settle()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[ServerUrls]:
    """Postgres and Redis on free ports. Postgres does not wait for the disk: no test pulls the plug on it."""
    programs = request.config.getoption("--postgres-programs")
    with server_folder() as folder, embedded_servers(folder, fsync=False) as urls:
        if programs is None:
            with closing(_administration(urls.database_url)):
                yield urls
        else:
            with older_postgres.running(programs) as url, closing(_administration(url)):
                yield ServerUrls(url, urls.redis_url)


@pytest.fixture(scope="session")
def template(servers: ServerUrls) -> ServerUrls:
    """The servers with a migrated template database: the real migrations run once."""
    _run(servers, f"CREATE DATABASE {TEMPLATE}")
    migrate(url_of(servers, TEMPLATE))
    return servers


@contextmanager
def fresh_database(servers: ServerUrls, template: str = "template1") -> Iterator[str]:
    """The address of a new database made from a template, dropped afterwards."""
    name = f"test_{uuid4().hex}"
    _run(servers, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield url_of(servers, name)
    finally:
        _run(servers, f"DROP DATABASE {name} WITH (FORCE)")


@cache
def _administration(database_url: str) -> psycopg.Connection:
    """A connection to the server, kept: a new one costs Postgres more than half of what a new database does."""
    return psycopg.connect(database_url, autocommit=True)


@pytest.fixture
def database_url(template: ServerUrls) -> Iterator[str]:
    """A fresh, migrated database of this test's own."""
    with fresh_database(template, TEMPLATE) as url:
        yield url


@pytest.fixture
def empty_database_url(servers: ServerUrls) -> Iterator[str]:
    """A database without a schema."""
    with fresh_database(servers) as url:
        yield url


@pytest.fixture
def queue() -> FakeTaskQueue:
    """A task queue that remembers what was sent."""
    return FakeTaskQueue()


@pytest.fixture
def database(database_url: str, queue: FakeTaskQueue) -> Iterator[Database]:
    """The pool over this test's database."""
    opened = Database(database_url, pool_size=8, queue=queue)
    yield opened
    opened.close()


@pytest.fixture
def keyring() -> Keyring:
    """Data keys under the tests' master key."""
    return Keyring(MASTER_KEY)


@pytest.fixture
def blobs() -> MemoryBlobStore:
    """A blob store in memory."""
    return MemoryBlobStore()


@pytest.fixture
def settings(database_url: str, servers: ServerUrls, tmp_path: Path) -> Settings:
    """Settings of a process over this test's servers and folder. Redis forgets the workers of earlier tests."""
    with redis_client(servers.redis_url) as redis:
        redis.flushdb()
    (tmp_path / "data" / "blobs").mkdir(parents=True)
    return Settings(
        database_url=database_url,
        redis_url=servers.redis_url,
        data_dir=tmp_path / "data",
        master_key=MASTER_KEY_TEXT,
        cache_s=0,
    )


def url_of(servers: ServerUrls, name: str) -> str:
    """The address of another database of the same server."""
    return servers.database_url.replace("/medqueue?", f"/{name}?")


def _run(servers: ServerUrls, statement: str) -> None:
    _administration(servers.database_url).execute(statement.encode())


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person who runs the tests has set for herself must not decide them."""
    for name in [name for name in os.environ if name.startswith("MEDQUEUE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether scenarios run in their full form: `--faults full`."""
    return bool(request.config.getoption("--faults") == "full")


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes of tests: what a script starts in the background inherits that it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave thousands of collected tests out of garbage collections: each model that a test loads causes one."""
    settle()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How far the fault scenarios go, and from which seed."""
    parser.addoption(
        "--faults", choices=("short", "full"), default="short", help="form of the fault scenarios"
    )
    parser.addoption(
        "--fault-seed",
        type=int,
        default=random.SystemRandom().randrange(10**6),
        help="seed of the fault scenarios",
    )
    parser.addoption("--all-zones", action="store_true", help="try schedules in every time zone")
    parser.addoption(
        "--gpu-libs", action="store_true", help="install the GPU image's wheels, gigabytes, and try them"
    )
    parser.addoption(
        "--postgres-programs", type=Path, help="run on this Postgres, such as /usr/lib/postgresql/15/bin"
    )
    parser.addoption("--fault-report", type=Path, help="write what the fault scenarios found to this page")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Refuse parameters in a set: each process would collect them in another order, and then none runs a test."""
    for marker in metafunc.definition.iter_markers("parametrize"):
        if any(isinstance(values, set | frozenset) for values in (*marker.args, *marker.kwargs.values())):
            raise pytest.UsageError(f"{metafunc.definition.nodeid}: sort the set of its parameters")


def pytest_report_header(config: pytest.Config) -> str:
    """The seed with which a run of the fault scenarios can be repeated."""
    return f"faults: {config.getoption('--faults')}, --fault-seed {config.getoption('--fault-seed')}"
