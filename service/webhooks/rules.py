"""Where the settings allow webhooks to be sent, as the rules for every URL and every connection of a tenant."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

from service.config import Settings
from service.db import Database
from service.egress import EgressRules
from service.granting import Grants
from service.tenant_grants import NetworkGrant


class TenantRules(Protocol):
    """The rules of tenants."""

    def of(self, tenant_id: UUID) -> EgressRules:
        """The rules of a tenant. Raises DatabaseUnavailable."""


def granted_rules(database: Database, settings: Settings) -> TenantRules:
    """The rules of each tenant, the same for the API that takes URLs and the workers that send to them."""
    return Grants(database, settings.webhook_network_grants, partial(rules_of, settings))


def rules_of(settings: Settings, grants: Sequence[NetworkGrant]) -> EgressRules:
    """The rules of a tenant with these grants."""
    return EgressRules(
        allow_http=settings.webhook_allow_http,
        ports=settings.webhook_ports,
        networks=tuple(grant.network for grant in grants),
        proxy=settings.webhook_proxy or None,
    )
