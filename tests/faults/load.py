"""Clients that submit, look and cancel over HTTP while faults happen, and write down what they saw.

A submit whose outcome is unknown, or that was refused for the moment, is repeated with the same Idempotency-Key until
it is answered: what a good client does. Each client takes its chance from the seed.
"""

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx

from tests.faults.history import History, Outcome, Read, Submit, now

TIMEOUT_S = 5.0
PAUSE_S = 0.1
AGAIN = {429, 502, 503, 504}


class Load:
    """Some clients in threads of their own, over one history."""

    def __init__(self, url: str, key: str, history: History, *, seed: int) -> None:
        self.history = history
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._seed = seed
        self._stopping = threading.Event()

    def submit_wave(self, number: int, bodies: Sequence[dict[str, Any]]) -> list[str]:
        """Submit these bodies together under one key, until they are answered; their ids."""
        with self._client() as http:
            return self._submit_until_answered(http, f"{self._seed}-wave-{number}", bodies)

    @contextmanager
    def looking(self, *, clients: int = 1, cancel_share: float = 0.0) -> Iterator[None]:
        """Read random jobs all the while, and cancel some."""
        self._stopping.clear()
        threads = [
            threading.Thread(target=self._look, args=(client, cancel_share), daemon=True)
            for client in range(clients)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join(timeout=2 * TIMEOUT_S)

    def read_all(self, job_ids: Sequence[str], *, clients: int = 4) -> None:
        """Read every job once."""
        together([partial(self._read_each, job_ids[client::clients]) for client in range(clients)])

    def cancel_all(self, job_ids: Sequence[str], *, clients: int = 4) -> None:
        """Cancel every job, each at once."""
        together([partial(self._cancel_each, job_ids[client::clients]) for client in range(clients)])

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, headers=self._headers, timeout=TIMEOUT_S)

    def _submit_until_answered(
        self, http: httpx.Client, key: str, bodies: Sequence[dict[str, Any]]
    ) -> list[str]:
        content = json.dumps(bodies[0] if len(bodies) == 1 else {"jobs": list(bodies)}).encode()
        path = "/v1/jobs" if len(bodies) == 1 else "/v1/jobs/bulk"
        while not (job_ids := self._try_submit(http, path, key, content)):
            time.sleep(PAUSE_S)
        return job_ids

    def _try_submit(self, http: httpx.Client, path: str, key: str, content: bytes) -> list[str]:
        """The ids of the jobs, once the submit was answered for good; none before."""
        sent_at = now()
        try:
            answer = http.post(path, content=content, headers={"Idempotency-Key": key})
        except httpx.ConnectError:
            self._add_submit(key, sent_at, Outcome.REFUSED, None)
            return []
        except httpx.TransportError:
            self._add_submit(key, sent_at, Outcome.UNKNOWN, None)
            return []
        if answer.status_code in AGAIN:
            # A 503 may come after the commit, when only the reply of Postgres was lost.
            self._add_submit(key, sent_at, Outcome.UNKNOWN, answer.status_code)
            return []
        told = answer.json()
        assert answer.status_code in {200, 202}, (answer.status_code, told)
        job_ids = tuple(item["id"] for item in told.get("items", [told]))
        self._add_submit(key, sent_at, Outcome.OK, answer.status_code, job_ids)
        return list(job_ids)

    def _add_submit(
        self, key: str, sent_at: float, outcome: Outcome, status: int | None, ids: tuple[str, ...] = ()
    ) -> None:
        self.history.add(Submit(key, sent_at, now(), outcome, status, ids))

    def _look(self, number: int, cancel_share: float) -> None:
        chance = random.Random(self._seed * 1000 + number)
        with self._client() as http:
            while not self._stopping.is_set():
                known = self.history.job_ids()
                if not known:
                    time.sleep(PAUSE_S)
                    continue
                job_id = chance.choice(known[-200:] if chance.random() < 0.5 else known)
                if chance.random() < cancel_share:
                    self._cancel(http, job_id)
                else:
                    self._read(http, job_id)
                time.sleep(0.005)

    def _read_each(self, job_ids: Sequence[str]) -> None:
        with self._client() as http:
            for job_id in job_ids:
                while not self._read(http, job_id):
                    time.sleep(PAUSE_S)

    def _read(self, http: httpx.Client, job_id: str) -> bool:
        try:
            answer = http.get(f"/v1/jobs/{job_id}")
        except httpx.TransportError:
            return False
        if answer.status_code in AGAIN:
            return False
        job = answer.json()
        assert answer.status_code == 200, (answer.status_code, job)
        result = job.get("result")
        digest = hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest() if result else None
        self.history.add(Read(job_id, now(), job["state"], digest))
        return True

    def _cancel_each(self, job_ids: Sequence[str]) -> None:
        with self._client() as http:
            for job_id in job_ids:
                while not self._cancel(http, job_id):
                    time.sleep(PAUSE_S)

    def _cancel(self, http: httpx.Client, job_id: str) -> bool:
        try:
            answer = http.post(f"/v1/jobs/{job_id}/cancel")
        except httpx.TransportError:
            return False
        if answer.status_code in AGAIN:
            return False
        assert answer.status_code == 200, answer.text
        self.history.add_cancel(job_id, answer.json()["state"])
        return True


def read_until_answered(http: httpx.Client, job_id: str) -> dict[str, Any]:
    """A job, asked for again while the API says that it cannot tell at the moment."""
    while (answer := http.get(f"/v1/jobs/{job_id}")).status_code in AGAIN:
        time.sleep(PAUSE_S)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


def together(calls: Sequence[Callable[[], None]]) -> None:
    """Run calls side by side, each in a thread; the first fault of one is raised."""
    faults: list[BaseException] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as fault:  # noqa: BLE001 - raised in the caller's thread
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
