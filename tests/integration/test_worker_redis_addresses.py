"""A worker process behind Sentinels, and behind TLS, waits for messages there and takes its own."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from service.bootstrap import bootstrap
from service.config import Settings
from service.embedded import worker_command
from service.pulse import Pulse, pulse_file
from tests.acceptance.stack import eventually
from tests.faults.operations.redis_server import PASSWORD, OwnRedis, own_redis, sentinel
from tests.forking.commands import Forked
from tests.integration.authority import Authority
from tests.integration.tls_front import tls_front

ROOT = Path(__file__).parents[2]
COMES_UP_WITHIN_S = 90.0
TAKES_WITHIN_S = 20.0

Address = Callable[[Path, OwnRedis], AbstractContextManager[str]]


@contextlib.contextmanager
def behind_sentinel(folder: Path, own: OwnRedis) -> Iterator[str]:
    with sentinel(folder / "sentinel", own, "main") as port:
        yield f"sentinel://:{PASSWORD}@127.0.0.1:{port}/0?service_name=main"


@contextlib.contextmanager
def behind_tls(folder: Path, own: OwnRedis) -> Iterator[str]:
    authority = Authority.made(folder)
    with tls_front(authority.server("127.0.0.1"), ("127.0.0.1", own.port)) as port:
        yield f"rediss://:{PASSWORD}@127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"


@contextlib.contextmanager
def behind_sentinel_and_tls(folder: Path, own: OwnRedis) -> Iterator[str]:
    """The Sentinel is told of the encrypted port as the master's, and not asked to look at it."""
    authority = Authority.made(folder)
    context = authority.server("127.0.0.1")
    with (
        tls_front(context, ("127.0.0.1", own.port)) as port,
        sentinel(folder / "sentinel", own, "main", at_port=port, down_after_ms=10**9) as watching,
        tls_front(context, ("127.0.0.1", watching)) as entry,
    ):
        options = f"service_name=main&ssl=true&ssl_ca_certs={authority.file}"
        yield f"sentinel://:{PASSWORD}@127.0.0.1:{entry}/0?{options}"


def waits_in_brpop(own: OwnRedis) -> bool:
    with own.client() as client:
        return any(found["cmd"] == "brpop" for found in client.client_list())


def taking(record: Path, began_s: float) -> Callable[[], bool]:
    """Whether records written since then show that a pulse was taken: none waits, or another than the one before.

    A record is written as soon as the next pulse is sent, and by then the worker has seldom taken it: behind TLS most
    records say that one waits. It is not sent twice while it waits, so a later time of sending means that it was taken.
    """
    waited_since = set[float]()

    def taken() -> bool:
        pulse = Pulse.read(record)
        if pulse is None or pulse.written_at_s <= began_s:
            return False
        if pulse.redis_away:
            waited_since.clear()
            return False
        if pulse.waits_since_s is None:
            return True
        waited_since.add(pulse.waits_since_s)
        return len(waited_since) > 1

    return taken


@pytest.mark.parametrize("address", [behind_sentinel, behind_tls, behind_sentinel_and_tls])
def test_a_worker_takes_its_messages(settings: Settings, tmp_path: Path, address: Address) -> None:
    with contextlib.ExitStack() as running:
        own = running.enter_context(own_redis(tmp_path / "redis"))
        url = running.enter_context(address(tmp_path, own))
        ours = settings.model_copy(update={"redis_url": url})
        ours.data_dir.mkdir(exist_ok=True)
        bootstrap(ours)
        environment = {"PATH": "/usr/bin:/bin", **ours.environment(), "MEDQUEUE_WORKER_NAME": "worker"}
        worker = running.enter_context(Forked(worker_command("worker"), env=environment, cwd=ROOT))
        running.callback(worker.kill)
        eventually(lambda: waits_in_brpop(own), within_s=COMES_UP_WITHIN_S, every_s=0.2)
        record = pulse_file(ours.data_dir, "worker")

        began = time.monotonic()
        eventually(taking(record, began), within_s=TAKES_WITHIN_S, every_s=0.2)
