"""Deliveries that are sent again: one, a range, and what an endpoint missed, which is never what came before it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.crypto import Keyring
from service.db import Database
from service.errors import EndpointNotFound, TransitionRefused
from service.lifecycle import DeliveryState
from service.webhooks import endpoints, history
from service.webhooks.deliveries import Tried
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import hooks as bench
from tests.integration.hooks import Hooks
from tests.integration.test_webhook_deliveries import AN_HOUR, DEAD, DELIVERED, by_endpoint, plan


@pytest.fixture
def hooks(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Hooks:
    return bench.hooks(database, blobs, keyring, queue)


def replay(
    hooks: Hooks, endpoint_id: UUID, *states: DeliveryState, since: timedelta = AN_HOUR
) -> tuple[int, int]:
    """Send what the last hour planned again."""
    now = datetime.now(UTC)
    with hooks.database.transaction() as work:
        return history.replay_range(
            work, hooks.caller, endpoint_id, since=now - since, until=now + AN_HOUR, states=states or (DEAD,)
        )


def test_one_delivery_is_sent_again_with_the_whole_schedule(hooks: Hooks) -> None:
    hooks.endpoint()
    plan(hooks)
    hooks.try_all(200)
    (delivery,) = hooks.planned()
    with hooks.database.transaction() as work:
        again = history.replay(work, hooks.caller, delivery.id)
    assert (again.state, again.tries, again.event_id) == (DeliveryState.QUEUED, 0, delivery.event_id)
    (claimed,) = hooks.claim()
    assert claimed.lease.id == delivery.id
    hooks.record(Tried(claimed, 7, 500))
    with hooks.database.transaction() as work:
        _, tries = history.get(work, hooks.caller, delivery.id)
    assert [each.status for each in tries] == [200, 500]


def test_what_has_not_ended_or_is_for_a_disabled_endpoint_is_not_sent_again(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    plan(hooks)
    (delivery,) = hooks.planned()
    with pytest.raises(TransitionRefused), hooks.database.transaction() as work:
        history.replay(work, hooks.caller, delivery.id)
    hooks.try_all(200)
    hooks.set_state(endpoint_id, "disabled")
    with pytest.raises(TransitionRefused), hooks.database.transaction() as work:
        history.replay(work, hooks.caller, delivery.id)
    with pytest.raises(TransitionRefused):
        replay(hooks, endpoint_id)


def test_a_range_of_one_endpoint_is_sent_again_by_how_it_ended(hooks: Hooks) -> None:
    endpoint_id, other = hooks.endpoint("job.canceled"), hooks.endpoint("job.canceled")
    plan(hooks, 3)
    claims = sorted(hooks.claim(), key=lambda claimed: (claimed.endpoint_id, claimed.lease.id))
    for number, claimed in enumerate(claims):
        hooks.record(Tried(claimed, 7, 200 if number % 2 else 410))
        hooks.rows("UPDATE webhook_endpoint SET state = 'enabled', disabled_because = NULL")
    ended = Counter((each.endpoint_id, each.state) for each in hooks.planned())
    assert (ended[endpoint_id, DEAD], ended[endpoint_id, DELIVERED]) == (2, 1)
    assert replay(hooks, endpoint_id, DEAD) == (2, 0)
    assert replay(hooks, endpoint_id, DEAD) == (0, 0)
    assert replay(hooks, endpoint_id, DELIVERED, since=-AN_HOUR / 2) == (0, 0)
    assert replay(hooks, endpoint_id, DELIVERED) == (1, 0)
    assert by_endpoint(hooks.claim()) == {endpoint_id: 3}
    assert hooks.actions().count("webhook.deliveries_replayed") == 2
    assert replay(hooks, other, DEAD, DELIVERED) == (3, 0)


def test_events_that_were_missed_while_disabled_are_sent_by_a_replay_once(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint("job.canceled")
    hooks.set_state(endpoint_id, "disabled")
    stranger = hooks.of_other_tenant()
    (theirs,) = stranger.submit()
    stranger.cancel(theirs)
    plan(hooks, 2)
    (failed,) = hooks.submit()
    hooks.fail(failed)
    hooks.set_state(endpoint_id, "enabled")
    assert replay(hooks, endpoint_id) == (0, 2)
    assert replay(hooks, endpoint_id) == (0, 0)
    assert hooks.told() == [(endpoint_id, "job.canceled")] * 2
    assert len(hooks.claim()) == 2


def test_an_endpoint_of_another_tenant_is_not_sent_to_again(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    with pytest.raises(EndpointNotFound):
        replay(hooks.of_other_tenant(), endpoint_id)


def test_a_replay_of_a_new_endpoint_plans_nothing_from_before_it_was_registered(hooks: Hooks) -> None:
    for job_id in hooks.submit(3):
        hooks.cancel(job_id)
    assert replay(hooks, hooks.endpoint(), DELIVERED, DEAD) == (0, 0)


def test_a_replay_plans_no_events_from_before_the_endpoint_asked_for_their_type(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint("job.failed", "job.expired")

    def ask_for(*event_types: str) -> None:
        with hooks.database.transaction() as work:
            endpoints.change(work, hooks.caller, endpoint_id, event_types=event_types)

    def cancel_one() -> None:
        (job_id,) = hooks.submit()
        hooks.cancel(job_id)

    cancel_one()
    ask_for("job.failed", "job.canceled")
    assert replay(hooks, endpoint_id) == (0, 0)
    hooks.set_state(endpoint_id, "disabled")
    cancel_one()
    hooks.set_state(endpoint_id, "enabled")
    ask_for("job.canceled", "job.expired")
    assert replay(hooks, endpoint_id) == (0, 1), "it asked for that one all the time"
    ask_for("job.expired")
    cancel_one()
    ask_for("job.canceled")
    assert replay(hooks, endpoint_id) == (0, 0), "while that one happened it did not ask for it"
