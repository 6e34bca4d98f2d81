"""What waits and what is late, as the API's metrics tell it."""

import re
from uuid import UUID

import pytest

from service import backlog
from service.crypto import Keyring
from service.db import Database
from service.embedded import ServerUrls
from service.lifecycle import JobState
from service.metrics import DB_CONNECTIONS, DB_CONNECTIONS_LIMIT
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.hooks import Hooks
from tests.integration.nights import Nights

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def hooks(database: Database, keyring: Keyring, queue: FakeTaskQueue, blobs: MemoryBlobStore) -> Hooks:
    model = factories.published(database, blobs)
    return Hooks(database, keyring, queue, model, factories.principal(database, keyring))


@pytest.fixture
def nights(database: Database, keyring: Keyring, queue: FakeTaskQueue, blobs: MemoryBlobStore) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


def told(database: Database, redis_url: str = NOWHERE) -> dict[str, float]:
    """Every series and its value."""
    text = backlog.exposition(database, redis_url).decode()
    return {name: float(value) for name, value in re.findall(r"^(medqueue\S+) (\S+)$", text, re.MULTILINE)}


def ended_job(hooks: Hooks) -> UUID:
    (job_id,) = hooks.submit()
    hooks.succeed(job_id)
    return job_id


def aged(hooks: Hooks, seconds: float) -> None:
    with hooks.database.statement() as work:
        work.execute(
            "UPDATE webhook_delivery SET available_at = now() - make_interval(secs => %s)", (seconds,)
        )


def test_deliveries_that_wait_are_counted_and_timed(hooks: Hooks) -> None:
    assert told(hooks.database)['medqueue_webhook_deliveries{state="queued"}'] == 0
    assert told(hooks.database)["medqueue_webhook_late_seconds"] == 0
    hooks.endpoint(f"job.{JobState.SUCCEEDED}")
    for _ in range(3):
        ended_job(hooks)
    aged(hooks, 3600)
    found = told(hooks.database)
    assert found['medqueue_webhook_deliveries{state="queued"}'] == 3
    assert found["medqueue_webhook_late_seconds"] == pytest.approx(3600, abs=60)


def test_a_delivery_that_is_put_off_or_of_a_disabled_endpoint_is_not_late(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint(f"job.{JobState.SUCCEEDED}")
    ended_job(hooks)
    aged(hooks, -3600)
    assert told(hooks.database)["medqueue_webhook_late_seconds"] == 0
    aged(hooks, 3600)
    hooks.set_state(endpoint_id, "disabled")
    assert told(hooks.database)["medqueue_webhook_late_seconds"] == 0


def test_batches_are_counted_and_told_by_how_much_they_are_behind(nights: Nights) -> None:
    assert told(nights.database)["medqueue_batch_late_seconds"] == 0
    batch_id = nights.planned(3)
    assert told(nights.database)['medqueue_batches{state="scheduled"}'] == 1
    nights.finish(nights.claimed())
    nights.rows(
        "UPDATE batch SET resumed_at = NULL, open_from = now() - interval '1 h' WHERE id = %s", batch_id
    )
    nights.rows(
        "UPDATE batch SET open_until = now() + interval '10 min', at_risk_until = now() WHERE id = %s",
        batch_id,
    )
    found = told(nights.database)
    assert found['medqueue_batches{state="running"}'] == 1
    assert found["medqueue_batches_at_risk"] == 1
    # A third in an hour: two hours more, of which ten minutes are left.
    assert found["medqueue_batch_late_seconds"] == pytest.approx(2 * 3600 - 600, rel=0.05)


def test_servers_that_answer_are_up(database: Database, servers: ServerUrls) -> None:
    found = told(database, servers.redis_url)
    assert found['medqueue_server_up{server="postgres"}'] == 1
    assert found['medqueue_server_up{server="redis"}'] == 1
    away = Database("postgresql://nobody@127.0.0.1:1/nowhere", pool_size=1)
    try:
        assert told(away) == {
            'medqueue_server_up{server="postgres"}': 0,
            'medqueue_server_up{server="redis"}': 0,
        }
    finally:
        away.close()


def test_connections_at_work_are_counted_against_their_limit(database: Database) -> None:
    before, limit = DB_CONNECTIONS._value.get(), DB_CONNECTIONS_LIMIT._value.get()
    with database.transaction() as work, database.statement() as other:
        work.execute("SELECT 1")
        other.execute("SELECT 1")
        assert DB_CONNECTIONS._value.get() - before == 2
    assert DB_CONNECTIONS._value.get() == before
    assert limit >= 8
