"""What MEDQUEUE_DATABASE_URL says: one Postgres, or several hosts of which one takes writes. Connects to nothing; standard
library only.

Every connection of ours is made from this, so that an address means the same everywhere: what libpq makes of it, for the
parameters that it names go to libpq as they are.
"""

import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

SHAPE = "postgresql://user:password@host:5432/name"
SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
# A password should be percent-encoded. One with / or ? is accepted where no other reading makes sense.
STRICT, LENIENT = (
    re.compile(
        rf"(?:(?P<user>[^:/@?]*)(?::(?P<password>{password}*))?@)?"
        r"(?P<places>[^/?]*)(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?"
    )
    for password in ("[^@/?]", "[^@]")
)
PLACE = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+(?:%[\w.-]+)?\]|[^:\[\]\s]*)(?::(?P<port>[0-9]*))?")

# The parameters allowed after the question mark, with their values if these are a closed set.
FREE = {
    *("user", "password", "host", "hostaddr", "port", "dbname", "passfile", "service", "application_name"),
    *("fallback_application_name", "options", "client_encoding", "connect_timeout", "tcp_user_timeout"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "sslcert", "sslkey"),
    *(
        "sslpassword",
        "sslrootcert",
        "sslcrl",
        "sslcrldir",
        "sslsni",
        "sslcertmode",
        "ssl_min_protocol_version",
    ),
    *("ssl_max_protocol_version", "requirepeer", "require_auth", "channel_binding", "krbsrvname", "gsslib"),
    *("gssencmode", "gssdelegation"),
}
CLOSED = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "load_balance_hosts": ("disable", "random"),
    "target_session_attrs": ("read-write", "primary", "any"),
}
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
OF_LIBPQ = {"sslrootcert": "system"}  # a keyword of libpq, no file


@dataclass(frozen=True)
class PostgresAddress:
    """Where Postgres is and how to log in: parameters of libpq by name."""

    parameters: dict[str, str] = field(repr=False)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts or socket folders, in the order in which they are tried; empty where libpq's default is meant."""
        return tuple(filter(None, self.parameters.get("host", "").split(",")))

    @classmethod
    def parse(cls, url: str) -> "PostgresAddress":
        """Read an address. Raises ValueError, which says what to write and holds no secret."""
        scheme, _, rest = url.partition("://")
        if scheme not in SCHEMES or not url.startswith(f"{scheme}://"):
            raise ValueError(f"it must start with postgresql://, as in {SHAPE}")
        parts = _parts(rest)
        hosts, ports = _places(parts.pop("places") or "")
        named = _named(parts.pop("query") or "")
        given = {name: unquote(value) for name, value in parts.items() if value}
        if any(hosts):
            given["host"] = ",".join(hosts)
        if any(ports):
            given["port"] = ",".join(ports)
        parameters = given | named
        _refuse_uneven(parameters)
        if "," in parameters.get("host", ""):
            parameters.setdefault("target_session_attrs", "read-write")
        return cls(parameters)


def _parts(rest: str) -> dict[str, str | None]:
    for pattern in (STRICT, LENIENT):
        found = pattern.fullmatch(rest)
        if found and all(PLACE.fullmatch(place) for place in (found["places"] or "").split(",")):
            return found.groupdict()
    raise ValueError(
        f"it reads {SHAPE}, or names several hosts as host1:5432,host2:5432, an IPv6 address as [::1]; "
        "in user and password, percent-encode characters such as @ : / ? %"
    )


def _places(text: str) -> tuple[list[str], list[str]]:
    hosts, ports = [], []
    for place in text.split(","):
        found = PLACE.fullmatch(place)
        assert found is not None  # _parts has looked
        hosts.append(unquote(found["host"].strip("[]")))
        ports.append(found["port"] or "")
    return hosts, ports


def _named(query: str) -> dict[str, str]:
    """The parameters after the question mark. Raises ValueError with the name of a faulty one."""
    named: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        if name in named:
            raise ValueError(f"{name} is given twice; several hosts are written host1:5432,host2:5432")
        if name not in FREE and name not in CLOSED:
            raise ValueError(f"{name} is no parameter that a Postgres address can have")
        named[name] = unquote(value)
        if name in CLOSED and named[name] not in CLOSED[name]:
            raise ValueError(f"{name} must be one of {', '.join(CLOSED[name])}")
        if name in FILES and not (OF_LIBPQ.get(name) == named[name] or os.access(named[name], os.R_OK)):
            raise ValueError(f"{name}: there is no such file, or it cannot be read")
    return named


def _refuse_uneven(parameters: dict[str, str]) -> None:
    """Ports are numbers: one for all hosts, or one for each."""
    ports = parameters.get("port", "").split(",")
    if not all(port == "" or (port.isdecimal() and 0 < int(port) < 65536) for port in ports):
        raise ValueError("its port must be a number below 65536")
    hosts = parameters.get("host", "").split(",")
    if len(ports) > 1 and len(ports) != len(hosts):
        raise ValueError("it must name one port for all hosts, or one for each")
