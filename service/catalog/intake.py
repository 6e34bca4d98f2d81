"""The pipeline of a published version, as the API and the planning of batches need it: loaded when it is first asked for.

Small files that its parameters name come from the blob store, each checked against the digest that the manifest has of it.
"""

import hashlib
import threading
import time
from collections.abc import Callable

import structlog

from models.manifest import BundleRefused, ModelManifest
from models.pipelines import Pipeline, ReadFile, SideFileUnusable, load_pipeline
from models.pipelines.contract import SIDE_FILE_BYTES
from models.pipelines.side_files import missing, too_large
from service import process
from service.errors import ModelUnavailable
from service.storage import BlobStore

TRY_AGAIN_S = 10.0  # a package may have been mended, a blob restored

log = structlog.get_logger()


class Intake:
    """Loads the pipeline of one version once. Several threads may ask, and none waits for another version."""

    def __init__(
        self, manifest: ModelManifest, read: ReadFile, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._manifest = manifest
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._reason: str | None = None  # why it could not be loaded
        self._faulty_until = float("-inf")

    def pipeline(self) -> Pipeline:
        """The pipeline. Raises ModelUnavailable, again for TRY_AGAIN_S after it could not be loaded, or BlobUnavailable."""
        if self._pipeline is not None:
            return self._pipeline
        with self._lock:
            if self._pipeline is None:
                self._pipeline = self._loaded()
            return self._pipeline

    def _loaded(self) -> Pipeline:
        name, version = self._manifest.name, self._manifest.version
        if self._reason is None or self._clock() >= self._faulty_until:
            try:
                pipeline = load_pipeline(self._manifest, self._read)
            except BundleRefused as refused:
                self._reason = str(refused)
            else:
                process.give_back()
                return pipeline
            self._faulty_until = self._clock() + TRY_AGAIN_S
            log.error("model_unavailable", model=name, version=version, reason=self._reason)
        raise ModelUnavailable(f"{name} {version}", self._reason)


def published_files(blobs: BlobStore, digest: str, manifest: ModelManifest) -> ReadFile:
    """Reads small files of a published bundle. What it gives raises SideFileUnusable or BlobUnavailable."""

    def read(path: str) -> bytes:
        if path not in manifest.files:
            raise missing(path)
        content = _content(blobs, location(digest, path), path)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != manifest.files[path]:
            raise SideFileUnusable(
                path, "side_file_damaged", f"{path!r} is damaged in the blob store: publish the bundle again"
            )
        return content

    return read


def location(digest: str, name: str) -> str:
    """Where a file of the bundle with this digest is in the blob store."""
    return f"models/{digest.removeprefix('sha256:')}/{name}"


def _content(blobs: BlobStore, place: str, path: str) -> bytes:
    buffer = memoryview(bytearray(SIDE_FILE_BYTES + 1))
    size = 0
    try:
        while size < len(buffer) and (count := blobs.read_into(place, size, buffer[size:])):
            size += count
    except FileNotFoundError:
        advice = f"{path!r} is missing from the blob store: publish the bundle again"
        raise SideFileUnusable(path, "side_file_missing", advice) from None
    if size > SIDE_FILE_BYTES:
        raise too_large(path)
    return bytes(buffer[:size])
