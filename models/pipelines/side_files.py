"""Small files of a bundle that a pipeline's parameters name, such as a tokenizer: read by its intake half, in the API too.

The caller decides where they are read from: the folder of a bundle, or the blob store. Files that scoring alone needs may be of
any size and are not handled here: a pipeline opens them in the bundle's folder.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from models.pipelines.contract import SIDE_FILE_BYTES, ReadFile, SideFileUnusable

READ = "read"  # the key of the validation's context that holds a ReadFile


def _check(path: str, info: ValidationInfo) -> str:
    """Read the file, if there is a reader. Raises a fault of the parameter's key."""
    read: ReadFile | None = (info.context or {}).get(READ)
    try:
        if read is not None:
            read(path)
    except SideFileUnusable as unusable:
        [fault] = unusable.faults
        raise PydanticCustomError(
            "side_file", "{detail}", {"detail": fault.detail, "code": fault.code}
        ) from None
    return path


# A parameter that is the path of such a file. One that cannot be read is a fault of the parameter; its default is checked too.
SideFile = Annotated[str, Field(validate_default=True), AfterValidator(_check)]


class ReadOnce:
    """Reads each file only once: for checking the parameter and for using the file afterwards."""

    def __init__(self, read: ReadFile) -> None:
        self._read = read
        self._found: dict[str, bytes] = {}
        self.fault: Exception | None = None  # what reading raised last

    @property
    def paths(self) -> list[str]:
        """The files that were read."""
        return list(self._found)

    def __call__(self, path: str) -> bytes:
        """See ReadFile."""
        if path not in self._found:
            try:
                self._found[path] = self._read(path)
            except Exception as fault:
                self.fault = fault
                raise
        return self._found[path]


def no_files(path: str) -> bytes:
    """Reads from a bundle that has no side files."""
    raise missing(path)


def missing(path: str) -> SideFileUnusable:
    """The bundle has no such file."""
    return SideFileUnusable(
        path, "side_file_missing", f"the bundle has no file {path!r}: add it and seal the bundle"
    )


def too_large(path: str) -> SideFileUnusable:
    """The file has more than SIDE_FILE_BYTES."""
    most = SIDE_FILE_BYTES // 1024**2
    reason = f"{path!r} has more than {most} MiB, the most that the API reads: make it smaller, or have only scoring read it"
    return SideFileUnusable(path, "side_file_too_large", reason)
