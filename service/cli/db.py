"""`medqueue db`: the database's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from service.cli.exits import ExitCode
from service.cli.options import InOrder, over_installation

if TYPE_CHECKING:
    from service.cli.installation import Installation
    from service.cli.output import Output


@click.group("db", cls=InOrder)
def db() -> None:
    """See and upgrade the database's schema (operator)."""


@db.command("upgrade")
@over_installation
def upgrade_schema(installation: Installation, out: Output) -> int:
    """Upgrade the schema to what this release needs.

    Safe to repeat, and while the previous release runs.
    """
    from service.schema import migrate

    migrate(installation.owner_url)
    return _show(installation, out)


@db.command("bootstrap")
@click.option("--admin-key", is_flag=True, help="Write an admin key to FOLDER/admin.key unless it exists.")
@over_installation
def bootstrap_installation(installation: Installation, out: Output, admin_key: bool) -> int:
    """Set up a new installation: schema, tenant, bundled models.

    Existing parts are kept. Without --admin-key, `medqueue keys create` creates the first key.
    """
    from service.bootstrap import bootstrap

    owner = installation.settings.model_copy(update={"database_url": installation.owner_url})
    bootstrap(owner, admin_key=admin_key, progress=out.note)
    return _show(installation, out)


@db.command("check")
@over_installation
def check_schema(installation: Installation, out: Output) -> int:
    """Check whether the schema is what this release needs.

    Ends with 1 if it is behind.
    """
    return _show(installation, out)


@db.command("current")
@over_installation
def show_revision(installation: Installation, out: Output) -> int:
    """Show the schema's revision, and the one this release needs."""
    _show(installation, out)
    return ExitCode.OK


def _show(installation: Installation, out: Output) -> ExitCode:
    from service.cli import tables
    from service.schema import schema_revisions

    current, needed = schema_revisions(installation.settings.database_url)
    document = {"current": current, "needed": needed, "schema": schema_state(current, needed)}
    out.show(document, lambda: tables.fields(document.items()))
    return ExitCode.FAILED if document["schema"] == "behind" else ExitCode.OK


def schema_state(current: str | None, needed: str | None) -> str:
    """`ok`, or `behind`. A newer schema is ok: migrations work while the previous release runs."""
    return "ok" if current is not None and current >= (needed or "") else "behind"
