"""The files of published bundles: stored in the blob store, fetched into a worker's cache.

Files are streamed both ways, since weights may be larger than memory.
"""

import fcntl
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from models.bundle import Bundle, BundleRefused, read_bundle
from models.manifest import MANIFEST_NAME
from service.catalog.intake import location
from service.catalog.versions import PublishedModel
from service.errors import BundleUnusable
from service.storage import BlobStore

PART_BYTES = 1024 * 1024


def store(blobs: BlobStore, bundle: Bundle) -> None:
    """Write the files of a bundle to the blob store. Raises BlobUnavailable."""
    for name in (MANIFEST_NAME, *bundle.manifest.files):
        blobs.write(location(bundle.digest, name), _parts_of(bundle.folder / name))


def missing(blobs: BlobStore, digest: str, names: Iterable[str]) -> list[str]:
    """Which of these files of a published bundle the blob store lacks. Raises BlobUnavailable."""
    lacking, byte = [], memoryview(bytearray(1))
    for name in (MANIFEST_NAME, *names):
        try:
            blobs.read_into(location(digest, name), 0, byte)
        except FileNotFoundError:
            lacking.append(name)
    return lacking


def fetch(blobs: BlobStore, model: PublishedModel, cache: Path) -> Bundle:
    """A published bundle's files under `cache`, fetched once and checked against the digest each time.

    Raises BundleUnusable or BlobUnavailable; what was fetched until then is kept, and the next call goes on from there.
    """
    folder = cache / model.digest.removeprefix("sha256:")
    try:
        for name, digest in {MANIFEST_NAME: None, **model.manifest.files}.items():
            _fetch_file(blobs, location(model.digest, name), folder / name, digest)
        bundle = read_bundle(folder)
    except BundleRefused as refused:
        raise BundleUnusable(str(refused)) from None
    except FileNotFoundError:
        raise BundleUnusable(
            f"Files of {model.name} {model.version} are missing from the blob store. Publish the bundle again."
        ) from None
    if bundle.digest != model.digest:
        raise BundleUnusable(
            f"The files of {model.name} {model.version} differ from what was published. "
            f"Remove {folder.name} from the model cache; if that does not help, publish a new version."
        )
    return bundle


def _parts_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part


def _fetch_file(blobs: BlobStore, location: str, path: Path, digest: str | None) -> None:
    """Write a blob to `path` unless it is there; readers see it whole or not at all.

    A file that was fetched in part is continued. Of several processes one fetches, and the others wait for it.
    Raises BundleUnusable where what came is not what `digest` names.
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.part")
    with beside.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.is_file():
            return
        found = _continue(blobs, location, file)
        if digest is not None and found != digest:
            beside.unlink()
            raise BundleUnusable(
                f"{path.name} came from the blob store damaged. If that happens again, publish the bundle again."
            )
        beside.replace(path)


def _continue(blobs: BlobStore, location: str, file: IO[bytes]) -> str:
    """Append to `file` what it lacks of a blob; the digest of all of it. Raises FileNotFoundError or BlobUnavailable."""
    hashed = hashlib.sha256()
    file.seek(0)
    while part := file.read(PART_BYTES):
        hashed.update(part)
    buffer = memoryview(bytearray(PART_BYTES))
    while count := blobs.read_into(location, file.tell(), buffer):
        hashed.update(buffer[:count])
        file.write(buffer[:count])
    file.flush()
    return f"sha256:{hashed.hexdigest()}"
