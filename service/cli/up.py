"""`medqueue up`: the whole stack on this machine."""

from pathlib import Path

import click

from service.cli.options import data_dir_option
from service.cli.output import write_error

CLIENT_VARIABLES = frozenset({"MEDQUEUE_URL", "MEDQUEUE_KEY"})  # read by this command line, no settings


@click.command("up")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="MEDQUEUE_API_PORT",
    show_envvar=True,
    default=8080,
    show_default=True,
    help="Port of the API, on 127.0.0.1 unless MEDQUEUE_API_HOST says otherwise.",
)
@data_dir_option
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Worker processes. One fills a GPU; add some on a machine with many cores.",
)
def up(port: int, data_dir: Path, workers: int) -> int:
    """Start the whole stack on this machine; Ctrl-C stops it.

    Starts Postgres, Redis, API, workers and scheduler. The first start makes the data folder, an admin key in
    FOLDER/admin.key, and publishes the bundled models. Once jobs are accepted, the one line `ready
    http://HOST:PORT` goes to stdout. A process that dies is started again. Ctrl-C or SIGTERM stops it all
    within 15 seconds and loses no job; the next start continues.

    With MEDQUEUE_DATABASE_URL or MEDQUEUE_REDIS_URL set, that server is used instead of an embedded one.

    \b
    Examples:
      medqueue up
      medqueue up --port 8081 --data-dir /srv/medqueue --workers 4
    """
    from service import logs
    from service.config import Settings
    from service.embedded import run_stack

    settings = Settings.from_environment().model_copy(update={"data_dir": data_dir})
    logs.take_over(settings.log_level, process="up")
    for name in unknown_variables():
        write_error(f"{name} is not a setting and is ignored. `medqueue doctor` says more.")
    return run_stack(settings, port=port, workers=workers, announce=_announce)


def unknown_variables() -> list[str]:
    """MEDQUEUE_* variables that nothing reads."""
    from service.config import Settings

    return [name for name in Settings.unknown_variables() if name not in CLIENT_VARIABLES]


def _announce(line: str) -> None:
    click.echo(line)
