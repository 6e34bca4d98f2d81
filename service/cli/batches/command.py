"""`medqueue batch` and its commands: list and show batches, control them, fetch their output."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from service.cli.batches.schedules import schedules
from service.cli.batches.submission import submit
from service.cli.exits import ExitCode
from service.cli.options import InOrder, Moment, over_api
from service.cli.submit import repeated_if_lost
from service.lifecycle import BatchState

if TYPE_CHECKING:
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

STDOUT = "-"
batch_argument = click.argument("batch_id", type=click.UUID, metavar="ID")


@click.group("batch", cls=InOrder)
def batch() -> None:
    """Score whole files overnight, and fetch the output."""


batch.add_command(submit)


@batch.command("watch")
@batch_argument
@over_api
def watch_batch(api: ApiClient, out: Output, batch_id: UUID) -> int:
    """Follow a batch until it has ended.

    Ends with 0 when it is completed and a row was scored, and with 1 when every row failed or it ended otherwise. Ctrl-C
    ends the watching, not the batch. If the service becomes unavailable, the command retries.

    \b
    Example:
      medqueue batch watch 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11
    """
    from service.cli.batches.watching import advise, watch

    view, code = watch(api, out, str(batch_id))
    advise(api, out, view)
    return code


@batch.command("list")
@click.option("--state", type=click.Choice([state.value for state in BatchState]), help="Only these.")
@click.option("--schedule", type=click.UUID, metavar="ID", help="Only those that this schedule opened.")
@click.option("--rerun-of", type=click.UUID, metavar="ID", help="Only reruns of this batch.")
@click.option("--created-after", type=Moment(), metavar="ISO", help="Only those submitted after this time.")
@click.option("--created-before", type=Moment(), metavar="ISO", help="Only those submitted before it.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most this many."
)
@click.option("--all", "everything", is_flag=True, help="All, however many.")
@over_api
def list_batches(
    api: ApiClient,
    out: Output,
    *,
    state: str | None,
    schedule: UUID | None,
    rerun_of: UUID | None,
    created_after: datetime | None,
    created_before: datetime | None,
    limit: int,
    everything: bool,
) -> int:
    """List batches, newest first.

    \b
    Examples:
      medqueue batch list --state running
      medqueue batch list --created-after 2027-01-31T18:00 --all --json
    """
    from service.cli.batches import tables

    wanted: Json = {
        "state": state,
        "schedule": schedule and str(schedule),
        "rerun_of": rerun_of and str(rerun_of),
        "created_after": created_after and created_after.isoformat(),
        "created_before": created_before and created_before.isoformat(),
    }
    filters = {name: value for name, value in wanted.items() if value is not None}
    found = api.batches(filters, None if everything else limit)
    out.show({"items": found}, lambda: tables.batches(found))
    return ExitCode.OK


@batch.command("show")
@batch_argument
@over_api
def show_batch(api: ApiClient, out: Output, batch_id: UUID) -> int:
    """Show a batch: what it does, its progress, its problem."""
    return _shown(out, api.batch(str(batch_id)))


@batch.command("events")
@batch_argument
@over_api
def list_events(api: ApiClient, out: Output, batch_id: UUID) -> int:
    """Show the audit trail of a batch, oldest first."""
    from service.cli import tables

    found = api.batch_events(str(batch_id))
    out.show({"items": found}, lambda: tables.events(found))
    return ExitCode.OK


@batch.command("pause")
@batch_argument
@over_api
def pause_batch(api: ApiClient, out: Output, batch_id: UUID) -> int:
    """Pause a batch: no more of it is started.

    Chunks in progress are finished first: until then it is `pausing`.
    """
    return _shown(out, api.control_batch(str(batch_id), "pause"))


@batch.command("resume")
@batch_argument
@over_api
def resume_batch(api: ApiClient, out: Output, batch_id: UUID) -> int:
    """Resume a paused batch, within its window."""
    return _shown(out, api.control_batch(str(batch_id), "resume"))


@batch.command("cancel")
@batch_argument
@over_api
def cancel_batch(api: ApiClient, out: Output, batch_id: UUID) -> int:
    """Cancel a batch; what was scored until then can be fetched.

    Ends with 0 if the batch is canceled, and with 1 if it had ended otherwise. `medqueue batch results ID --partial`
    fetches what was scored.
    """
    view = api.control_batch(str(batch_id), "cancel")
    _shown(out, view)
    if view["state"] == BatchState.CANCELED:
        return ExitCode.OK
    out.note("Not canceled: the batch had ended before.")
    return ExitCode.FAILED


@batch.command("rerun")
@batch_argument
@click.option(
    "--source", metavar="FILE_OR_URI", help="A corrected file of the same format; the first one if omitted."
)
@click.option("--rows", type=click.Choice(["failed", "all"]), help="Which rows (default: failed).")
@click.option("--watch", "watched", is_flag=True, help="Follow the new batch until it has ended.")
@click.option("--idempotency-key", metavar="K", help="Makes retries safe: the batch is rerun once.")
@over_api
def rerun_batch(
    api: ApiClient,
    out: Output,
    *,
    batch_id: UUID,
    source: str | None,
    rows: str | None,
    watched: bool,
    idempotency_key: str | None,
) -> int:
    """Score the failed rows of a batch again, as a new batch.

    With --source the failed rows are read from a corrected file by their numbers, so it must have as many rows as the
    first; with --rows all every row of it is scored.

    \b
    Examples:
      medqueue batch rerun 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11 --watch
      medqueue batch rerun 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11 --source corrected.csv
    """
    from service.cli.batches.sources import LocalFile, source_named, upload_file

    key = idempotency_key or str(uuid.uuid4())
    body: Json = {}
    if rows is not None:
        body["rows"] = rows
    if source is not None:
        found = source_named(source)
        body["source"] = upload_file(api, out, found.path) if isinstance(found, LocalFile) else found.source
    new = repeated_if_lost(lambda: api.control_batch(str(batch_id), "rerun", key, body or None))
    if not watched:
        return _shown(out, new)
    from service.cli.batches.watching import advise, watch

    out.note(f"The new batch is {new['id']}.")
    view, code = watch(api, out, new["id"])
    advise(api, out, view)
    return code


def _takes_file(function: Callable[..., int]) -> Callable[..., int]:
    for option in (
        click.option(
            "--partial", is_flag=True, help="What was scored of a batch that ended without completing."
        ),
        click.option(
            "-o",
            "--output",
            "file",
            type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
            metavar="FILE",
            help="File to write; stdout if omitted, or for `-`.",
        ),
        batch_argument,
    ):
        function = option(function)
    return function


@batch.command("results")
@_takes_file
@over_api
def fetch_results(api: ApiClient, out: Output, *, batch_id: UUID, file: Path | None, partial: bool) -> int:
    """Fetch the results of a batch, checked against their digest.

    An interrupted download to FILE leaves FILE.part; the same command resumes it. An existing FILE is replaced once the
    new one is complete.

    \b
    Examples:
      medqueue batch results 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11 -o results.ndjson
      medqueue batch results 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11 | head
    """
    return _fetched("results", api, out, batch_id=str(batch_id), file=file, partial=partial)


@batch.command("errors")
@_takes_file
@over_api
def fetch_errors(api: ApiClient, out: Output, *, batch_id: UUID, file: Path | None, partial: bool) -> int:
    """Fetch the rows of a batch that failed, and why.

    Downloads are resumed and checked as those of `medqueue batch results`.

    \b
    Example:
      medqueue batch errors 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11 -o errors.ndjson
    """
    return _fetched("errors", api, out, batch_id=str(batch_id), file=file, partial=partial)


batch.add_command(schedules)


def _fetched(
    kind: str, api: ApiClient, out: Output, *, batch_id: str, file: Path | None, partial: bool
) -> ExitCode:
    from service.cli import downloads
    from service.cli.batches.downloads import wanted_of
    from service.cli.tables import fields

    to_stdout = file is None or str(file) == STDOUT
    if to_stdout and out.as_json:
        raise click.UsageError("--json describes the file that was written: name it with -o.")
    view = api.batch(batch_id)
    wanted = wanted_of(view, kind, partial=partial)
    if file is None or to_stdout:
        if view["output"]["format"] == "parquet" and sys.stdout.isatty():
            raise click.UsageError("Parquet cannot be shown on a terminal: write it to a file with -o.")
        downloads.to_stdout(api, out, wanted)
        return ExitCode.OK
    told = downloads.to_file(api, out, wanted, file)
    out.show(told, lambda: fields(told.items()))
    return ExitCode.OK


def _shown(out: Output, view: Json) -> ExitCode:
    from service.cli.batches import tables

    out.show(view, lambda: tables.batch(view))
    return ExitCode.OK
