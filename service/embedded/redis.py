"""The embedded Redis: its configuration, its command line and whether it answers. It keeps nothing."""

from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.embedded.folder import DataFolder, write_private
from service.embedded.privileges import ServerUser
from service.embedded.wheels import redis_binary

# Nothing is kept on disk and nothing is evicted. The process title stays a command line we can recognise.
CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
maxmemory 256mb
maxmemory-policy noeviction
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
        """Write the configuration."""
        password = self.folder.secret("redis.password")
        write_private(self.configuration_file, CONFIGURATION.format(port=self.port, password=password))

    def command(self) -> tuple[str, ...]:
        """The command line that serves in the foreground, as the server's user."""
        return (*self.user.prefix(), *self.serving())

    def serving(self) -> tuple[str, ...]:
        """The same, as whoever starts it."""
        return (str(redis_binary()), str(self.configuration_file))

    def answers(self) -> bool:
        """Whether the server takes commands."""
        try:
            once = Retry(NoBackoff(), 0)  # by default the client tries on for seconds
            with redis.Redis.from_url(self.url, socket_timeout=2, retry=once) as connection:
                return bool(connection.ping())
        except redis.RedisError:
            return False
