"""Where a batch's rows come from: an upload, or a URI below an allowed root. Both are seekable.

Owns what may be opened, and how a vanished or changed source is detected. Knows no formats.
"""

import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

import fsspec

from service.batches.files import folders
from service.batches.files.problems import GONE, FileProblem, FileRefused, SourceUnavailable
from service.batches.files.uris import FILE, WEB, Address, address_of, not_allowed
from service.errors import BlobUnavailable, PayloadUnreadable, UploadNotFound
from service.seekable import SeekableFile

if TYPE_CHECKING:  # a child that parses a file imports this module, and neither database nor keys
    from service.uploads import Uploads

READ_BYTES: Final = 1024 * 1024
# What stores report of a file that changes with its content, the most reliable first.
MARKS: Final = (
    ("ETag",),
    ("etag",),
    ("mtime", "ino"),
    ("LastModified",),
    ("Last-Modified",),
    ("last_modified",),
    ("created",),
)

Seen = Callable[[bytes], object]
Wording = Callable[[], AbstractContextManager[None]]

# Faults of a path that no retry fixes.
NEVER: Final = frozenset((errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EISDIR))

CHANGED = "The source is no longer the file that was validated. Submit the batch again."
UNREADABLE = "The stored file cannot be decrypted. Upload it again."


@dataclass(frozen=True)
class Identity:
    """What identifies a source. `mark` holds what the store reports: an ETag, a time, a digest.

    `sha256` is that of the plain bytes, None where nobody has read them yet.
    """

    size_bytes: int
    mark: str
    sha256: str | None = None

    def is_same(self, other: "Identity") -> bool:
        """Whether both are of one file, as far as the store reports."""
        return (self.size_bytes, self.mark) == (other.size_bytes, other.mark)


class Source(Protocol):
    """A file to read rows from."""

    def identity(self) -> Identity:
        """What the source is now. Raises FileRefused when it is gone, or SourceUnavailable."""

    def open(self) -> io.RawIOBase:
        """The plain bytes, seekable; reading raises FileRefused or SourceUnavailable. One thread at a time."""


class UploadSource:
    """An upload of a tenant. It never changes."""

    def __init__(self, uploads: "Uploads", tenant_id: UUID, upload_id: UUID) -> None:
        self._uploads = uploads
        self._tenant_id = tenant_id
        self.upload_id = upload_id

    def identity(self) -> Identity:
        """See Source."""
        with translated_faults():
            stored = self._uploads.stored(self._tenant_id, self.upload_id)
        return Identity(stored.size_bytes, f"sha256:{stored.sha256}", stored.sha256)

    def open(self) -> io.RawIOBase:
        """See Source."""
        with translated_faults():
            return Guarded(self._uploads.open(self._tenant_id, self.upload_id))


class UriSource:
    """A file below one of the allowed roots: of this machine, or one that fsspec opens."""

    def __init__(self, uri: str, roots: Sequence[str]) -> None:
        """Check the URI. Raises FileRefused (source_not_allowed)."""
        self._address, self._root = allowed(uri, roots)
        self._files = None if self._address.scheme == FILE else file_system(self._address.scheme)
        self._translated = _wording(self._address.scheme)

    def identity(self) -> Identity:
        """See Source. Where a store reports neither ETag nor time, size alone identifies the file."""
        if self._files is None:
            with self._translated(), folders.open_file(self._address.place, self._root) as file:
                found = os.fstat(file.fileno())
            return Identity(found.st_size, f"mtime={found.st_mtime};ino={found.st_ino}")
        with self._translated():
            facts = self._files.info(str(self._address))
        if facts.get("type") == "directory":
            raise FileRefused(FileProblem.UNREADABLE, "The source is a folder: name one file.")
        if facts.get("size") is None:
            raise FileRefused(FileProblem.UNREADABLE, "The store does not report the size of the source.")
        told = next((names for names in MARKS if facts.get(names[0]) is not None), ())
        mark = ";".join(f"{name}={facts.get(name)}" for name in told)
        return Identity(int(facts["size"]), mark)

    def open(self) -> io.RawIOBase:
        """See Source."""
        with self._translated():
            if self._files is None:
                opened: Any = folders.open_file(self._address.place, self._root)
            else:
                opened = self._files.open(
                    str(self._address), "rb", block_size=READ_BYTES, cache_type="readahead"
                )
        return Guarded(opened, self._translated)


class Guarded(SeekableFile):
    """A seekable file whose errors become those of a source."""

    def __init__(self, opened: Any, wording: Wording | None = None) -> None:
        super().__init__()
        self._opened = opened  # Any: fsspec has no types
        self._translated = wording or translated_faults

    def fileno(self) -> int:
        """The descriptor of a file of this machine. Raises UnsupportedOperation, an OSError, for others."""
        return int(self._opened.fileno())

    def tell(self) -> int:
        """The position."""
        return int(self._opened.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        with self._translated():
            return int(self._opened.seek(offset, whence))

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes from here on, fewer at the end."""
        with self._translated():
            return bytes(self._opened.read(-1 if size is None else size))

    def close(self) -> None:
        """Close the file below, too."""
        if not self.closed:
            self._opened.close()
        super().close()


def not_looked_at(block: bytes) -> None:
    """The default of `seen`."""
    del block


def read_blocks(file: io.RawIOBase, seen: Seen = not_looked_at) -> Iterator[bytes]:
    """The file from here on, a block at a time; `seen` is called with each."""
    while block := file.read(READ_BYTES):
        seen(block)
        yield block


def sha256_of(source: Source) -> str:
    """The digest of a source's plain bytes, read once from end to end. Raises FileRefused or SourceUnavailable."""
    digest = hashlib.sha256()
    with source.open() as file:
        for _ in read_blocks(file, digest.update):
            pass
    return digest.hexdigest()


def check_same(source: Source, validated: Identity) -> None:
    """Raises FileRefused when the source is not what was validated, or gone; SourceUnavailable."""
    if not source.identity().is_same(validated):
        raise FileRefused(FileProblem.CHANGED, CHANGED)


@contextmanager
def translated_faults() -> Iterator[None]:
    """Translates the errors of a store: those that a retry may fix, and those that it cannot."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, UploadNotFound):
        raise FileRefused(FileProblem.GONE, GONE) from None
    except PayloadUnreadable:
        raise FileRefused(FileProblem.UNREADABLE, UNREADABLE) from None
    except PermissionError:
        raise FileRefused(FileProblem.NOT_ALLOWED, "The store does not let us read the source.") from None
    except ImportError:
        raise not_allowed("its kind of store needs a package that is not installed") from None
    except (BlobUnavailable, OSError) as error:
        if isinstance(error, OSError) and error.errno in NEVER:
            raise not_allowed("there can be no file of this name") from None
        raise SourceUnavailable from error


@contextmanager
def translated_web_faults() -> Iterator[None]:
    """Translates the errors of a store that is no folder: its library may have types of its own, as botocore has."""
    try:
        with translated_faults():
            yield
    except (FileRefused, SourceUnavailable):
        raise
    except Exception as error:
        raise SourceUnavailable from error


def allowed(uri: str, roots: Sequence[str], *, or_is_it: bool = False) -> tuple[Address, str]:
    """What an allowed URI names, and the root it lies below. Raises FileRefused (source_not_allowed)."""
    address = address_of(uri)
    for root in roots:
        base = address_of(root)
        if address.scheme != base.scheme:
            continue
        if address.scheme == FILE:
            inside = folders.real_path(address.place, base.place, or_is_it=or_is_it) is not None
        else:
            inside = address.is_below(base, or_is_it=or_is_it)
        if inside:
            return address, base.place
    raise not_allowed(folders.OUTSIDE)


def file_system(scheme: str) -> Any:
    """The file system of a scheme other than `file`. Raises FileRefused."""
    options: dict[str, Any] = {}
    if scheme in WEB:
        from service.batches.files import (
            web,
        )  # imported late: its client delays a start by a tenth of a second

        options = web.options()
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False, **options)
    except (ImportError, ValueError):
        raise not_allowed("its kind of store is unknown, or needs a package that is not installed") from None


def _wording(scheme: str) -> Wording:
    if scheme == FILE:
        return translated_faults
    if scheme not in WEB:
        return translated_web_faults
    from service.batches.files import web  # imported with the file system

    return web.translated_faults
