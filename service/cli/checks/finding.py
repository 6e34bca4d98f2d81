"""A finding of `medqueue doctor`, and what every check may look at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from service.config import Settings


class Status(StrEnum):
    """How serious a finding is. `fail`: something does not work or jobs may be lost; `warn`: it may soon."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and, unless it is ok, what to do."""

    check: str
    status: Status
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Examined:
    """What is examined: settings with the servers' addresses filled in, the API, and what stands in for the network."""

    settings: Settings
    api_url: str
    transport: httpx.BaseTransport | None = None

    @property
    def data_dir(self) -> Path:
        """The data folder."""
        return self.settings.data_dir

    @property
    def embedded(self) -> bool:
        """Whether an embedded stack has run on the data folder."""
        return (self.data_dir / "run" / "ports.json").is_file()


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Status.OK, found)


def warn(check: str, found: str, advice: str) -> Finding:
    """Something to look into."""
    return Finding(check, Status.WARN, found, advice)


def fail(check: str, found: str, advice: str) -> Finding:
    """Something that has to be fixed."""
    return Finding(check, Status.FAIL, found, advice)
