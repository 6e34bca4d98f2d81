"""Why Postgres cannot be used: the cause of a driver's error, what it means, and what an operator does about it.

By SQLSTATE wherever there is one. A refused connection has none (libpq does not pass it on), so there the server's text
is matched; it chooses the advice only, never whether something is retried.
"""

import re
import socket
from enum import StrEnum

import psycopg
import sqlalchemy as sa


class DatabaseFault(StrEnum):
    """A cause that lies with the database, the way to it or its operator: the same statement may work later."""

    NAME_UNRESOLVED = "name_unresolved"
    UNREACHABLE = "unreachable"
    TLS_REFUSED = "tls_refused"
    ACCESS_REFUSED = "access_refused"
    PASSWORD_WRONG = "password_wrong"  # noqa: S105 - a name
    ROLE_UNKNOWN = "role_unknown"
    DATABASE_UNKNOWN = "database_unknown"
    REFUSED = "refused"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    STARTING_UP = "starting_up"
    SHUTTING_DOWN = "shutting_down"
    STANDBY = "standby"
    READ_ONLY = "read_only"
    DISK_FULL = "disk_full"
    OUT_OF_MEMORY = "out_of_memory"
    DAMAGED = "damaged"
    PERMISSION_DENIED = "permission_denied"
    SCHEMA_MISSING = "schema_missing"
    POOLER_REFUSED = "pooler_refused"
    POOL_EXHAUSTED = "pool_exhausted"
    TIMED_OUT = "timed_out"
    LOCKED = "locked"
    CONNECTION_LOST = "connection_lost"

    @property
    def found(self) -> str:
        """What is wrong, as a phrase about Postgres."""
        return _WORDS[self][0]

    def advice(self, *, embedded: bool) -> str:
        """What an operator does. `embedded`: for the server that `medqueue up` runs, else for one of the operator's own."""
        _, own, of_stack = _WORDS[self]
        return of_stack if embedded else own


F = DatabaseFault
_URL = "MEDQUEUE_DATABASE_URL"
_START = "Start the stack with `medqueue up`, or look into log/postgres.log of its data folder."
_KEPT = (
    "Stop the stack and start it with `medqueue up`: it sets its roles and their passwords again. Where it cannot, restore "
    "postgres.password in the data folder from its backup."
)
_WAIT = "Wait: it answers by itself. After a crash it first replays its log."

# Per cause: what is wrong, the advice for a server of one's own, the advice for the embedded one.
_WORDS: dict[DatabaseFault, tuple[str, str, str]] = {
    F.NAME_UNRESOLVED: (
        "its host name does not resolve",
        f"Check the host in {_URL}, and the DNS of this machine.",
        _START,
    ),
    F.UNREACHABLE: (
        "nothing answers at its address",
        f"Check host and port in {_URL}, that the server runs, and firewalls between.",
        _START,
    ),
    F.TLS_REFUSED: (
        "the server and this client do not agree on TLS",
        f"Check sslmode and sslrootcert in {_URL}, and the server's certificate and pg_hba.conf.",
        _START,
    ),
    F.ACCESS_REFUSED: (
        "the server's rules let nobody in from here",
        "Allow this role, database and address in the server's pg_hba.conf, with or without TLS as it asks.",
        _KEPT,
    ),
    F.PASSWORD_WRONG: (
        "it refuses the password",
        f"Correct user and password in {_URL}, or the file that PGPASSFILE names.",
        _KEPT,
    ),
    F.ROLE_UNKNOWN: (
        "it does not know the role, or the role may not log in",
        f"Correct the user in {_URL}, or create the role with LOGIN.",
        _KEPT,
    ),
    F.DATABASE_UNKNOWN: (
        "the database does not exist",
        f"Correct the database's name in {_URL}, or create it, then run `medqueue db bootstrap`.",
        "Stop the stack and start it with `medqueue up`: it makes the database.",
    ),
    F.REFUSED: (
        "it refuses the connection",
        f"Look into the server's log, and check {_URL}.",
        "Look into log/postgres.log of the data folder.",
    ),
    F.TOO_MANY_CONNECTIONS: (
        "it has no connection left",
        "Raise max_connections, lower MEDQUEUE_DB_POOL_SIZE, or put PgBouncer between (docs/operations.md).",
        "Lower MEDQUEUE_DB_POOL_SIZE or the number of workers: the embedded server takes 200 connections.",
    ),
    F.STARTING_UP: ("it is starting up", _WAIT, _WAIT),
    F.SHUTTING_DOWN: ("it is shutting down", "Wait until it is back, or start it.", _START),
    F.STANDBY: (
        "it is a standby and takes no writes",
        f"Name the primary in {_URL}, or all hosts with commas between: the one that takes writes is found.",
        _START,
    ),
    F.READ_ONLY: (
        "it takes no writes (read-only, or a standby)",
        "Look for a standby, default_transaction_read_only, or a provider's lock for a full disk.",
        "Unset default_transaction_read_only, and look at the disk's free space.",
    ),
    F.DISK_FULL: (
        "its disk is full",
        "Free space on the server's disk: data, log (pg_wal) and temporary files. It continues by itself or after a restart.",
        "Free space on the disk of the data folder, then start the stack again if it has stopped.",
    ),
    F.OUT_OF_MEMORY: (
        "it is out of memory or of locks",
        "Give the server more memory, or lower work_mem and max_connections.",
        "Free memory on this machine.",
    ),
    F.DAMAGED: (
        "it cannot read or write its files",
        "Look into the server's log and at its disk now, before anything else is done to it.",
        "Look into log/postgres.log of the data folder and at the disk, before anything else is done to it.",
    ),
    F.PERMISSION_DENIED: (
        "the role may not do this",
        "Grant the role what docs/operations.md lists, or run this with the owner of the tables.",
        "Start the stack again: it gives its role what it needs.",
    ),
    F.SCHEMA_MISSING: (
        "the database lacks the schema of this release",
        "Run `medqueue db upgrade`.",
        "Run `medqueue db upgrade`.",
    ),
    F.POOLER_REFUSED: (
        "the pooler before it refuses this",
        "Use PgBouncer 1.21 or later in transaction or session mode (docs/operations.md), and look into its log.",
        _START,
    ),
    F.POOL_EXHAUSTED: (
        "all connections of this process are in use",
        "Raise MEDQUEUE_DB_POOL_SIZE, or look for what holds them so long.",
        "Raise MEDQUEUE_DB_POOL_SIZE, or look for what holds them so long.",
    ),
    F.TIMED_OUT: (
        "a statement took longer than it may",
        "Look at the server's load and at locks that are waited for (pg_stat_activity).",
        "Look at the load of this machine.",
    ),
    F.LOCKED: (
        "another transaction holds what is needed",
        "Try again; if it lasts, look for the transaction in pg_stat_activity.",
        "Try again; if it lasts, look for the transaction in pg_stat_activity.",
    ),
    F.CONNECTION_LOST: (
        "the connection broke",
        "Nothing, unless it continues: look into the server's log and that of any pooler.",
        "Nothing, unless it continues: look into log/postgres.log of the data folder.",
    ),
}

# By SQLSTATE, the longest that fits.
_BY_STATE = {
    "08": F.CONNECTION_LOST,
    "25006": F.READ_ONLY,
    "25P": F.TIMED_OUT,  # idle in transaction, or a transaction that lasted too long
    "26000": F.POOLER_REFUSED,  # a prepared statement that another server connection has
    "28": F.ACCESS_REFUSED,
    "28P01": F.PASSWORD_WRONG,
    "3D000": F.DATABASE_UNKNOWN,
    "40": F.LOCKED,
    "42501": F.PERMISSION_DENIED,
    "42P01": F.SCHEMA_MISSING,
    "42703": F.SCHEMA_MISSING,
    "53100": F.DISK_FULL,
    "53200": F.OUT_OF_MEMORY,
    "53300": F.TOO_MANY_CONNECTIONS,
    "53400": F.OUT_OF_MEMORY,
    "55P03": F.LOCKED,
    "57014": F.TIMED_OUT,
    "57P01": F.SHUTTING_DOWN,
    "57P02": F.CONNECTION_LOST,  # another backend crashed
    "57P03": F.STARTING_UP,
    "58": F.DAMAGED,
    "XX001": F.DAMAGED,
    "XX002": F.DAMAGED,
}

# The text of a refused connection from Postgres, PgBouncer and libpq. The first match counts.
_BY_WORDS = tuple(
    (re.compile(words), fault)
    for words, fault in (
        (r"No space left on device", F.DISK_FULL),
        (r"server is in hot standby mode|session is read-only", F.STANDBY),
        (
            r"SSL|certificate|no encryption|TLS|tls",
            F.TLS_REFUSED,
        ),
        (
            r"password authentication failed|authentication failed|no password supplied|wrong password|empty password",
            F.PASSWORD_WRONG,
        ),
        (r"role .* does not exist|not permitted to log in|no such user", F.ROLE_UNKNOWN),
        (r"database .* does not exist|no such database|not currently accepting", F.DATABASE_UNKNOWN),
        (
            r"too many (clients|connections)|connection slots are reserved|no more connections allowed|query_wait_timeout",
            F.TOO_MANY_CONNECTIONS,
        ),
        (r"shutting down", F.SHUTTING_DOWN),
        (
            r"starting up|in recovery mode|not yet accepting connections|not accepting connections",
            F.STARTING_UP,
        ),
        (r"no pg_hba.conf entry|pg_hba.conf rejects|ident|[Pp]eer", F.ACCESS_REFUSED),
        (r"permission denied for database", F.PERMISSION_DENIED),
        (r"unsupported startup parameter", F.POOLER_REFUSED),
        (r"FATAL:", F.REFUSED),
        (r"closed the connection unexpectedly|closed unexpectedly|connection is lost", F.CONNECTION_LOST),
    )
)


def fault_of(error: BaseException) -> DatabaseFault | None:
    """The cause of what the driver or the pool raised; None where the fault is the statement's or the caller's."""
    if isinstance(error, sa.exc.TimeoutError):
        return F.POOL_EXHAUSTED
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return None
    known = None if cause.sqlstate is None else _of_state(cause.sqlstate)
    if known is F.CONNECTION_LOST:  # a pooler reports so whatever keeps it from its server
        return _of_words(str(cause), known)
    if known is not None or not isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        return known
    return _of_connection(cause) if cause.sqlstate is None else F.REFUSED


def _of_state(state: str) -> DatabaseFault | None:
    return next((_BY_STATE[state[:size]] for size in (5, 3, 2) if state[:size] in _BY_STATE), None)


def _of_connection(error: psycopg.Error) -> DatabaseFault:
    """The cause of a connection that was not made, or broke without an answer from the server."""
    chain = error.__cause__ or error.__context__
    if isinstance(chain, socket.gaierror) or "failed to resolve host" in str(error):
        return F.NAME_UNRESOLVED
    if error.pgconn is not None and error.pgconn.needs_password:
        return F.PASSWORD_WRONG  # it asked for one, and there is none
    return _of_words(str(error), F.UNREACHABLE)


def _of_words(words: str, otherwise: DatabaseFault) -> DatabaseFault:
    return next((fault for pattern, fault in _BY_WORDS if pattern.search(words)), otherwise)
