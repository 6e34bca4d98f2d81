"""Deliveries on real Postgres: claims that spare weak endpoints, what each outcome leads to, and sending again."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.crypto import Keyring
from service.db import Database
from service.jobs.submission import Callback
from service.lifecycle import DeliveryState
from service.webhooks import deliveries, endpoints, history
from service.webhooks.deliveries import BREAKER_FAILURES, DELAYS_S, MAX_TRIES, SUSPECT_PLACES, Tried
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import hooks as bench
from tests.integration.hooks import ORIGIN, Hooks

AN_HOUR = timedelta(hours=1)
DEAD, DELIVERED = DeliveryState.DEAD, DeliveryState.DELIVERED


@pytest.fixture
def hooks(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Hooks:
    return bench.hooks(database, blobs, keyring, queue)


def plan(hooks: Hooks, count: int = 1) -> None:
    """So many deliveries for each endpoint."""
    for job_id in hooks.submit(count):
        hooks.cancel(job_id)


def by_endpoint(claimed: list[deliveries.ClaimedDelivery]) -> Counter[UUID]:
    return Counter(each.endpoint_id for each in claimed)


def test_a_claim_takes_the_longest_due_first_and_raises_the_fence(hooks: Hooks) -> None:
    hooks.endpoint()
    plan(hooks, 3)
    oldest = [each.id for each in hooks.planned()]
    claimed = hooks.claim(2)
    assert {each.lease.id for each in claimed} == set(oldest[:2])
    assert {each.lease.fence for each in claimed} == {1}
    assert [each.lease.id for each in hooks.claim()] == oldest[2:]
    assert hooks.claim() == []


def test_a_claim_brings_what_is_sent_where_and_signed_with_what(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    (job_id,) = hooks.submit(traceparent="00-trace")
    hooks.fail(job_id, code="model_failed")
    (claimed,) = hooks.claim()
    assert (claimed.endpoint_id, claimed.kind, claimed.url) == (endpoint_id, "registered", bench.URL)
    assert (claimed.traceparent, claimed.callback, claimed.tries) == ("00-trace", None, 0)
    event = claimed.event
    assert (event.type, event.job_id, event.detail["code"]) == ("job.failed", job_id, "model_failed")
    assert (event.model, event.model_version, event.kind) == (
        hooks.model.name,
        hooks.model.version,
        "diagnosis",
    )
    (secret_id,) = claimed.secrets
    opened = endpoints.open_secret(
        hooks.caller.cipher, claimed.tenant_id, secret_id, claimed.secrets[secret_id]
    )
    assert opened.startswith("whsec_")


def test_a_callback_is_claimed_with_its_url_and_the_tenants_callback_secret(hooks: Hooks) -> None:
    with hooks.database.transaction() as work:
        secret, _ = endpoints.rotate_callback_secret(work, hooks.caller)
    url = f"{ORIGIN}/done?token=1"
    (job_id,) = hooks.submit(callback=Callback(hooks.callback_endpoint(), url))
    hooks.cancel(job_id)
    (claimed,) = hooks.claim()
    assert claimed.callback is not None
    assert url.encode() not in claimed.callback
    cipher, tenant_id = hooks.caller.cipher, claimed.tenant_id
    assert endpoints.open_callback(cipher, tenant_id, job_id, claimed.callback) == url
    (sealed,) = claimed.secrets.items()
    assert endpoints.open_secret(cipher, tenant_id, *sealed) == secret


def test_the_body_holds_ids_states_and_digests_and_nothing_of_the_patient(hooks: Hooks) -> None:
    hooks.endpoint()
    (job_id,) = hooks.submit(subject="patient-17", metadata={"ward": "ward-seven"})
    hooks.succeed(job_id, payload=b"sealed")
    body = hooks.claim()[0].event.body("https://medqueue.example")
    assert b"patient-17" not in body
    assert b"ward-seven" not in body
    assert f'"job_url":"https://medqueue.example/v1/jobs/{job_id}"'.encode() in body
    assert b'"result_sha256":"' in body
    assert len(body) < 1024


def test_a_healthy_endpoint_gets_as_many_as_may_be_less_what_is_busy(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    plan(hooks, 6)
    assert len(hooks.claim(per_endpoint=5, busy={endpoint_id: 3})) == 2
    assert hooks.claim(per_endpoint=5, busy={endpoint_id: 5}) == []
    assert len(hooks.claim(per_endpoint=5, busy={endpoint_id: 1})) == 4


def test_one_endpoint_does_not_take_the_places_of_another(hooks: Hooks) -> None:
    slow, quick = hooks.endpoint("job.canceled"), hooks.endpoint("job.canceled")
    plan(hooks, 10)
    claimed = hooks.claim(20, per_endpoint=4)
    assert by_endpoint(claimed) == {slow: 4, quick: 4}


def test_a_tenant_with_many_slow_receivers_leaves_places_to_others(hooks: Hooks) -> None:
    other = hooks.of_other_tenant()
    slow = [hooks.endpoint("job.canceled") for _ in range(4)]
    plan(hooks, 30)
    plan_of_other = other.endpoint("job.canceled")
    plan(other, 30)
    assert len(hooks.claim(64, free=64, per_endpoint=16)) == 64
    busy = dict.fromkeys(slow, 12)
    hooks.rows("UPDATE webhook_delivery SET state = 'queued', lease_expires_at = NULL, lease_owner = NULL")
    claimed = by_endpoint(hooks.claim(64, free=16, per_endpoint=100, busy=busy))
    assert claimed == {plan_of_other: 12}
    assert by_endpoint(hooks.claim(64, free=1, per_endpoint=100, busy=busy)) == {plan_of_other: 1}


def test_tenants_with_due_deliveries_take_turns(hooks: Hooks) -> None:
    other = hooks.of_other_tenant()
    first, second = hooks.endpoint("job.canceled"), other.endpoint("job.canceled")
    plan(hooks, 30)
    plan(other, 3)
    assert by_endpoint(hooks.claim(8)) == {first: 5, second: 3}


def test_an_endpoint_that_has_just_failed_gets_few_places(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    plan(hooks, 10)
    hooks.record(Tried(hooks.claim(1)[0], 7, 500))
    assert hooks.look_at(endpoint_id).failures == 1
    hooks.make_due()
    assert len(hooks.claim(per_endpoint=100)) == SUSPECT_PLACES


def test_after_failures_in_a_row_the_breaker_opens_and_lets_one_through_at_a_time(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    plan(hooks, BREAKER_FAILURES + 3)
    claimed = hooks.claim(BREAKER_FAILURES)
    hooks.record(*(Tried(each, 7, error="timeout") for each in claimed))
    found = hooks.look_at(endpoint_id)
    assert found.failures == BREAKER_FAILURES
    assert found.closed_until is not None
    assert 25 < (found.closed_until - datetime.now(UTC)).total_seconds() < 31
    assert hooks.claim() == []
    hooks.make_due()
    (probe,) = hooks.claim()
    assert hooks.claim(busy={endpoint_id: 1}) == []
    hooks.record(Tried(probe, 7, 204))
    found = hooks.look_at(endpoint_id)
    assert (found.failures, found.failing_since, found.closed_until) == (0, None, None)
    assert len(hooks.claim()) == BREAKER_FAILURES + 2


def test_the_breaker_closes_longer_each_time_up_to_ten_minutes(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    plan(hooks)
    closed_s = []
    for _ in range(MAX_TRIES):
        hooks.make_due()
        hooks.try_all(error="refused")
        until = hooks.look_at(endpoint_id).closed_until
        closed_s.append(0 if until is None else round((until - datetime.now(UTC)).total_seconds()))
    assert closed_s == [0, 0, 0, 0, 30, 60, 120, 240, 480, 600]


def test_a_breaker_of_one_endpoint_leaves_the_others_alone(hooks: Hooks) -> None:
    broken, well = hooks.endpoint("job.failed"), hooks.endpoint("job.canceled")
    hooks.rows("UPDATE webhook_endpoint SET failures = 9, failing_since = now(), closed_until = now() + '1 hour'"
               " WHERE id = %s", broken)  # fmt: skip
    (failed,) = hooks.submit()
    hooks.fail(failed)
    plan(hooks, 2)
    assert by_endpoint(hooks.claim()) == {well: 2}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered(hooks: Hooks, status: int) -> None:
    hooks.endpoint()
    plan(hooks)
    hooks.try_all(status)
    (delivery,) = hooks.planned()
    assert (delivery.state, delivery.tries, delivery.next_try_at) == (DELIVERED, 1, None)
    assert delivery.finished_at is not None
    assert hooks.claim() == []


@pytest.mark.parametrize("status", [100, 301, 302, 400, 401, 404, 408, 429, 500, 503])
def test_any_other_status_is_tried_again_after_the_first_delay(hooks: Hooks, status: int) -> None:
    hooks.endpoint()
    plan(hooks)
    hooks.try_all(status)
    (delivery,) = hooks.planned()
    assert (delivery.state, delivery.tries) == (DeliveryState.QUEUED, 1)
    assert delivery.next_try_at is not None
    assert 3 < (delivery.next_try_at - datetime.now(UTC)).total_seconds() <= DELAYS_S[0]
    assert hooks.claim() == []


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 0.9), (0.5, 1.0), (0.999, 1.0998)])
def test_delays_differ_by_a_tenth_so_that_not_all_come_at_once(
    hooks: Hooks, chance: float, factor: float
) -> None:
    hooks.endpoint()
    plan(hooks)
    tried = Tried(hooks.claim()[0], 7, 500)
    assert tried.delay_s(chance) == pytest.approx(DELAYS_S[0] * factor, rel=1e-3)


def test_after_the_last_try_a_delivery_is_dead_and_its_tries_are_kept(hooks: Hooks) -> None:
    hooks.endpoint()
    plan(hooks)
    for status in range(500, 500 + MAX_TRIES):
        assert len(hooks.try_all(status, excerpt=f"no {status}")) == 1
        hooks.make_due()
    (delivery,) = hooks.planned()
    assert (delivery.state, delivery.tries) == (DEAD, MAX_TRIES)
    assert hooks.claim() == []
    with hooks.database.transaction() as work:
        _, tries = history.get(work, hooks.caller, delivery.id)
    assert [each.status for each in tries] == list(range(500, 500 + MAX_TRIES))
    assert (tries[0].excerpt, tries[0].duration_ms, tries[0].error) == ("no 500", 7, None)


def test_gone_ends_the_delivery_and_disables_the_endpoint_on_record(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    plan(hooks, 2)
    hooks.record(Tried(hooks.claim(1)[0], 7, 410))
    found = hooks.look_at(endpoint_id)
    assert (found.state, found.disabled_because) == ("disabled", "gone")
    assert hooks.claim() == []
    assert hooks.actions()[-1] == "webhook.endpoint_disabled"
    with hooks.database.statement() as work:
        assert deliveries.bury(work) == 1
    assert [each.state for each in hooks.planned()] == [DEAD, DEAD]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_pauses_the_whole_endpoint_and_puts_the_try_off(hooks: Hooks, status: int) -> None:
    endpoint_id = hooks.endpoint()
    plan(hooks, 2)
    hooks.record(Tried(hooks.claim(1)[0], 7, status, retry_after_s=120.0))
    until = hooks.look_at(endpoint_id).closed_until
    assert until is not None
    assert 115 < (until - datetime.now(UTC)).total_seconds() < 121
    assert hooks.claim() == []
    later = [each.next_try_at for each in hooks.planned() if each.tries]
    assert later[0] is not None
    assert later[0] >= until - timedelta(seconds=1)


def test_retry_after_with_another_status_pauses_nobody(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    plan(hooks, 2)
    hooks.record(Tried(hooks.claim(1)[0], 7, 500, retry_after_s=120.0))
    assert hooks.look_at(endpoint_id).closed_until is None


def test_an_endpoint_that_only_fails_for_five_days_is_disabled_on_record(hooks: Hooks) -> None:
    failing, recovering = hooks.endpoint(url="https://a.example"), hooks.endpoint(url="https://b.example")
    plan(hooks)
    hooks.try_all(500)
    sweep = "UPDATE webhook_endpoint SET failing_since = now() - interval '5 days 1 s' WHERE id = %s"
    hooks.rows(sweep.replace("5 days 1 s", "4 days 23 hours"), recovering)
    with hooks.database.statement() as work:
        assert deliveries.disable_failing(work) == []
    hooks.rows(sweep, failing)
    with hooks.database.statement() as work:
        assert deliveries.disable_failing(work) == [failing]
    assert hooks.look_at(failing).disabled_because == "failing"
    assert hooks.look_at(recovering).state == "enabled"
    assert hooks.actions()[-1] == "webhook.endpoint_disabled"


def test_enabling_an_endpoint_again_forgives_its_failures(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    plan(hooks, BREAKER_FAILURES)
    hooks.try_all(500)
    hooks.set_state(endpoint_id, "disabled")
    assert hooks.look_at(endpoint_id).disabled_because == "request"
    hooks.set_state(endpoint_id, "enabled")
    found = hooks.look_at(endpoint_id)
    assert (found.failures, found.failing_since, found.closed_until, found.disabled_because) == (
        0,
        None,
        None,
        None,
    )


def test_who_lost_the_lease_records_nothing(hooks: Hooks) -> None:
    hooks.endpoint()
    plan(hooks)
    (late,) = hooks.claim(lease_s=-1)
    with hooks.database.statement() as work:
        assert deliveries.rescue(work) == [late.lease.id]
    assert hooks.record(Tried(late, 7, 200)) == set()
    (again,) = hooks.claim()
    assert (again.lease.fence, again.event.id) == (late.lease.fence + 1, late.event.id)
    assert hooks.record(Tried(again, 7, 200)) == {again.lease.id}
    assert hooks.record(Tried(again, 7, 500)) == set()
    assert hooks.planned()[0].state is DELIVERED


def test_what_is_given_back_untried_is_as_before_its_claim(hooks: Hooks) -> None:
    hooks.endpoint()
    plan(hooks)
    (held,) = hooks.claim()
    with hooks.database.statement() as work:
        assert deliveries.release(work, [held.lease]) == {held.lease.id}
    assert hooks.planned()[0].tries == 0
    assert [each.lease.id for each in hooks.claim()] == [held.lease.id]


def test_a_secret_that_was_rotated_signs_beside_the_new_one_for_a_day(hooks: Hooks) -> None:
    endpoint_id = hooks.endpoint()
    with hooks.database.transaction() as work:
        second, until = endpoints.rotate_secret(work, hooks.caller, endpoint_id)
    assert until is not None
    assert 23.9 < (until - datetime.now(UTC)).total_seconds() / 3600 <= 24
    assert signing(hooks)[0] == second
    assert len(signing(hooks)) == 2
    with hooks.database.transaction() as work:
        third, _ = endpoints.rotate_secret(work, hooks.caller, endpoint_id)
    assert signing(hooks) == [third, second]
    hooks.rows("UPDATE webhook_secret SET expires_at = now() - interval '1 s' WHERE expires_at IS NOT NULL")
    assert signing(hooks) == [third]


def signing(hooks: Hooks) -> list[str]:
    """The secrets that sign what is sent now."""
    plan(hooks)
    (claimed,) = hooks.claim()
    hooks.record(Tried(claimed, 7, 200))
    cipher, tenant_id = hooks.caller.cipher, claimed.tenant_id
    return [endpoints.open_secret(cipher, tenant_id, *sealed) for sealed in claimed.secrets.items()]
