"""What the settings grant to each tenant, by the tenants' names and order.

What names no tenant belongs to the first one that was created: this is all that an installation with one tenant needs, and
it gives later tenants nothing.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

from service.db import Database
from service.tenant_grants import AnyGrant, granted_to

Granted = TypeVar("Granted")

TENANT = """
SELECT name, NOT EXISTS (SELECT FROM tenant AS other WHERE (other.created_at, other.id) < (tenant.created_at, tenant.id))
    AS is_first FROM tenant WHERE id = %(id)s
"""


class Grants(Generic[AnyGrant, Granted]):
    """What `made` makes of each tenant's grants. Tenants keep their names and order, so each is looked up once."""

    def __init__(
        self, database: Database, grants: Sequence[AnyGrant], made: Callable[[Sequence[AnyGrant]], Granted]
    ) -> None:
        self._database = database
        self._grants = grants
        self._made = made
        self._known: dict[UUID, Granted] = {}

    def of(self, tenant_id: UUID) -> Granted:
        """What a tenant has. A tenant that does not exist has nothing. Raises DatabaseUnavailable."""
        found = self._known.get(tenant_id)
        if found is None:
            with self._database.statement() as work:
                rows = work.execute(TENANT, {"id": tenant_id})
            if not rows:
                return self._made(())
            (tenant,) = rows
            mine = granted_to(self._grants, tenant.name, is_first=tenant.is_first)
            found = self._known[tenant_id] = self._made(mine)
        return found
