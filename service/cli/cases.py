"""What `submit` is given: a file that holds one input, several, or an image; or the same on stdin."""

import base64
import io
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from models.strict_json import BYTE_ORDER_MARK, JsonInvalid, read_json
from service.cli.batches.sources import is_batch

STDIN = "-"
INLINE_BYTES = 1024 * 1024  # a larger file goes through an upload: base64 would pass through memory thrice
SNIFFED_BYTES = 4096
EXAMPLE_UPLOAD: Final = {"upload_id": "UPLOAD_ID"}  # what stands for a file in an example of an input


@dataclass(frozen=True)
class JsonCases:
    """Inputs as the models take them. `listed`: they came as a list, so they are answered as one."""

    inputs: list[Any]
    listed: bool


@dataclass(frozen=True)
class FileCase:
    """One binary input, such as an image."""

    size_bytes: int
    open: Callable[[], BinaryIO]

    @property
    def inline(self) -> bool:
        """Whether it is small enough to travel inside the request."""
        return self.size_bytes <= INLINE_BYTES

    def encoded(self) -> dict[str, str]:
        """The input `{"data": base64}`."""
        with self.open() as opened:
            return {"data": base64.b64encode(opened.read()).decode()}


def read_cases(name: str) -> JsonCases | FileCase:
    """The cases of a file, or of stdin for `-`. Raises click.UsageError, which quotes nothing of them.

    What is called .json or begins like JSON is JSON; anything else is one file.
    """
    try:
        return _from_stdin(sys.stdin.buffer.read()) if name == STDIN else _from_file(Path(name))
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}.") from None


def read_file(name: str) -> FileCase:
    """A file to send as it is, whatever it holds. Raises click.UsageError."""
    path = Path(name)
    try:
        require_end(path)
        with path.open("rb"):
            return FileCase(path.stat().st_size, lambda: path.open("rb"))
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}.") from None


def _from_stdin(content: bytes) -> JsonCases | FileCase:
    if _begins_like_json(content):
        return _parsed(content, "stdin")
    if not content:
        raise click.UsageError("stdin is empty.")
    return FileCase(len(content), lambda: io.BytesIO(content))


def require_end(path: Path) -> None:
    """Raises click.UsageError for a pipe or a device: it may have no end, and cannot be read twice. Raises OSError."""
    kind = path.stat().st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # a folder is told by opening it
        raise click.UsageError(f"{path} is a pipe or a device: name a regular file.")


def _from_file(path: Path) -> JsonCases | FileCase:
    require_end(path)
    with path.open("rb") as opened:
        beginning = opened.read(SNIFFED_BYTES)
    if path.suffix.lower() == ".json" or _begins_like_json(beginning):
        return _parsed(path.read_bytes(), path.name)
    if not beginning:
        raise click.UsageError(f"{path} is empty.")
    return FileCase(path.stat().st_size, lambda: path.open("rb"))


def _begins_like_json(beginning: bytes) -> bool:
    return beginning.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] in {b"{", b"["}


def _parsed(content: bytes, name: str) -> JsonCases:
    try:
        value = read_json(content)
    except JsonInvalid as error:
        advice = (
            " Many cases in one file are a batch: see `medqueue batch submit --help`."
            if is_batch(name)
            else ""
        )
        raise click.UsageError(f"{name} is not JSON: {error}.{advice}") from None
    inputs = value if isinstance(value, list) else [value]
    if not inputs:
        raise click.UsageError(f"{name} holds no case: the list is empty.")
    return JsonCases(inputs, isinstance(value, list))
