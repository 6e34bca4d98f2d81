"""A primary and its standby, of Debian's packages: the host that takes writes is used, and a standby is called one."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
import pytest

from service.cli.checks import servers as checks
from service.cli.checks.finding import Examined
from service.config import Settings
from service.database_faults import DatabaseFault
from service.db import Database
from service.embedded.waiting import wait_until
from service.errors import DatabaseUnavailable
from tests import older_postgres
from tests.older_postgres import Cluster

WRITE = "CREATE TABLE IF NOT EXISTS written ()"


@dataclass(frozen=True)
class Pair:
    """A primary and a standby that follows it."""

    primary: Cluster
    standby: Cluster

    def url(self, *clusters: Cluster, options: str = "") -> str:
        """An address that names these servers, in this order."""
        hosts = ",".join(f"127.0.0.1:{cluster.port}" for cluster in clusters)
        return f"postgresql://medqueue:secret@{hosts}/medqueue{options}"


@contextmanager
def pair_up() -> Iterator[Pair]:
    """Both, up."""
    installed = older_postgres.installed()
    if not installed:
        pytest.skip("no package of Debian's Postgres is installed")
    programs = next(iter(installed.values()))
    with older_postgres.cluster(programs) as primary, older_postgres.empty(programs) as standby:
        primary.run("pg_basebackup", "-D", standby.data, "-R", "-d", primary.url("postgres"), "-c", "fast")
        with standby.serving():
            yield Pair(primary, standby)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Both, up, for all tests that leave them so."""
    with pair_up() as made:
        yield made


def write(database: Database) -> None:
    with database.statement() as work:
        work.execute(WRITE)


def test_of_several_hosts_the_one_that_takes_writes_is_used(pair: Pair) -> None:
    for order in ((pair.standby, pair.primary), (pair.primary, pair.standby)):
        database = Database(pair.url(*order))
        write(database)
        database.close()


def test_after_a_failover_the_same_pool_writes_to_the_new_primary() -> None:
    with pair_up() as pair:
        fail_over(pair)


def fail_over(pair: Pair) -> None:
    database = Database(pair.url(pair.primary, pair.standby), pool_size=2)
    write(database)
    pair.primary.stop()
    with pytest.raises(DatabaseUnavailable):
        write(database)
    with psycopg.connect(pair.standby.url("medqueue"), autocommit=True) as operator:
        operator.execute("SELECT pg_promote()")
    assert wait_until(lambda: writes(database), 20)
    database.close()


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def writes(database: Database) -> bool:
    try:
        write(database)
    except DatabaseUnavailable:
        return False
    return True


def test_a_standby_alone_is_called_one_and_fails_nothing_for_good(pair: Pair) -> None:
    url = pair.url(pair.standby)
    database = Database(url)
    with pytest.raises(DatabaseUnavailable) as raised:
        write(database)
    assert raised.value.fault == DatabaseFault.READ_ONLY
    settings = Settings.from_environment({"MEDQUEUE_DATABASE_URL": url})
    found = [
        (finding.status, finding.found) for finding in checks.postgres(Examined(settings, "http://x.test"))
    ]
    assert ("fail", DatabaseFault.STANDBY.found) in found
    database.close()


def test_several_standbys_are_refused_as_what_they_are(pair: Pair) -> None:
    database = Database(pair.url(pair.standby, pair.standby))
    with pytest.raises(DatabaseUnavailable) as raised:
        write(database)
    assert raised.value.fault == DatabaseFault.STANDBY
    database.close()


def test_an_ipv6_address_and_a_password_file_are_taken(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = pair.primary.folder / "pgpass"
    secrets.write_text("*:*:*:medqueue:secret\n")
    secrets.chmod(0o600)
    places = (
        []
        if not has_ipv6()
        else [f"postgresql://medqueue@[::1]:{pair.primary.port}/medqueue?passfile={secrets}"]
    )
    for url in (
        *places,
        f"postgresql://medqueue@/medqueue?host={pair.primary.folder}&port={pair.primary.port}&passfile={secrets}",
    ):
        database = Database(url)
        write(database)
        database.close()
    monkeypatch.setenv("PGPASSFILE", str(secrets))
    database = Database(f"postgresql://medqueue@127.0.0.1:{pair.primary.port}/medqueue")
    write(database)
    database.close()


def test_tls_is_verified_against_the_root_that_is_named(pair: Pair) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = pair.primary.folder
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "ca.pem"),
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "key.pem").chmod(0o600)
    pair.primary.own(folder / "key.pem", folder / "ca.pem")
    with psycopg.connect(pair.primary.url("postgres"), autocommit=True) as operator:
        for name, value in (("ssl_cert_file", "ca.pem"), ("ssl_key_file", "key.pem")):
            operator.execute(f"ALTER SYSTEM SET {name} = '{folder / value}'".encode())
        operator.execute("ALTER SYSTEM SET ssl = on")
        operator.execute("SELECT pg_reload_conf()")
    verified = f"?sslmode=verify-full&sslrootcert={folder / 'ca.pem'}"
    database = Database(f"postgresql://medqueue:secret@localhost:{pair.primary.port}/medqueue{verified}")
    assert wait_until(lambda: writes(database), 10)
    database.close()
    elsewhere = Database(f"postgresql://medqueue:secret@127.0.0.1:{pair.primary.port}/medqueue{verified}")
    with pytest.raises(DatabaseUnavailable) as raised:
        write(elsewhere)
    assert raised.value.fault == DatabaseFault.TLS_REFUSED, "the certificate is another host's"
    elsewhere.close()
