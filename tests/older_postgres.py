"""A Postgres of the system's packages in place of the wheel's: for the majors that are supported beside it."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg

from service.embedded.waiting import wait_until
from tests import server_folders

MAJORS = (15, 16, 17)
SETTINGS = {
    "listen_addresses": "127.0.0.1,::1",
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


@dataclass
class Cluster:
    """One cluster in a folder of its own, outside of the tests', which root keeps to itself: Postgres never runs as root."""

    programs: Path
    folder: Path
    port: int
    account: str | None
    server: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def data(self) -> Path:
        """The folder of the cluster."""
        return self.folder / "data"

    def url(self, database: str) -> str:
        """The address of a database, over the socket."""
        return f"postgresql://medqueue:secret@/{database}?host={self.folder}&port={self.port}"

    def own(self, *paths: Path) -> None:
        """Give files to the account that runs the server."""
        for path in paths:
            shutil.chown(path, self.account or os.geteuid())

    def run(self, program: str, *words: str | Path) -> None:
        """Run one of the programs to its end."""
        command = (self.programs / program, *words)
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._runs_as())

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve the cluster for as long as the block lasts."""
        settings = SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        words = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        self.server = subprocess.Popen(
            (self.programs / "postgres", "-D", self.data, *words),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self._runs_as(),
        )  # fmt: skip
        try:
            assert wait_until(self._answers, 60), "Postgres did not come up"
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """End the server at once, with its sessions."""
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(2)
            self.server.wait(30)

    def _runs_as(self) -> dict[str, Any]:
        return {"user": self.account, "group": self.account, "extra_groups": []} if self.account else {}

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def empty(programs: Path) -> Iterator[Cluster]:
    """A folder for a cluster that somebody else fills; removed afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    account = "postgres" if os.geteuid() == 0 else None
    cluster = Cluster(
        programs, Path(mkdtemp(prefix="older-postgres-", dir=server_folders.parent())), port, account
    )
    cluster.own(cluster.folder)
    try:
        yield cluster
    finally:
        shutil.rmtree(cluster.folder)


@contextmanager
def cluster(programs: Path) -> Iterator[Cluster]:
    """A new cluster with an empty database `medqueue`, up."""
    with empty(programs) as made:
        password = made.folder / "password"
        password.write_text("secret")
        made.own(password)
        made.run("initdb", "-D", made.data, "-U", "medqueue", "-A", "scram-sha-256", "--pwfile", password,
                 "-E", "UTF8", "--locale", "C", "--no-sync")  # fmt: skip
        with made.serving():
            with psycopg.connect(made.url("postgres"), autocommit=True) as connection:
                connection.execute("CREATE DATABASE medqueue")
            yield made


@contextmanager
def running(programs: Path) -> Iterator[str]:
    """The address of the empty database of a new cluster."""
    with cluster(programs) as made:
        yield made.url("medqueue")
