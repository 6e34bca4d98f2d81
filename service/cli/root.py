"""`medqueue` itself: its sub-commands, its version, and the way every error ends."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from service.cli import db, doctor, health, jobs, keys, models, recovery, submit, up, webhooks
from service.cli.batches import command as batches
from service.cli.demo import command as demo
from service.cli.errors import ApiProblem
from service.cli.exits import ExitCode, exit_code_of
from service.cli.options import InOrder, Invocation
from service.cli.output import worded, write_error
from service.errors import ServiceError

if TYPE_CHECKING:
    import httpx

# From 1.29 on, ONNX Runtime's Linux wheels report to their maker unless this stands in the environment before they are
# imported (microsoft/onnxruntime, pull request 27379). It is handed down to every process that a command starts.
NO_TELEMETRY = ("ORT_DISABLE_TELEMETRY", "1")
EXITS = "\n".join(f"  {code.value:>3}  {code.meaning}" for code in ExitCode)
EPILOG = f"""\b
Examples:
  medqueue up                                    start everything on this machine
  medqueue demo                                  see it work, then clean up
  medqueue submit case.json --model breast-cancer-wisconsin
  medqueue jobs list --state failed --json
  medqueue batch submit ward.parquet --model breast-cancer-wisconsin --watch
  medqueue doctor                                what is wrong, and what to do

\b
Which stack: --data-dir (or MEDQUEUE_DATA_DIR) finds the embedded one; --url and
--key (or MEDQUEUE_URL and MEDQUEUE_KEY) name another service.

\b
Exit codes:
{EXITS}
"""


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"medqueue {version('medqueue')}")
        ctx.exit()


@click.group("medqueue", cls=InOrder, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def medqueue() -> None:
    """Asynchronous inference for medical ONNX models: submit a case, a worker scores it, read the result.

    Research software, not a medical device.
    """


for command in (
    up.up,
    demo.demo,
    submit.submit,
    jobs.jobs,
    batches.batch,
    models.models,
    webhooks.webhooks,
    keys.keys,
    db.db,
    doctor.doctor,
    health.health,
):
    medqueue.add_command(command)


for command in (recovery.requeue_jobs, recovery.resubmit_jobs):
    jobs.jobs.add_command(command)


def main(arguments: Sequence[str] | None = None, *, transport: "httpx.BaseTransport | None" = None) -> int:
    """Run `medqueue` with `arguments`, else those of the process; the exit code."""
    given = None if arguments is None else list(arguments)
    os.environ.setdefault(*NO_TELEMETRY)
    try:
        ended = medqueue.main(given, "medqueue", standalone_mode=False, obj=Invocation(transport))
    except click.exceptions.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (ServiceError, ApiProblem) as error:
        write_error(worded(error))
        return exit_code_of(error)
    except Exception:  # noqa: BLE001 - the edge: whatever a command did not foresee ends here
        sys.stderr.write(traceback.format_exc())
        return ExitCode.INTERNAL
    return int(ended or ExitCode.OK)
