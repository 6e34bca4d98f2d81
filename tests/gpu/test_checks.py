"""`make gpu`: each of its checks, on the CPU with every run of the tests, and on CUDA where there is a GPU."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.gpu import machine_checks, queue_checks, report
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.bundles import write_greedy, write_hanging
from benchmarks.gpu.checks import CHECKS, FAILED, NOT_RUN, OK, Found, look, look_apart, read, written
from benchmarks.gpu.device import CheckFailed, Device
from benchmarks.system import System
from models.checking import check_bundle
from service.config import Provider
from workers import cuda

CUDA_FAULT = cuda.fault()
MACHINE_CHECKS = ("provider", "golden", "binding", "memory", "stopping")
QUEUE_CHECKS = ("budget", "halving", "throughput", "hanging")


@pytest.fixture(
    scope="module",
    params=[
        Provider.CPU,
        pytest.param(Provider.CUDA, marks=pytest.mark.skipif(CUDA_FAULT is not None, reason=str(CUDA_FAULT))),
    ],
    ids=str,
)
def device(request: pytest.FixtureRequest) -> Device:
    return Device(request.param, quick=True)


@pytest.fixture(scope="module")
def system(device: Device) -> Iterator[System]:
    with queue_checks.stack(device) as made:
        yield made


@pytest.mark.parametrize("name", MACHINE_CHECKS)
def test_a_check_of_the_machine_holds(name: str, device: Device) -> None:
    found = look(name, device)
    assert (found.outcome, found.reason) == (OK, "")
    assert found.figures


@pytest.mark.parametrize("name", QUEUE_CHECKS)
def test_a_check_of_the_queue_holds(name: str, device: Device, system: System) -> None:
    """One stack for all; the last of them ends its worker."""
    assert list(getattr(queue_checks, name)(device, system))


@pytest.mark.parametrize("write", [write_greedy, write_hanging])
@pytest.mark.parametrize("provider", [Provider.CPU, Provider.CUDA])
def test_the_models_of_the_checks_can_be_published(
    write: Callable[[Path, Device], Path], provider: Provider, tmp_path: Path
) -> None:
    """In the form that they have for a GPU, too: their trouble is switched off in their golden cases."""
    assert check_bundle(write(tmp_path / "bundle", Device(provider))) == []


def test_every_check_is_tested_and_says_what_it_proves() -> None:
    assert tuple(CHECKS) == (*MACHINE_CHECKS, *QUEUE_CHECKS)
    assert all(check.__doc__ for check in CHECKS.values())


@pytest.mark.skipif(CUDA_FAULT is None, reason="CUDA works here")
def test_a_gpu_that_is_not_there_fails_a_check_with_the_reason() -> None:
    found = look("provider", Device(Provider.CUDA))
    assert (found.outcome, found.reason) == (FAILED, CUDA_FAULT)


def test_a_provider_that_is_not_the_one_asked_for_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "execution_provider", "OtherExecutionProvider")
    with pytest.raises(CheckFailed, match="graphs run on CPUExecutionProvider"):
        list(machine_checks.provider(Device(Provider.CPU, quick=True)))


def test_a_check_that_takes_too_long_is_ended_and_one_without_time_is_not_begun() -> None:
    device = Device(Provider.CPU, quick=True)
    assert look_apart("golden", device, within_s=0.05).outcome == FAILED
    assert look_apart("golden", device, within_s=0.0).outcome == NOT_RUN


def test_the_command_writes_figures_and_a_section_and_says_by_its_status_whether_all_is_well(
    tmp_path: Path,
) -> None:
    words = ["--device", "cpu", "--quick", "--out", str(tmp_path), "--only", "memory", "stopping"]
    assert main(words) == 0
    table = json.loads((tmp_path / "gpu.json").read_text())
    assert [check["outcome"] for check in table["checks"]] == [OK, OK]
    assert "largest batch that was found to fit | " in (tmp_path / "gpu.md").read_text()
    assert main([*words, "--limit-s", "0"]) == 1


def test_what_was_found_comes_through_json() -> None:
    found = look("memory", Device(Provider.CPU, quick=True))
    assert read(json.loads(json.dumps(written(found)))) == found


def test_the_section_takes_its_place_in_the_page_and_that_of_an_older_one() -> None:
    table = report.content(Device(Provider.CPU), [Found("golden", "Why.", FAILED, "it differs")], 1.0)
    page = "# Benchmarks\n\n## One\n\ntext\n\n## What is compared\n\nmore\n"
    once = report.placed(page, report.section(table))
    assert "**golden** (failed: it differs). Why." in once
    assert once.index("## One") < once.index("## On a GPU") < once.index("## What is compared")
    assert report.placed(once, report.section(table)) == once
