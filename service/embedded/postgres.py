"""The embedded Postgres: its cluster, its command line and whether it answers. Starts nothing but initdb."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from service.embedded import roles
from service.embedded.errors import FolderUnusable, StackFailed
from service.embedded.folder import DataFolder, write_private
from service.embedded.privileges import OPENED, ServerUser
from service.embedded.processes import child_environment
from service.embedded.roles import ADMINISTRATOR, APPLICATION, DATABASE, OWNER
from service.embedded.wheels import POSTGRES_MAJOR, copy_programs, postgres_binary

PASSWORD_FILES = {
    ADMINISTRATOR: "postgres.password",
    OWNER: "postgres-owner.password",
    APPLICATION: "postgres-app.password",
}

# A setting that Postgres ignores: it marks the process as this folder's where `-D` does not.
FOLDER_MARK = "medqueue.folder"

# For a small machine. Errors are logged without statement and detail, which may quote a row.
CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "wal_init_zero": "off",  # every commit waited some 80 ms while 16 MiB of a new segment were filled with zeros
    "checkpoint_timeout": "15min",
    "wal_compression": "off",  # the wheel's build knows only pglz, which costs more than it saves
    "synchronous_commit": "on",
    "autovacuum_naptime": "10s",  # rows of queue tables are short-lived; thresholds are set on each table
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
    programs: Path | None = None  # copies, where the user may not run those of the wheel

    name = "postgres"
    stop_signal = "INT"  # fast shutdown: ends sessions at once, cleanly

    @property
    def sockets(self) -> Path:
        """The folder of its unix socket, which belongs to the server's user."""
        return self.folder.sockets / "postgres"

    @property
    def url(self) -> str:
        """The database for the application, which may only read and write rows; over the unix socket."""
        return self._url(APPLICATION, DATABASE)

    @property
    def owner_url(self) -> str:
        """The database for its owner, who migrates it."""
        return self._url(OWNER, DATABASE)

    @property
    def administrator_url(self) -> str:
        """The database for the administrator, who may do anything on this server."""
        return self._url(ADMINISTRATOR, DATABASE)

    def prepare(self) -> None:
        """Make the cluster on first use, and hand cluster and socket folder to the server's user."""
        if self.programs is not None:
            copy_programs(self.programs)
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        self.user.give(self.sockets)
        if not self.folder.cluster.exists():
            self._create_cluster()
        self._refuse_unusable()
        self.user.give(self.folder.cluster)

    def command(self) -> tuple[str, ...]:
        """The command line that serves the cluster in the foreground, as the server's user."""
        return (*self.prefix(), *self.serving())

    def prefix(self) -> tuple[str, ...]:
        """The prefix that runs a command as the server's user, with the cluster opened for it."""
        return self.user.prefix(folder=self.folder.cluster)

    def serving(self) -> tuple[str, ...]:
        """The same, as the user who starts it."""
        settings = CONFIGURATION | {
            "port": str(self.port),
            "unix_socket_directories": f'"{self.sockets}"',
            "fsync": "on" if self.fsync else "off",
            FOLDER_MARK: str(self.folder.cluster),
        }
        options = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        return (self._program("postgres"), "-D", self._seen(self.folder.cluster), *options)

    def answers(self) -> bool:
        """Whether the server takes connections; makes database and roles when they are not there yet."""
        passwords = {role: self.folder.secret(PASSWORD_FILES[role]) for role in (OWNER, APPLICATION)}
        maintenance = self._url(ADMINISTRATOR, "postgres")
        try:
            with psycopg.connect(maintenance, autocommit=True, connect_timeout=5) as connection:
                roles.make_roles(connection, passwords)
            with psycopg.connect(self.administrator_url, autocommit=True, connect_timeout=5) as connection:
                roles.hand_over(connection)
        except psycopg.OperationalError:
            return False
        return True

    def _url(self, role: str, database: str) -> str:
        secret, host = self.folder.secret(PASSWORD_FILES[role]), quote(str(self.sockets), safe="")
        return f"postgresql://{role}:{secret}@/{database}?host={host}&port={self.port}"

    def _program(self, name: str) -> str:
        return str(postgres_binary(name, self.programs))

    def _seen(self, opened: Path) -> str:
        """The path by which the server reaches the folder that `prefix` opened for it."""
        return str(opened if self.user.is_us else OPENED)

    def _refuse_unusable(self) -> None:
        password = self.folder.root / PASSWORD_FILES[ADMINISTRATOR]
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
        password = self.sockets / "initdb.password"  # a place that the server's user can reach
        write_private(password, self.folder.secret(PASSWORD_FILES[ADMINISTRATOR]))
        self.user.give(password)
        with self.folder.open_log("initdb") as log:
            ended = subprocess.run(
                self._initdb_command(fresh, password), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=child_environment(self.folder, {}), cwd="/", check=False,
            )  # fmt: skip
        password.unlink()
        if ended.returncode != 0:
            raise StackFailed("initdb", f"ended with status {ended.returncode}", self.folder.log("initdb"))
        fresh.rename(self.folder.cluster)

    def _initdb_command(self, cluster: Path, password: Path) -> tuple[str, ...]:
        # Postgres' own C.UTF-8 sorts the same on every machine; libc's is missing on some.
        return (
            *self.user.prefix(folder=cluster), self._program("initdb"), "-D", self._seen(cluster),
            "--username", ADMINISTRATOR, "--pwfile", str(password), "--auth=scram-sha-256", "--encoding=UTF8",
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums",
            *(() if self.fsync else ("--no-sync",)),
        )  # fmt: skip
