"""`medqueue tenants`: list tenants and set their shares of the workers, on the database itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from service.cli.exits import ExitCode
from service.cli.options import InOrder, over_installation

if TYPE_CHECKING:
    from service.cli.installation import Installation
    from service.cli.output import Output
    from service.config import Settings
    from service.orm import Tenant


@click.group("tenants", cls=InOrder)
def tenants() -> None:
    """List tenants and set their shares of the workers (operator)."""


@tenants.command("list")
@over_installation
def list_tenants(installation: Installation, out: Output) -> int:
    """List all tenants, their weights and what is granted to them.

    Oldest first.

    Roots of batches and private networks of webhooks are those of this command's settings, which have to be the processes'.
    """
    from service import accounts
    from service.cli import tables

    with installation.database.transaction() as work:
        tenants = accounts.list_tenants(work)
    found = [_document(installation.settings, tenant, is_first=tenant is tenants[0]) for tenant in tenants]
    out.show({"items": found}, lambda: tables.tenants(found))
    return ExitCode.OK


def _document(settings: Settings, tenant: Tenant, *, is_first: bool) -> dict[str, Any]:
    from service.tenant_grants import granted_to

    roots = granted_to(settings.batch_root_grants, tenant.name, is_first=is_first)
    networks = granted_to(settings.webhook_network_grants, tenant.name, is_first=is_first)
    return {
        "id": str(tenant.id),
        "name": tenant.name,
        "weight": tenant.weight,
        "created_at": tenant.created_at.isoformat(),
        "roots": [{"root": root, "access": access.value} for _, root, access in roots],
        "networks": [str(network) for _, network in networks],
    }


@tenants.command("weigh")
@click.argument("name", metavar="NAME")
@click.argument("weight", metavar="WEIGHT", type=click.IntRange(1, 100))
@over_installation
def weigh_tenant(installation: Installation, out: Output, name: str, weight: int) -> int:
    """Set a tenant's share of the workers.

    WEIGHT, 1 to 100, is how many of the tenant's jobs are taken in each turn while other tenants have jobs queued for the same
    model; 1 at first. It holds from the next claim on, for queued jobs as well.

    \b
    Example:
      medqueue tenants weigh emergency 4
    """
    from service import accounts
    from service.cli import tables

    with installation.database.transaction() as work:
        accounts.weigh_tenant(work, name=name, weight=weight, actor=installation.actor)
    document = {"name": name, "weight": weight}
    out.show(document, lambda: tables.fields(document.items()))
    return ExitCode.OK
