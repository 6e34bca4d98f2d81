"""The checks in their order, and what came of one: a process of its own runs each, since a fault of CUDA ends a process."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from benchmarks.figures import Figure
from benchmarks.gpu import machine_checks, queue_checks
from benchmarks.gpu.device import CheckFailed, Device
from benchmarks.processes import NotReady
from benchmarks.system import LoadFailed
from service.errors import ServiceError

Check = Callable[[Device], Iterator[Figure]]
OK, FAILED, NOT_RUN = "ok", "failed", "not run"


def _queued(check: Callable[..., Iterator[Figure]]) -> Check:
    """A check of the queue, on a stack of its own."""

    def run(device: Device) -> Iterator[Figure]:
        with queue_checks.stack(device) as system:
            yield from check(device, system)

    run.__doc__ = check.__doc__
    return run


CHECKS: dict[str, Check] = {
    "provider": machine_checks.provider,
    "golden": machine_checks.golden,
    "binding": machine_checks.binding,
    "memory": machine_checks.memory,
    "stopping": machine_checks.stopping,
    "budget": _queued(queue_checks.budget),
    "halving": _queued(queue_checks.halving),
    "throughput": _queued(queue_checks.throughput),
    "hanging": _queued(queue_checks.hanging),  # last: it leaves the device as a killed process does
}
LONGEST_S = {"throughput": 150.0}
USUALLY_LONGEST_S = 75.0


@dataclass(frozen=True)
class Found:
    """What came of one check."""

    name: str
    question: str
    outcome: str
    reason: str = ""
    took_s: float = 0.0
    figures: list[Figure] = field(default_factory=list)


def question(name: str) -> str:
    """What a check proves, in a sentence."""
    return " ".join((CHECKS[name].__doc__ or "").split())


def look(name: str, device: Device) -> Found:
    """Run one check here. What it found until it failed is kept."""
    figures: list[Figure] = []
    began = time.monotonic()
    outcome, reason = OK, ""
    try:
        for each in CHECKS[name](device):
            figures.append(each)  # noqa: PERF402 - a check may raise half-way
    except (CheckFailed, LoadFailed, NotReady, ServiceError) as failure:
        outcome, reason = FAILED, str(failure)
    except Exception as error:  # noqa: BLE001 - the edge: the other checks go on, and this one's reason is told
        outcome, reason = FAILED, f"{type(error).__name__}: {error}"
    return Found(name, question(name), outcome, reason, time.monotonic() - began, figures)


def look_apart(name: str, device: Device, within_s: float) -> Found:
    """Run one check in a process of its own, ended after `within_s` or the check's own limit."""
    longest_s = min(within_s, LONGEST_S.get(name, USUALLY_LONGEST_S))
    if longest_s <= 0:
        return Found(name, question(name), NOT_RUN, "no time was left")
    words = [sys.executable, "-m", "benchmarks.gpu", "--device", device.provider.value, "--check", name]
    try:
        ended = subprocess.run(
            [*words, *(["--quick"] if device.quick else [])],
            stdout=subprocess.PIPE, text=True, timeout=longest_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Found(name, question(name), FAILED, f"it was ended after {longest_s:.0f} s", longest_s)
    lines = ended.stdout.splitlines()
    if ended.returncode or not lines:
        return Found(name, question(name), FAILED, f"its process ended with {ended.returncode}")
    return read(json.loads(lines[-1]))


def written(found: Found) -> dict[str, object]:
    """As JSON holds it."""
    return asdict(found)


def read(table: dict[str, object]) -> Found:
    """From JSON."""
    values = dict(table)
    figures = [Figure(**{**each, "values": tuple(each["values"])}) for each in values.pop("figures")]  # type: ignore[attr-defined]
    return Found(**values, figures=figures)  # type: ignore[arg-type]
