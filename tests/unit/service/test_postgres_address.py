"""What MEDQUEUE_DATABASE_URL may say: read as libpq reads it, refused by the name of what is wrong."""

from pathlib import Path

import pytest

from service.config import Settings
from service.errors import SettingInvalid
from service.postgres_address import PostgresAddress

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("rest", "parameters"),
    [
        ("u:p@h/d", {"user": "u", "password": "p", "host": "h", "dbname": "d"}),
        ("u@h:6432/d", {"user": "u", "host": "h", "port": "6432", "dbname": "d"}),
        ("u:p%40%2F%3A%25@h/d", {"user": "u", "password": "p@/:%", "host": "h", "dbname": "d"}),
        ("u:p/s?s@h/d", {"user": "u", "password": "p/s?s", "host": "h", "dbname": "d"}),
        ("h/d?application_name=a@b", {"host": "h", "dbname": "d", "application_name": "a@b"}),
        ("u@[::1]:5433/d", {"user": "u", "host": "::1", "port": "5433", "dbname": "d"}),
        ("u@[2001:db8::7]/d", {"user": "u", "host": "2001:db8::7", "dbname": "d"}),
        ("/d?host=/run/postgresql", {"host": "/run/postgresql", "dbname": "d"}),
        ("u:p@/d?host=%2Ftmp%2Fx&port=5433", {"user": "u", "password": "p", "dbname": "d", "host": "/tmp/x", "port": "5433"}),
        ("%2Frun%2Fpostgresql/d", {"host": "/run/postgresql", "dbname": "d"}),
        ("h1,h2/d", {"host": "h1,h2", "dbname": "d", "target_session_attrs": "read-write"}),
        (
            "h1:5432,[::1]:5433/d?target_session_attrs=any",
            {"host": "h1,::1", "port": "5432,5433", "dbname": "d", "target_session_attrs": "any"},
        ),
        (
            "h/d?sslmode=verify-full&sslrootcert=system",
            {"host": "h", "dbname": "d", "sslmode": "verify-full", "sslrootcert": "system"},
        ),
        ("u@h/d?passfile=/run/secrets/pgpass", {"user": "u", "host": "h", "dbname": "d", "passfile": "/run/secrets/pgpass"}),
    ],
)  # fmt: skip
def test_an_address_is_read_as_libpq_reads_it(rest: str, parameters: dict[str, str]) -> None:
    for scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        assert PostgresAddress.parse(f"{scheme}://{rest}").parameters == parameters


def test_a_certificate_that_can_be_read_is_taken(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    found = PostgresAddress.parse(f"postgresql://h/d?sslmode=verify-ca&sslrootcert={tmp_path / 'ca.pem'}")
    assert found.parameters["sslrootcert"] == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("mysql://u@h/d", "postgresql://"),
        ("postgresql:/h/d", "postgresql://"),
        (f"postgresql://u:{SECRET}@h:port/d", "several hosts"),
        ("postgresql://u@::1/d", "[::1]"),
        ("postgresql://h:99999/d", "port"),
        ("postgresql://h1,h2,h3/d?port=1,2", "port"),
        ("postgresql://h/d?sslmod=require", "sslmod is no parameter"),
        ("postgresql://h/d?sslmode=requird", "sslmode must be one of disable"),
        ("postgresql://h/d?sslmode=verify-full&sslrootcert=/none/ca.pem", "sslrootcert"),
        ("postgresql://h1,h2/d?target_session_attrs=standby", "target_session_attrs must be one of read-write"),
        ("postgresql://h1,h2/d?target_session_attrs=prefer-standby", "target_session_attrs"),
        ("postgresql://h/d?host=a&host=b", "host is given twice"),
        (f"postgresql://u:{SECRET}@h/d?pool_size=5", "pool_size is no parameter"),
    ],
)  # fmt: skip
def test_what_is_wrong_stops_the_start_by_its_name(url: str, named: str) -> None:
    with pytest.raises(SettingInvalid) as raised:
        Settings.from_environment({"MEDQUEUE_DATABASE_URL": url})
    assert raised.value.variable == "MEDQUEUE_DATABASE_URL"
    assert named in raised.value.detail
    assert SECRET not in raised.value.detail


def test_no_secret_is_shown() -> None:
    assert SECRET not in repr(PostgresAddress.parse(f"postgresql://u:{SECRET}@h/d"))
