"""The two systems, each started on fresh servers of its own, exactly as its operators would."""

import base64
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from benchmarks import cpu
from benchmarks.plain import settings as plain
from benchmarks.processes import command_line, free_port, running, wait_for_file, wait_until_ready
from benchmarks.system import System
from service.bootstrap import ADMIN_KEY_FILE, bootstrap
from service.config import PREFIX, Settings
from service.embedded import ServerUrls, api_command, embedded_servers, scheduler_command, worker_command

PLAIN = "plain"
MEDQUEUE = "medqueue"
NIGHT_FOLDER = "night"


@contextmanager
def plain_system(folder: Path) -> Iterator[System]:
    """The plain twin."""
    from benchmarks.plain.schema import Row, engine_for

    with embedded_servers(folder) as urls, ExitStack() as stack:
        engine = engine_for(urls.database_url)
        Row.metadata.create_all(engine)
        engine.dispose()
        port, environment = free_port(), plain.Addresses(urls.database_url, urls.redis_url).environment()
        commands = {"api": _plain_api(port), "worker": plain_worker()}
        roots = {
            name: stack.enter_context(running(command, environment, folder / f"{name}.log"))
            for name, command in commands.items()
        }
        wait_until_ready(port, folder / "api.log")
        system = System(
            PLAIN,
            "plain twin",
            port,
            "/jobs",
            b"",
            urls.database_url,
            folder,
            roots | _servers(folder),
            _told(commands, port),
        )
        yield _with_versions(system, urls)


@contextmanager
def medqueue_system(folder: Path, **more: Any) -> Iterator[System]:
    """medqueue: API, one worker and the scheduler, by the embedded stack's own command lines. `more` are settings."""
    with embedded_servers(folder) as urls, ExitStack() as stack:
        settings = Settings(
            database_url=urls.database_url,
            redis_url=urls.redis_url,
            data_dir=folder,
            api_port=free_port(),
            master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            webhook_allow_http=True,  # the receiver is a process of this machine
            webhook_allowed_ports="*",
            webhook_tenant_networks="* = 127.0.0.0/8",
            batch_allowed_roots=str(folder / NIGHT_FOLDER),
            **more,
        )
        (folder / NIGHT_FOLDER).mkdir()
        bootstrap(settings)
        commands = _medqueue_commands()
        roots = {
            name: stack.enter_context(running(command, _named(settings, name), folder / f"{name}.log"))
            for name, command in commands.items()
        }
        wait_until_ready(settings.api_port, folder / "api.log")
        key = (folder / ADMIN_KEY_FILE).read_text().strip()
        system = System(
            MEDQUEUE, "medqueue", settings.api_port, "/v1/jobs", f"Authorization: Bearer {key}\r\n".encode(),
            urls.database_url, folder, roots | _servers(folder), _told(commands, settings.api_port),
            environment=settings.environment(), batches=True,
        )  # fmt: skip
        yield _with_versions(system, urls)


@contextmanager
def with_second_worker(system: System) -> Iterator[System]:
    """medqueue with one worker more."""
    name = "worker-2"
    environment = {**system.environment, f"{PREFIX}WORKER_NAME": name}
    ready = system.folder / "run" / f"{name}.ready"
    with running(worker_command(name), environment, system.folder / f"{name}.log") as pid:
        wait_for_file(ready, system.folder / f"{name}.log")
        yield replace(system, roots={**system.roots, name: pid})


SYSTEMS = {PLAIN: plain_system, MEDQUEUE: medqueue_system}


def _plain_api(port: int) -> tuple[str, ...]:
    return (
        sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--workers", str(plain.API_WORKERS),
        "--threads", str(plain.API_THREADS), "--keep-alive", str(plain.KEEP_ALIVE_S),
        "--bind", f"127.0.0.1:{port}", "--log-level", "warning", "benchmarks.plain.api:app",
    )  # fmt: skip


def plain_worker() -> tuple[str, ...]:
    return (
        sys.executable, "-m", "celery", "-A", "benchmarks.plain.tasks", "worker", "--pool", "prefork",
        "--concurrency", str(plain.CONCURRENCY), "--without-gossip", "--without-mingle", "--without-heartbeat",
        "--loglevel", "WARNING",
    )  # fmt: skip


def _medqueue_commands() -> dict[str, tuple[str, ...]]:
    return {
        "api": api_command(),
        "worker": worker_command("worker"),
        "scheduler": scheduler_command("scheduler"),
    }


def _named(settings: Settings, name: str) -> dict[str, str]:
    return settings.model_copy(update={"worker_name": name}).environment()


def _servers(folder: Path) -> dict[str, int]:
    names = {"postgres": "postgres", "redis": "redis-server"}
    return {name: cpu.child_of_ours(program, folder) for name, program in names.items()}


def _told(commands: dict[str, tuple[str, ...]], port: int) -> list[str]:
    return [command_line(command).replace(str(port), "PORT") for command in commands.values()]


def _with_versions(system: System, urls: ServerUrls) -> System:
    with redis.Redis.from_url(urls.redis_url) as connection:
        redis_version = str(connection.info("server")["redis_version"])
    return replace(
        system, versions={"Postgres server": system.server_version(), "Redis server": redis_version}
    )
