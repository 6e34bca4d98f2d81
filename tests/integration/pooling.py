"""What stands between us and Postgres: PgBouncer where it is installed, and a proxy that any machine can run."""

import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from service.embedded.waiting import wait_until

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
CONFIGURATION = """
[databases]
pooled = host={host} port={port} dbname={name} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
"""


@contextmanager
def pgbouncer(upstream: dict[str, Any]) -> Iterator[str]:
    """The address of a database behind PgBouncer in transaction mode, with fewer connections than clients."""
    assert PGBOUNCER is not None
    folder, listen = Path(mkdtemp(prefix="pgbouncer-")), free_port()
    (folder / "pgbouncer.ini").write_text(CONFIGURATION.format(listen=listen, **upstream))
    runs_as: dict[str, Any] = {}
    if os.geteuid() == 0:
        runs_as = {"user": "postgres", "group": "postgres", "extra_groups": []}
        for path in (folder, folder / "pgbouncer.ini"):
            shutil.chown(path, "postgres", "postgres")
    command = (PGBOUNCER, "-q", folder / "pgbouncer.ini")
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **runs_as
    )
    try:
        assert wait_until(lambda: _listens(listen), 10), "PgBouncer did not come up"
        yield f"postgresql://{upstream['user']}@127.0.0.1:{listen}/pooled"
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


@contextmanager
def stand_in(port: int) -> Iterator[int]:
    """The port of a proxy that gives process ids of its own, as poolers do. Each session keeps its server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port), daemon=True).start()
        yield listener.getsockname()[1]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _accept(listener: socket.socket, port: int) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_forward, args=(client, server), daemon=True).start()
            threading.Thread(target=_answer, args=(server, client), daemon=True).start()


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError), source, target:
        while received := source.recv(65536):
            target.sendall(received)
        target.shutdown(socket.SHUT_RDWR)


def _answer(server: socket.socket, client: socket.socket) -> None:
    """Forward message by message until the session is ready, with another process id (message K), then as it comes."""
    with suppress(OSError), server.makefile("rb") as messages:
        first = messages.read(1)
        while first:
            (size,) = struct.unpack("!i", messages.read(4))
            body = messages.read(size - 4)
            if first == b"K":
                body = struct.pack("!i", 1) + body[4:]
            client.sendall(first + struct.pack("!i", size) + body)
            if first == b"Z":
                break
            first = messages.read(1)
        while received := messages.read1(65536):
            client.sendall(received)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
