"""A stack to break, the clients that use it meanwhile, and what became of it."""

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from redis import Redis
from redis.exceptions import RedisError

from service.failpoints import Effect, Point
from service.lifecycle import PUBLISHED_ACTIONS
from service.queue import QueueName
from tests.acceptance import slow_writer
from tests.acceptance.slow_writer import write_slow_writer
from tests.acceptance.stack import RECEIVERS_HERE, Stack, eventually
from tests.faults import drawing, trouble
from tests.faults.checker import Verdict, check
from tests.faults.drawing import install_drawing, write_drawing
from tests.faults.history import History
from tests.faults.load import Load
from tests.faults.trouble import write_trouble
from tests.forking.commands import MEDQUEUE, run
from tests.receiver import Receiver

LEASE_S = 1.5
SETTLES_WITHIN_S = 60.0
COMES_BACK_WITHIN_S = 60.0
TOLD_AT = "/ok/arena"
OPEN_DELIVERIES = """
SELECT count(*) FROM webhook_delivery AS delivery JOIN webhook_endpoint AS endpoint ON endpoint.id = endpoint_id
WHERE delivery.state IN ('queued', 'running') AND endpoint.url LIKE '%%' || %s
"""
# Where only work on batches comes by.
BATCH_POINTS = [point for point in Point if point.startswith(("step", "chunk", "finalize"))]
OPEN_JOBS = "SELECT count(*) FROM job WHERE state IN ('waiting', 'queued', 'running')"


@dataclass
class Arena:
    """One stack with its history. Scenarios run one after the other; the checker always looks at all of it."""

    stack: Stack
    database_url: str
    redis_url: str
    tokens: Path
    seed: int
    receiver: Receiver
    history: History = field(default_factory=History)
    _numbers: Iterator[int] = field(
        default_factory=lambda: itertools.count(1)
    )  # one step of it is one operation

    def load(self) -> Load:
        """Fresh clients over the common history: their keys are their own."""
        number = next(self._numbers)
        return Load(self.stack.url, self.stack.admin_key, self.history, seed=self.seed * 1000 + number)

    def chance(self, scenario: str) -> random.Random:
        """The randomness of a scenario, from the seed."""
        return random.Random(f"{self.seed}/{scenario}")

    def scalar(self, query: str, *params: object) -> Any:
        """One value from the database, asked for past the product."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            row = connection.execute(query.encode(), params).fetchone()
        assert row is not None
        return row[0]

    def environment(self) -> dict[str, str]:
        """The variables of one more process on this stack."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("MEDQUEUE_")},
            **self.stack.settings,
            "MEDQUEUE_DATABASE_URL": self.database_url,
            "MEDQUEUE_REDIS_URL": self.redis_url,
            "MEDQUEUE_DATA_DIR": str(self.stack.data),
        }

    def redis(self) -> "Redis":
        """A client of the stack's Redis; close it."""
        return Redis.from_url(self.redis_url, socket_timeout=5)

    def flushed(self) -> bool:
        """Empty Redis, if it answers."""
        with contextlib.suppress(RedisError, OSError), self.redis() as redis:
            redis.flushall()
            return True
        return False

    def all_ended(self, job_ids: Sequence[str], within_s: float) -> float:
        """Wait until these jobs have ended; the seconds it took."""
        started = time.monotonic()
        ended = "SELECT count(*) FROM job WHERE id = ANY(%s::uuid[]) AND finished_at IS NOT NULL"
        eventually(
            lambda: self.scalar(ended, list(job_ids)) == len(set(job_ids)), within_s=within_s, every_s=0.1
        )
        return time.monotonic() - started

    def answers(self) -> bool:
        """Whether the API takes jobs: a scenario may have left it on its way up, or killed, while its children still answer."""
        if _state(self.stack.pid("api")) in {"", "Z"}:
            return False
        with contextlib.suppress(httpx.TransportError), self.stack.client() as http:
            return http.get("/readyz").status_code == 200
        return False

    def settle(self) -> float:
        """Wait until nothing is queued, running or on its way to the well-behaved receiver; the seconds it took."""
        started = time.monotonic()

        def quiet() -> bool:
            with contextlib.suppress(psycopg.OperationalError, RedisError, OSError), self.redis() as redis:
                return bool(
                    self.scalar(OPEN_JOBS) == 0
                    and self.scalar(OPEN_DELIVERIES, TOLD_AT) == 0
                    and redis.llen(QueueName.SCORE.value) == 0
                )
            return False

        eventually(quiet, within_s=SETTLES_WITHIN_S, every_s=0.2)
        return time.monotonic() - started

    def verdict(self) -> Verdict:
        """What the checker says of everything so far, once it is quiet."""
        self.settle()
        return check(self.history, self.database_url, self.redis_url, self.receiver.received(TOLD_AT))

    # Breaking things.

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one program; the process id it had."""
        pid = self.stack.pid(name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid

    def restarted(self, name: str, old_pid: int) -> None:
        """Wait until the supervisor has started a program anew, and it does its work."""
        eventually(lambda: self.stack.pid(name) != old_pid, within_s=COMES_BACK_WITHIN_S)
        if name in self.stack.worker_names or name == "scheduler":
            ready = self.stack.data / "run" / f"{name}.ready"
            eventually(ready.exists, within_s=COMES_BACK_WITHIN_S)

    def put_token(self, point: Point, effect: Effect = Effect.EXIT) -> Path:
        """Let the next process that comes to `point` do `effect`."""
        fresh = self.tokens / f".{point}"
        fresh.write_text(effect)
        return fresh.rename(self.tokens / point)

    def stopped_workers(self) -> list[int]:
        """Process ids of workers that stand still."""
        pids = [self.stack.pid(name) for name in self.stack.worker_names]
        return [pid for pid in pids if _state(pid) == "T"]

    def memory_mb(self) -> dict[str, float]:
        """Resident memory of each program."""
        names = [*self.stack.worker_names, "scheduler", "api", "redis"]
        return {name: _resident_mb(self.stack.pid(name)) for name in names}

    def logged(self, event: str) -> int:
        """How often workers have logged `event`."""
        logs = [self.stack.data / "log" / f"{name}.log" for name in self.stack.worker_names]
        return sum(log.read_text(errors="replace").count(f'"{event}"') for log in logs if log.exists())


@contextlib.contextmanager
def opened_arena(
    folder: Path, seed: int, *, workers: int, settings: dict[str, str], forked: bool
) -> Iterator[Arena]:
    """A running stack with failpoints, the troublesome model, one that makes artifacts and one that writes texts.

    `forked`: see Stack.
    """
    from service.embedded import server_urls

    tokens = folder / "tokens"
    tokens.mkdir(parents=True)
    install_drawing(folder / "site")
    fast = {
        "MEDQUEUE_API_WORKERS": "2",
        "MEDQUEUE_PUBLIC_URL": "https://medqueue.test",  # the same for processes that know no port of an API
        "MEDQUEUE_LEASE_S": str(LEASE_S),
        "MEDQUEUE_SWEEP_S": "0.5",
        "MEDQUEUE_RETRY_BASE_S": "0.2",
        "MEDQUEUE_FAILPOINTS": str(tokens),
        "PYTHONPATH": str(folder / "site"),
        **RECEIVERS_HERE,
    }
    stack = Stack(folder / "data", fast | settings, workers=workers, forked=forked)
    stack.start()
    try:
        publish(stack, write_trouble(folder / "trouble"), trouble.NAME)
        publish(stack, write_drawing(folder / "drawing"), drawing.NAME)
        publish(stack, write_slow_writer(folder / "writer", rounds=2), slow_writer.NAME)
        database_url = settings.get("MEDQUEUE_DATABASE_URL") or server_urls(stack.data).database_url
        redis_url = settings.get("MEDQUEUE_REDIS_URL") or server_urls(stack.data).redis_url
        with Receiver() as receiver:
            receiver.secrets[TOLD_AT] = stack.endpoint(receiver.url(TOLD_AT), PUBLISHED_ACTIONS)
            yield Arena(stack, database_url, redis_url, tokens, seed, receiver)
        stack.stop()
    finally:
        stack.kill()


def publish(stack: Stack, bundle: Path, name: str) -> None:
    """Publish a bundle as an operator would."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDQUEUE_")}
    command = [*MEDQUEUE, "models", "publish", str(bundle), "--data-dir", str(stack.data), "--json"]
    done = run(command, env=environment | dict(stack.settings))
    assert done.returncode == 0, done.stderr
    with stack.client() as http:
        eventually(lambda: http.get(f"/v1/models/{name}").status_code == 200, within_s=10)


@contextlib.contextmanager
def meanwhile(call: Callable[[], None]) -> Iterator[None]:
    """Run `call` in a thread while the block lasts, and wait for its end behind it. Its fault is raised."""
    faults: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as fault:  # noqa: BLE001 - raised below
            faults.append(fault)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(timeout=SETTLES_WITHIN_S * 5)
    assert not thread.is_alive(), "clients are still waiting for an answer"
    if faults:
        raise faults[0]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _resident_mb(pid: int) -> float:
    """Of the process and its children: granian's worker is a child of its main process."""
    found = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if int(folder.name) == pid or parent == pid:
                pages = int((folder / "statm").read_text().split()[1])
                found += pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return found
