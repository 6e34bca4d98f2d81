"""TaskQueue while Redis is away: nobody waits for it, and nothing that matters is lost."""

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from redis import Redis

from service import broker
from service.broker import CeleryTaskQueue, EndedListener
from service.embedded import ServerUrls
from service.queue import WakeUp, score_wake_up
from service.wire import Wire
from tests.contract.redis_queue import messages, real, until

QUIET_S = 0.3
CALLS = 21


@pytest.fixture
def closed_port() -> str:
    """Where nobody listens: connections are refused."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{free.getsockname()[1]}/0"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"redis://127.0.0.1:{silent.getsockname()[1]}/0"


@pytest.fixture(params=["closed_port", "black_hole"])
def away(request: pytest.FixtureRequest) -> str:
    """A Redis that is away."""
    url: str = request.getfixturevalue(request.param)
    return url


def seconds(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def test_without_redis_neither_a_wake_up_nor_an_announcement_blocks_or_raises(
    away: str, opened: ExitStack
) -> None:
    queue = real(away, opened)
    first = [seconds(lambda: queue.wake(score_wake_up(uuid4()))) for _ in range(CALLS)]
    time.sleep(QUIET_S)  # the sender is stuck by now
    later = [seconds(lambda: queue.wake(score_wake_up(uuid4()))) for _ in range(CALLS)]
    announced = [seconds(lambda: queue.announce([uuid4()])) for _ in range(CALLS)]
    for taken in (first, later, announced):
        assert statistics.median(taken) < 0.05
        assert max(taken) < 0.5


def test_without_redis_a_queue_and_a_listener_can_be_closed(away: str, wake_up: WakeUp) -> None:
    queue = CeleryTaskQueue(away)
    listener = EndedListener(away, lambda ids: None)
    queue.wake(wake_up)
    assert seconds(queue.close) < 6
    assert seconds(listener.close) < 6


def test_a_wake_up_sent_without_redis_arrives_when_redis_comes_back(
    servers: ServerUrls, opened: ExitStack, wake_up: WakeUp
) -> None:
    line = Line(servers.redis_url, opened)
    queue = real(line.url, opened)
    queue.wake(wake_up)
    time.sleep(QUIET_S)
    line.open()
    until(lambda: messages(servers.redis_url, wake_up) == 1)


def test_redis_may_be_away_for_any_number_of_tries(
    servers: ServerUrls, opened: ExitStack, wake_up: WakeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool of the driver makes a hundred connections, and counts those that failed."""
    tried: list[None] = []

    class Counted(Wire):
        def __init__(self, redis: Redis, *, patience_s: float) -> None:
            tried.append(None)
            super().__init__(redis, patience_s=patience_s)

    monkeypatch.setattr(broker, "CHECK_S", 0.0001)
    monkeypatch.setattr(broker, "Wire", Counted)
    line = Line(servers.redis_url, opened)
    queue = real(line.url, opened)
    queue.wake(wake_up)
    until(lambda: len(tried) > 300, within_s=20)
    line.open()
    until(lambda: messages(servers.redis_url, wake_up) == 1)


class Line:
    """A forwarder to Redis on a port of its own, that refuses connections until it is opened."""

    def __init__(self, redis_url: str, opened: ExitStack) -> None:
        self._target = urlsplit(redis_url)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._opened = opened
        self.url = redis_url.replace(f":{self._target.port}/", f":{self._port}/")

    def open(self) -> None:
        """Take connections from now on."""
        server = self._opened.enter_context(socket.create_server(("127.0.0.1", self._port)))
        threading.Thread(target=self._serve, args=(server,), daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            far = socket.create_connection((self._target.hostname, self._target.port))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while part := source.recv(65536):
                sink.sendall(part)
        except OSError:
            pass
        sink.close()
