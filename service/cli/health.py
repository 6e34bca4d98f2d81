"""`medqueue health`: whether one process of a container does its work. For health checks, so it is quick."""

from __future__ import annotations

from pathlib import Path

import click

from service.cli.exits import ExitCode
from service.cli.options import InOrder, Invocation, data_dir_option
from service.cli.output import write_error

worker_name_option = click.option(
    "--name",
    envvar="MEDQUEUE_WORKER_NAME",
    show_envvar=True,
    metavar="NAME",
    required=True,
    help="Name of the process.",
)


@click.group("health", cls=InOrder)
def health() -> None:
    """Say whether a process is healthy, for container checks.

    Quiet and 0 when it is, else 1.
    """


@health.command("api")
@data_dir_option
@click.option("--url", metavar="URL", help="The API's address. Default: the one on this machine.")
@click.pass_obj
def check_api(invocation: Invocation, data_dir: Path, url: str | None) -> int:
    """Ask the API of this machine whether it accepts jobs.

    GET /healthz and /readyz must both answer 200.

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
                    states = ", ".join(f"{name} {state}" for name, state in content.items())
                    write_error(f"{path} answers {status}: {states}")
                    return ExitCode.FAILED
    except Unreachable as error:
        write_error(error.detail)
        return ExitCode.FAILED
    return ExitCode.OK


@health.command("worker")
@data_dir_option
@worker_name_option
def check_worker(data_dir: Path, name: str) -> int:
    """Say whether the worker NAME has loaded its models and consumes."""
    return _ready(data_dir, name)


@health.command("scheduler")
@data_dir_option
@worker_name_option
def check_scheduler(data_dir: Path, name: str) -> int:
    """Say whether the scheduler NAME runs."""
    return _ready(data_dir, name)


def _ready(data_dir: Path, name: str) -> ExitCode:
    path = ready_file(data_dir, name)
    if path.is_file():
        return ExitCode.OK
    write_error(f"{name} is not ready: {path} does not exist.")
    return ExitCode.FAILED


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
