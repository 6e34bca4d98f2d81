"""`medqueue` itself: its sub-commands, its version, and the way every error ends."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from service.cli import db, doctor, health, jobs, keys, models, recovery, submit, tenants, up, webhooks
from service.cli.batches import command as batches
from service.cli.demo import command as demo
from service.cli.errors import ApiProblem
from service.cli.exits import ExitCode, exit_code_of
from service.cli.options import InOrder, Invocation
from service.cli.output import drop_unwritten, error_text, replace_closed_streams, write_error
from service.errors import ServiceError

if TYPE_CHECKING:
    import httpx

# From 1.29 on, ONNX Runtime's Linux wheels report to their maker unless this stands in the environment before they are
# imported (microsoft/onnxruntime, pull request 27379). It is handed down to every process that a command starts.
NO_TELEMETRY = ("ORT_DISABLE_TELEMETRY", "1")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))
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
    tenants.tenants,
    db.db,
    doctor.doctor,
    health.health,
):
    medqueue.add_command(command)


for command in (recovery.requeue_jobs, recovery.resubmit_jobs):
    jobs.jobs.add_command(command)


def main(arguments: Sequence[str] | None = None, *, transport: "httpx.BaseTransport | None" = None) -> int:
    """Run `medqueue` with `arguments`, by default those of the process; the exit code."""
    given = None if arguments is None else list(arguments)
    os.environ.setdefault(*NO_TELEMETRY)
    replace_closed_streams()
    try:
        ended = medqueue.main(given, "medqueue", standalone_mode=False, obj=Invocation(transport))
    except click.exceptions.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (ServiceError, ApiProblem) as error:
        write_error(error_text(error))
        return exit_code_of(error)
    except Exception as error:  # noqa: BLE001 - the edge: whatever a command did not foresee ends here
        if (words := _environments_fault(error, sys.argv[1:] if given is None else given)) is not None:
            write_error(f"Error: {words}")
            return ExitCode.USAGE
        sys.stderr.write(traceback.format_exc())
        return ExitCode.INTERNAL
    return int(ended or ExitCode.OK)


def _environments_fault(error: Exception, arguments: Sequence[str]) -> str | None:
    """The message for an error of the machine or the command line; None for a fault of medqueue."""
    if isinstance(error, UnicodeEncodeError) and any(_LONE_SURROGATE.search(word) for word in arguments):
        return "A text of the command line is not UTF-8."
    if not isinstance(error, OSError) or isinstance(error, ConnectionError | TimeoutError):
        return None
    if error.filename is not None:
        path = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
        return f"{path} cannot be used: {error.strerror}."
    if error.errno in _FULL:
        drop_unwritten()
        return f"The output cannot be written: {error.strerror}."
    return None
