"""What the stack runs, as a list of values, and the files by which supervisord runs it.

A program gets a start script of its own, and supervisord runs in the folder of these scripts. So its
configuration holds no path of the data folder, which need not survive its quoting rules.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from service.config import PREFIX, Settings
from service.embedded.commands import api_command, scheduler_command, worker_command
from service.embedded.postgres import Postgres
from service.embedded.redis import Redis


class Stage(IntEnum):
    """Started in this order, stopped in the reverse one. Programs of one stage stop side by side."""

    POSTGRES = 1
    REDIS = 2
    APPLICATION = 3


@dataclass(frozen=True)
class Program:
    """One supervised process. `stop_wait_s` after its stop signal it is killed.

    Without `is_ready` it counts as ready when it has run for a second.
    """

    name: str
    command: tuple[str, ...]
    stage: Stage = Stage.APPLICATION
    stop_signal: str = "TERM"
    stop_wait_s: int = 6
    environment: Mapping[str, str] = field(default_factory=dict)
    is_ready: Callable[[], bool] | None = None


def postgres_program(server: Postgres) -> Program:
    """The embedded Postgres. Its wait is short: after a kill the write-ahead log recovers it."""
    command, stop = server.command(), server.stop_signal
    return Program("postgres", command, Stage.POSTGRES, stop, stop_wait_s=3, is_ready=server.answers)


def redis_program(server: Redis) -> Program:
    """The embedded Redis, which stores nothing that a kill could lose."""
    command, stop = server.command(), server.stop_signal
    return Program("redis", command, Stage.REDIS, stop, stop_wait_s=1, is_ready=server.answers)


def application_programs(settings: Settings, workers: int, api_ready: Callable[[], bool]) -> list[Program]:
    """API, workers and scheduler."""
    names = [f"worker-{number}" for number in range(1, workers + 1)]
    return [
        Program("api", api_command(), is_ready=api_ready),
        *(_worker(name, worker_command(name), settings) for name in names),
        _worker("scheduler", scheduler_command(), settings),
    ]


def start_script(program: Program) -> str:
    """The shell script that becomes the program, run in the folder of pid files.

    A program killed outright can leave children behind, such as an API process that goes on listening. They are ended
    first, by their process group: its number is not reused while one of them lives. Where a process has that very
    number, it was reused since, and nothing is ended.
    """
    pid_file = f"{program.name}.pid"
    variables = [f"export {name}={shlex.quote(value)}" for name, value in program.environment.items()]
    return "\n".join([
        f"if old=$(cat {pid_file} 2>/dev/null) && ! kill -0 \"$old\" 2>/dev/null; then",
        "    kill -KILL \"-$old\" 2>/dev/null",
        "fi",
        f"echo $$ > {pid_file}.new && mv {pid_file}.new {pid_file}",
        *variables,
        f"exec {shlex.join(program.command)}",
        "",
    ])  # fmt: skip


def supervisor_configuration(programs: Sequence[Program], socket: Path) -> str:
    """The configuration of supervisord, which runs beside the scripts and takes commands on `socket`."""
    return "\n\n".join([
        HEAD.format(socket=socket),
        *(_program_section(program) for program in programs),
        *(_stage_section(stage, programs) for stage in Stage if any(p.stage is stage for p in programs)),
    ]) + "\n"  # fmt: skip


HEAD = """\
[supervisord]
nodaemon = true
silent = true
nocleanup = true
pidfile = supervisord.pid
logfile = ../log/supervisord.log
logfile_maxbytes = 10MB
logfile_backups = 3

[unix_http_server]
file = {socket}
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface"""


def _program_section(program: Program) -> str:
    return f"""\
[program:{program.name}]
command = /bin/sh ./{program.name}.sh
autostart = false
autorestart = true
startsecs = 1
startretries = 1000000
stopsignal = {program.stop_signal}
stopwaitsecs = {program.stop_wait_s}
killasgroup = true
redirect_stderr = true
stdout_logfile = ../log/{program.name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 3"""


def _stage_section(stage: Stage, programs: Sequence[Program]) -> str:
    names = ",".join(program.name for program in programs if program.stage is stage)
    return f"[group:{stage.name.lower()}]\nprograms = {names}\npriority = {stage.value}"


def _worker(name: str, command: tuple[str, ...], settings: Settings) -> Program:
    """A Celery worker, which makes a file of its name once it takes work."""
    ready_file = settings.data_dir / "run" / f"{name}.ready"
    # A fixed port would serve one process of the machine only: each takes a free one and writes it down.
    variables = {f"{PREFIX}WORKER_NAME": name, f"{PREFIX}METRICS_PORT": "0"}
    return Program(name, command, environment=variables, is_ready=ready_file.exists)
