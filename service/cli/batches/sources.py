"""The source of a batch's rows: a local file, a URI that the service reads, or an upload."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit
from uuid import UUID

import click

if TYPE_CHECKING:
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

UPLOAD = "upload:"
FORMATS = ("parquet", "csv", "ndjson", "zip", "tar")  # a test compares them with BatchFormat
BY_SUFFIX = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".zip": "zip",
    ".tar": "tar",
}
SPREADSHEETS = frozenset({".xlsx", ".xls", ".xlsm", ".ods"})
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".dcm", ".tif", ".tiff", ".bmp", ".gif", ".webp"})


@dataclass(frozen=True)
class LocalFile:
    """A local file, which is uploaded before the batch is submitted."""

    path: Path


@dataclass(frozen=True)
class StoredSource:
    """A source that the service has or reads itself, in the form of a request."""

    source: Json


def source_named(name: str) -> LocalFile | StoredSource:
    """The source that `name` means: `upload:ID`, a URI with a scheme such as s3://, or otherwise a file.

    Raises click.UsageError for a file that cannot be read.
    """
    if name.startswith(UPLOAD):
        return StoredSource({"upload_id": _upload_id(name.removeprefix(UPLOAD))})
    if "://" in name:
        return StoredSource({"uri": name})
    from service.cli.cases import require_end

    path = Path(name)
    try:
        require_end(path)
        with path.open("rb") as opened:
            empty = not opened.read(1)
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}.") from None
    if empty:
        raise click.UsageError(f"{name} is empty.")
    return LocalFile(path)


def _upload_id(words: str) -> str:
    try:
        return str(UUID(words))
    except ValueError:
        raise click.UsageError(f"{UPLOAD} needs the id of an upload behind it.") from None


def format_of(name: str, given: str | None) -> str:
    """The given format, or the one that the name's suffix implies. Raises click.UsageError."""
    if given is not None:
        return given
    path = urlsplit(name).path if "://" in name else name
    found = BY_SUFFIX.get(PurePosixPath(path).suffix.lower())
    if found is None:
        raise click.UsageError(_no_format(PurePosixPath(path).suffix.lower()))
    return found


def _no_format(suffix: str) -> str:
    """What to do about a file that is no batch by its name."""
    if suffix in SPREADSHEETS:
        return "Spreadsheets are not read: save the sheet as CSV, with one row of column names and a row for each case."
    if suffix in IMAGES:
        return (
            "A batch of images is a .zip or .tar with an index; a single image is sent by `medqueue submit`."
        )
    return f"The format cannot be detected from the file's name. Give it with --format: {', '.join(FORMATS)}."


def is_batch(name: str) -> bool:
    """Whether a local file's name is that of a batch, not of one case."""
    return PurePosixPath(name).suffix.lower() in BY_SUFFIX


def upload_file(api: ApiClient, out: Output, path: Path) -> Json:
    """Upload a file; the source for the request."""
    size_bytes = path.stat().st_size
    with path.open("rb") as opened, out.counting(f"uploading {path.name}", size_bytes) as done:
        return {"upload_id": api.upload(Counted(opened, done))}


class Counted:
    """A file that reports how much of it has been read. It has a file number, so that its length is known beforehand."""

    def __init__(self, file: BinaryIO, done: Callable[[int], None]) -> None:
        self._file = file
        self._done = done
        self._read_bytes = 0

    def fileno(self) -> int:
        """The number of the open file."""
        return self._file.fileno()

    def read(self, size_bytes: int = -1) -> bytes:
        """The next bytes."""
        block = self._file.read(size_bytes)
        self._read_bytes += len(block)
        self._done(self._read_bytes)
        return block

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(1 << 16):
            yield block
