"""Clients of Redis: each from the same reading of the address, with the same TLS and the same ways of finding the master."""

from collections.abc import Callable
from typing import Any

from redis import Connection, ConnectionPool, Redis, SSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as NotConnected
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from service.redis_address import RedisAddress

SOCKET_TIMEOUT_S = 2.0

ConnectionClass = type[Connection]


class Sentinels(Sentinel):
    """Sentinels that distinguish an unknown master from Sentinels that do not answer."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Address and port of the master. Raises MasterNotFoundError only where a Sentinel has answered."""
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call, no-any-return]
        except MasterNotFoundError as error:
            unknown = error
        text = str(unknown)  # names each Sentinel that did not answer, and its error
        if not all(f"{sentinel} - " in text for sentinel in self.sentinels):
            raise unknown
        if f"{AuthenticationError.__name__}(" in text:
            raise AuthenticationError("the Sentinels refuse the login")
        raise NotConnected("no Sentinel answers")


def redis_client(url: str, *, timeout_s: float = SOCKET_TIMEOUT_S, health_check_s: int = 10) -> Redis:
    """A Redis client that never retries on its own: a repeated wake-up is sent by the sweep, not by the driver.

    Raises ValueError when the address cannot be read.
    """
    pool = connection_pool(
        RedisAddress.parse(url),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        decode_responses=True,
        health_check_interval=health_check_s,
    )
    return Redis.from_pool(pool)


def connection_pool(
    address: RedisAddress,
    *,
    derive: Callable[[ConnectionClass], ConnectionClass] = lambda connection: connection,
    **options: Any,
) -> ConnectionPool:
    """Connections to an address. `derive` makes the class of the connections from the one that the address needs.

    Certificates are checked against the system's authorities, or ssl_ca_certs, unless ssl_cert_reqs=none asks
    not to. The address overrides `options`.
    """
    entry: dict[str, Any] = {"username": address.username, "password": address.password, "db": address.db}
    common: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), **options, **address.options}
    tls: dict[str, Any] = address.tls or {}
    if address.service_name is None:
        (host, port), plain = address.hosts[0], Connection if address.tls is None else SSLConnection
        return ConnectionPool(connection_class=derive(plain), host=host, port=port, **entry, **tls, **common)
    managed = SentinelManagedConnection if address.tls is None else SentinelManagedSSLConnection
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]
        address.service_name,
        _sentinels(address, common),
        connection_class=derive(managed),
        **entry,
        **tls,
        **common,
    )


def _sentinels(address: RedisAddress, common: dict[str, Any]) -> Sentinels:
    entry = {"username": address.sentinel_username, "password": address.sentinel_password}
    encryption: dict[str, Any] = {} if address.tls is None else {"ssl": True, **address.tls}
    timeouts = {name: value for name, value in common.items() if name.startswith("socket_")}
    return Sentinels(  # type: ignore[no-untyped-call]
        address.hosts,
        sentinel_kwargs={**entry, **encryption, **timeouts, "retry": Retry(NoBackoff(), 0)},
    )
