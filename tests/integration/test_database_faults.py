"""Faults of Postgres and of the way to it: each is named by its cause, may be tried again, and comes with fitting advice."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from service.cli import main
from service.database_faults import DatabaseFault, fault_of
from service.db import Database
from service.embedded import ServerUrls
from service.errors import DatabaseUnavailable
from tests.factories import MASTER_KEY_TEXT

F = DatabaseFault


def changed(url: str, **parts: object) -> str:
    """The address with some of its parts replaced."""
    return sa.make_url(url).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]


def over_tcp(url: str) -> str:
    """The address of the same server over its loopback port."""
    parsed = sa.make_url(url)
    return changed(url, host="127.0.0.1", port=int(str(parsed.query["port"])), query={})


@contextmanager
def role(servers: ServerUrls, options: str) -> Iterator[str]:
    """The servers' address with a role of its own."""
    name = f"role_{uuid4().hex}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} PASSWORD 'secret' {}").format(sql.Identifier(name), sql.SQL(options))
        )
        try:
            yield changed(servers.database_url, username=name, password="secret")
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def fault_at(url: str, statement: str = "SELECT 1", *, single: bool = True) -> str:
    """The cause that a unit of work names."""
    database = Database(url, pool_size=1)
    try:
        with (
            pytest.raises(DatabaseUnavailable) as raised,
            database.statement() if single else database.transaction() as work,
        ):
            work.execute(statement)
    finally:
        database.close()
    return raised.value.fault


WAYS: dict[str, tuple[Callable[[str], str], DatabaseFault]] = {
    "password": (lambda url: changed(url, password="wrong"), F.PASSWORD_WRONG),
    "no password": (lambda url: changed(url, password="").replace(":@", "@"), F.PASSWORD_WRONG),
    "database": (lambda url: changed(url, database="missing"), F.DATABASE_UNKNOWN),
    "port": (lambda url: changed(over_tcp(url), port=1), F.UNREACHABLE),
    "socket": (lambda url: changed(url, query={"host": "/nowhere"}), F.UNREACHABLE),
    "name": (lambda url: changed(over_tcp(url), host="db.invalid"), F.NAME_UNRESOLVED),
    "tls": (lambda url: changed(over_tcp(url), query={"sslmode": "require"}), F.TLS_REFUSED),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_is_not_made_names_its_cause(servers: ServerUrls, way: str) -> None:
    spoil, fault = WAYS[way]
    assert fault_at(spoil(servers.database_url)) == fault


def test_a_role_that_may_not_log_in_or_has_no_connection_left_is_named(servers: ServerUrls) -> None:
    with role(servers, "NOLOGIN") as url:
        assert fault_at(url) == F.ROLE_UNKNOWN
    with role(servers, "LOGIN CONNECTION LIMIT 0") as url:
        assert fault_at(url) == F.TOO_MANY_CONNECTIONS


@pytest.mark.parametrize("single", [True, False])
def test_a_role_without_grants_is_a_fault_to_try_again_after(servers: ServerUrls, single: bool) -> None:
    with role(servers, "LOGIN") as url:
        assert fault_at(url, "CREATE TABLE public.mine ()", single=single) == F.PERMISSION_DENIED


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ("53100", F.DISK_FULL),
        ("53200", F.OUT_OF_MEMORY),
        ("57P03", F.STARTING_UP),
        ("58030", F.DAMAGED),
        ("XX001", F.DAMAGED),
        ("40P01", F.LOCKED),
        ("55P03", F.LOCKED),
        ("26000", F.POOLER_REFUSED),
        ("25006", F.READ_ONLY),
    ],
)
def test_what_a_statement_meets_is_told_by_its_sqlstate(
    database_url: str, state: str, fault: DatabaseFault, single: bool
) -> None:
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'in words of any language' USING ERRCODE = '{state}'; END $$"
    assert fault_at(database_url, statement, single=single) == fault


def test_a_fault_of_the_statement_is_no_fault_of_the_database(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    with pytest.raises(psycopg.errors.DivisionByZero), database.statement() as work:
        work.execute("SELECT 1 / 0")
    database.close()


@pytest.mark.parametrize("single", [True, False])
def test_a_server_that_takes_writes_again_is_written_to_by_the_same_pool(
    database_url: str, single: bool
) -> None:
    database = Database(database_url, pool_size=1)

    def write() -> None:
        with database.statement() if single else database.transaction() as work:
            work.execute("UPDATE tenant SET name = name")

    write()
    with read_only(database_url):
        database.close()  # what was connected before would go on writing
        with pytest.raises(DatabaseUnavailable) as raised:
            write()
        assert raised.value.fault == F.READ_ONLY
    write()
    database.close()


def test_one_refused_write_ends_every_connection_of_the_pool_that_would_refuse_more(
    database_url: str,
) -> None:
    database = Database(database_url, pool_size=3)
    with read_only(database_url), database.statement(), database.statement(), database.statement():
        pass  # three connections wait in the pool, each of a session that takes no writes
    refused = 0
    for _ in range(3):
        try:
            with database.statement() as work:
                work.execute("UPDATE tenant SET name = name")
        except DatabaseUnavailable:
            refused += 1
    assert refused == 1
    database.close()


@contextmanager
def read_only(database_url: str) -> Iterator[None]:
    """Sessions that begin within this block take no writes."""
    name = sa.make_url(database_url).database
    setting = f"ALTER DATABASE {name} SET default_transaction_read_only = {{}}"
    with psycopg.connect(database_url, autocommit=True) as operator:
        operator.execute(setting.format("on").encode())
        try:
            yield
        finally:
            operator.execute("SET default_transaction_read_only = off")
            operator.execute(setting.format("off").encode())


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("FATAL:  the database system is starting up", F.STARTING_UP),
        ("FATAL:  the database system is in recovery mode", F.STARTING_UP),
        ("FATAL:  the database system is shutting down", F.SHUTTING_DOWN),
        ("FATAL:  sorry, too many clients already", F.TOO_MANY_CONNECTIONS),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", F.TOO_MANY_CONNECTIONS),
        ("FATAL:  no more connections allowed (max_client_conn)", F.TOO_MANY_CONNECTIONS),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "u", database "d", no encryption', F.TLS_REFUSED),
        ('FATAL:  pg_hba.conf rejects connection for host "10.0.0.1", user "u", database "d"', F.ACCESS_REFUSED),
        ("failed: session is read-only", F.STANDBY),
        ("FATAL:  no such database: x", F.DATABASE_UNKNOWN),
        ('FATAL:  could not write init file: No space left on device', F.DISK_FULL),
        ("server closed the connection unexpectedly", F.CONNECTION_LOST),
        ("FATAL:  Passwort-Authentifizierung fehlgeschlagen", F.REFUSED),
    ],
)  # fmt: skip
def test_a_refused_connection_is_told_by_the_servers_words(words: str, fault: DatabaseFault) -> None:
    assert fault_of(psycopg.OperationalError(f"connection failed: {words}")) is fault


def test_each_cause_has_words_and_advice_for_both_kinds_of_server() -> None:
    for fault in F:
        assert fault.found
        assert fault.advice(embedded=True)
        assert "`medqueue up`" not in fault.advice(embedded=False), (
            "it starts no server of the operator's own"
        )
        assert "MEDQUEUE_DATABASE_URL" not in fault.advice(embedded=True), "it is not set there"


@pytest.mark.parametrize("way", WAYS)
def test_the_doctor_and_the_command_line_name_the_cause(
    servers: ServerUrls, way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    spoil, fault = WAYS[way]
    monkeypatch.setenv("MEDQUEUE_DATABASE_URL", spoil(servers.database_url))
    monkeypatch.setenv("MEDQUEUE_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("MEDQUEUE_MASTER_KEY", MASTER_KEY_TEXT)
    monkeypatch.setenv("MEDQUEUE_PROVIDER", "cpu")
    assert main(["db", "check", "--data-dir", str(tmp_path)]) == 3
    assert fault.found in capsys.readouterr().err
    from service.cli.checks import servers as checks
    from service.cli.checks.finding import Examined
    from service.config import Settings

    (finding,) = checks.postgres(Examined(Settings.from_environment(), "http://api.test"))
    assert (finding.status, finding.found) == ("fail", fault.found)
    assert "medqueue up" not in json.dumps(finding.advice)
