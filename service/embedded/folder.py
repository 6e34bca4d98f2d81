"""The data folder of one stack: where its files are, with which modes, and who holds it.

    master.key  admin.key  postgres*.password  redis.password    secrets, 0600
    postgres/                                                    the cluster, owned by the server's user
    run/    lock  NAME.pid  NAME.sh  ports.json  supervisord.conf  redis.conf  sockets -> a short folder
            NAME.ready  NAME.pulse  NAME.metrics                 from workers and scheduler, for health checks
    log/    NAME.log, rotated

Unix socket paths are limited to 107 bytes and data folders may be deep, so sockets live in a short folder
below the temporary one, named by a digest of the data folder and the user.
"""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from service.embedded.errors import FolderUnusable, StackRunning

SOCKET_PATH_BYTES = 107
LONGEST_SOCKET = "postgres/.s.PGSQL.65535.lock"


@dataclass(frozen=True)
class DataFolder:
    """Paths below one data folder. `root` is absolute and free of symbolic links."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> "DataFolder":
        """The data folder at `path`, made absolute. Creates nothing."""
        return cls(path.expanduser().resolve())

    @property
    def run(self) -> Path:
        """Pid files, start scripts, ports and the lock."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One rotated log a program."""
        return self.root / "log"

    @property
    def cluster(self) -> Path:
        """The Postgres cluster."""
        return self.root / "postgres"

    @property
    def sockets(self) -> Path:
        """The short folder of unix sockets, as `prepare` made it."""
        return (self.run / "sockets").readlink()

    def log(self, name: str) -> Path:
        """The log of a program."""
        return self.logs / f"{name}.log"

    def open_log(self, name: str) -> BinaryIO:
        """The log of a program without a log writer of its own, opened to append."""
        self.log(name).touch(mode=0o600)
        return self.log(name).open("ab")

    def secret(self, name: str) -> str:
        """A random secret that is made on first use and kept in a file of mode 0600."""
        path = self.root / name
        if not path.exists():
            write_private(path, secrets.token_hex(24) + "\n")
        return path.read_text().strip()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder where needed and hold it for this process, with a folder for its sockets.

        Raises StackRunning with the pid of who else holds it, FolderUnusable when it cannot be used.
        """
        self._make()
        with (self.run / "lock").open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackRunning(self.root, self.holder()) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            self._link_sockets()
            try:
                yield
            finally:
                shutil.rmtree(self.sockets, ignore_errors=True)

    def holder(self) -> int | None:
        """The pid of who holds the folder, or held it last; None before the first."""
        return _pid_in(self.run / "lock")

    def _make(self) -> None:
        try:
            for path in (self.root, self.run, self.logs):
                path.mkdir(mode=0o700, parents=path == self.root, exist_ok=True)
            (self.run / "lock").touch(mode=0o600)
        except OSError as error:
            raise FolderUnusable(f"The data folder {self.root} cannot be used: {error.strerror}.") from error

    def _link_sockets(self) -> None:
        short, link = _short_folder(self.root), self.run / "sockets"
        short.mkdir(mode=0o700, exist_ok=True)
        found = short.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise FolderUnusable(f"{short} must be a folder of the user that starts the stack. Remove it.")
        short.chmod(0o711)  # so that servers of another user reach their own folder in it
        link.unlink(missing_ok=True)
        link.symlink_to(short)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600, exist_ok=False)
    fresh.write_text(text)
    fresh.replace(path)


def _pid_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _is_open_to_all(folder: Path) -> bool:
    """Whether servers of another user can reach it, as those that root starts must."""
    return os.geteuid() != 0 or all(each.stat().st_mode & 0o001 for each in (folder, *folder.parents))


def _short_folder(root: Path) -> Path:
    digest = hashlib.sha256(f"{os.geteuid()} {root}".encode()).hexdigest()[:12]
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  ownership is checked before use
        folder = Path(base) / f"mq-{digest}"
        short = len(os.fsencode(folder / LONGEST_SOCKET)) <= SOCKET_PATH_BYTES
        if short and _is_open_to_all(folder.parent) and re.fullmatch(r"[\w/.+-]+", base, re.ASCII):
            return folder
    raise AssertionError("unreachable: /tmp is short and plain")
