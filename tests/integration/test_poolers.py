"""Behind a pooler in transaction mode: every transaction has its settings, and nothing is left behind in a session."""

import threading
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa

from migrations.check import drift
from service.cli.checks import servers as checks
from service.cli.checks.finding import Examined
from service.config import Settings
from service.crypto import Keyring
from service.db import SETTINGS, Database
from service.errors import DatabaseUnavailable
from service.jobs import execution, queries
from service.postgres_connection import connect, is_pooled
from service.schema import migrate, unmigrate
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import pooling

NAMES = ", ".join(f"current_setting('{name}') AS {name}" for name in SETTINGS)
CLIENTS, JOBS = 8, 25


@pytest.fixture(params=["stand-in", "pgbouncer"])
def pooled_url(request: pytest.FixtureRequest, database_url: str) -> Iterator[str]:
    """A migrated database behind a pooler."""
    direct = sa.make_url(database_url)
    port = int(str(direct.query["port"]))
    if request.param == "stand-in":
        with pooling.stand_in(port) as listen:
            over_tcp = direct.set(host="127.0.0.1", port=listen, query={"sslmode": "disable"})
            yield over_tcp.render_as_string(hide_password=False)
        return
    if pooling.PGBOUNCER is None:
        pytest.skip("PgBouncer is not installed")
    upstream = {
        "host": "127.0.0.1", "port": port, "name": direct.database,
        "user": direct.username, "password": direct.password,
    }  # fmt: skip
    with pooling.pgbouncer(upstream) as url:
        yield url


@pytest.fixture
def pooled(pooled_url: str) -> Iterator[Database]:
    """A process's pool over it."""
    database = Database(pooled_url, pool_size=CLIENTS, queue=FakeTaskQueue())
    yield database
    database.close()


def test_a_pooler_is_recognized_and_no_server_is_taken_for_one(pooled_url: str, database_url: str) -> None:
    for url, expected in ((pooled_url, True), (database_url, False)):
        with connect(url) as connection:
            assert is_pooled(connection) is expected


@pytest.mark.parametrize("single", [True, False])
def test_every_transaction_has_its_settings_and_leaves_none_behind(
    pooled: Database, pooled_url: str, single: bool
) -> None:
    with pooled.statement() if single else pooled.transaction() as work:
        ((*found, zone),) = work.execute(f"SELECT {NAMES}, current_setting('timezone') AS timezone")
    assert dict(zip(SETTINGS, found, strict=True)) | {"statement_timeout": "60000"} == SETTINGS | {
        "idle_in_transaction_session_timeout": "1min"
    }
    assert zone == "UTC"
    with connect(pooled_url) as others:
        left = others.execute(
            "SELECT current_setting('enable_seqscan') AS scans, current_setting('statement_timeout') AS timeout"
        )
        assert left.fetchone() == ("on", "0")


def test_a_lone_statement_that_fails_stores_nothing_and_the_next_one_works(pooled: Database) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), pooled.statement() as work:
        work.execute("INSERT INTO tenant (name, data_key) SELECT 'x', (1 / (length('') * 1))::text::bytea")
    with pytest.raises(DatabaseUnavailable), pooled.statement() as work:
        work.execute("DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$")
    with pooled.statement() as work:
        assert work.execute("SELECT count(*) FROM tenant") == [(0,)]


def test_many_clients_live_through_jobs_over_fewer_connections(pooled: Database) -> None:
    caller = factories.principal(pooled, Keyring(factories.MASTER_KEY))
    model = factories.published(pooled, MemoryBlobStore())
    ended: list[UUID] = []
    faults: list[Exception] = []

    def live() -> None:
        try:
            for _ in range(JOBS):
                factories.submitted(pooled, caller, model)
                with pooled.statement() as work:
                    held = execution.claim(
                        work, model_version_id=model.id, limit=4, owner="w1", lease_s=30.0, retries_first=True
                    )
                endings = [execution.Ending(job.lease, payload=b"x") for job in held.jobs]
                with pooled.statement() as work:
                    ended.extend(execution.end(work, endings, owner="w1", runtime="r", provider="p"))
                with pooled.transaction() as work:
                    queries.newest(work, caller, queries.JobFilter(), before=None, limit=5)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells of it
            faults.append(error)

    clients = [threading.Thread(target=live) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert faults == []
    assert len(ended) == len(set(ended)) == CLIENTS * JOBS


def test_migrations_go_through_a_pooler_one_process_at_a_time(pooled_url: str) -> None:
    unmigrate(pooled_url, "0005")
    migrating = [threading.Thread(target=migrate, args=(pooled_url,)) for _ in range(2)]
    for thread in migrating:
        thread.start()
    for thread in migrating:
        thread.join()
    assert drift(pooled_url) == []


def test_the_doctor_tells_of_a_pooler(pooled_url: str) -> None:
    settings = Settings.from_environment({"MEDQUEUE_DATABASE_URL": pooled_url})
    found = {
        finding.check: finding.status for finding in checks.postgres(Examined(settings, "http://api.test"))
    }
    assert found["pooler"] == "ok"
