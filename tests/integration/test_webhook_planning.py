"""Deliveries are planned in the statements that record their events: by each way in which a job ends, and no other."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.crypto import Keyring
from service.db import Database
from service.errors import DeliveryNotFound, EndpointNotFound, TooManyEndpoints, TransitionRefused
from service.jobs import submission, sweeps
from service.jobs.submission import Callback
from service.lifecycle import DeliveryState
from service.queue import deliver_wake_up
from service.webhooks import endpoints, history, planning
from service.webhooks.messages import PING
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import hooks as bench
from tests.integration.hooks import ORIGIN, Hooks

WAYS: dict[str, Callable[[Hooks, UUID], None]] = {
    "job.succeeded": Hooks.succeed,
    "job.failed": Hooks.fail,
    "job.canceled": Hooks.cancel,
    "job.expired": Hooks.expire,
    "job.quarantined": Hooks.quarantine,
    "job.overdue": Hooks.be_late,
}
ENDS = [action for action in WAYS if action != "job.overdue"]


@pytest.fixture
def hooks(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Hooks:
    return bench.hooks(database, blobs, keyring, queue)


@pytest.mark.parametrize("action", WAYS)
def test_each_event_is_planned_for_those_who_asked_for_it(hooks: Hooks, action: str) -> None:
    asked = hooks.endpoint(action)
    everything = hooks.endpoint()
    hooks.endpoint(*(set(WAYS) - {action}))
    (job_id,) = hooks.submit()
    WAYS[action](hooks, job_id)
    assert sorted(hooks.told()) == sorted([(asked, action), (everything, action)])
    assert {delivery.job_id for delivery in hooks.planned()} == {job_id}


@pytest.mark.parametrize("action", WAYS)
def test_whatever_is_planned_is_woken_for_once_it_is_committed(hooks: Hooks, action: str) -> None:
    hooks.endpoint()
    (job_id,) = hooks.submit()
    assert deliver_wake_up() not in hooks.queue.waiting
    WAYS[action](hooks, job_id)
    assert deliver_wake_up() in hooks.queue.waiting


@pytest.mark.parametrize("action", WAYS)
def test_without_endpoints_nothing_is_planned_and_nobody_is_woken(hooks: Hooks, action: str) -> None:
    (job_id,) = hooks.submit()
    WAYS[action](hooks, job_id)
    assert hooks.planned() == []
    assert deliver_wake_up() not in hooks.queue.waiting


@pytest.mark.parametrize("action", WAYS)
def test_another_tenant_is_told_nothing(hooks: Hooks, action: str) -> None:
    stranger = hooks.of_other_tenant()
    stranger.endpoint()
    own = hooks.endpoint()
    (job_id,) = hooks.submit()
    WAYS[action](hooks, job_id)
    assert stranger.planned() == []
    assert hooks.told() == [(own, action)]


@pytest.mark.parametrize("action", ENDS)
def test_a_callback_is_told_of_the_end_and_nobody_elses(hooks: Hooks, action: str) -> None:
    called = hooks.callback_endpoint()
    (job_id,) = hooks.submit(callback=Callback(called, f"{ORIGIN}/done?token=1"))
    WAYS[action](hooks, job_id)
    assert hooks.told() == [(called, action)]
    (other,) = hooks.submit()
    hooks.cancel(other)
    assert len(hooks.planned()) == 1


@pytest.mark.parametrize("of_callback", [True, False])
def test_the_end_of_a_job_that_waited_for_another_is_told_of(hooks: Hooks, of_callback: bool) -> None:
    called = hooks.callback_endpoint() if of_callback else hooks.endpoint("job.failed")
    callback = Callback(called, f"{ORIGIN}/done") if of_callback else None
    (first,) = hooks.submit()
    new = factories.new_job(hooks.caller, hooks.model, after=[first], callback=callback)
    with hooks.database.transaction() as work:
        (follower,) = submission.submit_after(work, [new])
    hooks.cancel(first)
    assert hooks.told() == [(called, "job.failed")]
    assert [delivery.job_id for delivery in hooks.planned()] == [follower.id]  # type: ignore[union-attr]
    assert deliver_wake_up() in hooks.queue.waiting


def test_the_function_that_ends_waiting_jobs_plans_deliveries_as_every_other_statement_does(
    hooks: Hooks,
) -> None:
    """It stands in a migration. One that changes what is planned replaces the function as well."""
    ((function,),) = hooks.rows("SELECT prosrc FROM pg_proc WHERE proname = 'job_follow'")
    assert planning.deliveries_of("failed") in function
    assert f"RETURNING {planning.EVENT_COLUMNS}" in function


def test_a_callback_is_not_told_that_the_job_is_late(hooks: Hooks) -> None:
    called = hooks.callback_endpoint()
    (job_id,) = hooks.submit(callback=Callback(called, ORIGIN))
    hooks.be_late(job_id)
    assert hooks.planned() == []


def test_endpoints_and_callback_are_told_of_the_same_event(hooks: Hooks) -> None:
    called, registered = hooks.callback_endpoint(), hooks.endpoint("job.failed")
    (job_id,) = hooks.submit(callback=Callback(called, ORIGIN))
    hooks.fail(job_id)
    assert {each.endpoint_id for each in hooks.planned()} == {called, registered}
    assert len({each.event_id for each in hooks.planned()}) == 1


@pytest.mark.parametrize("state", ["disabled", "deleted"])
def test_an_endpoint_that_is_not_enabled_is_told_nothing(hooks: Hooks, state: str) -> None:
    endpoint_id = hooks.endpoint()
    hooks.rows("UPDATE webhook_endpoint SET state = %s WHERE id = %s", state, endpoint_id)
    (job_id,) = hooks.submit()
    hooks.cancel(job_id)
    assert hooks.planned() == []


def test_a_job_that_is_canceled_twice_is_told_of_once(hooks: Hooks) -> None:
    hooks.endpoint()
    (job_id,) = hooks.submit()
    hooks.cancel(job_id)
    hooks.cancel(job_id)
    assert len(hooks.planned()) == 1


def test_a_rescue_that_queues_again_is_no_event_that_anybody_is_told_of(hooks: Hooks) -> None:
    hooks.endpoint()
    hooks.submit()
    factories.claimed(hooks.database, hooks.model, lease_s=-1)
    with hooks.database.statement() as work:
        assert sweeps.rescue(work, max_crashes=3).queued
    assert hooks.planned() == []


def test_jobs_of_two_tenants_that_end_together_are_told_to_their_own(hooks: Hooks) -> None:
    stranger = hooks.of_other_tenant()
    own, theirs = hooks.endpoint(), stranger.endpoint()
    hooks.submit(2, deadline_at=datetime(2020, 1, 1, tzinfo=UTC))
    stranger.submit(1, deadline_at=datetime(2020, 1, 1, tzinfo=UTC))
    with hooks.database.statement() as work:
        assert len(sweeps.expire(work)) == 3
    assert hooks.told() == [(own, "job.expired")] * 2
    assert stranger.told() == [(theirs, "job.expired")]


def test_a_ping_is_planned_for_its_endpoint_alone(hooks: Hooks) -> None:
    pinged, _ = hooks.endpoint(), hooks.endpoint()
    with hooks.database.transaction() as work:
        delivery_id = endpoints.ping(work, hooks.caller, pinged)
    assert hooks.told() == [(pinged, PING)]
    assert hooks.planned()[0].id == delivery_id
    assert deliver_wake_up() in hooks.queue.waiting


def test_a_disabled_endpoint_is_not_pinged(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    hooks.set_state(endpoint_id, "disabled")
    with pytest.raises(TransitionRefused), hooks.database.transaction() as work:
        endpoints.ping(work, hooks.caller, endpoint_id)


def test_a_tenant_has_at_most_a_hundred_endpoints(hooks: Hooks) -> None:
    stranger = hooks.of_other_tenant()
    made = [hooks.endpoint() for _ in range(endpoints.MOST_REGISTERED)]
    with pytest.raises(TooManyEndpoints, match="100"):
        hooks.endpoint()
    stranger.endpoint()
    with hooks.database.transaction() as work:
        endpoints.delete(work, hooks.caller, made[0])
    hooks.endpoint()


def test_the_origins_of_callbacks_are_bounded_and_known_ones_stay(hooks: Hooks) -> None:
    first = hooks.callback_endpoint()
    hooks.rows(
        "INSERT INTO webhook_endpoint (tenant_id, kind, url, event_types)"
        " SELECT %s, 'callback', 'https://host-' || n, '{}' FROM generate_series(2, %s) AS n",
        *(hooks.caller.tenant_id, endpoints.MOST_ORIGINS),
    )
    with pytest.raises(TooManyEndpoints, match="1000 origins"):
        hooks.callback_endpoint("https://one-more.example")
    assert hooks.callback_endpoint() == first
    hooks.rows(
        "UPDATE webhook_endpoint SET updated_at = now() - interval '31 days' WHERE url = 'https://host-7'"
    )
    hooks.callback_endpoint("https://one-more.example")


def test_the_origin_of_a_callback_is_one_endpoint_which_a_new_job_enables_again(hooks: Hooks) -> None:
    first = hooks.callback_endpoint()
    hooks.rows(
        "UPDATE webhook_endpoint SET state = 'disabled', disabled_because = 'gone' WHERE id = %s", first
    )
    assert hooks.callback_endpoint() == first
    query = "SELECT state, disabled_because FROM webhook_endpoint WHERE id = %s"
    assert hooks.rows(query, first) == [("enabled", None)]


def test_the_endpoint_of_a_callback_is_not_among_those_registered(hooks: Hooks) -> None:
    called = hooks.callback_endpoint()
    with pytest.raises(EndpointNotFound):
        hooks.look_at(called)
    with hooks.database.statement() as work:
        assert endpoints.newest(work, hooks.caller, before=None, limit=10) == []


def test_a_delivery_of_another_tenant_is_not_there(hooks: Hooks) -> None:
    hooks.endpoint()
    (job_id,) = hooks.submit()
    hooks.cancel(job_id)
    stranger = hooks.of_other_tenant()
    with pytest.raises(DeliveryNotFound), hooks.database.transaction() as work:
        history.get(work, stranger.caller, hooks.planned()[0].id)
    with pytest.raises(DeliveryNotFound), hooks.database.transaction() as work:
        history.replay(work, stranger.caller, hooks.planned()[0].id)


def test_a_second_replay_goes_on_where_the_first_came_to_its_bound(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = f"LIMIT {history.REPLAY_ROWS}"
    monkeypatch.setattr(history, "REPLAY_RANGE", history.REPLAY_RANGE.replace(bound, "LIMIT 2"))
    endpoint_id = hooks.endpoint("job.canceled")
    hooks.set_state(endpoint_id, "disabled")
    for job_id in hooks.submit(5):
        hooks.cancel(job_id)
    hooks.set_state(endpoint_id, "enabled")
    now = datetime.now(UTC)
    planned = []
    for _ in range(4):
        with hooks.database.transaction() as work:
            _, missed = history.replay_range(
                work,
                hooks.caller,
                endpoint_id,
                since=now - timedelta(hours=1),
                until=now + timedelta(hours=1),
                states=(DeliveryState.DEAD,),
            )
        planned.append(missed)
    assert planned == [2, 2, 1, 0]


def test_two_rotations_at_once_leave_one_secret_without_an_end(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    with hooks.database.transaction() as first:
        endpoints.rotate_secret(first, hooks.caller, endpoint_id)
        second = threading.Thread(target=rotate, args=(hooks, endpoint_id))
        second.start()
        second.join(timeout=0.5)
    second.join(timeout=10)
    lasting = hooks.rows("SELECT count(*) FROM webhook_secret WHERE expires_at IS NULL")
    assert (second.is_alive(), lasting) == (False, [(1,)])


def rotate(hooks: Hooks, endpoint_id: UUID) -> None:
    with hooks.database.transaction() as work:
        endpoints.rotate_secret(work, hooks.caller, endpoint_id)
