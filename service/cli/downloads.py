"""Downloads a file of the service, resumes interrupted downloads, and compares the result with the service's digest."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import click

from service.cli.client import DIGEST
from service.cli.errors import ApiProblem, ContentDamaged, Unreachable
from service.errors import OutputIncomplete

if TYPE_CHECKING:
    from service.cli.client import ApiClient, Json
    from service.cli.output import Output

TRIES = 5
RETRY_S = 1.0
RANGE_PASSED = 416
UNFINISHED = ".part"
INCOMPLETE = "The batch ended without completing. `--partial` fetches what its finished chunks hold."


@dataclass(frozen=True)
class Wanted:
    """A file at a path of the API; its length and digest once the service has given them."""

    path: str
    partial: bool = False
    size_bytes: int | None = None
    sha256: str | None = None


class Sink(Protocol):
    """Where a download is written."""

    @property
    def size_bytes(self) -> int:
        """How much has been written."""

    @property
    def sha256(self) -> str:
        """The digest of what has been written."""

    def write(self, block: bytes) -> None:
        """Write behind what is there."""

    def restart(self) -> None:
        """Forget what was written. Raises ContentDamaged when that is too late."""


class FileSink:
    """A file under its unfinished name; what an earlier download left there is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+b")

    @property
    def size_bytes(self) -> int:
        """Its length."""
        return self._file.seek(0, 2)

    @property
    def sha256(self) -> str:
        """The digest of what lies in it, read once more."""
        self._file.flush()
        with self.path.open("rb") as written:
            return hashlib.file_digest(written, "sha256").hexdigest()

    def write(self, block: bytes) -> None:
        """Write behind what is there."""
        self._file.write(block)

    def restart(self) -> None:
        """Empty it."""
        self._file.truncate(0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class StreamSink:
    """A stream such as stdout: what was written to it cannot be taken back."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """The digest of what has been written."""
        return self._hash.hexdigest()

    def write(self, block: bytes) -> None:
        """Write and flush."""
        self._stream.write(block)
        self._stream.flush()
        self._hash.update(block)
        self.size_bytes += len(block)

    def restart(self) -> None:
        """Say that it cannot be done."""
        raise ContentDamaged(
            "The connection broke, and the service cannot go on from there. Delete what was written, and "
            "repeat the command; with -o FILE it is resumed by itself."
        )


def download(
    api: ApiClient,
    wanted: Wanted,
    sink: Sink,
    *,
    done: Callable[[int], None],
    note: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Write the whole file to `sink`, behind what it holds of it, over as many connections as it takes.

    Raises ContentDamaged when the digest is not the service's, AnswerLost when connection after connection brings
    nothing, ApiProblem when the service refuses.
    """
    if _leftover_is_useless(wanted, sink):
        sink.restart()
    version = _Version(None if wanted.sha256 is None else f'"{wanted.sha256}"')
    failed = 0
    while wanted.size_bytes is None or sink.size_bytes < wanted.size_bytes:
        before = sink.size_bytes
        try:
            _pull(api, wanted, sink, version, done)
            break
        except (Unreachable, ApiProblem) as fault:
            if isinstance(fault, ApiProblem) and not fault.temporary:
                raise
            if not failed:
                note(f"The download was interrupted; resuming. {fault}")
            failed = failed + 1 if sink.size_bytes == before else 1
            if failed > TRIES:
                raise
        pause(RETRY_S * 2 ** (failed - 1))
    _check(wanted, sink, version.etag)


def _leftover_is_useless(wanted: Wanted, sink: Sink) -> bool:
    """Whether what an earlier download left is as long as the file or longer, and is not the file."""
    return (
        wanted.size_bytes is not None
        and 0 < sink.size_bytes >= wanted.size_bytes
        and sink.sha256 != wanted.sha256
    )


@dataclass
class _Version:
    """Which version of a file is fetched, as far as it is known."""

    etag: str | None


def _pull(api: ApiClient, wanted: Wanted, sink: Sink, version: _Version, done: Callable[[int], None]) -> None:
    """Write what one connection brings, and remember of which version it is."""
    start = sink.size_bytes
    try:
        with api.file(wanted.path, partial=wanted.partial, start=start, etag=version.etag) as stretch:
            version.etag = stretch.etag or version.etag
            if stretch.start != start:
                sink.restart()
            for block in stretch.blocks:
                sink.write(block)
                done(sink.size_bytes)
    except ApiProblem as problem:
        if problem.code == OutputIncomplete.code:  # its detail names the API's parameter
            raise ApiProblem(problem.status, problem.code, INCOMPLETE) from None
        if problem.status != RANGE_PASSED or not start:
            raise


def _check(wanted: Wanted, sink: Sink, etag: str | None) -> None:
    told = DIGEST.fullmatch(etag or "")
    expected = wanted.sha256 or (told and told[1])
    if expected is not None and sink.sha256 != expected:
        raise ContentDamaged(
            f"What was received is not the file that the service has: its SHA-256 is {sink.sha256}, and "
            f"{expected} was expected. Delete it and repeat the command."
        )


def to_file(
    api: ApiClient,
    out: Output,
    wanted: Wanted,
    path: Path,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Json:
    """Fetch a file to `path`, by way of `path`.part; what was written. Raises click.UsageError, and as download."""
    unfinished = path.with_name(path.name + UNFINISHED)
    with written(path), _unfinished(unfinished, out.note) as sink:
        with out.counting(f"fetching {path.name}", wanted.size_bytes, sink.size_bytes) as done:
            download(api, wanted, sink, done=done, note=out.note, pause=pause)
        told: Json = {"file": str(path), "size_bytes": sink.size_bytes, "sha256": sink.sha256}
        unfinished.replace(path)
    return told


@contextmanager
def _unfinished(path: Path, note: Callable[[str], None]) -> Iterator[FileSink]:
    """A file that is kept, with a note, when its download breaks off; one that is damaged or empty is removed."""
    sink = FileSink(path)
    try:
        yield sink
    except BaseException as error:
        kept_bytes = sink.size_bytes
        if isinstance(error, ContentDamaged) or not kept_bytes:
            path.unlink(missing_ok=True)
        else:
            note(f"{path} keeps {kept_bytes:,} bytes: repeat the command to go on from there.")
        raise
    finally:
        sink.close()


def to_stdout(api: ApiClient, out: Output, wanted: Wanted) -> None:
    """Write a file to stdout. Raises as download."""
    download(api, wanted, StreamSink(sys.stdout.buffer), done=lambda _: None, note=out.note)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """What writes to `path`. Raises click.UsageError where that cannot be done."""
    try:
        yield
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}.") from None
