"""What bundles that are made of another one share: their folder appears whole or not at all, with the original's files."""

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from models.bundle import Bundle

TEMPLATE: Final = ".template."  # in the names of files from which a training script writes manifest and card


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its place at the end. Raises FileExistsError."""
    if folder.exists():
        raise FileExistsError(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
        yield Path(made, "bundle")
        Path(made, "bundle").rename(folder)


def copy_files(bundle: Bundle, folder: Path, *, apart: Collection[str]) -> None:
    """Copy the bundle's files into the new `folder`, but those `apart` and the templates of a training script."""
    folder.mkdir()
    for path in bundle.manifest.files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if path not in apart and TEMPLATE not in path:
            shutil.copyfile(bundle.folder / path, folder / path)
