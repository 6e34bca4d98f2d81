"""Clients of Redis: each from the same reading of the address, with the same TLS and the same ways of finding the master."""

from collections.abc import Callable
from typing import Any

from redis import Connection, ConnectionPool, Redis, SSLConnection
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from service.redis_address import RedisAddress

SOCKET_TIMEOUT_S = 2.0

ConnectionClass = type[Connection]


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
    not to. What stands in the address goes before `options`.
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


def _sentinels(address: RedisAddress, common: dict[str, Any]) -> Sentinel:
    entry = {"username": address.sentinel_username, "password": address.sentinel_password}
    encryption: dict[str, Any] = {} if address.tls is None else {"ssl": True, **address.tls}
    timeouts = {name: value for name, value in common.items() if name.startswith("socket_")}
    return Sentinel(  # type: ignore[no-untyped-call]
        address.hosts,
        sentinel_kwargs={**entry, **encryption, **timeouts, "retry": Retry(NoBackoff(), 0)},
    )
