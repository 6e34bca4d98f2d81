"""Which tenant may read or write below which root, and be sent to in which network, as set by an operator.

Knows no tenants and opens nothing.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple, Protocol, TypeVar

ROOT = re.compile(r"(/|[a-z][a-z0-9+.-]*:///?[^/])[^?#@\\]*", re.IGNORECASE)


class Access(StrEnum):
    """What a tenant may do below a root."""

    READ = "read"
    WRITE = "write"


class Grant(Protocol):
    """Something for a tenant, for EVERY_TENANT or for the FIRST_TENANT."""

    @property
    def tenant(self) -> str:
        """Whose it is."""


class RootGrant(NamedTuple):
    """A root that a tenant, EVERY_TENANT or the FIRST_TENANT may read from or write to."""

    tenant: str
    root: str
    access: Access


class NetworkGrant(NamedTuple):
    """A private network that receivers of a tenant's webhooks may be in."""

    tenant: str
    network: IPv4Network | IPv6Network


AnyGrant = TypeVar("AnyGrant", bound=Grant)

EVERY_TENANT = "*"
FIRST_TENANT = ""
GRANT = re.compile(r"\s*([^=]*[^=\s])\s*=\s*([^,]*[^,\s])\s*,\s*(read|write|read\s*\|\s*write)\s*")
GRANT_SHAPE = "it must be `tenant = root, read` with semicolons between, such as ward = /night/in, read; ward = /out, write"

NETWORK_GRANT_SHAPE = (
    "it must be `tenant = network` with semicolons between and no host bits, such as ward = 10.20.30.0/24"
)


def granted_to(grants: Sequence[AnyGrant], name: str, *, is_first: bool) -> tuple[AnyGrant, ...]:
    """Those of the tenant with this name."""
    names = {EVERY_TENANT, name, *((FIRST_TENANT,) if is_first else ())}
    return tuple(grant for grant in grants if grant.tenant in names)


def network_grants_of(text: str) -> tuple[NetworkGrant, ...]:
    """The grants of networks in `text`. Raises ValueError, which says how to write them."""
    return tuple(_network_grant(written) for written in text.split(";") if written.strip())


def _network_grant(written: str) -> NetworkGrant:
    tenant, _, network = (part.strip() for part in written.rpartition("="))
    try:
        if tenant:
            return NetworkGrant(tenant, ip_network(network))
    except ValueError:
        pass
    raise ValueError(NETWORK_GRANT_SHAPE)


def grants_of(text: str) -> tuple[RootGrant, ...]:
    """The grants in `text`. Raises ValueError, which says how to write them."""
    return tuple(grant for written in text.split(";") if written.strip() for grant in _grants(written))


def _grants(written: str) -> list[RootGrant]:
    grant = GRANT.fullmatch(written)
    if grant is None or not is_root(grant[2]):
        raise ValueError(GRANT_SHAPE)
    return [RootGrant(grant[1], grant[2], Access(each.strip())) for each in grant[3].split("|")]


def is_root(root: str) -> bool:
    """Whether this is a folder, or a URI of one, named directly."""
    place = root.rpartition("://")[2]
    steps = set(place.split("/"))
    return ROOT.fullmatch(root) is not None and "//" not in place and not {"..", "."} & steps
