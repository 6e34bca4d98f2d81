"""`medqueue jobs`: list, show, watch, cancel, the trail and the artifacts of each; requeue for operators."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from service.cli.exits import ExitCode
from service.cli.options import InOrder, over_api, over_installation
from service.lifecycle import JobState
from service.queue import score_wake_up

if TYPE_CHECKING:
    from service.cli.client import ApiClient
    from service.cli.installation import Installation
    from service.cli.output import Output
    from service.jobs.inspection import Inspection, NextSteps

STDOUT = "-"
UNSTARTED = (JobState.WAITING, JobState.QUEUED)
job_argument = click.argument("job_id", type=click.UUID, metavar="ID")


@click.group("jobs", cls=InOrder)
def jobs() -> None:
    """Look at jobs, cancel them, read their audit trail."""


@jobs.command("list")
@click.option("--state", type=click.Choice([state.value for state in JobState]), help="Only these.")
@click.option("--model", metavar="NAME[@VERSION]", help="Only of this model, or of one version of it.")
@click.option(
    "--kind", type=click.Choice(["diagnosis", "recommendation", "generation"]), help="Only of such models."
)
@click.option("--subject", metavar="TEXT", help="Only of this patient reference, exactly as submitted.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most this many."
)
@over_api
def list_jobs(
    api: ApiClient,
    out: Output,
    *,
    state: str | None,
    model: str | None,
    kind: str | None,
    subject: str | None,
    limit: int,
) -> int:
    """List jobs, newest first, without their results.

    \b
    Examples:
      medqueue jobs list
      medqueue jobs list --state quarantined --limit 100
      medqueue jobs list --model pneumonia-xray-28 --json
    """
    from service.cli import tables

    wanted = {"state": state, "model": model, "kind": kind, "subject": subject}
    found = api.jobs({name: value for name, value in wanted.items() if value is not None}, limit)
    out.show({"items": found}, lambda: tables.jobs(found))
    return ExitCode.OK


@jobs.command("show")
@job_argument
@over_api
def show_job(api: ApiClient, out: Output, job_id: UUID) -> int:
    """Show a job with its result, or why it has not started.

    Reading a result is recorded in the job's audit trail.

    \b
    Example:
      medqueue jobs show 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11
    """
    from service.cli import job_tables

    job = api.job(str(job_id))
    if job["state"] in UNSTARTED:
        job |= {"delay": api.delay(str(job_id))}
    out.show(job, lambda: job_tables.job(job))
    return ExitCode.OK


@jobs.command("watch")
@job_argument
@over_api
def watch_job(api: ApiClient, out: Output, job_id: UUID) -> int:
    """Follow a job until it has ended, and show its text as it comes.

    Ends with 0 if the job succeeded, otherwise with 1. Ctrl-C stops watching, not the job. With --json a line of JSON for
    each event. Reading a text is recorded in the job's audit trail.

    \b
    Example:
      medqueue jobs watch 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11
    """
    from service.cli.watching import watch

    return watch(api, out, str(job_id))


@jobs.command("cancel")
@job_argument
@over_api
def cancel_job(api: ApiClient, out: Output, job_id: UUID) -> int:
    """Cancel a job that has not ended.

    No result follows a cancel. Ends with 0 if the job is canceled, and with 1 if it had ended otherwise.
    """
    from service.cli import job_tables

    job = api.cancel(str(job_id))
    out.show(job, lambda: job_tables.job(job))
    if job["state"] == JobState.CANCELED:
        return ExitCode.OK
    out.note("Not canceled: the job had ended before.")
    return ExitCode.FAILED


@jobs.command("events")
@job_argument
@over_api
def list_events(api: ApiClient, out: Output, job_id: UUID) -> int:
    """Show the audit trail of a job, and why it has not started.

    With --json each event carries its leaf hash.
    """
    from service.cli import job_tables

    found, delay = api.events(str(job_id)), api.delay(str(job_id))
    out.show({"items": found, "delay": delay}, lambda: job_tables.trail(found, delay))
    return ExitCode.OK


@jobs.command("artifact")
@job_argument
@click.argument("name")
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    metavar="FILE",
    help="File to write; stdout if omitted, or for `-`.",
)
@over_api
def fetch_artifact(api: ApiClient, out: Output, *, job_id: UUID, name: str, file: Path | None) -> int:
    """Fetch a file of a job's result, checked against its digest.

    `medqueue jobs show` lists them. An interrupted download to FILE leaves FILE.part; the same command resumes it. Each
    download is recorded in the job's audit trail.

    \b
    Example:
      medqueue jobs artifact 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11 mask.png -o mask.png
    """
    from models.pipelines.artifacts import NAME
    from service.cli import downloads
    from service.cli.tables import fields

    if not NAME.fullmatch(name):
        raise click.UsageError("NAME must be the name of an artifact, as listed by `medqueue jobs show`.")
    path = f"/v1/jobs/{job_id}/artifacts/{name}"
    if file is None or str(file) == STDOUT:
        if out.as_json:
            raise click.UsageError("--json describes the file that was written: name it with -o.")
        if sys.stdout.isatty():
            raise click.UsageError("An artifact cannot be shown on a terminal: write it to a file with -o.")
        downloads.to_stdout(api, out, downloads.Wanted(path))
        return ExitCode.OK
    size_bytes, sha256 = api.digest_of(path)
    wanted = downloads.Wanted(path, size_bytes=size_bytes, sha256=sha256)
    told = downloads.to_file(api, out, wanted, file)
    out.show(told, lambda: fields(told.items()))
    return ExitCode.OK


@jobs.command("inspect")
@job_argument
@over_installation
def inspect_job(installation: Installation, out: Output, job_id: UUID) -> int:
    """Show who holds a job and what happens to it next (operator).

    Works on the database, for jobs of any tenant. Shows lease, fence, attempts and crashes, whether a wake-up waits in
    Redis, and what can be done; no input, no patient reference, no result.

    \b
    Example:
      medqueue jobs inspect 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11
    """
    from service.cli import tables
    from service.jobs import inspection
    from service.shared_refusals import refused_by_all

    with installation.database.statement() as work:
        job = inspection.inspect(work, job_id)
    waits = installation.wake_up_waits(score_wake_up(job.model_version_id))
    next_steps = inspection.next_steps(
        job,
        wake_up_waits=waits,
        max_crashes=installation.settings.max_crashes,
        refusal=refused_by_all(installation.settings.redis_url).get(f"{job.model} {job.model_version}"),
    )
    document = inspected(job, next_steps, wake_up_waits=waits)
    out.show(document, lambda: tables.fields(document.items()))
    return ExitCode.OK


def inspected(job: Inspection, next_steps: NextSteps, *, wake_up_waits: bool | None) -> dict[str, object]:
    """An inspection as a document: times as text, the lease's rest to the tenth of a second."""
    return {
        "id": str(job.id),
        "state": job.state.value,
        "tenant": job.tenant,
        "model": job.model,
        "model_version": job.model_version,
        "fence": job.fence,
        "attempt": job.attempt,
        "crash_count": job.crash_count,
        "claim_size": job.claim_size,
        "lease_owner": job.lease_owner,
        "lease_remaining_s": None if job.lease_remaining_s is None else round(job.lease_remaining_s, 1),
        "available_at": job.available_at.isoformat(),
        "deadline": None if job.deadline is None else job.deadline.isoformat(),
        "problem": job.problem,
        "after": [f"{each['id']} {each['state']}" for each in job.after],
        "results": job.results,
        "events": job.events,
        "wake_up_waits": wake_up_waits,
        "next": next_steps.next,
        "advice": next_steps.advice,
    }
