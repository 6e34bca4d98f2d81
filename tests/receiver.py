"""A receiver of webhooks on a port of this machine: keeps what it gets, and behaves as badly as its paths say.

`/ok...` answers 200; `/status/N` answers N; `/hang` never answers; `/drip` answers a byte a second; `/flood` answers with
1 GiB; `/redirect` sends to the metadata address; `/reset` resets the connection; `/close` closes it amid the answer.
"""

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
METADATA = "http://169.254.169.254/latest/meta-data/"
RESETS = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close by reset


@dataclass(frozen=True)
class Received:
    """One request: where it came to, its headers in lower case, its body.

    `verified` says whether the published library found its signature good as it came, where the secret was known.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    verified: bool

    @property
    def event_id(self) -> str:
        """The webhook-id."""
        return self.headers["webhook-id"]

    @cached_property
    def content(self) -> dict[str, Any]:
        """The body as JSON."""
        content: dict[str, Any] = json.loads(self.body)
        return content


class Receiver:
    """Listens in a thread while the block lasts.

    `statuses` overrules what a path answers, and `secrets` are those that its requests are verified with, from now on.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True)
        self.statuses: dict[str, int] = {}
        self.secrets: dict[str, str] = {}
        self.connections = 0
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(timeout=10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def url(self, path: str = "/ok") -> str:
        """Where to send for this behaviour."""
        return f"http://{self._host}:{self.port}{path}"

    def received(self, path: str | None = None) -> list[Received]:
        """What has come, in order, to this path or to all."""
        with self._lock:
            return [one for one in self._received if path in {None, one.path}]

    def by_event(self, path: str | None = None) -> dict[str, list[Received]]:
        """What has come, by event id."""
        found: dict[str, list[Received]] = defaultdict(list)
        for one in self.received(path):
            found[one.event_id].append(one)
        return found

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, self._host, 0, backlog=1024)

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; whether another may follow on this connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = request.split(" ")[1]
        received = Received(path, headers, body, time.time(), self._verified(path, headers, body))
        with self._lock:
            self._received.append(received)
        return await self._behave(path, writer)

    def _verified(self, path: str, headers: dict[str, str], body: bytes) -> bool:
        if path not in self.secrets:
            return False
        try:
            Webhook(self.secrets[path]).verify(body, headers)
        except WebhookVerificationError:
            return False
        return True

    async def _behave(self, path: str, writer: asyncio.StreamWriter) -> bool:
        kind = path.split("/")[1]
        if path in self.statuses or kind == "status":
            status = self.statuses.get(path) or int(path.split("/")[2])
            writer.write(OK.replace(b"200 OK", b"%d Said" % status))
        elif kind == "hang":
            await asyncio.sleep(3600)
        elif kind == "drip":
            await self._drip(writer)
        elif kind == "flood":
            await self._flood(writer)
        elif kind == "redirect":
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {METADATA}\r\nContent-Length: 0\r\n\r\n".encode())
        elif kind == "reset":
            found: socket.socket = writer.get_extra_info("socket")
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
            return False
        elif kind == "close":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part")
            return False
        else:
            writer.write(OK)
        await writer.drain()
        return True

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3600\r\n\r\n")
        for _ in range(3600):
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(1)

    async def _flood(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for _ in range(16384):
            writer.write(b"x" * 65536)
            await writer.drain()
