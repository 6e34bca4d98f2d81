"""A Postgres of the system's packages in place of the wheel's: for the majors that are supported beside it."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg

from service.embedded.waiting import wait_until

MAJORS = (15, 16, 17)
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "fsync": "off",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}


def installed() -> dict[int, Path]:
    """The folders of programs of Debian's packages, by major."""
    folders = {major: Path(f"/usr/lib/postgresql/{major}/bin") for major in MAJORS}
    return {major: folder for major, folder in folders.items() if (folder / "postgres").is_file()}


@contextmanager
def running(programs: Path) -> Iterator[str]:
    """The address of an empty database `medqueue` of a new cluster, which is removed afterwards.

    The cluster lies outside of the tests' folder, which root keeps to itself: Postgres never runs as root.
    """
    folder = Path(mkdtemp(prefix="older-postgres-"))
    account = "postgres" if os.geteuid() == 0 else None
    runs_as: dict[str, Any] = {"user": account, "group": account, "extra_groups": []} if account else {}
    password = folder / "password"
    password.write_text("secret")
    for path in (folder, password):
        shutil.chown(path, account or os.geteuid())
    try:
        subprocess.run(
            (programs / "initdb", "-D", folder / "data", "-U", "medqueue", "-A", "scram-sha-256",
             "--pwfile", password, "-E", "UTF8", "--locale", "C", "--no-sync"),
            check=True, capture_output=True, cwd="/", **runs_as,
        )  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = SETTINGS | {"port": str(port), "unix_socket_directories": str(folder)}
        words = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        server = subprocess.Popen(
            (programs / "postgres", "-D", folder / "data", *words),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **runs_as,
        )  # fmt: skip
        try:
            url = f"postgresql://medqueue:secret@/{{}}?host={folder}&port={port}"
            assert wait_until(lambda: _answers(url.format("postgres")), 60), "Postgres did not come up"
            with psycopg.connect(url.format("postgres"), autocommit=True) as connection:
                connection.execute("CREATE DATABASE medqueue")
            yield url.format("medqueue")
        finally:
            server.send_signal(2)  # SIGINT: ends sessions at once
            server.wait(30)
    finally:
        shutil.rmtree(folder)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
