"""What a process lacks for its work, as it is told, written down and read by health checks. Standard library only."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

REPORTED_FOR_S = 60  # a fault in the database that was not reported again is out of date


class Requirement(StrEnum):
    """What is tested, by the name under which /readyz tells of it."""

    DATA_DIR = "data_dir"
    POSTGRES = "postgres"
    SCHEMA = "schema"
    MASTER_KEY = "master_key"
    BLOB_STORE = "blob_store"
    MODELS = "models"


@dataclass(frozen=True)
class Fault:
    """What is not as it must be. `wrong_setting`: waiting mends nothing, only a start with other settings does."""

    requirement: Requirement
    setting: str
    cause: str
    advice: str
    wrong_setting: bool = False

    def __str__(self) -> str:
        return f"{self.setting}: {self.cause}. {self.advice}"


def faults_file(data_dir: Path, name: str) -> Path:
    """Where the process of this name writes its faults; there is no such file while it lacks nothing."""
    return data_dir / "run" / f"{name}.faults"


def write_faults(path: Path, faults: Sequence[Fault]) -> None:
    """Write faults, whole or not at all; none takes the file away. Raises OSError."""
    if not faults:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps([asdict(fault) for fault in faults]) + "\n")
    fresh.replace(path)


def read_faults(path: Path) -> list[Fault]:
    """The faults in a file; none where there is no file that can be read."""
    try:
        return [Fault(**fields) for fields in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return []
