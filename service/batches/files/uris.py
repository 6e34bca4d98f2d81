"""What a URI names, by its text alone: scheme and place, or why it cannot be opened. Opens nothing.

No spelling of a path leads out of the root it seems to lie below: not `..` however it is escaped, no chain of file systems, no
secrets, no zero bytes. Links are followed and checked when a file is opened (see folders).
"""

import re
from pathlib import PurePosixPath
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from service.batches.files.problems import FileProblem, FileRefused

LOCAL: Final = frozenset(("file", "local"))
WEB: Final = frozenset(("http", "https"))
FILE: Final = "file"
# Of Linux: a longer name or path cannot be opened.
NAME_BYTES, PATH_BYTES = 255, 4095
MOST_ESCAPES: Final = 8  # a name may be escaped repeatedly; some stores unescape once more

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")  # urlsplit would leave some of them out
SHAPE: Final = "write it as scheme://place/path"


class Address(NamedTuple):
    """A place in the store of a scheme: of `file` the full path, else what stands behind `scheme://`."""

    scheme: str
    place: str

    def __str__(self) -> str:
        return self.place if self.scheme == FILE else f"{self.scheme}://{self.place}"

    def is_below(self, root: "Address", *, or_is_it: bool = False) -> bool:
        """Whether it lies below a root; with `or_is_it` it may be the root itself. Links are not checked."""
        one, other = PurePosixPath(self.place), PurePosixPath(root.place)
        return self.scheme == root.scheme and one.is_relative_to(other) and (or_is_it or one != other)


def address_of(uri: str) -> Address:
    """What a URI names. Raises FileRefused (source_not_allowed)."""
    if "::" in uri or "\\" in uri or CONTROL.search(uri):
        raise not_allowed(SHAPE)
    try:
        parts = urlsplit(uri if "://" in uri else f"file://{uri}")
    except ValueError:  # such as brackets without an address
        raise not_allowed(SHAPE) from None
    scheme = FILE if parts.scheme in LOCAL else parts.scheme
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise not_allowed("leave out user, password, query and fragment")
    segments = _unescaped(parts.path).split("/")
    if any(segment.partition(";")[0] in ("..", ".") for segment in segments) or "" in segments[1:-1]:
        raise not_allowed("name the file directly, without `..`, `.` or empty steps")
    if scheme == FILE:
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise not_allowed("name a local file with its full path")
        return Address(FILE, _of_a_length(unquote(parts.path)))
    return Address(scheme, f"{parts.netloc.lower() if scheme in WEB else parts.netloc}{parts.path}")


def _unescaped(path: str) -> str:
    """A path without escapes, also where it was escaped twice."""
    for _ in range(MOST_ESCAPES):
        try:
            plain = unquote(path, errors="strict")
        except UnicodeDecodeError:
            raise not_allowed("escape names as UTF-8") from None
        if "\0" in plain or "\\" in plain:
            raise not_allowed(SHAPE)
        if plain == path:
            return plain
        path = plain
    raise not_allowed(SHAPE)


def _of_a_length(path: str) -> str:
    if len(path.encode()) > PATH_BYTES or any(len(name.encode()) > NAME_BYTES for name in path.split("/")):
        raise not_allowed("its path, or a name in it, is longer than a path can be")
    return path


def not_allowed(reason: str) -> FileRefused:
    """The refusal of a URI."""
    return FileRefused(FileProblem.NOT_ALLOWED, f"The URI cannot be opened: {reason}.")
