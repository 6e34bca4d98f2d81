"""The tests of what a process needs for its work. Knows no processes: service.gate runs them.

A test finds nothing or a fault, which names the setting, the cause and what to do. None holds a secret.
"""

import os

import psycopg
import sqlalchemy as sa

from service import grants, master_key
from service.crypto import Keyring
from service.database_faults import DatabaseFault, fault_of
from service.db import Database
from service.errors import BlobUnavailable, DatabaseUnavailable
from service.faults import Fault, Requirement
from service.revision import needed_revision
from service.storage import NO_ROOT, BlobStore
from service.writable import NO_FOLDER

# Large enough to fail on a volume without room for uploads and parts.
BLOB_BYTES = 64 * 1024
DATABASE_URL = "MEDQUEUE_DATABASE_URL"
REVISION = "SELECT version_num FROM alembic_version"
WRITABLE = (
    "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only"
)
LACKING = grants.lacking(grants.PROCESSES)
# The address is wrong; a server that is merely unavailable, busy or a standby may come back under it.
WRONG_ADDRESS = {
    DatabaseFault.PASSWORD_WRONG,
    DatabaseFault.ROLE_UNKNOWN,
    DatabaseFault.DATABASE_UNKNOWN,
    DatabaseFault.ACCESS_REFUSED,
    DatabaseFault.TLS_REFUSED,
}


def database(database: Database, keyring: Keyring) -> Fault | None:
    """Whether Postgres takes writes, grants what is needed, has this release's schema, and holds data of this master key."""
    try:
        return (
            _not_writable(database) or _privileges(database) or _schema(database) or _key(database, keyring)
        )
    except DatabaseUnavailable as error:
        return postgres_fault(DatabaseFault(error.fault))
    except (psycopg.Error, sa.exc.SQLAlchemyError) as error:
        return postgres_fault(fault_of(error) or DatabaseFault.REFUSED)


def blob_store(blobs: BlobStore, setting: str, location: str) -> Fault | None:
    """Whether a blob can be written at `location`, read back and removed."""
    content = os.urandom(BLOB_BYTES)
    try:
        blobs.write(location, [content])
        same = b"".join(blobs.read(location)) == content
        blobs.delete(location)
    except (BlobUnavailable, FileNotFoundError) as error:
        cause = error.__cause__ or error
        words = getattr(cause, "strerror", None) or type(cause).__name__
        advice = (
            "Put the folder back or mount its volume; `medqueue db bootstrap` makes it in a fresh installation."
            if words == NO_ROOT
            else "Make room, repair the store or its credentials, and let this account write there."
        )
        return Fault(
            Requirement.BLOB_STORE,
            setting,
            f"no blob can be written and read: {words}",
            advice,
            wrong_setting=getattr(cause, "errno", None) in NO_FOLDER,
        )
    if same:
        return None
    return Fault(
        Requirement.BLOB_STORE,
        setting,
        "a blob was read back changed",
        "Check the storage below the blob store.",
    )


def _not_writable(database: Database) -> Fault | None:
    """The fault is raised within the unit of work, as by a write: then the pool reconnects, to a server that takes writes."""
    standby = False
    try:
        with database.statement() as work:
            (server,) = work.execute(WRITABLE)
            standby = server.standby
            if standby or server.read_only:
                raise psycopg.errors.ReadOnlySqlTransaction
    except DatabaseUnavailable:
        if not standby:
            raise
        return postgres_fault(DatabaseFault.STANDBY)
    return None


def _schema(database: Database) -> Fault | None:
    try:
        with database.statement() as work:
            rows = work.execute(REVISION)
    except psycopg.errors.UndefinedTable:
        rows = []
    if rows and rows[0].version_num >= needed_revision():
        return None
    found = f"the schema is {rows[0].version_num}" if rows else "the database has no medqueue schema"
    cause = f"{found}, and this release needs {needed_revision()}"
    return Fault(Requirement.SCHEMA, DATABASE_URL, cause, "Run `medqueue db upgrade`.")


def _privileges(database: Database) -> Fault | None:
    with database.statement() as work:
        missing = work.execute(LACKING)[0].missing
    if missing is None:
        return None
    advice = DatabaseFault.PERMISSION_DENIED.advice(embedded=False)
    return Fault(Requirement.POSTGRES, DATABASE_URL, f"the role lacks {missing}", advice)


def _key(database: Database, keyring: Keyring) -> Fault | None:
    try:
        with database.transaction() as work:
            master_key.verify(work, keyring)
    except master_key.MasterKeyWrong:
        return Fault(
            Requirement.MASTER_KEY,
            "MEDQUEUE_MASTER_KEY",
            "it is not the key that the data of this database is sealed under",
            "Set the key of the other processes, or restore master.key from its backup, and start again.",
            wrong_setting=True,
        )
    return None


def postgres_fault(fault: DatabaseFault) -> Fault:
    """What an operator is told if Postgres cannot be used."""
    return Fault(
        Requirement.POSTGRES,
        DATABASE_URL,
        f"Postgres cannot be used: {fault.found}",
        fault.advice(embedded=False),
        wrong_setting=fault in WRONG_ADDRESS,
    )
