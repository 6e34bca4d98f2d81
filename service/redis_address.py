"""What MEDQUEUE_REDIS_URL says: one Redis, or a master that Sentinels name. Connects to nothing; standard library only.

Every client of ours is made from this, so that an address means the same to all of them.
"""

import os
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

REDIS_PORT, SENTINEL_PORT = 6379, 26379
SHAPE = "redis://[user:password@]host:port/0"
SENTINEL_SHAPE = "sentinel://[user:password@]host:26379,host:26379/0?service_name=NAME"

# Unsupported schemes, and what to write instead.
ELSEWHERE = {
    "valkey": "Valkey is reached as Redis is: write redis://",
    "valkeys": "Valkey is reached as Redis is: write rediss://",
    "sentinels": f"write {SENTINEL_SHAPE}&ssl=true",
    "redis+sentinel": f"write {SENTINEL_SHAPE}",
    "redis+cluster": "a cluster is not supported: name one Redis that is none, or Sentinels",
    "rediss+cluster": "a cluster is not supported: name one Redis that is none, or Sentinels",
    "redis+socket": f"sockets of the file system are not supported: let Redis listen on a port and write {SHAPE}",
    "unix": f"sockets of the file system are not supported: let Redis listen on a port and write {SHAPE}",
}

BOOLEANS = {
    "true": True,
    "yes": True,
    "1": True,
    "on": True,
    "false": False,
    "no": False,
    "0": False,
    "off": False,
}
CERTIFICATE_CHECKS = ("required", "optional", "none")
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_OPTIONS = {*FILES, "ssl_ca_path", "ssl_cert_reqs", "ssl_check_hostname", "ssl_password", "ssl_ciphers"}
NUMBERS = ("socket_timeout", "socket_connect_timeout", "health_check_interval", "protocol")
OPTIONS = {*NUMBERS, "client_name"}
SENTINEL_OPTIONS = {"service_name", "sentinel_username", "sentinel_password", "ssl"}

Option = str | float | bool


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is and how to log in. `hosts` are Sentinels where there is a `service_name`.

    `tls` holds the options of the encrypted connection, under redis-py's names; None without encryption.
    """

    hosts: tuple[tuple[str, int], ...]
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: dict[str, Option] | None = field(default=None, repr=False)
    options: dict[str, Option] = field(default_factory=dict)
    service_name: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """The address without its secrets, for logs."""
        places = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )
        if self.service_name is not None:
            return f"sentinel://{places}/{self.db}?service_name={self.service_name}"
        return f"{'redis' if self.tls is None else 'rediss'}://{places}/{self.db}"

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Read an address. Raises ValueError, which says what to write and holds no part of the address."""
        scheme, separator, _ = url.partition("://")
        if not separator:
            raise ValueError(f"it must read {SHAPE}")
        scheme = scheme.lower()
        if scheme in ELSEWHERE:
            raise ValueError(ELSEWHERE[scheme])
        if scheme not in {"redis", "rediss", "sentinel"}:
            raise ValueError("it must start with redis://, rediss:// or sentinel://")
        parts = _split(url)
        query = _query(parts.query, SENTINEL_OPTIONS if scheme == "sentinel" else set())
        user, _, place = parts.netloc.rpartition("@")
        hosts = _hosts(place, SENTINEL_PORT if scheme == "sentinel" else REDIS_PORT)
        if scheme != "sentinel" and len(hosts) > 1:
            raise ValueError(f"one Redis has one host; for several behind Sentinels write {SENTINEL_SHAPE}")
        if scheme == "sentinel" and not query.get("service_name"):
            raise ValueError(
                f"service_name is missing, the name that Sentinels give the master: {SENTINEL_SHAPE}"
            )
        username, _, password = user.partition(":")
        return cls(
            hosts,
            db=_database(str(query.pop("db", "")) or parts.path.strip("/")),
            username=unquote(username) or None,
            password=unquote(password) or None,
            tls=_tls(query, encrypted=scheme == "rediss" or bool(query.pop("ssl", False))),
            service_name=_text(query.pop("service_name", None)),
            sentinel_username=_text(query.pop("sentinel_username", None)),
            sentinel_password=_text(query.pop("sentinel_password", None)),
            options=query,
        )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("its host cannot be read; an IPv6 address must be in brackets, as [::1]") from None
    if parts.fragment or "#" in url:
        raise ValueError("a # in it must be written %23, in a password too")
    return parts


def _query(text: str, further: set[str]) -> dict[str, Option]:
    """The parameters after the question mark."""
    known = {"db"} | OPTIONS | TLS_OPTIONS | further
    found: dict[str, Option] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"the option {name} is not known; these are: {', '.join(sorted(known))}")
        found[name] = _option(name, value)
    return found


def _option(name: str, value: str) -> Option:
    if name in {"ssl", "ssl_check_hostname"}:
        if value.lower() not in BOOLEANS:
            raise ValueError(f"{name} is true or false")
        return BOOLEANS[value.lower()]
    if name == "ssl_cert_reqs":
        check = value.lower().removeprefix("cert_")  # as Celery writes it
        if check not in CERTIFICATE_CHECKS:
            raise ValueError(f"{name} is one of {', '.join(CERTIFICATE_CHECKS)}")
        return check
    if name in NUMBERS:
        try:
            return int(value) if name == "protocol" else float(value)
        except ValueError:
            raise ValueError(f"{name} is a number") from None
    if name in FILES and not os.access(value, os.R_OK):
        raise ValueError(f"the file of {name} does not exist, or cannot be read")
    return value


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    if ";" in text:  # as Celery writes them
        raise ValueError(f"several hosts stand between commas: {SENTINEL_SHAPE}")
    return tuple(_host(place.strip(), default_port) for place in text.split(","))


def _host(place: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{place}")
        port = parts.port
    except ValueError:
        raise ValueError(
            "its host or port cannot be read; an IPv6 address must be in brackets, as [::1]:6379"
        ) from None
    if port == 0:
        raise ValueError("port 0 is none")
    return unquote(parts.hostname or "localhost"), port or default_port


def _database(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal():
        raise ValueError("its path is the number of a database, such as /0")
    return int(text)


def _tls(query: dict[str, Option], *, encrypted: bool) -> dict[str, Option] | None:
    """Take the options of TLS out of the query."""
    found = {name: query.pop(name) for name in sorted(TLS_OPTIONS & query.keys())}
    if found and not encrypted:
        raise ValueError(f"{', '.join(found)} need rediss://, or ssl=true for Sentinels")
    return found if encrypted else None


def _text(value: Option | None) -> str | None:
    return None if value is None else str(value)
