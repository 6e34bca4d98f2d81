"""One connection to Redis on which commands are sent without waiting for their replies.

Replies are read when the next command is sent, or by `check`. So a sender pays for one system call and never for
Redis. Knows neither wake-ups nor Celery.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.client import Redis
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as NotAnswered

Command = tuple[str, ...]

MAX_UNANSWERED_BYTES = 64 * 1024  # the kernel buffers this much even when Redis hangs


class Refused(RedisError):
    """Redis answered a command with an error, which is the cause of this one. The wire goes on."""

    def __init__(self, command: Command) -> None:
        super().__init__(f"{command[0]} was refused")
        self.command = command


class Wire:
    """A connection and what was sent on it. One thread at a time. After an error it is broken: make another."""

    def __init__(
        self, redis: Redis, *, patience_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Connect. Raises RedisError or OSError."""
        # Not through the pool, which counts the connections it has made and stops at a hundred.
        pool: Any = redis.connection_pool  # its methods have no types
        connection = pool.connection_class(**pool.connection_kwargs)
        self._connection = connection
        self._patience_s = patience_s
        self._clock = clock
        self._unanswered: deque[tuple[float, int, Command]] = deque()
        self._unanswered_bytes = 0
        self.answered = 0
        self._connection.connect()

    def unanswered(self) -> list[Command]:
        """What was sent and not answered yet, oldest first."""
        return [command for _, _, command in self._unanswered]

    def send(self, command: Command) -> bool:
        """Send a command, unless too many wait for an answer. Raises as `check` does."""
        self.check()
        size_bytes = sum(map(len, command))
        if self._unanswered and self._unanswered_bytes + size_bytes > MAX_UNANSWERED_BYTES:
            return False
        self._connection.send_packed_command(self._connection.pack_command(*command), check_health=False)
        self._unanswered.append((self._clock(), size_bytes, command))
        self._unanswered_bytes += size_bytes
        return True

    def check(self) -> None:
        """Read the replies that have come. Raises Refused for one that is an error; RedisError or OSError when broken."""
        while self._unanswered and self._connection.can_read(timeout=0):
            refusal = self._refusal()
            _, size_bytes, command = self._unanswered.popleft()
            self._unanswered_bytes -= size_bytes
            if refusal is not None:
                raise Refused(command) from refusal
            self.answered += 1
        if self._unanswered and self._clock() - self._unanswered[0][0] > self._patience_s:
            raise NotAnswered("a command was not answered in time")

    def _refusal(self) -> ResponseError | None:
        """Read one reply, and give it back if it is an error."""
        try:
            reply = self._connection.read_response()
        except ResponseError as refusal:
            return refusal
        return reply if isinstance(reply, ResponseError) else None

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()
