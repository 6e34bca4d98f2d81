"""What a section finds: named figures, each with the values of its repeats."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import cpu


@dataclass(frozen=True)
class Figure:
    """One measured quantity. `value` is the median of the repeats."""

    key: str
    label: str
    unit: str
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def text(self) -> str:
        """The median as a person reads it."""
        return number(self.value)


def number(value: float) -> str:
    """A number with three digits or more."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def figure(key: str, label: str, unit: str, value: float) -> Figure:
    """A figure of one repeat."""
    return Figure(key, label, unit, (value,))


def joined(repeats: Sequence[Sequence[Figure]]) -> list[Figure]:
    """The figures of several repeats as one list."""
    return [
        Figure(first.key, first.label, first.unit, tuple(value for each in same for value in each.values))
        for same in zip(*repeats, strict=True)
        for first in same[:1]
    ]


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


def latencies(key: str, label: str, seconds: Sequence[float]) -> list[Figure]:
    """p50 and p99 in milliseconds."""
    return [
        figure(f"{key}_p50_ms", f"{label}, p50", "ms", percentile_ms(seconds, 0.50)),
        figure(f"{key}_p99_ms", f"{label}, p99", "ms", percentile_ms(seconds, 0.99)),
    ]


def cpu_split(key: str, used: Mapping[str, float], jobs: int) -> list[Figure]:
    """CPU seconds per 1,000 jobs of each component, the components in a fixed order."""
    return [
        figure(f"{key}_{name}", f"of which {name}", "s per 1,000", used.get(name, 0.0) * 1000 / jobs)
        for name in ("api", "worker", "scheduler", "postgres", "redis")
    ]


def cpu_total(key: str, label: str, used: cpu.Seconds, jobs: int) -> Figure:
    """CPU seconds of all server processes per 1,000 jobs."""
    return figure(key, label, "s per 1,000", sum(used.values()) * 1000 / jobs)
