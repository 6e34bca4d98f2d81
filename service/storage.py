"""BlobStore over fsspec: bytes under a location, written whole or not at all. Knows no keys and no tenants."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol
from uuid import uuid4

import fsspec

from service.errors import BlobUnavailable, SettingInvalid

UNFINISHED = ".part"
READ_BYTES = 256 * 1024
NO_ROOT = "the folder of the blob store does not exist"


class BlobStore(Protocol):
    """Keeps blobs by location, a relative path such as `uploads/01a2`."""

    def write(self, location: str, parts: Iterable[bytes]) -> None:
        """Store a blob; it is visible only when complete. Raises BlobUnavailable; errors of `parts` pass through."""

    def read(self, location: str) -> Iterator[bytes]:
        """Stream a blob. Raises FileNotFoundError or BlobUnavailable."""

    def read_into(self, location: str, start: int, buffer: memoryview) -> int:
        """Fill `buffer` from byte `start` on; how many bytes, fewer where the blob ends.

        Raises FileNotFoundError or BlobUnavailable.
        """

    def delete(self, location: str) -> None:
        """Remove a blob; a missing one is no error."""

    def delete_unfinished(self, location: str) -> None:
        """Remove what writers that died have left of a blob. Lists the folder of the blob: keep it small.

        Nobody may be writing it.
        """


class FsspecBlobStore:
    """Blobs in any file system that fsspec opens: a local folder, S3, ...

    The folder of a local store must be there: one that is missing was moved or is not mounted, and a new one in its
    place would take blobs that nobody finds again. Only with `makes_root` is it made, as a fresh installation needs.
    """

    def __init__(self, url: str, *, makes_root: bool = False) -> None:
        """Open the store at `url`. Raises SettingInvalid when it is no URL of a store that can be opened here."""
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError, TypeError) as error:
            scheme = url.partition("://")[0]
            reason = (
                "needs a package that is not installed" if isinstance(error, ImportError) else "is not known"
            )
            raise SettingInvalid("MEDQUEUE_BLOB_URL", f"the kind of store {scheme} {reason}") from None
        self._local = "file" in _protocols(self._files)
        self._makes_root = makes_root

    def write(self, location: str, parts: Iterable[bytes]) -> None:
        """See BlobStore. Written beside its place first and moved there once on disk."""
        path, beside = self._path(location), self._path(f"{location}.{uuid4().hex}{UNFINISHED}")
        source = _Source(parts)
        try:
            self._make_folders(location)
            with self._files.open(beside, "wb") as opened:
                self._copy(source, opened)
            self._files.mv(beside, path)
        except OSError as error:
            self._discard(beside)
            if source.failed:
                raise
            self._require_root()
            raise BlobUnavailable from error
        except BaseException:
            self._discard(beside)
            raise

    def read(self, location: str) -> Iterator[bytes]:
        """See BlobStore."""
        try:
            with self._files.open(self._path(location), "rb") as opened:
                while part := opened.read(READ_BYTES):
                    yield part
        except FileNotFoundError:
            self._require_root()
            raise
        except OSError as error:
            raise BlobUnavailable from error

    def read_into(self, location: str, start: int, buffer: memoryview) -> int:
        """See BlobStore."""
        try:
            if self._local:  # fsspec would take eight times as long, and a new buffer each time
                return _read_local(self._path(location), start, buffer)
            content = self._files.cat_file(self._path(location), start, start + len(buffer))
            buffer[: len(content)] = content
            return len(content)
        except FileNotFoundError:
            self._require_root()
            raise
        except OSError as error:
            raise BlobUnavailable from error

    def delete(self, location: str) -> None:
        """See BlobStore."""
        try:
            self._files.rm_file(self._path(location))
        except FileNotFoundError:
            self._require_root()
        except OSError as error:
            raise BlobUnavailable from error

    def delete_unfinished(self, location: str) -> None:
        """See BlobStore."""
        folder, _, name = self._path(location).rpartition("/")
        try:
            self._files.invalidate_cache(folder)
            for path in self._files.ls(folder, detail=False):
                if path.endswith(UNFINISHED) and path.rpartition("/")[2].startswith(f"{name}."):
                    self._files.rm_file(path)
        except FileNotFoundError:
            self._require_root()
        except OSError as error:
            raise BlobUnavailable from error

    def _path(self, location: str) -> str:
        return f"{self._root}/{location}"

    def _make_folders(self, location: str) -> None:
        """Make the folders between the root and a blob; the root itself only where that was asked for."""
        if self._makes_root or not self._local:
            self._files.makedirs(self._path(location).rpartition("/")[0], exist_ok=True)
            return
        folder = self._root
        for name in location.split("/")[:-1]:
            folder = f"{folder}/{name}"
            with suppress(FileExistsError):
                os.mkdir(folder)  # noqa: PTH102  as all paths of fsspec it is text

    def _require_root(self) -> None:
        """Raises BlobUnavailable where the folder of a local store is missing."""
        if self._makes_root or not self._local:
            return
        try:
            os.stat(self._root)  # noqa: PTH116
        except FileNotFoundError:
            raise BlobUnavailable from NotADirectoryError(errno.ENOTDIR, NO_ROOT)
        except OSError:
            return  # the error at hand says more

    def _copy(self, parts: Iterable[bytes], opened: Any) -> None:
        for part in parts:
            opened.write(part)
        if self._local:
            opened.flush()
            os.fsync(opened.fileno())

    def _discard(self, path: str) -> None:
        with suppress(OSError):
            self._files.rm_file(path)


class _Source:
    """Passes parts on; knows whether it was their stream that failed."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts
        self.failed = False

    def __iter__(self) -> Iterator[bytes]:
        self.failed = True
        for part in self._parts:
            self.failed = False
            yield part
            self.failed = True
        self.failed = False


def _read_local(path: str, start: int, buffer: memoryview) -> int:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.preadv(opened, [buffer], start)
    finally:
        os.close(opened)


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)
