"""The embedded Postgres: its cluster, its command line and whether it answers. Starts nothing but initdb."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from service.embedded.errors import FolderUnusable, StackFailed
from service.embedded.folder import DataFolder
from service.embedded.privileges import ServerUser
from service.embedded.processes import child_environment
from service.embedded.wheels import POSTGRES_MAJOR, postgres_binary

ROLE = DATABASE = "medqueue"
PASSWORD_FILE = "postgres.password"  # noqa: S105  a name, not a password

# For a small machine. Errors are logged without statement and detail, which may quote a row.
CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "off",  # the wheel's build knows only pglz, which costs more than it saves
    "synchronous_commit": "on",
    "autovacuum_naptime": "10s",  # queue tables die young; how much is enough is set on each table
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",  # an error text may quote a value; the application reports errors by id
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True)
class Postgres:
    """One cluster in a data folder, served on a unix socket and on a loopback port."""

    folder: DataFolder
    user: ServerUser
    port: int
    fsync: bool = True

    name = "postgres"
    stop_signal = "INT"  # ends sessions at once, but orderly

    @property
    def sockets(self) -> Path:
        """The folder of its unix socket, which belongs to the server's user."""
        return self.folder.sockets / "postgres"

    @property
    def url(self) -> str:
        """The application's database, over the unix socket."""
        return self._url(DATABASE)

    def prepare(self) -> None:
        """Make the cluster on first use, and hand cluster and socket folder to the server's user."""
        if not self.folder.cluster.exists():
            self._create_cluster()
        self._refuse_unusable()
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        for path in (self.folder.cluster, self.sockets):
            self.user.give(path)

    def command(self) -> tuple[str, ...]:
        """The command line that serves the cluster in the foreground, as the server's user."""
        return (*self.user.prefix(), *self.serving())

    def serving(self) -> tuple[str, ...]:
        """The same, as whoever starts it."""
        settings = CONFIGURATION | {
            "port": str(self.port),
            "unix_socket_directories": f'"{self.sockets}"',
            "fsync": "on" if self.fsync else "off",
        }
        options = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        return (str(postgres_binary("postgres")), "-D", str(self.folder.cluster), *options)

    def answers(self) -> bool:
        """Whether the server takes connections; makes the application's database when it is not there yet."""
        try:
            with psycopg.connect(self._url("postgres"), autocommit=True, connect_timeout=5) as connection:
                found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
                if found.rowcount == 0:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            return False
        return True

    def _url(self, database: str) -> str:
        secret, host = self.folder.secret(PASSWORD_FILE), quote(str(self.sockets), safe="")
        return f"postgresql://{ROLE}:{secret}@/{database}?host={host}&port={self.port}"

    def _refuse_unusable(self) -> None:
        password = self.folder.root / PASSWORD_FILE
        if (self.folder.cluster / "PG_VERSION").read_text().strip() != str(POSTGRES_MAJOR):
            raise FolderUnusable(f"{self.folder.cluster} is not a cluster of Postgres {POSTGRES_MAJOR}.")
        if not password.exists():
            raise FolderUnusable(f"{password} is missing. Restore it from a backup.")

    def _create_cluster(self) -> None:
        """Run initdb beside the final place, so that a crash leaves no half-made cluster."""
        fresh = self.folder.root / "postgres.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        self.user.give(fresh)
        password = self.folder.secret(PASSWORD_FILE).encode()
        with self.folder.open_log("initdb") as log:
            ended = subprocess.run(
                self._initdb_command(fresh), input=password, stdout=log, stderr=log,
                env=child_environment(self.folder, {}), cwd="/", check=False,
            )  # fmt: skip
        if ended.returncode != 0:
            raise StackFailed("initdb", f"ended with status {ended.returncode}", self.folder.log("initdb"))
        fresh.rename(self.folder.cluster)

    def _initdb_command(self, cluster: Path) -> tuple[str, ...]:
        # Postgres' own C.UTF-8 sorts alike on every machine; libc's is missing on some.
        return (
            *self.user.prefix(), str(postgres_binary("initdb")), "-D", str(cluster),
            "--username", ROLE, "--pwfile", "/dev/stdin", "--auth=scram-sha-256", "--encoding=UTF8",
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums",
            *(() if self.fsync else ("--no-sync",)),
        )  # fmt: skip
