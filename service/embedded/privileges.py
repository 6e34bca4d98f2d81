"""Who the database servers run as. Postgres refuses to run as root, so root hands both to another user."""

import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from service.embedded.errors import FolderUnusable


@dataclass(frozen=True)
class ServerUser:
    """The account that owns the cluster and runs the servers."""

    uid: int
    gid: int

    @property
    def is_us(self) -> bool:
        """Whether nothing has to change."""
        return self.uid == os.geteuid()

    def prefix(self) -> tuple[str, ...]:
        """Words before a command that run it as this user; pid and environment stay the same.

        The one capability that is kept lets the server reach its files below folders closed to it, such as
        /root. Making those folders searchable was rejected: they are not ours to open.
        """
        if self.is_us:
            return ()
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise FolderUnusable(
                "Started as root, and setpriv (package util-linux) is missing:"
                " install it, or start as a plain user."
            )
        capability = "-all,+dac_override"
        return (
            setpriv, f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups",
            f"--inh-caps={capability}", f"--ambient-caps={capability}",
        )  # fmt: skip

    def give(self, path: Path) -> None:
        """Make this user the owner of a file, or of a folder and what is in it."""
        if path.lstat().st_uid == self.uid:
            return
        os.chown(path, self.uid, self.gid, follow_symlinks=False)
        if path.is_dir() and not path.is_symlink():
            for inner in path.iterdir():
                self.give(inner)


def server_user(cluster: Path) -> ServerUser:
    """Who runs the servers: we; as root the cluster's owner, else the first of `postgres` and `nobody`."""
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid())
    if cluster.exists() and cluster.stat().st_uid != 0:
        return ServerUser(cluster.stat().st_uid, cluster.stat().st_gid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known.get("nobody")
    if entry is None:
        raise FolderUnusable("Started as root, and no user `postgres` or `nobody` is there to run Postgres.")
    return ServerUser(entry.pw_uid, entry.pw_gid)
