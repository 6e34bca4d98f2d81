"""The embedded Redis: its configuration, its command line and whether it answers. It keeps nothing."""

from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.embedded.folder import DataFolder, write_private
from service.embedded.privileges import ServerUser
from service.embedded.wheels import copy_programs, redis_binary

# Nothing is kept on disk and nothing is evicted. The process title stays a recognizable command line.
CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
maxmemory 256mb
maxmemory-policy noeviction
dir {place}
save ""
appendonly no
tcp-backlog 128
set-proc-title no
"""


@dataclass(frozen=True)
class Redis:
    """One Redis on a loopback port, closed to other users by a password."""

    folder: DataFolder
    user: ServerUser
    port: int
    programs: Path | None = None  # copies, where the user may not run that of the wheel

    name = "redis"
    stop_signal = "TERM"

    @property
    def url(self) -> str:
        """Its database 0."""
        return f"redis://:{self.folder.secret('redis.password')}@127.0.0.1:{self.port}/0"

    @property
    def configuration_file(self) -> Path:
        """Holds the password, which must not stand on a command line."""
        return self.folder.run / "redis.conf"

    def prepare(self) -> None:
        """Write the configuration, and make a folder that the server can enter."""
        if self.programs is not None:
            copy_programs(self.programs)
        place = self.folder.sockets / "redis"  # must be empty: Redis looks for a file to load
        place.mkdir(mode=0o700, exist_ok=True)
        self.user.give(place)
        password = self.folder.secret("redis.password")
        written = CONFIGURATION.format(port=self.port, password=password, place=place)
        write_private(self.configuration_file, written)

    def command(self) -> tuple[str, ...]:
        """The command line that serves in the foreground, as the server's user."""
        return (*self.prefix(), *self.serving())

    def prefix(self) -> tuple[str, ...]:
        """The prefix that runs a command as the server's user, with the configuration on its standard input."""
        return self.user.prefix(read=self.configuration_file)

    def serving(self) -> tuple[str, ...]:
        """The same, as the user who starts it."""
        if self.user.is_us:
            return (str(redis_binary(self.programs)), str(self.configuration_file))
        # Nothing goes to syslog: this name marks the process as this folder's.
        return (str(redis_binary(self.programs)), "-", "--syslog-ident", str(self.configuration_file))

    def answers(self) -> bool:
        """Whether the server takes commands."""
        try:
            once = Retry(NoBackoff(), 0)  # by default the client retries for seconds
            with redis.Redis.from_url(self.url, socket_timeout=2, retry=once) as connection:
                return bool(connection.ping())
        except redis.RedisError:
            return False
