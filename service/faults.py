"""What a process lacks for its work, as reported, written to a file and read by health checks. Standard library only."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

REPORTED_FOR_S = 60  # after which a fault in the database that was not reported again is stale


class Requirement(StrEnum):
    """What is tested, by its name in /readyz."""

    DATA_DIR = "data_dir"
    POSTGRES = "postgres"
    SCHEMA = "schema"
    MASTER_KEY = "master_key"
    BLOB_STORE = "blob_store"
    MODELS = "models"


@dataclass(frozen=True)
class Fault:
    """A failed test. `wrong_setting`: waiting does not help, only a start with other settings does."""

    requirement: Requirement
    setting: str
    cause: str
    advice: str
    wrong_setting: bool = False

    def __str__(self) -> str:
        return f"{self.setting}: {self.cause}. {self.advice}"


def faults_file(data_dir: Path, name: str) -> Path:
    """Where the process of this name writes its faults; no faults, no file."""
    return data_dir / "run" / f"{name}.faults"


def write_faults(path: Path, faults: Sequence[Fault]) -> None:
    """Write faults atomically; without faults, remove the file. Raises OSError."""
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
