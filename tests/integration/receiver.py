"""Receivers on real sockets, well-behaved and hostile."""

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ParamSpec

HEAD = b"HTTP/1.1 200 OK\r\n"
GIB = 2**30
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NAME = "hooks.example.com"
Params = ParamSpec("Params")


def on_a_loop(test: Callable[Params, Coroutine[Any, Any, None]]) -> Callable[Params, None]:
    """Run an async test on an event loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Params.args, **named: Params.kwargs) -> None:
        asyncio.run(test(*arguments, **named))

    return run


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds. Raises TimeoutError after twenty seconds."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what the kernel does sets no event
            await asyncio.sleep(0.01)


@dataclass
class Exchange:
    """One connection to a receiver, as its behaviour sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    receiver: "Receiver"

    async def request(self) -> bytes:
        """Read one whole request and note it. Raises IncompleteReadError when the sender has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0"
        )
        body = await self.reader.readexactly(int(length.partition(b":")[2]))
        self.receiver.requests.append(head + body)
        return head

    async def send(self, data: bytes) -> None:
        """Send, as fast as the other side takes it, and count it."""
        self.writer.write(data)
        await self.writer.drain()
        self.receiver.sent_bytes += len(data)

    async def drip(self, data: bytes, every_s: float) -> None:
        """Send a byte at a time."""
        for place in range(len(data)):
            await self.send(data[place : place + 1])
            await asyncio.sleep(every_s)


Behaviour = Callable[[Exchange], Awaitable[None]]


@dataclass
class Receiver:
    """A server that behaves in some way on every connection. Notes what it was sent."""

    port: int = 0
    connections: int = 0
    open_connections: int = 0
    sent_bytes: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def gone(self) -> None:
        """Wait until the other side has closed every connection."""
        await until(lambda: self.open_connections == 0)


@asynccontextmanager
async def receiving(
    behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Receiver]:
    """A receiver on a port of its own, gone afterwards with all its connections."""
    receiver = Receiver()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        receiver.connections += 1
        receiver.open_connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await behaviour(Exchange(reader, writer, receiver))
        finally:
            receiver.open_connections -= 1
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(serve, host, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.sleep(0.01)


async def answer_all(exchange: Exchange) -> None:
    """A good receiver: answers every request and leaves the connection open."""
    while True:
        await exchange.request()
        await exchange.send(OK)


def answering(answer: bytes) -> Behaviour:
    """Answer one request and close."""

    async def behave(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.send(answer)

    return behave


async def hang(exchange: Exchange) -> None:
    """Take a request and never answer."""
    await exchange.request()
    await exchange.reader.read()


def endless(head: bytes, piece: bytes) -> Behaviour:
    """Answer with a head and a GiB of pieces."""

    async def behave(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.send(head)
        for _ in range(GIB // len(piece)):
            await exchange.send(piece)

    return behave
