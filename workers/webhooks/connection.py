"""One connection to a receiver: to a given address, over TLS or not, with a bound on what is read from it.

Owns the socket for httpcore, which owns the HTTP. Knows no rules: who may be connected to is service/egress. Written
on asyncio itself: httpcore's own sockets (anyio) are dearer in CPU time and take 64 KiB and more at once.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 4 * 1024
MAX_ANSWER_BYTES = MAX_HEAD_BYTES + MAX_BODY_BYTES
READ_BYTES = 8 * 1024
MOST_TRIED = 4  # addresses of one name: four connect timeouts fit into the time of a try

Dial = Callable[[str, int], Awaitable[httpcore.AsyncNetworkStream]]
"""Opens a connection to a host (a checked address, or the proxy) and a port. Raises OSError."""


class TlsFailed(httpcore.ConnectError):
    """The TLS handshake failed: no common version, or a certificate that does not hold for the name."""


class ReceiverStream(httpcore.AsyncNetworkStream, asyncio.BufferedProtocol):
    """A connected socket. What is written goes out with the next read: head and body of a request in one packet.

    After a request at most MAX_ANSWER_BYTES are read, whatever is sent (interim answers without end, chunks of one
    byte), and less than 2 * READ_BYTES more are taken from the kernel. Time is bounded by the caller.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._space = memoryview(bytearray(READ_BYTES))
        self._received = bytearray()
        self._unsent: list[bytes] = []
        self._still_read = 0
        self._arrival: asyncio.Future[None] | None = None
        self._ended = False
        self._fault: Exception | None = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Take bytes to send."""
        self._unsent.append(buffer)
        self._still_read = MAX_ANSWER_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Send what was written and wait for bytes, none at the end. Raises httpcore's ReadError, RemoteProtocolError."""
        if self._still_read <= 0:
            raise httpcore.RemoteProtocolError("the answer is longer than is read")
        if self._unsent and not self._ended:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()
        while not self._received and not self._ended:
            self._transport.resume_reading()
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        if not self._received and (self._fault is not None or self._still_read == MAX_ANSWER_BYTES):
            raise httpcore.ReadError("closed before it answered in full") from self._fault
        taken = bytes(self._received[: min(max_bytes, self._still_read)])
        del self._received[: len(taken)]
        self._still_read -= len(taken)
        return taken

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Encrypt from here on, within `timeout` seconds. Raises TlsFailed or ConnectTimeout; asyncio has closed it then."""
        if self._ended:
            raise TlsFailed
        self._received.clear()  # what came in clear must never pass for what was encrypted
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                secured = await loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as fault:
            raise httpcore.ConnectTimeout from fault
        except OSError as fault:  # an SSLError is one
            raise TlsFailed from fault
        if secured is None:
            raise TlsFailed
        self._transport = secured
        return self

    async def aclose(self) -> None:
        """Drop the connection, with all that is still under way."""
        self._transport.abort()

    def get_extra_info(self, info: str) -> object:
        """For an idle connection, `is_readable` means that it is no longer usable. All else is asyncio's."""
        if info == "is_readable":
            return self._ended or bool(self._received)
        return self._transport.get_extra_info(info)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Part of asyncio's protocol: the buffer for received bytes."""
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        """Part of asyncio's protocol. Reading rests once enough has come."""
        self._received += self._space[:nbytes]
        if len(self._received) >= READ_BYTES:
            self._transport.pause_reading()
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio's protocol."""
        self._ended, self._fault = True, exc
        self._tell()

    def _tell(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


async def dial(host: str, port: int) -> ReceiverStream:
    """Connect to a host and a port. Raises OSError."""
    _, line = await asyncio.get_running_loop().create_connection(ReceiverStream, host, port)
    return line


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the first of the given hosts that accepts, whatever host it is asked for: nothing is looked up here."""

    def __init__(self, hosts: Sequence[str], dial: Dial) -> None:
        self._hosts = hosts[:MOST_TRIED]
        self._dial = dial

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect, within `timeout` seconds an address. Raises httpcore's ConnectError or ConnectTimeout."""
        fault: OSError | None = None
        for pinned in self._hosts:
            try:
                async with asyncio.timeout(timeout):
                    return await self._dial(pinned, port)
            except OSError as failed:  # a TimeoutError is one
                fault = failed
        if isinstance(fault, TimeoutError):
            raise httpcore.ConnectTimeout from fault
        raise httpcore.ConnectError from fault
