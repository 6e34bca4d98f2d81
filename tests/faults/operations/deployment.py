"""What operators do to a deployment: wrong keys and passwords, servers that take no writes, full volumes, lost files.

Each fault is mended when its block ends. What runs under the stack's supervisor is started again by it.
"""

import base64
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from service.embedded.commands import worker_command
from service.embedded.folder import write_private
from tests.acceptance.stack import eventually
from tests.faults.arena import Arena
from tests.forking.commands import Forked

VOLUME_MB = 256
PROCESSES = ("worker-1", "scheduler", "api")
COMES_BACK_WITHIN_S = 90.0
STARTED_AGAIN_AFTER_S = 1.0


@contextlib.contextmanager
def another_worker(arena: Arena, **variables: str) -> Iterator[None]:
    """Beside the stack's own a worker with other settings, which is started again whenever it ends."""
    environment = {**arena.environment(), "MEDQUEUE_WORKER_NAME": "stranger", **variables}
    closing = threading.Event()

    def run() -> None:
        while not closing.is_set():
            with Forked(worker_command("stranger"), env=environment) as worker:
                while worker.poll() is None and not closing.wait(0.1):
                    pass
                worker.kill()
            closing.wait(STARTED_AGAIN_AFTER_S)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join(timeout=30)


def another_key() -> str:
    """A master key that nobody has."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


@contextlib.contextmanager
def wrong_master_key(arena: Arena, *names: str) -> Iterator[None]:
    """These processes are started anew with another master key; then they get the right one back."""
    path = arena.stack.data / "master.key"
    right = path.read_text()
    write_private(path, another_key() + "\n")
    try:
        replaced(arena, *names)
        yield
    finally:
        write_private(path, right)
        started_anew(arena, *names)


@contextlib.contextmanager
def wrong_password(arena: Arena) -> Iterator[None]:
    """The database's role gets another password, and every process is started anew."""
    with psycopg.connect(arena.database_url, autocommit=True) as connection:
        password = connection.info.password
        connection.execute("ALTER ROLE CURRENT_USER PASSWORD 'another'")
        try:
            replaced(arena, *PROCESSES)
            yield
        finally:
            connection.execute(
                psycopg.sql.SQL("ALTER ROLE CURRENT_USER PASSWORD {}").format(psycopg.sql.Literal(password))
            )
            ready_again(arena)


@contextlib.contextmanager
def read_only(arena: Arena) -> Iterator[None]:
    """The database takes no writes of the application, of connections that are open neither."""
    with psycopg.connect(
        arena.database_url, autocommit=True, options="-c default_transaction_read_only=off"
    ) as connection:
        connection.execute("ALTER ROLE CURRENT_USER SET default_transaction_read_only = on")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND usename = current_user"
        )
        try:
            yield
        finally:
            connection.execute("ALTER ROLE CURRENT_USER RESET default_transaction_read_only")
            ready_again(arena)


@contextlib.contextmanager
def full(volume: Path) -> Iterator[None]:
    """Nothing more can be written to a volume."""
    if not os.path.ismount(volume):
        pytest.skip("no file system can be mounted here")
    filler = volume / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def bundles_gone(arena: Arena, blobs: Path) -> Iterator[None]:
    """The files of every published model are gone from the store, and the worker that had them is started anew."""
    kept = blobs.with_name("kept")
    shutil.move(blobs / "models", kept)
    shutil.rmtree(arena.stack.data / "cache", ignore_errors=True)
    try:
        replaced(arena, "worker-1")
        yield
    finally:
        shutil.copytree(kept, blobs / "models", dirs_exist_ok=True)
        shutil.rmtree(kept)
        ready_again(arena)


def replaced(arena: Arena, *names: str) -> None:
    """Have the supervisor start these again."""
    for name, old in {name: arena.kill(name, signal.SIGTERM) for name in names}.items():
        eventually(partial(_is_new, arena, name, old), within_s=COMES_BACK_WITHIN_S)


def _is_new(arena: Arena, name: str, old: int) -> bool:
    return arena.stack.pid(name) != old


def started_anew(arena: Arena, *names: str) -> None:
    """Have the supervisor start these again, and wait until all work."""
    for name in names:
        arena.kill(name, signal.SIGTERM)
    ready_again(arena)


def ready_again(arena: Arena) -> None:
    """Wait until every process of the stack does its work."""
    for name in (*arena.stack.worker_names, "scheduler"):
        ready = arena.stack.data / "run" / f"{name}.ready"
        eventually(ready.exists, within_s=COMES_BACK_WITHIN_S)
    eventually(arena.answers, within_s=COMES_BACK_WITHIN_S)


@contextlib.contextmanager
def small_volume() -> Iterator[Path]:
    """A file system of its own, where the system allows it; else a plain folder.

    Not below the temporary folders of pytest: a volume that a killed run leaves there is in the way of every later
    run, which tries to remove the folder.
    """
    with tempfile.TemporaryDirectory(prefix="medqueue-volume-", ignore_cleanup_errors=True) as parent:
        folder = Path(parent, "blobs")
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_MB}m", "tmpfs", str(folder)]
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
        try:
            yield folder
        finally:
            if mounted:
                subprocess.run(["umount", "-l", str(folder)], check=True)
