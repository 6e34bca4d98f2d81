"""`medqueue batch schedules`: batches that are opened at the times of a cron expression."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import click

from service.cli.batches.work import takes_work
from service.cli.exits import ExitCode
from service.cli.options import FiniteRange, InOrder, over_api

if TYPE_CHECKING:
    from service.cli.batches.work import Work
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

HOUR_S = 3600
schedule_argument = click.argument("schedule_id", type=click.UUID, metavar="ID")


@click.group("schedules", cls=InOrder)
def schedules() -> None:
    """Open batches at set times."""


@schedules.command("list")
@over_api
def list_schedules(api: ApiClient, out: Output) -> int:
    """List the schedules, newest first."""
    from service.cli.batches import tables

    found = api.schedules()
    out.show({"items": found}, lambda: tables.schedules(found))
    return ExitCode.OK


@schedules.command("create")
@click.argument("source", metavar="URI")
@click.option("--name", required=True, metavar="TEXT", help="Its name, unique within the tenant.")
@click.option(
    "--cron", required=True, metavar="EXPR", help="When to run, in the time of --zone: five fields."
)
@takes_work
@click.option(
    "--deadline-after",
    "deadline_after_h",
    type=FiniteRange(min=0, min_open=True),
    metavar="HOURS",
    help="Stop each batch this many hours after its time.",
)
@click.option(
    "--wait-for-source",
    "wait_for_source_s",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="Wait this long after each run for a missing file.",
)
@over_api
def create_schedule(
    api: ApiClient,
    out: Output,
    *,
    source: str,
    name: str,
    cron: str,
    work: Work,
    deadline_after_h: float | None,
    wait_for_source_s: int | None,
) -> int:
    """Open a batch over URI at the times of a cron expression.

    In URI, {date} becomes the date of the run in that time zone. A local file cannot be scheduled, because the service
    must be able to read it.

    \b
    Example:
      medqueue batch schedules create s3://ward/{date}.parquet --name ward --cron "0 22 * * *" \\
        --zone Europe/Berlin --model breast-cancer-wisconsin --window 22:00-06:00 --deadline-after 9
    """
    if "://" not in source:
        raise click.UsageError("A schedule reads a URI, such as s3://ward/{date}.parquet; this is not one.")
    clock: Json = {"name": name, "cron": cron, "zone": work.zone_name}
    schedule = clock | work.request(source) | {"source": {"uri": source}}
    if deadline_after_h is not None:
        schedule["deadline_after_s"] = round(deadline_after_h * HOUR_S)
    if wait_for_source_s is not None:
        schedule["wait_for_source_s"] = wait_for_source_s
    return _shown(out, api.create_schedule(schedule))


@schedules.command("show")
@schedule_argument
@over_api
def show_schedule(api: ApiClient, out: Output, schedule_id: UUID) -> int:
    """Show a schedule: what it opens, its next run, its last one."""
    return _shown(out, api.schedule(str(schedule_id)))


@schedules.command("pause")
@schedule_argument
@over_api
def pause_schedule(api: ApiClient, out: Output, schedule_id: UUID) -> int:
    """Open no more batches until it is resumed."""
    return _shown(out, api.control_schedule(str(schedule_id), "pause"))


@schedules.command("resume")
@schedule_argument
@over_api
def resume_schedule(api: ApiClient, out: Output, schedule_id: UUID) -> int:
    """Open batches again; one run makes up for those that were missed."""
    return _shown(out, api.control_schedule(str(schedule_id), "resume"))


@schedules.command("delete")
@schedule_argument
@over_api
def delete_schedule(api: ApiClient, out: Output, schedule_id: UUID) -> int:
    """Delete a schedule; the batches that it opened are kept."""
    from service.cli import tables

    api.delete_schedule(str(schedule_id))
    document = {"id": str(schedule_id), "state": "deleted"}
    out.show(document, lambda: tables.fields(document.items()))
    return ExitCode.OK


def _shown(out: Output, found: Json) -> ExitCode:
    from service.cli.batches import tables

    out.show(found, lambda: tables.schedule(found))
    return ExitCode.OK
