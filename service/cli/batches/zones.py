"""The time zone of this machine by its IANA name, so that a window of the night means the night here."""

from collections.abc import Mapping
from pathlib import Path

UNKNOWN = "UTC"
LOCALTIME = Path("/etc/localtime")
TIMEZONE = Path("/etc/timezone")
ZONEINFO = "zoneinfo/"


def machine_zone(
    environment: Mapping[str, str], *, localtime: Path = LOCALTIME, timezone: Path = TIMEZONE
) -> str:
    """The name in `TZ`, else that of the file that /etc/localtime points to, else the one in /etc/timezone, else UTC."""
    for told in (environment.get("TZ", "").removeprefix(":"), _pointed_to(localtime), _written_in(timezone)):
        name = told.rpartition(ZONEINFO)[2]
        if _is_a_zone(name):
            return name
    return UNKNOWN


def _is_a_zone(name: str) -> bool:
    """Whether it names a zone: `TZ` may as well hold a rule such as CET-1CEST."""
    from service.batches.windows import iana_zone
    from service.errors import WindowInvalid

    try:
        return bool(name) and bool(iana_zone(name))
    except WindowInvalid:
        return False


def _pointed_to(path: Path) -> str:
    try:
        found = str(path.resolve(strict=True))
    except OSError:
        return ""
    return found if ZONEINFO in found else ""


def _written_in(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
