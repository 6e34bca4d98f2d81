"""`medqueue health`: whether one process of a container does its work. For health checks, so it is quick."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from service.cli.exits import ExitCode
from service.cli.options import FiniteRange, InOrder, Invocation, data_dir_option
from service.cli.output import write_error
from service.faults import faults_file, read_faults
from service.pulse import PATIENCE_S, Pulse, pulse_file
from service.refusals import read_refusals, refusals_file

LONGEST_NAME = 200  # it becomes the name of a file


class ProcessName(click.ParamType[str]):
    """The name of a process, which its files are called by."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        if "/" in value or not 0 < len(os.fsencode(value)) <= LONGEST_NAME:
            self.fail(f"give the name of a process: up to {LONGEST_NAME} bytes without a slash", param, ctx)
        return str(value)


worker_name_option = click.option(
    "--name",
    type=ProcessName(),
    envvar="MEDQUEUE_WORKER_NAME",
    show_envvar=True,
    metavar="NAME",
    help="Name of the process. Default: all whose files are in the data folder.",
)
patience_option = click.option(
    "--stalled-after",
    type=FiniteRange(min=1),
    default=PATIENCE_S,
    show_default=True,
    metavar="SECONDS",
    help="How long a message may wait for the process.",
)


@click.group("health", cls=InOrder)
def health() -> None:
    """Check whether a process is healthy, for container checks.

    Ends with 0 and no output if it is, otherwise with 1.
    """


@health.command("api")
@data_dir_option
@click.option("--url", metavar="URL", help="The API's address. Default: the one on this machine.")
@click.pass_obj
def check_api(invocation: Invocation, data_dir: Path, url: str | None) -> int:
    """Ask the API of this machine whether it accepts jobs.

    GET /healthz and /readyz must both answer 200. When jobs are accepted, but Redis, workers or the scheduler are at
    fault, stderr says so.

    \b
    Example, in compose.yaml:
      healthcheck: {test: [CMD, medqueue, health, api]}
    """
    from service.cli.client import ApiClient
    from service.cli.errors import Unreachable
    from service.cli.target import Target

    try:
        with ApiClient(Target(url or local_url(data_dir), "", local=True), invocation.transport) as api:
            for path in ("/healthz", "/readyz"):
                status, content = api.probe(path)
                if status != 200:
                    write_error(f"{path} answers {status}: {states_of(content)}")
                    for setting, cause, advice in faults_of(content):
                        write_error(f"{setting}: {cause}. {advice}")
                    return ExitCode.FAILED
            for part in ("redis", "consumption", "scheduler"):
                if (state := content.get(part, "ok")) != "ok":
                    write_error(f"It accepts jobs, but {part} is {state}. `medqueue doctor` says more.")
    except Unreachable as error:
        write_error(error.detail)
        return ExitCode.FAILED
    return ExitCode.OK


@health.command("worker")
@data_dir_option
@worker_name_option
@patience_option
def check_worker(data_dir: Path, name: str | None, stalled_after: float) -> int:
    """Check whether the worker NAME is up and consumes messages.

    Without a name, all workers that have files in the data folder must be.

    Every few seconds a worker sends itself a message through Redis. It is unhealthy if Redis accepted the message but
    the worker, although idle, has not consumed it, or if it hangs. It is healthy without Redis, since it looks for work
    by itself, and while it refuses a model; stderr then says what is wrong.
    """
    return _all_healthy(data_dir, "worker", name, stalled_after)


@health.command("scheduler")
@data_dir_option
@worker_name_option
@patience_option
def check_scheduler(data_dir: Path, name: str | None, stalled_after: float) -> int:
    """Check whether the scheduler NAME is up and consumes messages.

    Without a name, all schedulers that have files in the data folder must be.
    """
    return _all_healthy(data_dir, "scheduler", name, stalled_after)


def states_of(content: Mapping[str, Any]) -> str:
    """What /readyz says of each part, in words."""
    return ", ".join(f"{name} {state}" for name, state in content.items() if isinstance(state, str))


def faults_of(content: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What /readyz says that the API lacks: setting, cause and advice of each."""
    found = content.get("faults") or []
    return [(fault["setting"], fault["cause"], fault["advice"]) for fault in found]


def _all_healthy(data_dir: Path, kind: str, name: str | None, stalled_after_s: float) -> ExitCode:
    names = [name] if name else names_of(data_dir, kind)
    if not names:
        write_error(
            f"No {kind} has run on {data_dir}. Name the folder with --data-dir, or the {kind} with --name."
        )
        return ExitCode.FAILED
    return max(_healthy(data_dir, each, stalled_after_s) for each in names)


def names_of(data_dir: Path, kind: str) -> list[str]:
    """The workers, or the schedulers, that have left files in the data folder. Workers may be called anything."""
    run = data_dir / "run"
    found = {path.stem for suffix in ("ready", "pulse", "faults") for path in run.glob(f"*.{suffix}")}
    found |= {path.stem for path in run.glob(f"{kind}*.pid")}
    return sorted(name for name in found if name.startswith("scheduler") == (kind == "scheduler"))


def _healthy(data_dir: Path, name: str, stalled_after_s: float) -> ExitCode:
    fault = process_fault(data_dir, name, patience_s=stalled_after_s)
    for lacking in read_faults(faults_file(data_dir, name)):
        write_error(f"{name} lacks what it needs: {lacking}")
    if fault is not None:
        write_error(f"{name} {fault}.")
        return ExitCode.FAILED
    pulse = Pulse.read(pulse_file(data_dir, name))
    if pulse is not None and pulse.redis_away:
        write_error(f"{name} runs, but {redis_fault_text(pulse)}")
    for model, refusal in read_refusals(refusals_file(data_dir, name)).items():
        write_error(f"{name} runs, but refuses {model}: {refusal.reason}")
    return ExitCode.OK


def redis_fault_text(pulse: Pulse) -> str:
    """What keeps Redis from carrying messages to a process, and what to do."""
    from service.redis_faults import RedisFault

    try:
        fault = RedisFault(pulse.redis_fault or "")
    except ValueError:  # written by another release
        return "Redis does not answer it."
    return f"Redis carries no messages to it: {fault.value}. {fault.advice}"


def process_fault(data_dir: Path, name: str, *, patience_s: float = PATIENCE_S) -> str | None:
    """Why the worker or scheduler of this name does not do its work; None when it does."""
    path = ready_file(data_dir, name)
    if not path.is_file():
        return f"is not ready: {path} does not exist"
    pulse = Pulse.read(pulse_file(data_dir, name))
    if pulse is None:
        return "has no pulse: it was stopped, or cannot write to its data folder"
    return pulse.fault(time.monotonic(), patience_s=patience_s)


def ready_file(data_dir: Path, name: str) -> Path:
    """What a worker or scheduler makes when it is ready, and removes when it stops."""
    return data_dir / "run" / f"{name}.ready"


def local_url(data_dir: Path) -> str:
    """The API of the embedded stack in `data_dir`, else of this machine's settings."""
    if (data_dir / "run" / "ports.json").is_file():
        from service.embedded import api_url

        if (found := api_url(data_dir)) is not None:
            return found
    from service.config import Settings

    settings = Settings.from_environment()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(  # noqa: S104  compared with, not bound to
        settings.api_host, settings.api_host
    )
    return f"http://{host}:{settings.api_port}"
