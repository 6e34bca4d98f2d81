"""Stand-ins for the ports. Each passes the contract tests of the real part."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import UUID

from models.manifest import MODEL
from models.pipelines import Array
from models.signature import Signature
from service.egress import EgressRules
from service.errors import BlobUnavailable
from service.queue import WakeUp
from workers.runtime import LoadedGraph

GraphT = TypeVar("GraphT", bound=LoadedGraph)


class FakeTaskQueue:
    """Remembers wake-ups that wait to be taken, joined like the real ones, and announcements."""

    def __init__(self) -> None:
        self.waiting: list[WakeUp] = []
        self.announced: list[UUID] = []

    def wake(self, wake_up: WakeUp) -> None:
        """See TaskQueue."""
        if wake_up not in self.waiting:
            self.waiting.append(wake_up)

    def take(self, wake_up: WakeUp) -> None:
        """What a worker does: the wake-up waits no longer."""
        self.waiting.remove(wake_up)

    def announce(self, job_ids: Sequence[UUID]) -> None:
        """See TaskQueue."""
        self.announced.extend(job_ids)


class MemoryBlobStore:
    """Blobs in a dictionary. While `away` nothing answers."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.away = False

    def write(self, location: str, parts: Iterable[bytes]) -> None:
        """See BlobStore."""
        content = b"".join(parts)
        self._answer()
        self.blobs[location] = content

    def read(self, location: str) -> Iterator[bytes]:
        """See BlobStore."""
        self._answer()
        if location not in self.blobs:
            raise FileNotFoundError(location)
        yield self.blobs[location]

    def read_into(self, location: str, start: int, buffer: memoryview) -> int:
        """See BlobStore."""
        self._answer()
        if location not in self.blobs:
            raise FileNotFoundError(location)
        content = self.blobs[location][start : start + len(buffer)]
        buffer[: len(content)] = content
        return len(content)

    def delete(self, location: str) -> None:
        """See BlobStore."""
        self._answer()
        self.blobs.pop(location, None)

    def delete_unfinished(self, location: str) -> None:
        """See BlobStore. Nothing is left of writers here."""
        self._answer()

    def _answer(self) -> None:
        if self.away:
            raise BlobUnavailable


class ScriptedGraph:
    """A real graph whose runs can be made to fail, and watched.

    `faults` raises by size: the fault of each least batch size that a run reaches. `script` is called with the feeds
    before each run: it may raise, wait, or change the world around the worker.
    """

    def __init__(
        self,
        real: Any,
        faults: Mapping[int, Exception] | None = None,
        script: Callable[[Mapping[str, Array]], None] | None = None,
        *,
        size_mb: float | None = None,
    ) -> None:
        self.real = real
        self.batch_sizes: list[int] = []
        self.faults = dict(faults or {})
        self.script = script
        self.stopped = False
        self._size_mb = size_mb

    @property
    def size_mb(self) -> float:
        """See LoadedGraph."""
        return self.real.size_mb if self._size_mb is None else self._size_mb

    @property
    def signature(self) -> Signature:
        """See LoadedGraph."""
        found: Signature = self.real.signature
        return found

    def run(self, feeds: Mapping[str, Array], graph: str = MODEL) -> dict[str, Array]:
        """See Graph."""
        size = max((len(feed) for feed in feeds.values()), default=0)
        self.batch_sizes.append(size)
        if self.script is not None:
            self.script(feeds)
        for least, fault in self.faults.items():
            if size >= least:
                raise fault
        outputs: dict[str, Array] = self.real.run(feeds)
        return outputs

    def trim(self) -> None:
        """See LoadedGraph."""
        self.real.trim()

    def beside(self) -> "ScriptedGraph":
        """Its runs are scripted and noted alike."""
        other = copy(self)
        other.real = self.real.beside()
        return other

    def stop(self) -> None:
        """See Graph."""
        self.stopped = True
        self.real.stop()


class FakeRuntime(Generic[GraphT]):
    """Gives every model the same graph, loaded and wrapped by a test."""

    name = "fake 1.0"
    provider = "FakeExecutionProvider"

    def __init__(self, graph: GraphT) -> None:
        self.graph = graph

    def load(self, path: Path, *, allow_tf32: bool = False) -> GraphT:
        """See Runtime."""
        return self.graph


class AllTenants:
    """Rules that are the same for every tenant."""

    def __init__(self, rules: EgressRules) -> None:
        self._rules = rules

    def of(self, tenant_id: UUID) -> EgressRules:
        """These."""
        return self._rules


def busy_and_waiting(seconds: float) -> None:
    """Take so much CPU, and wait for three times as long, as on a busy machine."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    time.sleep(3 * seconds)
