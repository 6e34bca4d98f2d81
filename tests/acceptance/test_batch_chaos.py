"""A batch whose workers are killed and whose Redis is flushed gives, byte for byte, what an undisturbed one gives.

Beside HTTP it looks into the database for who holds a chunk, and at the pid files of the data folder.
"""

import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from service.embedded import server_urls
from tests.acceptance import cases
from tests.acceptance.stack import Stack, eventually

HOST = socket.gethostname()


@dataclass(frozen=True)
class Night:
    """How many rows, how many of them bad, and how often a worker is killed or Redis flushed meanwhile."""

    rows: int
    bad: int
    kills: int
    flushed_after: tuple[int, ...]

    @property
    def bad_rows(self) -> range:
        return range(700, 700 + self.bad * 1451, 1451)


SHORT = Night(rows=60_000, bad=40, kills=4, flushed_after=(1,))
FULL = Night(rows=200_000, bad=137, kills=10, flushed_after=(3, 7))

AT_WORK = "SELECT lease_owner FROM batch_chunk WHERE batch_id = %s AND state = 'running'"


def night_file(night: Night) -> bytes:
    """Rows of a model of numbers as CSV; in the bad ones the first number is out of its range."""
    good = cases.submission(0)["input"]
    names = list(good)
    lines = [",".join(("id", *names))]
    texts = [",".join(str(value) for value in cases.submission(row)["input"].values()) for row in range(50)]
    for row in range(1, night.rows + 1):
        text = texts[row % len(texts)]
        lines.append(f"case-{row}," + ("-1e9," + text.split(",", 1)[1] if row in night.bad_rows else text))
    return ("\n".join(lines) + "\n").encode()


def opened(http: httpx.Client, file: Path) -> str:
    body = {
        "model": cases.submission(0)["model"],
        "source": {"uri": file.as_uri()},
        "format": "csv",
        "id_column": "id",
    }
    answer = http.post("/v1/batches", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def completed(http: httpx.Client, batch_id: str, *, within_s: float = 120) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def done() -> bool:
        found.update(http.get(f"/v1/batches/{batch_id}").json())
        return found["finished_at"] is not None

    eventually(done, within_s=within_s)
    assert found["state"] == "completed", found
    return found


def kill_a_worker_at_work(stack: Stack, batch_id: str, within_s: float = 30) -> bool:
    """SIGKILL a worker that has a chunk in its hands; whether there was one before the batch ended."""
    url = server_urls(stack.data).database_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, autocommit=True) as connection:
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            with stack.workers_paused(settled=False):  # else it might end its chunk before the signal arrives
                owners = {row[0] for row in connection.execute(AT_WORK, (batch_id,))}
                pids = {name: stack.pid(name) for name in stack.worker_names}
                at_work = [name for name, pid in pids.items() if f"{name}@{HOST}:{pid}" in owners]
                for name in at_work[:1]:
                    os.kill(pids[name], signal.SIGKILL)
                    # The others stand still meanwhile, or the batch would be over before it has seen ten kills.
                    eventually(lambda: stack.pid(at_work[0]) != pids[at_work[0]], within_s=30)  # noqa: B023
                    return True
            time.sleep(0.02)
    return False


@pytest.mark.timeout(300)
def test_killed_workers_and_flushes_change_no_byte_of_a_batch(
    rough_stack: Stack, rough_http: httpx.Client, full: bool
) -> None:
    night = FULL if full else SHORT
    file = rough_stack.night / "cases.csv"
    file.write_bytes(night_file(night))
    undisturbed = completed(rough_http, opened(rough_http, file))
    assert undisturbed["chunks"]["total"] > night.kills + 2, "too few chunks to kill at"
    batch_id, kills = opened(rough_http, file), 0
    with redis.Redis.from_url(server_urls(rough_stack.data).redis_url) as broker:
        for number in range(night.kills):
            kills += kill_a_worker_at_work(rough_stack, batch_id)
            if number in night.flushed_after:
                broker.flushall()
    assert kills == night.kills, "the batch was over too soon: nothing shown"
    batch = completed(rough_http, batch_id)
    counts = {"total": night.rows, "succeeded": night.rows - night.bad, "failed": night.bad, "remaining": 0}
    assert (undisturbed["counts"], batch["counts"]) == (counts, counts)
    trail = rough_http.get(f"/v1/batches/{batch_id}/events", params={"limit": 200}).json()["items"]
    assert sum(event["action"] == "batch.chunk_rescued" for event in trail) >= night.kills
    for kind in ("results", "errors"):
        assert batch[kind]["sha256"] == undisturbed[kind]["sha256"]
        found, wanted = (
            rough_http.get(f"/v1/batches/{each}/{kind}").content for each in (batch_id, undisturbed["id"])
        )
        assert found == wanted
        assert found.count(b"\n") == batch[kind]["rows"]
