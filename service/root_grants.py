"""Which tenant may read or write below which root, as set by an operator. Knows no tenants and opens nothing."""

import re
from enum import StrEnum
from typing import NamedTuple

ROOT = re.compile(r"(/|[a-z][a-z0-9+.-]*:///?[^/])[^?#@\\]*", re.IGNORECASE)


class Access(StrEnum):
    """What a tenant may do below a root."""

    READ = "read"
    WRITE = "write"


class RootGrant(NamedTuple):
    """A root that a tenant, EVERY_TENANT or the FIRST_TENANT may read from or write to."""

    tenant: str
    root: str
    access: Access


EVERY_TENANT = "*"
FIRST_TENANT = ""
GRANT = re.compile(r"\s*([^=]*[^=\s])\s*=\s*([^,]*[^,\s])\s*,\s*(read|write|read\s*\|\s*write)\s*")
GRANT_SHAPE = "it must be `tenant = root, read` with semicolons between, such as ward = /night/in, read; ward = /out, write"


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
