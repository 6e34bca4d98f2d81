"""`medqueue batch submit`: what to score, how and when; watches the batch and fetches the output."""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from service.cli.batches.sources import UPLOAD, LocalFile, source_named, upload_file
from service.cli.batches.work import OUTPUTS, takes_work
from service.cli.errors import AnswerLost, ApiProblem
from service.cli.exits import ExitCode
from service.cli.options import Moment, over_api
from service.cli.submit import repeated_if_lost
from service.lifecycle import BatchState

if TYPE_CHECKING:
    from service.cli.batches.work import Work
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output


NO_BATCH: Final = "model_has_parts"  # of a problem: no other file or command makes a batch of this model


@click.command("submit")
@click.argument("source", metavar="FILE_OR_URI")
@takes_work
@click.option("--not-before", type=Moment(), metavar="ISO", help="Start at this time or later.")
@click.option("--deadline", type=Moment(), metavar="ISO", help="Stop at this time.")
@click.option(
    "--dry-run", type=click.IntRange(min=1), metavar="N", help="Check the first N rows and score none."
)
@click.option("--watch", "watched", is_flag=True, help="Follow the batch until it has ended.")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Watch, and fetch results and errors to this folder.",
)
@click.option("--idempotency-key", metavar="K", help="Makes retries safe: the batch is stored once.")
@over_api
def submit(
    api: ApiClient,
    out: Output,
    *,
    source: str,
    work: Work,
    not_before: datetime | None,
    deadline: datetime | None,
    dry_run: int | None,
    watched: bool,
    folder: Path | None,
    idempotency_key: str | None,
) -> int:
    """Submit a file to be scored, at night or at once.

    FILE_OR_URI is a local file, which is uploaded first, or an s3://, https:// or file:// URI that the service reads
    itself, or upload:ID for an uploaded file. Without --window it is scored as soon as no jobs are waiting. Without
    --watch the command ends once the batch is accepted; with it, as `medqueue batch watch` does.

    \b
    Examples:
      medqueue batch submit ward.parquet --model breast-cancer-wisconsin --watch
      medqueue batch submit s3://ward/xrays.tar --model pneumonia-xray-28 --window 22:00-06:00
      medqueue batch submit ward.csv --model breast-cancer-wisconsin --id-column id --out ward
    """
    if work.zone and not work.window:
        raise click.UsageError("--zone belongs to a --window: give both.")
    if not_before and deadline and deadline <= not_before:
        raise click.UsageError("--deadline must be later than --not-before.")
    request = work.request(source)
    times: Json = {"not_before": not_before, "deadline": deadline}
    request |= {name: time.isoformat() for name, time in times.items() if time is not None}
    if dry_run is not None:
        request["dry_run"] = dry_run
    found = source_named(source)
    if folder is not None:
        from service.cli.batches.downloads import make_room

        make_room(folder, work.output or OUTPUTS[0])
    if isinstance(found, LocalFile):
        request["source"] = upload_file(api, out, found.path)
    else:
        request["source"] = found.source
    view = _accepted(api, out, request, idempotency_key, uploaded=isinstance(found, LocalFile))
    if folder is None and not watched:
        return _told(out, view)
    return _followed(api, out, view, folder)


def _accepted(
    api: ApiClient, out: Output, request: Json, idempotency_key: str | None, *, uploaded: bool
) -> Json:
    """The accepted batch. When it is not, or that is not known, how to repeat it without a second upload."""
    key = idempotency_key or str(uuid.uuid4())
    again = f"{UPLOAD}{request['source'].get('upload_id')} in place of the file, --format {request['format']}"
    try:
        return repeated_if_lost(lambda: api.submit_batch(request, key))
    except AnswerLost as lost:
        repeat = f"with {again} and --idempotency-key {key}" if uploaded else f"with --idempotency-key {key}"
        raise AnswerLost(
            f"{lost.detail} Repeat the command {repeat}: what was stored is not stored twice."
        ) from None
    except ApiProblem as refused:
        if uploaded and refused.code != NO_BATCH:
            out.note(f"The file is uploaded. To use it, correct the command and give {again}.")
        raise


def _told(out: Output, view: Json) -> ExitCode:
    from service.cli.batches import tables

    out.show(view, lambda: tables.batch(view))
    out.note(f"Watch it: medqueue batch watch {view['id']}")
    return ExitCode.OK


def _followed(api: ApiClient, out: Output, view: Json, folder: Path | None) -> ExitCode:
    from service.cli.batches import tables
    from service.cli.batches.downloads import fetch_all, files_in
    from service.cli.batches.watching import advise, explain, watch

    out.note(f"The batch is {view['id']}.")
    if unused := tables.unused_columns(view):
        out.note(unused)
    ended, code = watch(api, out, view["id"], columns_told=bool(unused))
    if folder is not None and ended["state"] == BatchState.COMPLETED:
        fetch_all(api, out, ended, folder)
        explain(api, out, ended, files_in(folder, ended["output"]["format"])["errors"])
    else:
        advise(api, out, ended)
    return code
