"""Every address that is supported means the same to each of our clients: the driver, the wire of wake-ups, and Celery's."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from service.broker import CeleryTaskQueue, redis_fault
from service.consuming import celery_app
from service.queue import QueueName, WakeUp, score_wake_up
from service.redis_client import redis_client
from service.redis_faults import RedisFault
from tests.acceptance.stack import eventually
from tests.faults.operations.redis_server import PASSWORD, OwnRedis, own_redis, sentinel
from tests.integration.authority import Authority
from tests.integration.tls_front import tls_front

ALL = {"driver", "wire", "celery"}
MASTER = "main"
NOT_SENT_S = 1.0


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    with own_redis(tmp_path_factory.mktemp("redis") / "server", bind="127.0.0.1 ::1") as server:
        yield server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path)


def working(url: str, own: OwnRedis) -> set[str]:
    """Which clients reach this server by this address."""
    clients: dict[str, Callable[[str, OwnRedis], bool]] = {"driver": probed, "wire": sent, "celery": consumed}
    return {name for name, works in clients.items() if works(url, own)}


def probed(url: str, _: OwnRedis) -> bool:
    return redis_fault(url) is None


def sent(url: str, own: OwnRedis) -> bool:
    queue, wake_up = CeleryTaskQueue(url), score_wake_up(uuid4())
    try:
        queue.wake(wake_up)
        with contextlib.suppress(AssertionError):
            eventually(lambda: waiting(own, wake_up), within_s=NOT_SENT_S)
            return True
        return False
    finally:
        queue.close()


def consumed(url: str, own: OwnRedis) -> bool:
    wake_up, taken = score_wake_up(uuid4()), list[str]()
    with own.client() as client:
        client.delete(QueueName.SCORE)
    direct = CeleryTaskQueue(own.url)
    direct.wake(wake_up)
    eventually(lambda: waiting(own, wake_up), within_s=5)
    direct.close()
    app = celery_app(url)
    try:
        with (
            app.connection_for_read() as connection,
            app.amqp.TaskConsumer(connection, no_ack=True) as consumer,
        ):
            consumer.on_message = lambda message: taken.append(message.headers["argsrepr"])
            connection.drain_events(timeout=3)
    except (RedisError, OSError, OperationalError):
        return False
    finally:
        app.close()
    return any(wake_up.subject in text for text in taken)


def waiting(own: OwnRedis, wake_up: WakeUp) -> bool:
    with own.client() as client:
        return any(wake_up.subject in str(text) for text in client.lrange(QueueName.SCORE, 0, -1))


def test_a_host_may_be_an_ipv6_address(own: OwnRedis) -> None:
    assert working(f"redis://:{PASSWORD}@[::1]:{own.port}/0", own) == ALL


def test_tls_is_verified_by_the_authority_that_is_named(own: OwnRedis, authority: Authority) -> None:
    with tls_front(authority.server("127.0.0.1"), ("127.0.0.1", own.port)) as port:
        assert working(f"rediss://:{PASSWORD}@127.0.0.1:{port}/0?ssl_ca_certs={authority.file}", own) == ALL


@pytest.mark.parametrize("names", [("127.0.0.1",), ("other.test",)])
def test_a_certificate_that_does_not_hold_is_refused_by_every_client_unless_none_is_asked_for(
    own: OwnRedis, authority: Authority, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Of an authority that nobody knows, and for another host."""
    trusted = f"?ssl_ca_certs={authority.file}" if names == ("other.test",) else ""
    with tls_front(authority.server(*names), ("127.0.0.1", own.port)) as port:
        url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0"
        assert working(url + trusted, own) == set()
        assert redis_fault(url + trusted) is RedisFault.TLS_FAILED
        assert working(f"{url}?ssl_cert_reqs=none", own) == ALL


def test_the_master_that_sentinels_name_is_used_also_after_a_failover(tmp_path: Path) -> None:
    with contextlib.ExitStack() as running:
        one, two = (running.enter_context(own_redis(tmp_path / name)) for name in ("one", "two"))
        port = running.enter_context(sentinel(tmp_path / "sentinel", one, MASTER))
        nobody = f"127.0.0.1:{one.port + 1}"
        url = f"sentinel://:{PASSWORD}@{nobody},127.0.0.1:{port}/0?service_name={MASTER}"
        assert working(url, one) == ALL
        other = url.replace(MASTER, "another")
        assert redis_fault(other) is RedisFault.MASTER_UNKNOWN
        queue = CeleryTaskQueue(url)
        one.kill()
        with redis_client(f"redis://127.0.0.1:{port}/0") as asked:
            asked.execute_command("SENTINEL", "REMOVE", MASTER)
            asked.execute_command("SENTINEL", "MONITOR", MASTER, "127.0.0.1", two.port, 1)
            asked.execute_command("SENTINEL", "SET", MASTER, "auth-pass", PASSWORD)
        wake_up = score_wake_up(uuid4())
        queue.wake(wake_up)
        eventually(lambda: waiting(two, wake_up), within_s=10)
        queue.close()
        assert working(url, two) == ALL


def test_sentinels_that_do_not_answer_are_unreachable() -> None:
    assert redis_fault("sentinel://127.0.0.1:1,[::1]:1/0?service_name=main") is RedisFault.UNREACHABLE


def test_the_rights_that_operations_names_suffice(own: OwnRedis) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    start = page.index("ACL SETUSER medqueue")
    words = page[start : page.index("\n\n", start)].replace("PASSWORD", "pw").split()
    with own.client() as client:
        client.execute_command(*words)
    assert working(f"redis://medqueue:pw@127.0.0.1:{own.port}/0", own) == ALL
