"""Connections to Postgres: made from one address everywhere, with the settings that every statement is planned and bounded by.

Behind a pooler such as PgBouncer a session has no fixed owner: in transaction mode each transaction may run on another
server connection. So nothing is left in it: settings are made in every transaction, and no statement is prepared. A
pooler is detected by the process id that it gives us, which is not the server's.
"""

import os
from collections.abc import Mapping
from typing import Any

import psycopg
import sqlalchemy as sa
import sqlalchemy.event
from psycopg import sql
from psycopg.rows import TupleRow

from service.errors import SettingInvalid
from service.postgres_address import PostgresAddress

CONNECT_TIMEOUT_S = 5
# Parameters of libpq unless the address sets them.
PARAMETERS = {
    "connect_timeout": str(CONNECT_TIMEOUT_S),
    "application_name": "medqueue",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
Connection = psycopg.Connection[TupleRow]

# Times are read in the session's zone. libpq sends it with the start-up packet, which poolers pass on and keep track of;
# they refuse `options`. libpq has no parameter for it, but reads this variable.
os.environ["PGTZ"] = "UTC"


def address_of(url: str) -> PostgresAddress:
    """The address in MEDQUEUE_DATABASE_URL. Raises SettingInvalid."""
    try:
        return PostgresAddress.parse(url)
    except ValueError as error:
        raise SettingInvalid("MEDQUEUE_DATABASE_URL", str(error)) from None


def connect(url: str, settings: Mapping[str, str] | None = None, **driver: Any) -> Connection:
    """A connection in autocommit with these settings of the session, except behind a pooler.

    `driver` is for psycopg. Raises psycopg.Error, and SettingInvalid for a malformed address.
    """
    parameters: dict[str, Any] = {**PARAMETERS, **address_of(url).parameters, **driver}
    connection = psycopg.connect(autocommit=True, **parameters)
    try:
        asked = connection.execute("SELECT pg_backend_pid()").fetchone()
        if asked is None or asked[0] != connection.info.backend_pid:
            connection.prepare_threshold = None
        elif settings:
            connection.execute(_configuring(settings, local=False))
    except BaseException:
        connection.close()
        raise
    return connection


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler stands between, so that nothing may be left in the session."""
    return connection.prepare_threshold is None


def configure_transaction(connection: Connection, settings: Mapping[str, str]) -> None:
    """Make the settings of the transaction under way where the session has none."""
    if is_pooled(connection):
        connection.execute(_configuring(settings, local=True))


def engine_of(url: str, settings: Mapping[str, str], **pool: Any) -> sa.Engine:
    """An engine of SQLAlchemy whose transactions have these settings. Raises SettingInvalid."""
    address_of(url)
    engine = sa.create_engine("postgresql+psycopg://", **pool)

    def make(_dialect: object, _record: object, _args: object, params: Mapping[str, Any]) -> Connection:
        connection = connect(url, settings, context=params["context"])
        connection.autocommit = False  # as SQLAlchemy expects of a new one
        return connection

    def begin(connection: sa.Connection) -> None:
        configure_transaction(connection.connection.driver_connection, settings)  # type: ignore[arg-type]

    sa.event.listen(engine, "do_connect", make)
    sa.event.listen(engine, "begin", begin)
    return engine


def _configuring(settings: Mapping[str, str], *, local: bool) -> sql.Composed:
    each = (
        sql.SQL("set_config({}, {}, {})").format(name, value, sql.Literal(local))
        for name, value in settings.items()
    )
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(each))
