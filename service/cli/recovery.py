"""`medqueue jobs requeue` and `resubmit`: recovery of jobs that ended by no fault of their own, for operators."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from service.cli.exits import ExitCode
from service.cli.options import Moment, over_installation
from service.lifecycle import JobState

if TYPE_CHECKING:
    from service.cli.installation import Installation
    from service.cli.output import Output
    from service.jobs.recovery import Chosen

FIRST = UUID(int=0)


def chosen_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options that choose jobs."""
    for option in reversed((
        click.option("--code", metavar="CODE", help="Only jobs whose problem has this code."),
        click.option("--model", metavar="NAME[@VERSION]", help="Only of this model, or of one version of it."),
        click.option("--ended-after", type=Moment(), metavar="TIME", help="Only jobs that ended at or after TIME."),
        click.option("--ended-before", type=Moment(), metavar="TIME", help="Only jobs that ended before TIME."),
    )):  # fmt: skip
        command = option(command)
    return command


@click.command("requeue")
@click.argument("job_id", type=click.UUID, metavar="[ID]", required=False)
@chosen_options
@click.option("--all", "everything", is_flag=True, help="Every quarantined job.")
@over_installation
def requeue_jobs(
    installation: Installation, out: Output, job_id: UUID | None, *, everything: bool, **wanted: Any
) -> int:
    """Queue quarantined jobs again (operator).

    Works on the database, for one job or all that the options choose. A job is quarantined when its worker died three
    times while scoring it alone (worker_crashed), or when its stored input could not be opened (input_unreadable,
    upload_gone, blob_unavailable). Fix that first: the worker's log names the job. The scheduler wakes a worker within
    seconds.

    \b
    Examples:
      medqueue jobs requeue 0199f2f0-5b1e-7c70-8a3b-2f6f0c3f9d11
      medqueue jobs requeue --code upload_gone --ended-after 2027-01-31T18:00:00Z
    """
    from service.cli import tables
    from service.jobs import queries, recovery

    if job_id is not None:
        with installation.database.statement() as work:
            queries.requeue(work, job_id, actor=installation.actor)
        document: dict[str, object] = {"id": str(job_id), "state": JobState.QUEUED.value}
        out.show(document, lambda: tables.fields(document.items()))
        return ExitCode.OK
    chosen = choose(installation, everything=everything, **wanted)
    found: list[UUID] = []
    while True:
        with installation.database.statement() as work:
            requeued = recovery.requeue(work, chosen, actor=installation.actor)
        if not requeued:
            break
        found += requeued
    document = {"requeued": len(found), "ids": [str(each) for each in found]}
    out.show(document, lambda: tables.fields([("requeued", len(found))]))
    return ExitCode.OK


@click.command("resubmit")
@chosen_options
@click.option("--all", "everything", is_flag=True, help="Every failed job.")
@over_installation
def resubmit_jobs(installation: Installation, out: Output, *, everything: bool, **wanted: Any) -> int:
    """Submit inputs of failed jobs again (operator).

    Works on the database. For jobs that an earlier release failed by an operator's error, such as a worker with another
    master key (input_unreadable): a failed job stays failed, and its input becomes a new job of the same caller, with its
    model version, priority, subject, metadata and callback, and without deadline. Each input is submitted once,
    however often this is repeated. Ends with 1 if an input cannot be decrypted.

    \b
    Example:
      medqueue jobs resubmit --code input_unreadable --ended-after 2027-01-31T18:00:00Z
    """
    from service.accounts import TenantCiphers
    from service.catalog import Catalog
    from service.cli import tables
    from service.errors import AfterUnsuitable, PayloadUnreadable
    from service.jobs import recovery

    chosen = choose(installation, everything=everything, **wanted)
    ciphers = TenantCiphers(installation.database, installation.keyring)
    catalog = Catalog(installation.database, cache_s=60.0)
    made: dict[str, str] = {}
    unreadable: list[str] = []
    unsourced: list[str] = []
    after = FIRST
    while True:
        with installation.database.statement() as work:
            found = recovery.failed(work, chosen, after=after)
        if not found:
            break
        after = found[-1].id
        for job in found:
            try:
                cipher, model = ciphers.of(job.tenant_id), catalog.version(job.model_version_id)
                with installation.database.transaction() as work:
                    new_id = recovery.resubmit(work, job, cipher, model, actor=installation.actor)
            except PayloadUnreadable:
                unreadable.append(str(job.id))
            except AfterUnsuitable:
                unsourced.append(str(job.id))
            else:
                made[str(job.id)] = str(new_id)
    document = {"resubmitted": made, "unreadable": unreadable, "unsourced": unsourced}
    out.show(
        document, lambda: tables.listing(("FAILED JOB", "NEW JOB"), made.items(), empty="resubmitted  0")
    )
    for job_id in unreadable:
        out.note(f"{job_id} does not decrypt under this master key.")
    for job_id in unsourced:
        out.note(f"{job_id} reads the result of a job that has none any more.")
    return ExitCode.FAILED if unreadable or unsourced else ExitCode.OK


def choose(
    installation: Installation,
    *,
    everything: bool,
    code: str | None = None,
    model: str | None = None,
    ended_after: datetime | None = None,
    ended_before: datetime | None = None,
) -> Chosen:
    """The jobs that the options mean. Raises ModelNotFound, or UsageError when nothing chooses."""
    from service.catalog import Catalog
    from service.jobs.recovery import Chosen

    if not everything and not any((code, model, ended_after, ended_before)):
        raise click.UsageError("Say which jobs: by an option, or --all.")
    versions = None
    if model is not None:
        catalog = Catalog(installation.database, cache_s=60.0)
        found = [catalog.resolve(model)] if "@" in model else catalog.versions_of(model)
        versions = [version.id for version in found]
    with installation.database.statement() as work:
        now = work.execute("SELECT now() AS now")[
            0
        ].now  # what ends meanwhile is left: it may end so again and again
    return Chosen(code, versions, ended_after, min(ended_before or now, now))
