"""What all parts of a worker process share: its settings and connections, and what stands over them."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from service import requirements
from service.accounts import TenantCiphers
from service.broker import CeleryTaskQueue
from service.catalog import Catalog
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.faults import Fault, faults_file
from service.gate import Gate
from service.jobs.artifacts import ArtifactStore
from service.storage import BlobStore, FsspecBlobStore
from service.uploads import Uploads
from service.writable import data_dir

POOL_SIZE = 11  # scoring and writing back in two lanes, batches, a heartbeat for each, and polling


@dataclass(frozen=True)
class Connections:
    """The settings and connections of a process. `owner` is its name in its claims."""

    settings: Settings
    owner: str
    keyring: Keyring
    queue: CeleryTaskQueue
    database: Database
    blobs: BlobStore
    gate: Gate
    catalog: Catalog
    ciphers: TenantCiphers
    uploads: Uploads
    artifacts: ArtifactStore


def connect(settings: Settings) -> Connections:
    """The connections of this process; each is made when it is first used."""
    keyring = Keyring(settings.master_key_bytes())
    queue = CeleryTaskQueue(settings.redis_url)
    database = Database(settings.database_url, pool_size=POOL_SIZE, queue=queue)
    blobs = FsspecBlobStore(settings.blob_location)
    return Connections(
        settings,
        worker_name(settings),
        keyring,
        queue,
        database,
        blobs,
        gate=_gate(settings, database, keyring, blobs),
        catalog=Catalog(database, cache_s=settings.cache_s, blobs=blobs),
        ciphers=TenantCiphers(database, keyring),
        uploads=Uploads(database, blobs, keyring, limit_bytes=settings.max_upload_bytes),
        artifacts=ArtifactStore(blobs, keyring),
    )


def worker_name(settings: Settings) -> str:
    """The owner's name in this process's claims: its configured name, its host and its process id."""
    return f"{settings.worker_name or 'worker'}@{socket.gethostname()}:{os.getpid()}"


def _gate(settings: Settings, database: Database, keyring: Keyring, blobs: BlobStore) -> Gate:
    """The gate over what this process needs: data folder, database, blob store."""
    host, name = socket.gethostname(), settings.worker_name

    def examine() -> Iterator[Fault]:
        tests = (
            data_dir(settings.data_dir),
            requirements.database(database, keyring),
            requirements.blob_store(blobs, settings.blob_setting, f"trials/{host}-{os.getpid()}"),
        )
        return (fault for fault in tests if fault is not None)

    record = faults_file(settings.data_dir, name) if name else None
    return Gate(f"{name or 'worker'}@{host}", examine, database=database, record=record)
