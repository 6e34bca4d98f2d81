"""Where a copy of a batch's output goes when requested: a folder that is an allowed root or lies below one.

The copy is unencrypted.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from service.batches.files import folders
from service.batches.files.sources import allowed, file_system, translated_faults
from service.batches.files.uris import FILE


class Place:
    """A folder to write to: of this machine, or one that fsspec writes to."""

    def __init__(self, uri: str, roots: Sequence[str]) -> None:
        """Check the URI. Raises FileRefused (source_not_allowed)."""
        self._address, self._root = allowed(uri.rstrip("/") or uri, roots, or_is_it=True)
        self._files = None if self._address.scheme == FILE else file_system(self._address.scheme)

    def write(self, name: str, content: Iterable[bytes]) -> str:
        """Write one file, under another name until it is complete; its address. Raises FileRefused or SourceUnavailable."""
        with translated_faults():
            if self._files is None:
                return folders.write_file(self._address.place, self._root, name, content)
            folder = str(self._address)
            path, unfinished = f"{folder}/{name}", f"{folder}/.{name}.unfinished"
            self._files.makedirs(folder, exist_ok=True)
            with self._files.open(unfinished, "wb") as file:
                _copy(content, file)
            self._files.mv(unfinished, path)
        return path


def _copy(content: Iterable[bytes], file: Any) -> None:
    for block in content:
        file.write(block)
