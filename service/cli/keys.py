"""`medqueue keys`: make, list and revoke API keys, on the database itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from service.cli.exits import ExitCode
from service.cli.options import InOrder, over_installation

if TYPE_CHECKING:
    from service.cli.installation import Installation
    from service.cli.output import Output

SCOPES = (  # a test compares them with Scope
    *("jobs:read", "jobs:write", "uploads:write", "models:read", "webhooks:read", "webhooks:write", "admin"),
)


@click.group("keys", cls=InOrder)
def keys() -> None:
    """Create, list and revoke API keys (operator)."""


@keys.command("create")
@click.option("--name", required=True, metavar="TEXT", help="What the key is for.")
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    type=click.Choice(SCOPES),
    help="What the key may do (repeatable). `admin` includes all.",
)
@click.option(
    "--tenant",
    default="default",
    show_default=True,
    metavar="NAME",
    help="The tenant whose data it gives access to.",
)
@click.option("--new-tenant", is_flag=True, help="Create the tenant if it does not exist.")
@click.option("--expires-in-days", type=click.IntRange(1, 36_500), metavar="D", help="Never if omitted.")
@over_installation
def create_key(
    installation: Installation,
    out: Output,
    *,
    name: str,
    scopes: tuple[str, ...],
    tenant: str,
    new_tenant: bool,
    expires_in_days: int | None,
) -> int:
    """Create a key and show it once: only a digest of it is stored.

    \b
    Examples:
      medqueue keys create --name pacs --scope jobs:write --scope uploads:write
      medqueue keys create --name ward-7 --scope jobs:read --tenant clinic --new-tenant --expires-in-days 90
    """
    from service import accounts
    from service.cli import tables

    expires_at = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None
    with installation.database.transaction() as work:
        if new_tenant:
            tenant_id, _ = accounts.ensure_tenant(
                work, installation.keyring, name=tenant, actor=installation.actor
            )
        else:
            tenant_id = accounts.tenant_named(work, tenant)
        issued = accounts.issue_key(
            work,
            tenant_id=tenant_id,
            name=name,
            scopes=sorted(set(scopes)),
            actor=installation.actor,
            expires_at=expires_at,
        )
    document = {
        "id": issued.id,
        "key": issued.token,
        "name": name,
        "tenant": tenant,
        "scopes": list(issued.scopes),
        "expires_at": expires_at and expires_at.isoformat(),
    }
    out.show(document, lambda: tables.fields(document.items()))
    out.note("Save the key now: it is shown only once and not stored.")
    return ExitCode.OK


@keys.command("list")
@over_installation
def list_keys(installation: Installation, out: Output) -> int:
    """List all keys with their tenants and scopes, oldest first.

    Secrets are not stored, so none is shown.
    """
    from service import accounts
    from service.cli import tables

    with installation.database.transaction() as work:
        found: list[dict[str, Any]] = [
            {
                "id": key.id,
                "name": key.name,
                "tenant": tenant,
                "scopes": key.scopes,
                "created_at": key.created_at.isoformat(),
                "expires_at": key.expires_at and key.expires_at.isoformat(),
                "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
            }
            for key, tenant in accounts.list_keys(work)
        ]
    out.show({"items": found}, lambda: tables.keys(found))
    return ExitCode.OK


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@over_installation
def revoke_key(installation: Installation, out: Output, key_id: str) -> int:
    """Revoke a key immediately.

    ID is the part between `mq_` and the next `_`; the rest is not needed.
    """
    from service import accounts
    from service.cli import tables

    with installation.database.transaction() as work:
        accounts.revoke_key(work, key_id=key_id, actor=installation.actor)
    document = {"id": key_id, "revoked": True}
    out.show(document, lambda: tables.fields(document.items()))
    return ExitCode.OK
