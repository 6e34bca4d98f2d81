"""The installation that an operator's command works on: settings, database, master key, blob store.

MEDQUEUE_* variables say where they are; what they leave open is the embedded stack's of the data folder.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
import sqlalchemy as sa
from redis.exceptions import RedisError

from service import logs
from service.broker import waits
from service.cli.errors import SchemaMissing, StackNotFound, Unreachable
from service.config import Settings
from service.crypto import Keyring
from service.database_faults import DatabaseFault, fault_of
from service.db import Database
from service.embedded import FolderUnusable, server_urls
from service.errors import DatabaseUnavailable
from service.queue import WakeUp
from service.redis_client import redis_client
from service.storage import BlobStore, FsspecBlobStore


@dataclass(frozen=True)
class Installation:
    """What a command needs of an installation; connects when first used. Wake-ups are left to the scheduler."""

    settings: Settings
    database: Database

    @cached_property
    def keyring(self) -> Keyring:
        """Data keys under the master key. Raises SettingInvalid when there is none."""
        return Keyring(self.settings.master_key_bytes())

    @cached_property
    def owner_url(self) -> str:
        """The database for migrations: as its owner in the embedded stack, otherwise with the role of the settings."""
        if Settings.from_environment().database_url:
            return self.settings.database_url
        return server_urls(self.settings.data_dir).owner_url

    @cached_property
    def blobs(self) -> BlobStore:
        """The encrypted store."""
        return FsspecBlobStore(self.settings.blob_location)

    def wake_up_waits(self, wake_up: WakeUp) -> bool | None:
        """Whether a wake-up waits in Redis to be taken; None when Redis does not answer."""
        try:
            with redis_client(self.settings.redis_url) as redis:
                return waits(redis, wake_up)
        except (RedisError, OSError, ValueError):  # ValueError: there is no address
            return None

    @property
    def actor(self) -> str:
        """Who works here, as an audit event names it: the account of this process."""
        return operator_name(os.getuid())


def operator_name(uid: int) -> str:
    """`operator:` and the account's name, or its number where it has none."""
    try:
        return f"operator:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"operator:{uid}"


@contextmanager
def open_installation(data_dir: Path) -> Iterator[Installation]:
    """The installation of the environment and `data_dir`, for as long as the block lasts.

    Raises SettingInvalid, StackNotFound, Unreachable or SchemaMissing.
    """
    settings = complete_settings(data_dir)
    logs.configure("ERROR")
    with database_faults_explained():
        database = Database(settings.database_url, pool_size=1)
        try:
            yield Installation(settings, database)
        finally:
            database.close()


def complete_settings(data_dir: Path) -> Settings:
    """Settings of the environment, the servers' addresses completed by the stack in `data_dir`."""
    settings = Settings.from_environment().model_copy(update={"data_dir": data_dir})
    if settings.database_url and settings.redis_url:
        return settings
    try:
        urls = server_urls(data_dir)
    except FolderUnusable:
        if settings.database_url:
            return settings
        raise StackNotFound(
            f"No stack has run on {data_dir}. Start one with `medqueue up`, name one with --data-dir, "
            "or set MEDQUEUE_DATABASE_URL."
        ) from None
    except OSError as error:
        raise StackNotFound(f"{data_dir} cannot be read ({error.strerror}). Run this as its owner.") from None
    return settings.model_copy(
        update={
            "database_url": settings.database_url or urls.database_url,
            "redis_url": settings.redis_url or urls.redis_url,
        }
    )


@contextmanager
def database_faults_explained() -> Iterator[None]:
    """Word what the database's driver raises when the address, the server or the schema is wrong."""
    try:
        yield
    except (sa.exc.DBAPIError, sa.exc.TimeoutError, psycopg.Error) as error:
        fault = fault_of(error)
        if fault is None:
            raise
        raise _worded(fault) from None
    except DatabaseUnavailable as error:
        if error.fault not in set(DatabaseFault):
            raise
        raise _worded(DatabaseFault(error.fault)) from None


def _worded(fault: DatabaseFault) -> Exception:
    """What the operator of this installation reads about a fault."""
    if fault is DatabaseFault.SCHEMA_MISSING:
        return SchemaMissing()
    words = f"Postgres cannot be used: {fault.found}. {fault.advice(embedded=on_embedded_postgres())}"
    return DatabaseUnavailable(words, fault=fault) if fault is DatabaseFault.LOCKED else Unreachable(words)


def on_embedded_postgres() -> bool:
    """Whether Postgres is the data folder's own: no address of another one is set."""
    return not Settings.from_environment().database_url
