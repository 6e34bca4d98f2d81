"""What a section is: a name, how it measures in words, and the function that measures one system."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.plan import Plan
from benchmarks.system import System
from benchmarks.systems import MEDQUEUE, PLAIN

Found = Mapping[str, Figure]  # figures of the same system from earlier sections
Measure = Callable[["Turn"], list[Figure]]


@dataclass(frozen=True)
class Turn:
    """One measurement of one system. `number` counts the repeats, and moves the seed."""

    system: System
    plan: Plan
    found: Found
    number: int = 0

    @property
    def seed(self) -> int:
        """The seed of this repeat's cases."""
        return self.plan.seed + self.number


@dataclass(frozen=True)
class Section:
    """One part of a run. Figures of several systems with the same key stand side by side in the report.

    Repeats of the systems alternate, so that what else the machine does falls on both.
    """

    name: str
    title: str
    method: str
    measure: Measure
    repeated: bool = False
    systems: tuple[str, ...] = (PLAIN, MEDQUEUE)
