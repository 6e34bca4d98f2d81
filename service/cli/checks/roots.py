"""Checks of the roots of batches: whose they are, and whether those tenants exist."""

from collections.abc import Iterator

from service.cli.checks.finding import Examined, Finding, ok, warn
from service.cli.checks.servers import connect
from service.root_grants import EVERY_TENANT, FIRST_TENANT

TENANTS = "SELECT name FROM tenant ORDER BY created_at, id"


def batch_roots(examined: Examined) -> Iterator[Finding]:
    """Whether every tenant that is granted a root exists, and who has those that name none."""
    grants = examined.settings.batch_root_grants
    if not grants:
        return
    with connect(examined) as connection:
        tenants = [row[0] for row in connection.execute(TENANTS)]
    named = {grant.tenant for grant in grants} - {EVERY_TENANT, FIRST_TENANT}
    if unknown := sorted(named - set(tenants)):
        advice = "Correct MEDQUEUE_BATCH_TENANT_ROOTS, or make it with `medqueue keys create --new-tenant`."
        yield warn("batch roots", f"there is no tenant {', '.join(unknown)}", advice)
    if any(grant.tenant == FIRST_TENANT for grant in grants) and len(tenants) > 1:
        found = f"roots that name no tenant are of {tenants[0]} alone, and there are {len(tenants)} tenants"
        yield warn(
            "batch roots", found, "Name the others' in MEDQUEUE_BATCH_TENANT_ROOTS, if they have files."
        )
    elif not unknown:
        yield ok("batch roots", f"{len(grants)} granted")
