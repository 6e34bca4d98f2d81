"""Checks of what is configured: variables, master key, files of the data folder."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from service.cli.checks.finding import Examined, Finding, fail, ok, warn
from service.config import PREFIX, Settings
from service.errors import SettingInvalid

GROUP_AND_OTHERS = 0o077


def variables(unknown: Sequence[str]) -> Iterator[Finding]:
    """MEDQUEUE_* variables that no setting reads, with the setting that was perhaps meant."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"Did you mean {near[0]}?" if near else "Remove it: nothing reads it."
        yield warn("settings", f"{name} is no setting", meant)
    if not unknown:
        yield ok("settings", "every MEDQUEUE_ variable is a setting and has a usable value")


def master_key(examined: Examined) -> Iterator[Finding]:
    """The key that wraps the data keys: there, well formed, and closed to others."""
    try:
        examined.settings.master_key_bytes()
    except SettingInvalid as error:
        advice = (
            "Set MEDQUEUE_MASTER_KEY, or restore master.key from its backup. Data is unreadable without it."
        )
        yield fail("master key", error.detail, advice)
        return
    except OSError as error:
        yield fail("master key", f"master.key: {error.strerror}", "Run this as the owner of the data folder.")
        return
    yield ok("master key", "32 bytes, " + ("set" if examined.settings.master_key else "in the data folder"))


def secret_files(examined: Examined) -> Iterator[Finding]:
    """Files with secrets, which only their owner may read."""
    names = ("master.key", "admin.key", "postgres.password", "redis.password")
    found = [path for name in names if (path := examined.data_dir / name).is_file()]
    for path in found:
        if open_to_others(path):
            yield warn("secret files", f"others may read {path}", f"chmod 600 {path}")
    if found and not any(map(open_to_others, found)):
        yield ok("secret files", "only their owner may read them")


def open_to_others(path: Path) -> bool:
    """Whether the mode of a file lets more than its owner at it."""
    return bool(path.stat().st_mode & GROUP_AND_OTHERS)
