"""`medqueue tenants`: list tenants and set their shares of the workers, on the database itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from service.cli.exits import ExitCode
from service.cli.options import InOrder, over_installation

if TYPE_CHECKING:
    from service.cli.installation import Installation
    from service.cli.output import Output


@click.group("tenants", cls=InOrder)
def tenants() -> None:
    """List tenants and set their shares of the workers (operator)."""


@tenants.command("list")
@over_installation
def list_tenants(installation: Installation, out: Output) -> int:
    """List all tenants with their weights, oldest first."""
    from service import accounts
    from service.cli import tables

    with installation.database.transaction() as work:
        found: list[dict[str, Any]] = [
            {
                "id": str(tenant.id),
                "name": tenant.name,
                "weight": tenant.weight,
                "created_at": tenant.created_at.isoformat(),
            }
            for tenant in accounts.list_tenants(work)
        ]
    out.show({"items": found}, lambda: tables.tenants(found))
    return ExitCode.OK


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
