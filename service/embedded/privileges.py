"""Which user the database servers run as, and with which privileges. Postgres refuses to run as root, so root hands
both to another user.

That user has no capabilities: SQL or a fault in a server can reach only what any user of the machine may read. So the
server cannot reach files below folders closed to it, such as /root; root opens what it needs of them beforehand and
passes open file descriptors. Two other ways were rejected: a capability to pass closed folders (it opened all of root's
files to SQL), and opening those folders (they are not ours to open).
"""

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from service.embedded.errors import FolderUnusable

OPENED_FOLDER = 9
OPENED = Path(f"/proc/self/fd/{OPENED_FOLDER}")


@dataclass(frozen=True)
class ServerUser:
    """The account that owns the cluster and runs the servers."""

    uid: int
    gid: int

    @property
    def is_us(self) -> bool:
        """Whether the servers run as the current user."""
        return self.uid == os.geteuid()

    def prefix(self, *, folder: Path | None = None, read: Path | None = None) -> tuple[str, ...]:
        """The prefix that runs a command as this user, without capabilities; pid and environment stay the same.

        The command finds `folder` at OPENED, and `read` on its standard input. Without a change of users nothing is opened.
        """
        if self.is_us:
            return ()
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise FolderUnusable(
                "Started as root, and setpriv (package util-linux) is missing:"
                " install it, or start as a plain user."
            )
        opening, opened = ("", "sh")
        if folder is not None:
            opening, opened = f'exec {OPENED_FOLDER}<"$0"; ', str(folder)
        elif read is not None:
            opening, opened = 'exec <"$0"; ', str(read)
        return (
            "/bin/sh", "-c", f'{opening}exec "$@"', opened,
            setpriv, f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups",
            "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs",
        )  # fmt: skip

    def give(self, path: Path) -> None:
        """Make this user the owner of a file, or of a folder and what is in it."""
        if path.lstat().st_uid == self.uid:
            return
        os.chown(path, self.uid, self.gid, follow_symlinks=False)
        if path.is_dir() and not path.is_symlink():
            for inner in path.iterdir():
                self.give(inner)

    def may_run(self, program: Path) -> bool:
        """Whether the modes of a program and of the folders above it let this user run it."""
        return self.is_us or (
            self.may_pass(program.parent)
            and self.may_pass(program.resolve().parent)
            and self._may(program, 5)
        )

    def may_pass(self, folder: Path) -> bool:
        """Whether this user may pass through a folder and all above it."""
        return self.is_us or all(self._may(each, 1) for each in (folder, *folder.parents))

    def _may(self, path: Path, bits: int) -> bool:
        found = path.stat()
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid == self.uid:
            mode >>= 6
        elif found.st_gid == self.gid:
            mode >>= 3
        return mode & bits == bits


def server_user(cluster: Path) -> ServerUser:
    """Who runs the servers: the current user; for root the cluster's owner, else the first of `postgres` and `nobody`."""
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid())
    if cluster.exists() and cluster.stat().st_uid != 0:
        return ServerUser(cluster.stat().st_uid, cluster.stat().st_gid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known.get("nobody")
    if entry is None:
        raise FolderUnusable("Started as root, and there is no user `postgres` or `nobody` to run Postgres.")
    return ServerUser(entry.pw_uid, entry.pw_gid)
