"""Checks of what settings grant to tenants, roots of batches and networks of webhooks: whether those tenants exist."""

from collections.abc import Iterator, Sequence

from service.cli.checks.finding import Examined, Finding, ok, warn
from service.cli.checks.servers import connect
from service.tenant_grants import EVERY_TENANT, FIRST_TENANT, Grant

TENANTS = "SELECT name FROM tenant ORDER BY created_at, id"
ROOTS, NETWORKS = "MEDQUEUE_BATCH_TENANT_ROOTS", "MEDQUEUE_WEBHOOK_TENANT_NETWORKS"


def batch_roots(examined: Examined) -> Iterator[Finding]:
    """Whether every tenant that is granted a root exists, and who has those that name none."""
    yield from _grants(examined, "batch roots", examined.settings.batch_root_grants, ROOTS, "files")


def webhook_networks(examined: Examined) -> Iterator[Finding]:
    """Whether every tenant that is granted a network exists, and who has those that name none."""
    grants = examined.settings.webhook_network_grants
    yield from _grants(examined, "webhook networks", grants, NETWORKS, "receivers there")


def _grants(
    examined: Examined, check: str, grants: Sequence[Grant], setting: str, what: str
) -> Iterator[Finding]:
    if not grants:
        return
    with connect(examined) as connection:
        tenants = [row[0] for row in connection.execute(TENANTS)]
    named = {grant.tenant for grant in grants} - {EVERY_TENANT, FIRST_TENANT}
    if unknown := sorted(named - set(tenants)):
        advice = f"Correct {setting}, or make it with `medqueue keys create --new-tenant`."
        yield warn(check, f"there is no tenant {', '.join(unknown)}", advice)
    if any(grant.tenant == FIRST_TENANT for grant in grants) and len(tenants) > 1:
        kind = check.split()[1]
        found = f"{kind} that name no tenant are of {tenants[0]} alone, and there are {len(tenants)} tenants"
        yield warn(check, found, f"Name the others' in {setting}, if they have {what}.")
    elif not unknown:
        yield ok(check, f"{len(grants)} granted")
