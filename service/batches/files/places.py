"""Where a copy of a batch's output goes when its caller asks for one: a folder below an allowed root, in the clear."""

from collections.abc import Iterable, Sequence
from typing import Any

from service.batches.files.sources import resolved, worded


class Place:
    """A folder that fsspec writes to."""

    def __init__(self, uri: str, roots: Sequence[str]) -> None:
        """Check the URI. Raises FileRefused (source_not_allowed)."""
        self._files, self._path = resolved(uri.rstrip("/"), roots)

    def write(self, name: str, content: Iterable[bytes]) -> str:
        """Write one file, under another name until it is whole; its address. Raises FileRefused or SourceUnavailable."""
        path, unfinished = f"{self._path}/{name}", f"{self._path}/.{name}.unfinished"
        with worded():
            self._files.makedirs(self._path, exist_ok=True)
            with self._files.open(unfinished, "wb") as file:
                _copy(content, file)
            self._files.mv(unfinished, path)
        return path


def _copy(content: Iterable[bytes], file: Any) -> None:
    for block in content:
        file.write(block)
