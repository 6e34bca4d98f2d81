"""Which API a command speaks to, and with which key."""

from dataclasses import dataclass, field
from pathlib import Path

import click

from service.cli.errors import StackNotFound

ADMIN_KEY_FILE = "admin.key"


@dataclass(frozen=True)
class Target:
    """An API and a key for it. `local` means: on this machine, so no proxy stands between."""

    url: str
    key: str = field(repr=False)
    local: bool = False


def find_target(data_dir: Path, url: str | None, key: str | None) -> Target:
    """The API at `url`, or that of the embedded stack in `data_dir`. Raises StackNotFound or click.UsageError.

    The admin key of a stack is only ever sent to that stack, so a URL needs a key of its own.
    """
    if url:
        if not key:
            raise click.UsageError("--url needs --key, or MEDQUEUE_KEY.")
        return Target(url.rstrip("/"), _plain(key))
    from service.embedded import api_url, is_starting

    found = api_url(data_dir)
    if found is None and is_starting(data_dir):
        raise StackNotFound(
            f"The stack on {data_dir} is still starting. Wait until `medqueue up` prints `ready`, then repeat the command."
        )
    if found is None:
        raise StackNotFound(
            f"No stack has run on {data_dir}. Start one with `medqueue up`, or name one with --data-dir, "
            "or with --url and --key."
        )
    return Target(found, _plain(key or _admin_key(data_dir)), local=True)


def _admin_key(data_dir: Path) -> str:
    try:
        return (data_dir / ADMIN_KEY_FILE).read_text()
    except OSError as error:
        raise StackNotFound(
            f"{data_dir / ADMIN_KEY_FILE} cannot be read ({error.strerror}). Give a key with --key or MEDQUEUE_KEY."
        ) from None


def _plain(key: str) -> str:
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise click.UsageError("The key is not one of this service: it reads mq_<id>_<secret>.")
    return key
