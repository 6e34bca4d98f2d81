"""The roots below which a tenant's sources and copies may be, as set by the operator. Opens nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from service.db import Database
from service.granting import Grants
from service.tenant_grants import Access, RootGrant


@dataclass(frozen=True)
class TenantRoots:
    """The roots of one tenant: sources are below a root in `read`, copies are written to or below a root in `write`."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


class Roots(Protocol):
    """The roots of tenants."""

    def of(self, tenant_id: UUID) -> TenantRoots:
        """The roots of a tenant. Raises DatabaseUnavailable."""


def granted_roots(database: Database, grants: Sequence[RootGrant]) -> Roots:
    """The roots that the settings grant to each tenant."""
    return Grants(database, grants, roots_of)


def roots_of(grants: Sequence[RootGrant]) -> TenantRoots:
    """The roots that these grants name."""

    def roots(access: Access) -> tuple[str, ...]:
        return tuple(grant.root for grant in grants if access is grant.access)

    return TenantRoots(roots(Access.READ), roots(Access.WRITE))
