"""`medqueue up`: servers, API, workers and scheduler on one machine, from nothing to `ready` and back."""

import base64
import http.client
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from service.config import Settings
from service.embedded.errors import FolderUnusable, PortTaken, StackFailed
from service.embedded.folder import DataFolder, write_private
from service.embedded.leftovers import stop_leftovers
from service.embedded.ports import keep_ports, kept_ports
from service.embedded.preparation import prepare
from service.embedded.processes import child_environment
from service.embedded.programs import Program, Stage, application_programs, postgres_program, redis_program
from service.embedded.servers import servers_in
from service.embedded.supervision import Supervisor, supervised
from service.embedded.wheels import require_supervisor
from service.entry import check_address
from service.errors import SettingInvalid

START_S = 120.0  # of one stage: Postgres may first replay 2 GB of log after a crash
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  compared with, not bound to


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def run_stack(
    settings: Settings,
    *,
    port: int,
    workers: int,
    announce: Callable[[str], None],
    progress: Callable[[str], None] = _to_stderr,
    prepared: Callable[[DataFolder, Settings], int] = prepare,
    programs: Sequence[Program] | None = None,
) -> int:
    """Run the whole stack until SIGINT, SIGTERM or SIGHUP, then stop it and return 0.

    `announce` gets the one line `ready http://HOST:PORT` once jobs are accepted, `progress` the steps before.
    `prepared` fills the database once the servers answer: if it returns another exit code than 0, everything is stopped
    and that code returned. `programs` replaces API, workers and scheduler. Call it from the main thread.

    Raises StackRunning, PortTaken, FolderUnusable, ExtraMissing or StackFailed, with every process stopped.
    """
    require_supervisor()
    folder = DataFolder.at(settings.data_dir)
    settings = settings.model_copy(update={"data_dir": folder.root, "api_port": port})
    with _private_files(), _interrupted_by_signals(), folder.held():
        try:
            stop_leftovers(folder)
            with _supervised_stack(folder, settings, workers, programs) as supervisor:
                progress("starting the servers")
                supervisor.start(Stage.POSTGRES, START_S, progress)
                supervisor.start(Stage.REDIS, START_S, progress)
                progress("preparing the database")
                if status := prepared(folder, settings):
                    return status
                progress("starting API, workers and scheduler")
                keep_ports(folder, {"api": port})  # before the API answers: callers find it by this
                supervisor.start(Stage.APPLICATION, START_S, progress)
                announce(f"ready {_url(settings)}")
                supervisor.wait()
                raise StackFailed("supervisord", "ended unexpectedly", folder.log("supervisord"))
        except KeyboardInterrupt:
            progress("stopped")
        finally:
            stop_leftovers(folder, patience_s=1.0)  # whatever supervisord could not stop
    return 0


def api_url(path: Path) -> str | None:
    """Where the API of a data folder's stack answers, starts or last answered; None before its first start."""
    port = kept_ports(DataFolder.at(path)).get("api")
    return None if port is None else f"http://127.0.0.1:{port}"


def is_starting(path: Path) -> bool:
    """Whether a process that lives holds a data folder of which no API has started yet. Takes no lock: `up` may want it."""
    holder = DataFolder.at(path).holder()
    return holder is not None and api_url(path) is None and _lives(holder)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


@contextmanager
def _supervised_stack(
    folder: DataFolder, settings: Settings, workers: int, programs: Sequence[Program] | None
) -> Iterator[Supervisor]:
    """supervisord with all programs and none started."""
    try:
        check_address(settings.api_host, settings.api_port)
    except SettingInvalid as error:
        if error.variable == "MEDQUEUE_API_PORT":
            raise PortTaken(settings.api_host, settings.api_port) from None
        raise
    _keep_master_key(folder, settings)
    complete, servers = _embedded_servers(folder, settings)
    if programs is None:
        programs = application_programs(complete, workers, lambda: _accepts_jobs(complete))
    environment = child_environment(folder, complete.environment())
    with supervised(folder, [*servers, *programs], environment) as supervisor:
        yield supervisor


def _embedded_servers(folder: DataFolder, settings: Settings) -> tuple[Settings, list[Program]]:
    """The servers whose URL is not given, ready to be started, and the settings that point to them."""
    if settings.database_url and settings.redis_url:
        return settings, []
    programs, urls = [], {}
    postgres, redis = servers_in(folder)
    if not settings.database_url:
        postgres.prepare()
        programs.append(postgres_program(postgres))
        urls["database_url"] = postgres.url
    if not settings.redis_url:
        redis.prepare()
        programs.append(redis_program(redis))
        urls["redis_url"] = redis.url
    return settings.model_copy(update=urls), programs


def _keep_master_key(folder: DataFolder, settings: Settings) -> None:
    """Make the master key on the first start. A later start without it must not make another one."""
    path = folder.root / "master.key"
    if settings.master_key or path.exists():
        return
    if folder.cluster.exists():
        raise FolderUnusable(f"{path} is missing, and stored data needs it. Restore it from a backup.")
    write_private(path, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")


def _accepts_jobs(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(_reachable_host(settings), settings.api_port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _url(settings: Settings) -> str:
    host = _reachable_host(settings)
    return f"http://[{host}]:{settings.api_port}" if ":" in host else f"http://{host}:{settings.api_port}"


def _reachable_host(settings: Settings) -> str:
    return WILDCARDS.get(settings.api_host, settings.api_host)


@contextmanager
def _private_files() -> Iterator[None]:
    """Make new files and folders closed to other users."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Turn the first stop signal into KeyboardInterrupt, and ignore further ones while the stack stops."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
