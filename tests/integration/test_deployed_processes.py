"""The command lines of compose.yaml, started for real on servers of our own."""

import base64
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO

import psutil
import pytest

from service.bootstrap import bootstrap
from service.config import Settings
from service.embedded import ServerUrls, embedded_servers
from tests.integration.test_deployment_files import OURS, SERVICES

# What a process adds to the machine's memory, not counting what it shares: measured 84 and, with two models, 130.
OWN_MB = {"scheduler": 90, "worker": 190, "worker-gpu": 190}  # with one model, a detector, loaded


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Servers and a database as a deployment has them after its first start."""
    folder = tmp_path_factory.mktemp("deployment")
    key = base64.b64encode(bytes(range(32))).decode()
    with embedded_servers(folder / "servers", fsync=False) as urls:
        complete = deployed(urls, folder / "data", key)
        complete.data_dir.mkdir(exist_ok=True)
        bootstrap(complete)
        yield complete


def deployed(urls: ServerUrls, data_dir: Path, master_key: str) -> Settings:
    return Settings(
        database_url=urls.database_url, redis_url=urls.redis_url, data_dir=data_dir, master_key=master_key
    )


def test_the_migration_runs_by_its_command_line(settings: Settings) -> None:
    with running("migrate", settings) as process:
        assert process.wait(30) == 0


def test_the_api_answers_by_its_command_line(settings: Settings) -> None:
    port = free_port()
    asked = {
        "MEDQUEUE_API_HOST": "127.0.0.1",
        "MEDQUEUE_API_PORT": str(port),
        "MEDQUEUE_API_WORKERS": "2",
        "MEDQUEUE_API_THREADS": "7",
        "MEDQUEUE_MAX_WAITERS": "3",
    }
    with running("api", settings, asked) as process:
        assert eventually(lambda: status(f"http://127.0.0.1:{port}/readyz") == 200)
        assert process.poll() is None
        assert eventually(lambda: len(psutil.Process(process.pid).children()) == 2)


def test_a_wrong_setting_of_the_api_ends_it_by_name(settings: Settings) -> None:
    command = [beside_python("python"), *SERVICES["api"]["command"][1:]]
    environment = {**settings.environment(), "MEDQUEUE_API_THREADS": "many"}
    ended = subprocess.run(
        command,
        env=environment,
        cwd=settings.data_dir,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = map(json.loads, (ended.stdout + ended.stderr).splitlines())
    assert line["detail"].startswith("MEDQUEUE_API_THREADS: ")


@pytest.mark.parametrize("name", ["HOST", "PORT", "WORKERS", "THREADS"])
def test_compose_hands_what_is_set_for_the_api_on_to_it(name: str) -> None:
    assert SERVICES["api"]["environment"][f"MEDQUEUE_API_{name}"].startswith(f"${{MEDQUEUE_API_{name}:-")


@pytest.mark.parametrize("service", ["worker", "worker-gpu", "scheduler"])
def test_a_worker_comes_up_and_stays_by_its_command_line(settings: Settings, service: str) -> None:
    ready_file = settings.data_dir / "run" / f"{service}.ready"
    with running(service, settings, {"MEDQUEUE_ALLOW_CPU": "1"}) as process:
        assert eventually(lambda: ready_file.exists() or process.poll() is not None)
        health = [*SERVICES[service]["healthcheck"]["test"][1:], "--data-dir", str(settings.data_dir)]
        checked = subprocess.run([beside_python(health[0]), *health[1:], "--name", service], check=False)
        assert checked.returncode == 0
        time.sleep(3)
        assert process.poll() is None
        own_mb = psutil.Process(process.pid).memory_full_info().uss / 2**20
        assert own_mb < OWN_MB[service], f"{own_mb:.0f} MB"
        process.terminate()
        assert process.wait(15) == 0


@pytest.mark.parametrize("service", OURS)
def test_a_process_writes_one_json_log_that_names_it_from_its_first_line_to_its_last(
    settings: Settings, service: str, tmp_path: Path
) -> None:
    more = {
        "MEDQUEUE_ALLOW_CPU": "1",
        "MEDQUEUE_API_HOST": "127.0.0.1",
        "MEDQUEUE_API_PORT": str(free_port()),
    }
    ready_file = settings.data_dir / "run" / f"{service}.ready"
    log = tmp_path / "log"
    with log.open("wb") as written, running(service, settings, more, written) as process:
        url = f"http://127.0.0.1:{more['MEDQUEUE_API_PORT']}/readyz"
        assert eventually(lambda: status(url) == 200 if service == "api" else ready_file.exists())
        process.terminate()
        assert process.wait(15) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines() if line]
    assert lines
    assert {line["process"] for line in lines} == {service}
    assert all(line["event"] and line["level"] and line["timestamp"] and line["pid"] for line in lines)
    assert "%" not in " ".join(line["event"] for line in lines)
    if service != "api":
        assert "worker: Warm shutdown (MainProcess)" in [line["event"] for line in lines]


@contextmanager
def running(
    service: str,
    settings: Settings,
    more: Mapping[str, str] = MappingProxyType({}),
    log: IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """The service's command line from compose.yaml as a process, with its environment pointed to our servers."""
    words = SERVICES[service]["command"]
    declared = {name: value for name, value in SERVICES[service]["environment"].items() if "${" not in value}
    ours = {
        "MEDQUEUE_METRICS_HOST": "127.0.0.1",
        "MEDQUEUE_METRICS_PORT": "0",
    }  # this machine is no container
    environment = {"PATH": "/usr/bin:/bin", **declared, **ours, **settings.environment(), **more}
    command = [beside_python(words[0]), *words[1:]]
    with subprocess.Popen(command, env=environment, cwd=settings.data_dir, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def beside_python(name: str) -> str:
    """The program of this name in the environment that runs the tests."""
    return str(Path(sys.executable).with_name(name))


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except OSError:
        return 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], object], within_s: float = 60.0) -> bool:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
