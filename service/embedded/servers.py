"""Postgres and Redis alone, as children of this process, for tests and tools; the stack supervises them."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.embedded.errors import FolderUnusable, StackFailed
from service.embedded.folder import DataFolder
from service.embedded.leftovers import stop_leftovers
from service.embedded.ports import choose_ports, kept_ports
from service.embedded.postgres import Postgres
from service.embedded.privileges import server_user
from service.embedded.processes import child_environment, ending_with_us
from service.embedded.redis import Redis
from service.embedded.waiting import wait_until
from service.embedded.wheels import postgres_binary, redis_binary

START_S = 120.0  # Postgres may first replay 2 GB of log after a crash
STOP_S = 5.0


@dataclass(frozen=True)
class ServerUrls:
    """Where the two servers answer, and the database for its owner. Each URL holds its password."""

    database_url: str
    redis_url: str
    owner_url: str = ""  # empty where unknown


@contextmanager
def embedded_servers(folder: Path, *, fsync: bool = True) -> Iterator[ServerUrls]:
    """Run Postgres and Redis on free ports while the block lasts; they end with the thread that entered it.

    `fsync=False` is quicker and loses the cluster when the machine (not the server) crashes. Raises
    StackRunning when the folder is in use, StackFailed when a server does not come up.

    `database_url` is the administrator's: code that runs only the servers creates its own databases on them.
    """
    data = DataFolder.at(folder)
    with data.held(), ExitStack() as running:
        stop_leftovers(data)
        postgres, redis = servers_in(data, fsync=fsync)
        processes = [running.enter_context(_running(server)) for server in (postgres, redis)]
        _wait(postgres, processes[0])
        _wait(redis, processes[1])
        yield ServerUrls(postgres.administrator_url, redis.url, postgres.owner_url)


def servers_in(folder: DataFolder, *, fsync: bool = True) -> tuple[Postgres, Redis]:
    """The two servers of a data folder, with free ports. Starts nothing."""
    user = server_user(folder.cluster)
    ports = choose_ports(folder, (Postgres.name, Redis.name))
    binaries = (postgres_binary("postgres"), redis_binary())
    programs = None if all(map(user.may_run, binaries)) else folder.sockets / "programs"
    return (
        Postgres(folder, user, ports[Postgres.name], fsync, programs),
        Redis(folder, user, ports[Redis.name], programs),
    )


def server_urls(path: Path) -> ServerUrls:
    """Where the servers of a data folder's stack answer, for its application. Raises FolderUnusable when they never ran."""
    folder = DataFolder.at(path)
    ports = kept_ports(folder)
    if not {Postgres.name, Redis.name} <= ports.keys():
        raise FolderUnusable(f"{folder.root} holds no embedded servers. Start them with `medqueue up`.")
    user = server_user(folder.cluster)
    postgres = Postgres(folder, user, ports[Postgres.name])
    return ServerUrls(postgres.url, Redis(folder, user, ports[Redis.name]).url, postgres.owner_url)


@contextmanager
def _running(server: Postgres | Redis) -> Iterator[subprocess.Popen[bytes]]:
    server.prepare()
    folder, command = server.folder, ending_with_us(server.serving(), server.stop_signal)
    with folder.open_log(server.name) as log:
        process = subprocess.Popen(
            (*server.prefix(), *command), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            cwd=folder.run, umask=0o077, env=child_environment(folder, {}),
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.Signals[f"SIG{server.stop_signal}"])
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: Postgres | Redis, process: subprocess.Popen[bytes]) -> None:
    def up_or_ended() -> bool:
        return process.poll() is not None or server.answers()

    if not wait_until(up_or_ended, START_S) or process.poll() is not None:
        raise StackFailed(server.name, "did not come up", server.folder.log(server.name))
