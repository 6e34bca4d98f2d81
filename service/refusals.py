"""The models that a worker refuses, in a file that a health check reads. Standard library only.

A worker that answers a model's golden cases differently, or cannot load it, leaves its jobs to other workers.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Refusal:
    """Why a worker refuses a model, and what an operator can do."""

    reason: str
    advice: str = "Its jobs wait for workers that do not refuse it."


def refusals_file(data_dir: Path, name: str) -> Path:
    """Where the worker of this name writes them; none refused, no file."""
    return data_dir / "run" / f"{name}.refused"


def write_refusals(path: Path, refused: Mapping[str, Refusal]) -> None:
    """Write refusals by model atomically; without any, remove the file. Raises OSError."""
    if not refused:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps({model: asdict(refusal) for model, refusal in refused.items()}) + "\n")
    fresh.replace(path)


def read_refusals(path: Path) -> dict[str, Refusal]:
    """Refusals by model; none where there is no file that can be read."""
    try:
        return parsed_refusals(path.read_text())
    except (OSError, ValueError):
        return {}


def parsed_refusals(text: str) -> dict[str, Refusal]:
    """Refusals by model from JSON; none if it cannot be read. A worker of the previous release wrote reasons."""
    try:
        found = json.loads(text)
        return {
            str(model): Refusal(**told) if isinstance(told, dict) else Refusal(str(told))
            for model, told in found.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}
