"""One HTTP POST to an external server, with limits on everything: the address, the duration, how much is read.

Which URLs and addresses are allowed is service/egress; sockets are workers/webhooks/connection. Decides nothing about
retries. A receiver may be hostile: it can answer anything, but it cannot choose an address of ours, exceed the time of
a try, or make us read more than MAX_ANSWER_BYTES. Redirects are answers like any other, bodies are never unpacked, and
proxy variables of the environment have no effect.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from pathlib import Path
from socket import getaddrinfo
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import httpcore

from service.egress import Address, EgressRules, Resolve, Target, resolved, target_of
from service.errors import HostUnresolvable, UrlRefused
from workers.webhooks.connection import MAX_BODY_BYTES, Dial, PinnedBackend, TlsFailed, dial
from workers.webhooks.idle_connections import Connection, IdleConnections

EXCERPT_BYTES = 1024
LONGEST_RETRY_AFTER_S = 24 * 3600.0
RESOLVER_THREADS = 16

OWN_HEADERS = {"accept-encoding", "connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding",
               "upgrade", "user-agent"}  # fmt: skip


class SendFault(StrEnum):
    """Why there was no answer. Stable: deliveries store it."""

    URL_REFUSED = "url_refused"  # the URL as it is written
    REFUSED_ADDRESS = "refused_address"  # what its host resolves to
    UNRESOLVABLE = "unresolvable"
    CONNECT_FAILED = "connect_failed"
    TLS_FAILED = "tls_failed"
    PROXY_FAILED = "proxy_failed"
    TIMED_OUT = "timed_out"
    RESET = "reset"  # closed or reset before a whole answer
    PROTOCOL_ERROR = "protocol_error"  # what came is not HTTP/1.1, or a head without end


class SendFailed(Exception):
    """There was no answer. `code` says why; it holds nothing of the URL or of what was sent."""

    def __init__(self, code: SendFault) -> None:
        self.code = code
        super().__init__(code.value)


@dataclass(frozen=True)
class Answer:
    """What a receiver answered: status, the start of the body as printable text, seconds it asks us to wait."""

    status: int
    excerpt: str
    retry_after_s: float | None


@dataclass(frozen=True)
class Limits:
    """Bounds of a try and of a kept connection, all in seconds. `total_s` covers everything from the look-up on."""

    resolve_s: float = 3.0
    connect_s: float = 3.0
    total_s: float = 15.0
    idle_s: float = 10.0
    age_s: float = 60.0  # a changed DNS answer is seen after this time and one try at the latest


STANDARD_LIMITS = Limits()
FAULTS: tuple[tuple[type[Exception], SendFault], ...] = (  # the first that fits
    (HostUnresolvable, SendFault.UNRESOLVABLE),
    (UrlRefused, SendFault.REFUSED_ADDRESS),
    (TlsFailed, SendFault.TLS_FAILED),
    (httpcore.ConnectError, SendFault.CONNECT_FAILED),
    (TimeoutError, SendFault.TIMED_OUT),
    (httpcore.TimeoutException, SendFault.TIMED_OUT),
    (httpcore.ProxyError, SendFault.PROXY_FAILED),
    (httpcore.NetworkError, SendFault.RESET),
    (httpcore.ProtocolError, SendFault.PROTOCOL_ERROR),
)
FORESEEN = tuple(kind for kind, _ in FAULTS)


class Outbound:
    """Sends POSTs from one event loop, any number at once. Connections that a receiver leaves open are used again.

    `ca_file` is trusted beside the system's authorities. `resolve` and `dial` are the ways out of the process. Not
    bounded here: how many tries are under way, which is for the caller to say.
    """

    def __init__(
        self,
        rules: EgressRules,
        *,
        limits: Limits = STANDARD_LIMITS,
        ca_file: Path | None = None,
        resolve: Resolve = getaddrinfo,
        dial: Dial = dial,
    ) -> None:
        """Read the trusted certificates. Raises OSError, and ValueError for a proxy that is no http or https URL."""
        self._rules = rules
        self._limits = limits
        self._dial = dial
        self._ssl_context = _ssl_context(ca_file)
        self._names = _Names(rules, resolve, patience_s=limits.resolve_s)
        self._idle = IdleConnections(idle_s=limits.idle_s, age_s=limits.age_s)
        self._proxy = None if rules.proxy is None else _proxy(rules.proxy, self._ssl_context, dial)
        self._user_agent = f"medqueue/{version('medqueue')}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the idle connections. Tries in flight should have ended before."""
        self._names.close()
        await self._idle.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one POST and give what was answered, whatever the status. Raises SendFailed when there is no answer.

        A complete head is an answer: when the body then breaks off or is late, the excerpt is what came of it. Headers
        are ASCII; those that frame a request are ours alone. A kept connection that turns out to be closed costs one
        repetition, so a receiver may see a request twice, as with any retry.
        """
        deadline = asyncio.get_running_loop().time() + self._limits.total_s
        try:
            target = target_of(url, self._rules)
        except UrlRefused as refused:
            raise SendFailed(SendFault.URL_REFUSED) from refused
        try:
            async with asyncio.timeout_at(deadline):
                connection, response = await self._exchange(target, self._request(target, headers, body))
        except FORESEEN as fault:
            raise SendFailed(self._code_of(fault)) from fault
        try:
            start = await _start_of_body(response, deadline)
        finally:
            await response.aclose()
            await self._idle.add(connection)
        retry_after = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
        return Answer(
            response.status,
            excerpt_of(start),
            retry_after_s(retry_after.decode("latin-1"), datetime.now(UTC)),
        )

    async def _exchange(
        self, target: Target, request: httpcore.Request
    ) -> tuple[Connection, httpcore.Response]:
        """Send a request and read the head of the answer, over an idle connection or else a new one.

        One on which that fails closes itself.
        """
        kept = await self._idle.take(target.origin)
        if kept is not None:
            # Closed by the receiver just now: nothing says whether it has read the request.
            with suppress(httpcore.NetworkError, httpcore.RemoteProtocolError):
                return kept, await kept.http.handle_async_request(request)
        connection = await self._connection(target)
        return connection, await connection.http.handle_async_request(request)

    async def _connection(self, target: Target) -> Connection:
        """A new connection; it is made when it is used. Raises UrlRefused."""
        origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
        if self._proxy is not None:
            return Connection(target.origin, self._proxy.create_connection(origin))
        addresses = await self._names.addresses(target)
        backend = PinnedBackend([str(address) for address in addresses], self._dial)
        http = httpcore.AsyncHTTPConnection(origin, ssl_context=self._ssl_context, network_backend=backend)
        return Connection(target.origin, http)

    def _request(self, target: Target, headers: Mapping[str, str], body: bytes) -> httpcore.Request:
        sent = [
            ("Host", target.host_header),
            ("Content-Length", str(len(body))),
            ("User-Agent", self._user_agent),
            ("Accept-Encoding", "identity"),
            *((name, value) for name, value in headers.items() if name.lower() not in OWN_HEADERS),
        ]
        url = httpcore.URL(
            scheme=target.scheme, host=target.host, port=target.port, target=target.request_target
        )
        timeout = {"connect": self._limits.connect_s}
        return httpcore.Request("POST", url, headers=sent, content=body, extensions={"timeout": timeout})

    def _code_of(self, fault: Exception) -> SendFault:
        code = next(code for kind, code in FAULTS if isinstance(fault, kind))
        behind_proxy = self._proxy is not None and code is SendFault.CONNECT_FAILED
        return SendFault.PROXY_FAILED if behind_proxy else code


def excerpt_of(body: bytes) -> str:
    """The first KiB of a body as one line of printable text; bytes that are no UTF-8 become U+FFFD."""
    text = " ".join(body[:EXCERPT_BYTES].decode(errors="replace").split())
    return text if text.isprintable() else "".join(filter(str.isprintable, text))


def retry_after_s(value: str, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3), a day at most; None when it is unclear."""
    if re.fullmatch(r"[0-9]{1,20}", value):
        return min(float(value), LONGEST_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(value[:64])
    except (ValueError, OverflowError):
        return None
    aware = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)


async def _start_of_body(response: httpcore.Response, deadline: float) -> bytes:
    """The body up to MAX_BODY_BYTES, and of an endless one little more, as far as it arrives before the deadline."""
    start = bytearray()
    assert isinstance(response.stream, AsyncIterable)
    with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout_at(deadline):
            async for piece in response.stream:
                start += piece
                if len(start) > MAX_BODY_BYTES:
                    break
    return bytes(start)


@cache
def _ssl_context(ca_file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 and later; the system's authorities and those in `ca_file`; names by subjectAltName alone (RFC 9525).

    Made once, since reading the system's authorities is slow; a changed file is read at the next start.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _proxy(url: str, ssl_context: ssl.SSLContext, dial: Dial) -> httpcore.AsyncHTTPProxy:
    """Makes connections through a proxy, its credentials taken from its URL. Its own pool is not used."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("the proxy is not given as an http or https URL")
    credentials = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return httpcore.AsyncHTTPProxy(
        httpcore.URL(scheme=parts.scheme, host=parts.hostname, port=parts.port, target="/"),
        proxy_auth=credentials,
        ssl_context=ssl_context,
        proxy_ssl_context=ssl_context if parts.scheme == "https" else None,
        network_backend=PinnedBackend([parts.hostname], dial),
    )


class _Names:
    """Resolves names in threads of its own. A name is resolved once at a time, so one that hangs holds one thread."""

    def __init__(self, rules: EgressRules, resolve: Resolve, *, patience_s: float) -> None:
        self._rules = rules
        self._resolve = resolve
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")
        self._under_way: dict[tuple[str, int], asyncio.Future[tuple[Address, ...]]] = {}

    async def addresses(self, target: Target) -> tuple[Address, ...]:
        """The checked addresses of a target. Raises UrlRefused; what takes too long is unresolvable."""
        name = (target.host, target.port)
        if name not in self._under_way:
            loop = asyncio.get_running_loop()
            look_up = loop.run_in_executor(self._threads, resolved, target, self._rules, self._resolve)
            self._under_way[name] = look_up
            look_up.add_done_callback(lambda done: self._forget(name, done))
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.shield(self._under_way[name])
        except TimeoutError as late:
            raise HostUnresolvable from late

    def close(self) -> None:
        """Start no more look-ups."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _forget(self, name: tuple[str, int], done: asyncio.Future[tuple[Address, ...]]) -> None:
        del self._under_way[name]
        if not done.cancelled():
            done.exception()  # whoever waited has it; asyncio warns of one that nobody read
