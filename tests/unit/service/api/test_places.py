"""Requests that run at the same time: what holds a thread keeps no probe out."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Request, Response

from service.api.http.places import PATIENCE_S, Places


class Held:
    """An application whose requests to /held go on until they are let go, with the place in front of it."""

    def __init__(self, limit: int) -> None:
        self._let_go = threading.Event()
        self.running = threading.Semaphore(0)
        self.places = Places(self, limit)
        self.client = Client(self.places)

    def get(self, path: str) -> TestResponse:
        """The whole answer, as a server would have sent it."""
        return self.client.get(path, buffered=True)

    def __call__(self, environ, start_response):  # type: ignore[no-untyped-def]
        if Request(environ).path == "/fault":
            raise RuntimeError
        if Request(environ).path == "/brief":
            time.sleep(0.02)
        if Request(environ).path == "/held":
            self.running.release()
            self._let_go.wait(30)
        return Response("ok")(environ, start_response)

    @contextmanager
    def holding(self, count: int) -> Iterator[None]:
        self._let_go.clear()
        threads = [threading.Thread(target=self.get, args=("/held",)) for _ in range(count)]
        for thread in threads:
            thread.start()
        assert all(self.running.acquire(timeout=10) for _ in threads)
        try:
            yield
        finally:
            self._let_go.set()
            for thread in threads:
                thread.join(10)


def test_probes_are_answered_while_every_place_is_held() -> None:
    held = Held(3)
    with held.holding(3):
        assert [held.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3


def test_another_request_is_refused_with_when_to_come_again() -> None:
    held = Held(2)
    with held.holding(2):
        refused = held.get("/v1/models")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert b'"server_busy"' in refused.data
    assert held.get("/v1/models").status_code == 200


def test_a_request_waits_for_a_place_while_places_come_free() -> None:
    held = Held(1)
    with held.holding(1):
        timer = threading.Timer(PATIENCE_S / 4, held._let_go.set)
        timer.start()
        assert held.get("/v1/models").status_code == 200
        timer.join()


def test_a_place_is_free_again_after_a_fault_and_after_an_answer_that_nobody_read() -> None:
    held = Held(1)
    for _ in range(3):
        with suppress(RuntimeError):
            held.get("/fault")
        held.client.get("/v1/models").close()
    assert held.get("/v1/models").status_code == 200


def test_only_some_probes_of_the_database_run_beside_held_places() -> None:
    """A database that does not answer holds them; whether the process answers must still be told."""
    held = Held(1)
    with held.holding(1):
        taken = [held.places._enter(probe=True) for _ in range(2)]
        assert all(taken)
        assert held.get("/metrics").status_code == 503
        assert held.get("/healthz").status_code == 200


def test_a_burst_of_more_requests_than_places_is_answered() -> None:
    held = Held(2)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(held.get("/brief").status_code)) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == [200] * 40
