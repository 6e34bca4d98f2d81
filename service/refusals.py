"""The models that a worker refuses, in a file that a health check reads. Standard library only.

A worker that answers a model's golden cases differently, or cannot load it, leaves its jobs to other workers.
"""

import json
from collections.abc import Mapping
from pathlib import Path


def refusals_file(data_dir: Path, name: str) -> Path:
    """Where the worker of this name writes them; none refused, no file."""
    return data_dir / "run" / f"{name}.refused"


def write_refusals(path: Path, reasons: Mapping[str, str]) -> None:
    """Write reasons by model atomically; without reasons, remove the file. Raises OSError."""
    if not reasons:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(dict(reasons)) + "\n")
    fresh.replace(path)


def read_refusals(path: Path) -> dict[str, str]:
    """Reasons by model; none where there is no file that can be read."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(model): str(reason) for model, reason in found.items()} if isinstance(found, dict) else {}
