"""A Redis of the test's own, and what operators do to it. Each fault is mended when its block ends."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from service.embedded.wheels import redis_binary
from tests.acceptance.stack import eventually, free_port

PASSWORD = "operated"


class OwnRedis:
    """One redis-server on a port of its own, which can be stopped and started with other options."""

    def __init__(self, folder: Path, *, bind: str = "127.0.0.1") -> None:
        folder.mkdir(parents=True)
        self._bind = bind.split()
        self._folder = folder
        self.port = _cluster_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its database 0."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        words = ["--port", str(self.port), "--bind", *self._bind, "--save", "", "--dir", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(redis_binary()), *words, "--requirepass", PASSWORD, *options], stdout=log, stderr=log
            )
        eventually(self.answers, within_s=20)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def answers(self) -> bool:
        """Whether it takes commands."""
        with contextlib.suppress(RedisError, OSError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self) -> "Redis":
        """A client that tries once; close it."""
        return Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), 0), decode_responses=True)

    # Faults.

    @contextlib.contextmanager
    def dead(self) -> Iterator[None]:
        """Nobody listens."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Connections are taken by the kernel, and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def replica(self) -> Iterator[None]:
        """It follows a master that is dead: reads are answered, writes are refused."""
        self._do(("REPLICAOF", "127.0.0.1", str(free_port())))
        try:
            yield
        finally:
            self._do(("REPLICAOF", "NO", "ONE"))

    @contextlib.contextmanager
    def without(self, *commands: str) -> Iterator[None]:
        """The user may not run these commands."""
        self._do(("ACL", "SETUSER", "default", *(f"-{command}" for command in commands)))
        try:
            yield
        finally:
            self._do(("ACL", "SETUSER", "default", "+@all"))

    @contextlib.contextmanager
    def allowed_keys(self, pattern: str) -> Iterator[None]:
        """The user may use these keys alone."""
        self._do(("ACL", "SETUSER", "default", "resetkeys", f"~{pattern}"))
        try:
            yield
        finally:
            self._do(("ACL", "SETUSER", "default", "~*"))

    @contextlib.contextmanager
    def occupied(self, key: str) -> Iterator[None]:
        """Another program uses a key of ours for something else."""
        self._do(("DEL", key))
        self._do(("SET", key, "somebody else's"))
        try:
            yield
        finally:
            self._do(("DEL", key))

    @contextlib.contextmanager
    def restarted(self, *options: str) -> Iterator[None]:
        """It runs with other options."""
        self.kill()
        self.start(*options)
        try:
            yield
        finally:
            self.kill()
            self.start()

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """No memory is left, and nothing may be evicted."""
        with self.configured(maxmemory="1", maxmemory_policy="noeviction"):
            yield

    @contextlib.contextmanager
    def unwritable(self) -> Iterator[None]:
        """Its snapshots cannot be written, so it takes no writes."""
        (self._folder / "taken.rdb" / "x").mkdir(parents=True, exist_ok=True)
        with self.configured(dbfilename="taken.rdb", save="1 1", stop_writes_on_bgsave_error="yes"):
            with self.client() as client, contextlib.suppress(RedisError):
                client.bgsave()
            eventually(lambda: self._info("rdb_last_bgsave_status") == "err", within_s=10)
            yield
        self._do(("CONFIG", "SET", "save", ""))

    @contextlib.contextmanager
    def lonely_master(self) -> Iterator[None]:
        """It is to have a replica before it takes writes, and has none."""
        with self.configured(min_replicas_to_write="1"):
            yield

    @contextlib.contextmanager
    def other_password(self) -> Iterator[None]:
        """The password was changed, and every client disconnected."""
        with self.client() as client:
            client.config_set("requirepass", "another")
            try:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                yield
            finally:
                client.config_set("requirepass", PASSWORD)

    @contextlib.contextmanager
    def crowded(self) -> Iterator[None]:
        """Every place for clients is taken."""
        with self.client() as client:
            client.config_set("maxclients", "1")
            try:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                yield
            finally:
                client.config_set("maxclients", "10000")

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """A script of somebody else runs for ever."""

        def run() -> None:
            with contextlib.suppress(RedisError, OSError), self.client() as client:
                client.eval("while true do end", 0)

        with self.configured(lua_time_limit="50"):
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            time.sleep(0.2)
            try:
                yield
            finally:
                self._do(("SCRIPT", "KILL"))
                thread.join(timeout=10)

    @contextlib.contextmanager
    def cluster(self) -> Iterator[None]:
        """It was replaced by a node of a cluster whose slots are all another node's."""
        self.kill()
        other = OwnRedis(self._folder / "other")
        try:
            other.start("--cluster-enabled", "yes", "--cluster-config-file", "nodes-other.conf")
            self.start("--cluster-enabled", "yes")
            with other.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            self._do(("CLUSTER", "MEET", "127.0.0.1", str(other.port)))
            eventually(self._moves, within_s=20)
            yield
        finally:
            other.kill()
            self.kill()
            self.start()

    @contextlib.contextmanager
    def whole_cluster(self) -> Iterator[None]:
        """It was replaced by the only node of a cluster: it has every slot, and refuses lists of different slots."""
        self.kill()
        self.start("--cluster-enabled", "yes", "--cluster-config-file", "nodes-whole.conf")
        try:
            self._do(("CLUSTER", "ADDSLOTS", *map(str, range(16384))))
            eventually(lambda: "cluster_state:ok" in str(self._answer("CLUSTER", "INFO")), within_s=20)
            yield
        finally:
            self.kill()
            self.start()

    @contextlib.contextmanager
    def configured(self, **settings: str) -> Iterator[None]:
        """Other settings while the block lasts."""
        names = {name.replace("_", "-"): value for name, value in settings.items()}
        with self.client() as client:
            before = {name: dict(client.config_get(name))[name] for name in names}
            for name, value in names.items():
                client.config_set(name, value)
        try:
            yield
        finally:
            with self.client() as client:
                for name, value in before.items():
                    client.config_set(name, value)

    def _do(self, command: tuple[str, ...]) -> None:
        with self.client() as client:
            client.execute_command(*command)

    def _answer(self, *command: str) -> object:
        with self.client() as client:
            return client.execute_command(*command)

    def _info(self, field: str) -> str:
        with self.client() as client:
            return str(client.info()[field])

    def _moves(self) -> bool:
        with self.client() as client:
            try:
                client.execute_command("LLEN", "score")
            except RedisError as error:
                return type(error).__name__ == "MovedError"
        return False


def _cluster_port() -> int:
    """A free port whose number leaves room for the port of a cluster's bus, 10,000 above."""
    while (port := free_port()) > 55_000:
        pass
    return port


@contextlib.contextmanager
def own_redis(folder: Path, *, bind: str = "127.0.0.1") -> Iterator[OwnRedis]:
    """One that runs while the block lasts."""
    server = OwnRedis(folder, bind=bind)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def sentinel(
    folder: Path, master: OwnRedis, name: str, *, at_port: int | None = None, down_after_ms: int = 30_000
) -> Iterator[int]:
    """A Sentinel that watches a master under a name; its port. It may be told of another port than the master's."""
    folder.mkdir(parents=True)
    port = free_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor {name} 127.0.0.1 {at_port or master.port} 1\n"
        f"sentinel down-after-milliseconds {name} {down_after_ms}\n"
        f"sentinel auth-pass {name} {PASSWORD}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(redis_binary()), str(configuration), "--sentinel"], stdout=log, stderr=log
        )

    def answers() -> bool:
        with contextlib.suppress(RedisError, OSError), Redis(port=port, socket_timeout=2) as client:
            return bool(client.ping())
        return False

    try:
        eventually(answers, within_s=20)
        yield port
    finally:
        process.kill()
        process.wait()
