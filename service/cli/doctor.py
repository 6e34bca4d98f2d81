"""`medqueue doctor`: looks at everything an installation needs, and says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.exits import ExitCode
from service.cli.options import Invocation, data_dir_option, json_option
from service.cli.output import Output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from service.cli.checks.finding import Examined, Finding

Check = Callable[["Examined"], "Iterator[Finding]"]


@click.command("doctor")
@data_dir_option
@click.option("--url", metavar="URL", help="The API to ask. Default: the one on this machine.")
@json_option
@click.pass_obj
def doctor(invocation: Invocation, data_dir: Path, url: str | None, as_json: bool) -> int:
    """Find what is wrong with an installation, and what to do.

    Checks settings, secrets, disk, runtime, servers, schema, models, jobs, API and workers. Each check ends with
    ok, warn or fail. The command ends with 1 if one fails, otherwise with 0. It changes
    nothing, except that it writes one small blob to the blob store and removes it.

    \b
    Examples:
      medqueue doctor
      medqueue doctor --data-dir /srv/medqueue --json
    """
    from service import logs
    from service.cli.checks.finding import Status

    logs.configure("ERROR")
    out = Output(as_json=as_json)
    with out.waiting("examining") as label:
        findings = []
        for finding in examine(data_dir, url, invocation):
            label(f"examining: {finding.check}")
            findings.append(finding)
    failed = any(finding.status is Status.FAIL for finding in findings)
    document = {"ok": not failed, "findings": [vars(finding) for finding in findings]}
    out.show(document, lambda: _table(findings))
    return ExitCode.FAILED if failed else ExitCode.OK


def examine(data_dir: Path, url: str | None, invocation: Invocation) -> Iterator[Finding]:
    """Every finding, in the order in which they should be fixed."""
    from service.cli.checks import configuration
    from service.cli.checks.finding import Examined, fail
    from service.cli.errors import StackNotFound
    from service.cli.health import local_url
    from service.cli.installation import complete_settings
    from service.cli.up import unknown_variables
    from service.errors import SettingInvalid

    try:
        settings = complete_settings(data_dir)
        api_url = url or local_url(data_dir)
    except StackNotFound as error:
        found, _, advice = error.detail.partition(". ")
        yield fail("stack", found, advice)
        return
    except SettingInvalid as error:
        yield fail("settings", error.detail, f"Correct or unset {error.variable}, then run this again.")
        return
    yield from configuration.variables(unknown_variables())
    examined = Examined(settings, api_url, invocation.transport)
    for check in _checks(examined):
        yield from run(check, examined)


def run(check: Check, examined: Examined) -> Iterator[Finding]:
    """The findings of a check; one that breaks down has failed, and the others go on."""
    from service.cli.checks.finding import fail

    try:
        yield from check(examined)
    except Exception as error:  # noqa: BLE001 - the edge: a doctor does not die of what it examines
        from service.cli.checks.servers import unusable
        from service.database_faults import fault_of

        name = check.__name__.replace("_", " ")
        if (fault := fault_of(error)) is not None:
            yield unusable(name, fault, examined)
            return
        yield fail(name, f"the check broke down ({type(error).__name__})", "Fix the other failures first.")


def _checks(examined: Examined) -> Iterator[Check]:
    """The checks that can be made: those of the database's content only where there is one."""
    from service.cli.checks import application, configuration, grants, machine, servers

    yield from (
        configuration.master_key,
        configuration.secret_files,
        machine.disk,
        machine.runtime,
        machine.chemistry,
    )
    yield from (servers.postgres, servers.privileges, servers.schema, servers.redis)
    if servers.has_schema(examined):
        yield from (
            servers.data_keys,
            application.models,
            application.bundles,
            application.pipelines,
            application.jobs,
            application.sweeps,
            grants.batch_roots,
            grants.webhook_networks,
        )
        yield servers.processes
    yield from (servers.blob_store, application.api, application.workers)


def _table(findings: list[Finding]) -> RenderableType:
    from service.cli import tables

    return tables.listing(
        ("CHECK", "STATUS", "FOUND", "WHAT TO DO"),
        ((finding.check, finding.status, finding.found, finding.advice) for finding in findings),
        empty="Nothing was examined.",
    )
