"""One run: both systems up, section after section, their turns alternating."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks import cases, cpu, machine
from benchmarks.figures import Figure, joined
from benchmarks.plan import Plan
from benchmarks.sections import SECTIONS, Section
from benchmarks.sections.section import Turn
from benchmarks.system import System
from benchmarks.systems import SYSTEMS
from benchmarks.warm_up import warm_up

Progress = Callable[[str], None]


@dataclass
class Result:
    """What a run found. `figures` are by section, then by system; `others` is what else used the processors.

    `apart` says of sections that were measured in a run of their own when that was, and by which command.
    """

    plan: Plan
    command: str
    date: str
    titles: dict[str, str]
    settings: dict[str, list[str]]
    machine: dict[str, str]
    versions: dict[str, str]
    model: str
    others: float = 0.0
    took_s: float = 0.0
    figures: dict[str, dict[str, list[Figure]]] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)

    def of_system(self, name: str) -> dict[str, Figure]:
        """Every figure of a system, by key."""
        return {figure.key: figure for section in self.figures.values() for figure in section.get(name, [])}


def run(plan: Plan, command: str, progress: Progress, sections: Sequence[Section] = SECTIONS) -> Result:
    """Measure every section. Raises LoadFailed when a system does not do what is asked of it."""
    begun = time.monotonic()
    progress("starting both systems")
    with _all_systems() as systems:
        for system in systems:
            progress(f"warming up: {system.title}")
            warm_up(system, plan)
        result = _empty(plan, command, systems)
        before = _busy(systems)
        for section in sections:
            result.figures[section.name] = _measure(section, systems, result, progress)
        result.others = _share_of_others(before, _busy(systems))
    result.took_s = time.monotonic() - begun
    return result


@contextmanager
def _all_systems() -> Iterator[list[System]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medqueue-bench-")))
        yield [stack.enter_context(start(folder / name)) for name, start in SYSTEMS.items()]


def _measure(
    section: Section, systems: Sequence[System], result: Result, progress: Progress
) -> dict[str, list[Figure]]:
    turns = result.plan.repeats if section.repeated else 1
    wanted = [system for system in systems if system.name in section.systems]
    found: dict[str, list[list[Figure]]] = {system.name: [] for system in wanted}
    for number in range(turns):
        for system in wanted:
            progress(f"{section.title.lower()}: {system.title}, {number + 1} of {turns}")
            turn = Turn(system, result.plan, result.of_system(system.name), number)
            found[system.name].append(section.measure(turn))
    return {name: joined(repeats) for name, repeats in found.items()}


def _empty(plan: Plan, command: str, systems: Sequence[System]) -> Result:
    return Result(
        plan=plan,
        command=command,
        date=datetime.now(UTC).date().isoformat(),
        titles={system.name: system.title for system in systems},
        settings={system.name: list(system.settings) for system in systems},
        machine=machine.describe(),
        versions=machine.versions() | systems[0].versions,
        model=f"{cases.MODEL} {cases.digest()}",
    )


def _busy(systems: Sequence[System]) -> tuple[float, float, float]:
    """The wall clock, CPU seconds of the whole machine, and those of this benchmark."""
    ours = time.process_time() + sum(sum(system.cpu().values()) for system in systems)
    return time.monotonic(), cpu.busy_s(), ours


def _share_of_others(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    """The share of all cores that neither the systems nor the load generator used, and that was not idle."""
    wall_s, busy_s, ours_s = (late - early for early, late in zip(before, after, strict=True))
    return max(0.0, (busy_s - ours_s) / (wall_s * (psutil.cpu_count() or 1)))
