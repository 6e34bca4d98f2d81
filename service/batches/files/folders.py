"""Files of this machine, below a root: regular files alone are read, and nothing is read or written where a link leads out.

A file or a folder is opened first, and the open file is checked: a swap behind its name between two checks does not
matter. Opening never blocks.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from service.batches.files.problems import FileProblem, FileRefused
from service.batches.files.uris import not_allowed

READ_BYTES: Final = 1024 * 1024
# Their files look regular and are not: reading one may block, or expose the process itself.
NEVER: Final = (Path("/proc"), Path("/sys"))
UNLESS_ROOTED_THERE: Final = (Path("/dev"), Path("/run"))
OUTSIDE: Final = "it lies below none of the allowed roots"
KINDS: Final = (
    (stat.S_ISDIR, "The source is a folder: name one file."),
    (stat.S_ISFIFO, "The source is a named pipe: write what comes out of it to a file, and name that."),
    (stat.S_ISSOCK, "The source is a socket: name a regular file."),
    (stat.S_ISCHR, "The source is a device: name a regular file."),
    (stat.S_ISBLK, "The source is a device: name a regular file."),
)


def real_path(path: str, root: str, *, or_is_it: bool = False) -> Path | None:
    """Where the links of a path lead, None when that is not below `root`. Raises FileRefused for links that go in circles."""
    try:
        real, base = Path(path).resolve(), Path(root).resolve()
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a link to itself, before Python 3.13
        raise not_allowed("its links go in circles, or it is no path of this machine") from None
    inside = real.is_relative_to(base) and (or_is_it or real != base)
    return real if inside and not any(real.is_relative_to(place) for place in _hidden(base)) else None


def _hidden(base: Path) -> list[Path]:
    """The folders of the system from which nothing is read by way of this root."""
    return [*NEVER, *(place for place in UNLESS_ROOTED_THERE if not base.is_relative_to(place))]


def open_file(path: str, root: str) -> IO[bytes]:
    """A regular file, opened to read. Raises FileRefused, OSError."""
    real = _inside(path, root)
    _check_regular(os.lstat(real))  # a device may do something when it is opened
    number = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_regular(os.fstat(number))
        _check_still_there(number, path, root)
        return os.fdopen(number, "rb", buffering=READ_BYTES)
    except BaseException:
        os.close(number)
        raise


def write_file(folder: str, root: str, name: str, content: Iterable[bytes]) -> str:
    """Write a file into a folder, made where missing, under another name until it is complete; its path.

    Raises FileRefused, OSError.
    """
    real = _inside(folder, root, or_is_it=True)
    try:
        real.mkdir(parents=True, exist_ok=True)
        number = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError):
        raise FileRefused(
            FileProblem.NOT_ALLOWED, "The place is a file, or lies in one: name a folder."
        ) from None
    try:
        _check_still_there(number, folder, root, or_is_it=True)
        _write(number, f".{name}.unfinished", content)
        os.replace(f".{name}.unfinished", name, src_dir_fd=number, dst_dir_fd=number)
    finally:
        os.close(number)
    return str(real / name)


def _write(folder: int, name: str, content: Iterable[bytes]) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)  # left by an earlier attempt
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o666, dir_fd=folder), "wb") as file:
        for block in content:
            file.write(block)


def _inside(path: str, root: str, *, or_is_it: bool = False) -> Path:
    real = real_path(path, root, or_is_it=or_is_it)
    if real is None:
        raise not_allowed(OUTSIDE)
    return real


def _check_regular(found: os.stat_result) -> None:
    for is_kind, detail in KINDS:
        if is_kind(found.st_mode):
            raise FileRefused(FileProblem.UNREADABLE, detail)


def _check_still_there(number: int, path: str, root: str, *, or_is_it: bool = False) -> None:
    """Raises FileRefused when the opened file is not the one that the path names below the root."""
    real = _inside(path, root, or_is_it=or_is_it)
    if not os.path.samestat(os.fstat(number), os.lstat(real)):
        raise not_allowed("it was replaced while being opened")
