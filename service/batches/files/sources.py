"""Where a batch's rows come from: an upload, or a URI below an allowed root. Either is read from any place.

Owns what may be opened, and how it is noticed that a source vanished or changed. Knows no formats.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

import fsspec

from service.batches.files.problems import GONE, FileProblem, FileRefused, SourceUnavailable
from service.errors import BlobUnavailable, PayloadUnreadable, UploadNotFound
from service.uploads import Uploads

READ_BYTES: Final = 1024 * 1024
# What stores tell of a file that changes with its content, the surest first.
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

LOCAL: Final = frozenset(("file", "local"))
WEB: Final = frozenset(("http", "https"))

CHANGED = "The source is no longer the file that was validated. Submit the batch again."
UNREADABLE = "The stored file cannot be decrypted. Upload it again."


@dataclass(frozen=True)
class Identity:
    """By what a source is known again. `mark` holds what the store tells: an ETag, a time, a digest.

    `sha256` is that of the plain bytes, None where nobody has read them yet.
    """

    size_bytes: int
    mark: str
    sha256: str | None = None

    def is_same(self, other: "Identity") -> bool:
        """Whether both are of one file, as far as the store tells."""
        return (self.size_bytes, self.mark) == (other.size_bytes, other.mark)


class Source(Protocol):
    """A file to read rows from."""

    def identity(self) -> Identity:
        """What the source is now. Raises FileRefused when it is gone, or SourceUnavailable."""

    def open(self) -> io.RawIOBase:
        """The plain bytes, seekable; reading raises FileRefused or SourceUnavailable. One thread at a time."""


class UploadSource:
    """An upload of a tenant. It never changes."""

    def __init__(self, uploads: Uploads, tenant_id: UUID, upload_id: UUID) -> None:
        self._uploads = uploads
        self._tenant_id = tenant_id
        self.upload_id = upload_id

    def identity(self) -> Identity:
        """See Source."""
        with worded():
            stored = self._uploads.stored(self._tenant_id, self.upload_id)
        return Identity(stored.size_bytes, f"sha256:{stored.sha256}", stored.sha256)

    def open(self) -> io.RawIOBase:
        """See Source."""
        with worded():
            return Guarded(self._uploads.open(self._tenant_id, self.upload_id))


class UriSource:
    """A file that fsspec opens, below one of the allowed roots."""

    def __init__(self, uri: str, roots: Sequence[str]) -> None:
        """Check the URI. Raises FileRefused (source_not_allowed)."""
        self._files, self._path = resolved(uri, roots)
        self._worded = _wording(self._path)

    def identity(self) -> Identity:
        """See Source. A store that tells neither ETag nor time is known by size alone."""
        with self._worded():
            facts = self._files.info(self._path)
        if facts.get("type") == "directory":
            raise FileRefused(FileProblem.UNREADABLE, "The source is a folder: name one file.")
        if facts.get("size") is None:
            raise FileRefused(FileProblem.UNREADABLE, "The store does not tell the size of the source.")
        told = next((names for names in MARKS if facts.get(names[0]) is not None), ())
        mark = ";".join(f"{name}={facts.get(name)}" for name in told)
        return Identity(int(facts["size"]), mark)

    def open(self) -> io.RawIOBase:
        """See Source."""
        with self._worded():
            opened = self._files.open(self._path, "rb", block_size=READ_BYTES, cache_type="readahead")
        return Guarded(opened, self._worded)


class Guarded(io.RawIOBase):
    """A seekable file whose faults are worded as those of a source."""

    def __init__(self, opened: Any, wording: Wording | None = None) -> None:
        super().__init__()
        self._opened = opened  # Any: fsspec has no types
        self._worded = wording or worded

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position."""
        return int(self._opened.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        with self._worded():
            return int(self._opened.seek(offset, whence))

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes from here on, fewer at the end."""
        with self._worded():
            return bytes(self._opened.read(-1 if size is None else size))

    def readinto(self, buffer: object) -> int:
        """Fill a writable buffer; the number of bytes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # typeshed has no writable buffer
        content = self.read(len(view))
        view[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        """All that is left."""
        return self.read()

    def close(self) -> None:
        """Close the file below, too."""
        if not self.closed:
            self._opened.close()
        super().close()


def not_looked_at(block: bytes) -> None:
    """What to pass for `seen` where nobody looks."""
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
def worded() -> Iterator[None]:
    """Words the faults of a store: what a retry may mend, and what it cannot."""
    try:
        yield
    except (FileNotFoundError, UploadNotFound):
        raise FileRefused(FileProblem.GONE, GONE) from None
    except PayloadUnreadable:
        raise FileRefused(FileProblem.UNREADABLE, UNREADABLE) from None
    except PermissionError:
        raise FileRefused(FileProblem.NOT_ALLOWED, "The store does not let us read the source.") from None
    except ImportError:
        raise _not_allowed("its kind of store needs a package that is not installed") from None
    except (BlobUnavailable, OSError) as error:
        raise SourceUnavailable from error


@contextmanager
def worded_elsewhere() -> Iterator[None]:
    """Words the faults of a store that is no folder: its library may have kinds of its own, as botocore has."""
    try:
        with worded():
            yield
    except (FileRefused, SourceUnavailable):
        raise
    except Exception as error:
        raise SourceUnavailable from error


def resolved(uri: str, roots: Sequence[str]) -> tuple[Any, str]:
    """The file system and the path of an allowed URI."""
    scheme, place = _split(uri)
    for root in roots:
        root_scheme, root_place = _split(root)
        if scheme == root_scheme and _lies_below(scheme, place, root_place):
            return _file_system(scheme), _address(scheme, place)
    raise _not_allowed("it lies below none of the allowed roots")


def _split(uri: str) -> tuple[str, str]:
    """Scheme and place of a plain URI: no chain of file systems, no secrets, no way up."""
    if "::" in uri or "\0" in uri or "\\" in uri:
        raise _not_allowed("write it as scheme://place/path")
    try:
        parts = urlsplit(uri if "://" in uri else f"file://{uri}")
    except ValueError:  # such as brackets that hold no address
        raise _not_allowed("write it as scheme://place/path") from None
    scheme = "file" if parts.scheme in LOCAL else parts.scheme
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise _not_allowed("leave out user, password, query and fragment")
    # A name that is escaped twice is refused as well: some stores unescape once more.
    segments = unquote(unquote(parts.path)).split("/")
    if any(segment in ("..", ".") for segment in segments) or "" in segments[1:-1]:
        raise _not_allowed("name the file directly, without `..`, `.` or empty steps")
    if scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise _not_allowed("name a local file with its full path")
        return scheme, unquote(parts.path)
    return scheme, f"{parts.netloc.lower() if scheme in WEB else parts.netloc}{parts.path}"


def _lies_below(scheme: str, place: str, root: str) -> bool:
    """Whether a place is inside a root; of local ones, where their links lead."""
    if scheme != "file":
        return PurePosixPath(place).is_relative_to(PurePosixPath(root)) and place != root
    real, base = Path(place).resolve(), Path(root).resolve()
    return real.is_relative_to(base) and real != base


def _address(scheme: str, place: str) -> str:
    if scheme == "file":
        return str(Path(place).resolve())
    return f"{scheme}://{place}"


def _file_system(scheme: str) -> Any:
    """The file system of a scheme."""
    options: dict[str, Any] = {}
    if scheme in WEB:
        from service.batches.files import web  # only here: its client costs a start a tenth of a second

        options = web.options()
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False, **options)
    except (ImportError, ValueError):
        raise _not_allowed("its kind of store is unknown, or needs a package that is not installed") from None


def _wording(path: str) -> Wording:
    scheme, separator, _ = path.partition("://")
    if not separator:
        return worded
    if scheme not in WEB:
        return worded_elsewhere
    from service.batches.files import web  # imported with the file system

    return web.worded


def _not_allowed(reason: str) -> FileRefused:
    return FileRefused(FileProblem.NOT_ALLOWED, f"The URI cannot be opened: {reason}.")
