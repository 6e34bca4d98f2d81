"""The roots below which a tenant's sources and copies may be, as set by the operator. Opens nothing.

Roots without a tenant's name belong to the first tenant that was created: this is all that an installation with one
tenant needs, and it gives later tenants no access.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from service.db import Database
from service.root_grants import EVERY_TENANT, FIRST_TENANT, Access, RootGrant

TENANT = """
SELECT name, NOT EXISTS (SELECT FROM tenant AS other WHERE (other.created_at, other.id) < (tenant.created_at, tenant.id))
    AS is_first FROM tenant WHERE id = %(id)s
"""


@dataclass(frozen=True)
class TenantRoots:
    """The roots of one tenant: sources are below a root in `read`, copies are written to or below a root in `write`."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


class Roots(Protocol):
    """The roots of tenants."""

    def of(self, tenant_id: UUID) -> TenantRoots:
        """The roots of a tenant. Raises DatabaseUnavailable."""


class GrantedRoots:
    """The roots that the settings grant to each tenant. Tenants keep their names and order, so each is looked up once."""

    def __init__(self, database: Database, grants: Sequence[RootGrant]) -> None:
        self._database = database
        self._grants = grants
        self._known: dict[UUID, TenantRoots] = {}

    def of(self, tenant_id: UUID) -> TenantRoots:
        """See Roots. A tenant that does not exist has none."""
        found = self._known.get(tenant_id)
        if found is None:
            with self._database.statement() as work:
                rows = work.execute(TENANT, {"id": tenant_id})
            if not rows:
                return TenantRoots()
            (tenant,) = rows
            found = self._known[tenant_id] = granted(self._grants, tenant.name, tenant.is_first)
        return found


def granted(grants: Sequence[RootGrant], name: str, is_first: bool) -> TenantRoots:
    """The roots that are granted to a tenant."""
    names = {EVERY_TENANT, name, *((FIRST_TENANT,) if is_first else ())}

    def roots(access: Access) -> tuple[str, ...]:
        return tuple(grant.root for grant in grants if grant.tenant in names and access is grant.access)

    return TenantRoots(roots(Access.READ), roots(Access.WRITE))
