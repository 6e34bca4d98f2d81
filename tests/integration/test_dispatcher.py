"""The dispatcher on real Postgres and real sockets: what is due is sent once, recorded, and nobody holds up others."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from service.accounts import DEFAULT_TENANT, TenantCiphers
from service.config import Settings
from service.crypto import Keyring
from service.db import Database
from service.errors import DatabaseUnavailable
from service.jobs.submission import Callback
from service.lifecycle import DeliveryState
from service.webhooks import deliveries, endpoints
from service.webhooks.rules import granted_rules
from tests import factories
from tests.acceptance.stack import eventually
from tests.fakes import AllTenants, FakeTaskQueue, MemoryBlobStore
from tests.integration.dispatching import LEASE_S, PATIENCE_S, PUBLIC_URL, RULES, Desk
from tests.receiver import Receiver
from workers.webhooks import outbound
from workers.webhooks.delivery import Dispatcher
from workers.webhooks.outbound import Outbound


@pytest.fixture
def desk(
    database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue
) -> Iterator[Desk]:
    caller = factories.principal(database, keyring)
    model = factories.published(database, blobs)
    with Receiver() as receiver:
        yield Desk(database, keyring, queue, receiver, caller, model)


@pytest.fixture
def running(desk: Desk) -> Iterator[Dispatcher]:
    dispatcher = desk.dispatcher()
    dispatcher.start()
    yield dispatcher
    dispatcher.close()


def test_an_event_is_sent_signed_with_ids_and_states_only(desk: Desk, running: Dispatcher) -> None:
    desk.endpoint()
    (job_id,) = desk.canceled(subject="patient-7", metadata={"place": "ward-7b"})
    running.wake()
    eventually(lambda: desk.states() == ["delivered"], within_s=5)
    (received,) = desk.receiver.received()
    assert received.verified
    assert received.headers["content-type"] == "application/json"
    data = received.content["data"]
    assert received.content["type"] == "job.canceled"
    assert data == {
        "event_id": received.event_id,
        "job_id": str(job_id),
        "state": "canceled",
        "model": desk.model.name,
        "model_version": desk.model.version,
        "model_digest": desk.model.digest,
        "kind": desk.model.manifest.kind,
        "job_url": f"{PUBLIC_URL}/v1/jobs/{job_id}",
        "attempt": 0,
    }
    assert b"patient-7" not in received.body
    assert b"ward-7b" not in received.body


def test_an_event_is_sent_within_about_a_second_though_no_wake_up_comes(
    desk: Desk, running: Dispatcher
) -> None:
    desk.endpoint()
    time.sleep(0.3)  # the look at the start is over
    desk.canceled()
    eventually(lambda: desk.states() == ["delivered"], within_s=5)


def test_the_trace_of_the_submit_goes_along(desk: Desk, running: Dispatcher) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    desk.endpoint()
    desk.canceled(traceparent=trace)
    running.wake()
    eventually(lambda: len(desk.receiver.received()) == 1, within_s=5)
    assert desk.receiver.received()[0].headers["traceparent"] == trace


def test_a_callback_goes_to_the_url_of_its_job_signed_with_the_tenants_secret(
    desk: Desk, running: Dispatcher
) -> None:
    with desk.database.transaction() as work:
        secret, _ = endpoints.rotate_callback_secret(work, desk.caller)
        origin = endpoints.ensure_callback(work, desk.caller, origin=desk.receiver.url(""))
    desk.receiver.secrets["/ok/here?token=7"] = secret
    desk.canceled(callback=Callback(origin, desk.receiver.url("/ok/here?token=7")))
    desk.canceled()
    running.wake()
    eventually(lambda: desk.states() == ["delivered"], within_s=5)
    (received,) = desk.receiver.received()
    assert (received.path, received.verified) == ("/ok/here?token=7", True)


def test_both_secrets_sign_while_the_old_one_is_valid(desk: Desk, running: Dispatcher) -> None:
    endpoint_id = desk.endpoint()
    old = desk.receiver.secrets["/ok"]
    with desk.database.transaction() as work:
        new, _ = endpoints.rotate_secret(work, desk.caller, endpoint_id)
    desk.canceled()
    running.wake()
    eventually(lambda: len(desk.receiver.received()) == 1, within_s=5)
    (received,) = desk.receiver.received()
    assert len(received.headers["webhook-signature"].split()) == 2
    for secret in (old, new):
        Webhook(secret).verify(received.body, dict(received.headers))


def test_a_refusal_is_recorded_and_tried_again_after_seconds(desk: Desk, running: Dispatcher) -> None:
    desk.endpoint("/status/500")
    desk.canceled()
    running.wake()
    eventually(lambda: desk.sql("SELECT tries FROM webhook_delivery")[0][0] == 1, within_s=5)
    assert desk.states() == ["queued"]
    ((status, error, excerpt),) = desk.sql("SELECT status, error, excerpt FROM webhook_try")
    assert (status, error, excerpt) == (500, None, "ok")
    ((waits_s,),) = desk.sql("SELECT extract(epoch FROM available_at - now())::float8 FROM webhook_delivery")
    assert 3 < waits_s < 6


@pytest.mark.parametrize(
    ("path", "error"),
    [("/hang", "timed_out"), ("/drip", "timed_out"), ("/reset", "reset"), ("/close", None), ("/flood", None)],
)
def test_a_hostile_receiver_is_contained_and_recorded(
    desk: Desk, running: Dispatcher, path: str, error: str | None
) -> None:
    desk.endpoint(path)
    desk.canceled()
    running.wake()
    eventually(lambda: desk.sql("SELECT tries FROM webhook_delivery")[0][0] == 1, within_s=30)
    ((told, duration_ms),) = desk.sql("SELECT error, duration_ms FROM webhook_try")
    if error is not None:
        assert told == error
    assert duration_ms < (PATIENCE_S + 1) * 1000


def test_a_redirect_is_a_failure_and_is_not_followed(desk: Desk, running: Dispatcher) -> None:
    desk.endpoint("/redirect")
    desk.canceled()
    running.wake()
    eventually(lambda: desk.sql("SELECT tries FROM webhook_delivery")[0][0] == 1, within_s=5)
    assert desk.sql("SELECT status FROM webhook_try") == [(302,)]
    assert desk.states() == ["queued"]


def test_an_endpoint_that_is_gone_is_disabled_with_an_event(desk: Desk, running: Dispatcher) -> None:
    endpoint_id = desk.endpoint("/status/410")
    desk.canceled()
    running.wake()
    eventually(lambda: desk.states() == ["dead"], within_s=5)
    with desk.database.transaction() as work:
        found = endpoints.get(work, desk.caller, endpoint_id)
    assert (found.state, found.disabled_because) == ("disabled", "gone")
    events = desk.sql("SELECT object FROM audit_event WHERE action = 'webhook.endpoint_disabled'")
    assert events == [(f"webhook-endpoint:{endpoint_id}",)]


def test_hanging_receivers_do_not_hold_up_a_good_one(desk: Desk, running: Dispatcher) -> None:
    for number in range(3):
        desk.endpoint(f"/hang/{number}")
    desk.canceled(40)
    running.wake()
    time.sleep(0.2)
    desk.endpoint("/ok/late")
    began = time.monotonic()
    desk.canceled()
    running.wake()
    eventually(lambda: bool(desk.receiver.received("/ok/late")), within_s=5, every_s=0.005)
    assert time.monotonic() - began < PATIENCE_S / 2


def test_a_failing_endpoint_is_tried_one_at_a_time_and_then_left_alone(
    desk: Desk, running: Dispatcher
) -> None:
    endpoint_id = desk.endpoint("/status/500")
    desk.canceled(60)
    running.wake()
    eventually(
        lambda: desk.sql("SELECT closed_until > now() FROM webhook_endpoint")[0][0] is True, within_s=10
    )
    time.sleep(0.3)
    tried = len(desk.receiver.received())
    assert tried < 60
    running.wake()
    time.sleep(0.3)
    assert len(desk.receiver.received()) == tried
    desk.sql("UPDATE webhook_endpoint SET closed_until = now() WHERE id = %s RETURNING id", endpoint_id)
    desk.receiver.statuses["/status/500"] = 200
    running.wake()
    eventually(lambda: "delivered" in desk.states(), within_s=5)
    eventually(lambda: len(set(desk.receiver.by_event())) == 60, within_s=10)


def test_what_was_in_hand_of_a_killed_dispatcher_is_sent_again_under_the_same_id(desk: Desk) -> None:
    desk.endpoint()
    desk.canceled(3)
    with desk.database.statement() as work:
        lost = deliveries.claim(
            work, limit=10, free=10, busy={}, per_endpoint=10, owner="killed", lease_s=0.2
        )
    assert len(lost) == 3
    dispatcher = desk.dispatcher()
    dispatcher.start()
    try:
        time.sleep(0.4)
        assert desk.receiver.received() == []
        with desk.database.statement() as work:
            assert len(deliveries.rescue(work)) == 3
        dispatcher.wake()
        eventually(lambda: desk.states() == ["delivered"] * 3, within_s=5)
    finally:
        dispatcher.close()
    assert desk.receiver.by_event().keys() == {str(one.event.id) for one in lost}
    late = [deliveries.Tried(one, 5, status=200) for one in lost]
    with desk.database.statement() as work:
        assert deliveries.record(work, late) == set()


def test_leases_are_kept_while_a_receiver_takes_longer_than_one(desk: Desk) -> None:
    desk.endpoint("/hang")
    desk.canceled()
    dispatcher = Dispatcher(
        owner="test",
        database=desk.database,
        ciphers=TenantCiphers(desk.database, desk.keyring),
        rules=AllTenants(RULES),
        outbound=lambda rules: Outbound(rules, limits=outbound.Limits(total_s=2.5)),
        public_url=PUBLIC_URL,
        lease_s=LEASE_S,
    )
    dispatcher.start()
    until = time.monotonic() + 2.2
    try:
        eventually(lambda: desk.states() == ["running"], within_s=2)
        while time.monotonic() < until:
            with desk.database.statement() as work:
                assert deliveries.rescue(work) == []
            time.sleep(0.1)
    finally:
        dispatcher.close()


def test_a_stop_gives_back_what_has_not_ended(desk: Desk) -> None:
    desk.endpoint("/hang")
    desk.canceled(5)
    dispatcher = Dispatcher(
        owner="test",
        database=desk.database,
        ciphers=TenantCiphers(desk.database, desk.keyring),
        rules=AllTenants(RULES),
        outbound=Outbound,
        public_url=PUBLIC_URL,
        lease_s=LEASE_S,
    )
    dispatcher.start()
    eventually(lambda: desk.states() == ["running"] * 5, within_s=5)
    dispatcher.close()
    assert desk.states() == ["queued"] * 5
    assert desk.sql("SELECT max(attempt) AS attempt, max(tries) AS tries FROM webhook_delivery") == [(0, 0)]


def test_postgres_away_loses_no_try(desk: Desk, running: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failed = deliveries.record, list[int]()

    def record(work: Any, tried: Any) -> set[UUID]:
        if len(failed) < 2:
            failed.append(1)
            raise DatabaseUnavailable
        return real(work, tried)

    monkeypatch.setattr(deliveries, "record", record)
    desk.endpoint()
    desk.canceled()
    running.wake()
    eventually(lambda: desk.states() == ["delivered"], within_s=10)
    assert len(failed) == 2
    assert desk.states()[0] == DeliveryState.DELIVERED


def test_a_delivery_that_was_lost_and_claimed_again_keeps_nobodys_place(
    desk: Desk, running: Dispatcher
) -> None:
    """Both tries end; the first is refused by its fence."""
    desk.endpoint("/hang")
    desk.canceled()
    running.wake()
    eventually(lambda: desk.states() == ["running"], within_s=5)
    desk.sql(
        "UPDATE webhook_delivery SET state = 'queued', lease_owner = NULL, lease_expires_at = NULL RETURNING id"
    )
    running.wake()
    eventually(lambda: len(desk.receiver.received()) == 2, within_s=5)
    eventually(lambda: desk.sql("SELECT tries FROM webhook_delivery")[0][0] == 1, within_s=30)
    desk.receiver.statuses["/hang"] = 200
    desk.sql("UPDATE webhook_delivery SET available_at = now() RETURNING id")
    running.wake()
    eventually(lambda: desk.states() == ["delivered"], within_s=5)
    eventually(lambda: not running.in_flight, within_s=5)


def test_what_becomes_due_beside_a_claim_is_sent_at_once(
    desk: Desk, running: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, planted = deliveries.claim, list[UUID]()

    def claim(work: Any, **values: Any) -> Any:
        if planted:
            return real(work, **values)
        planted.extend(desk.canceled())
        running.wake()
        time.sleep(0.1)
        return []

    desk.endpoint()
    monkeypatch.setattr(deliveries, "claim", claim)
    running.wake()
    eventually(lambda: desk.states() == ["delivered"], within_s=3)


def test_without_postgres_nothing_counts_as_tried(
    desk: Desk, running: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tenant's key cannot be read: the claim lapses, and neither schedule nor endpoint is charged."""
    asked = []

    def away(self: TenantCiphers, tenant_id: UUID) -> Any:
        asked.append(tenant_id)
        raise DatabaseUnavailable

    desk.endpoint()
    with monkeypatch.context() as patched:
        patched.setattr(TenantCiphers, "of", away)
        desk.canceled()
        running.wake()
        eventually(lambda: bool(asked), within_s=5)
    assert desk.sql("SELECT count(*) FROM webhook_try") == [(0,)]
    desk.sql("UPDATE webhook_delivery SET lease_expires_at = now() RETURNING id")
    with desk.database.statement() as work:
        deliveries.rescue(work)
    running.wake()
    eventually(lambda: desk.states() == ["delivered"], within_s=5)
    assert desk.sql("SELECT tries FROM webhook_delivery") == [(1,)]


def test_tenants_are_sent_to_in_their_own_networks_alone(
    desk: Desk, database: Database, keyring: Keyring
) -> None:
    """The other tenant's webhook goes to the same receiver of this machine, which its rules do not open."""
    other = replace(desk, caller=factories.principal(database, keyring, tenant="other"))
    for each in (desk, other):
        each.endpoint("/ok")
        each.canceled()
    settings = Settings(
        webhook_allow_http=True,
        webhook_allowed_ports="*",
        webhook_tenant_networks=f"{DEFAULT_TENANT} = 127.0.0.0/8",
    )
    dispatcher = Dispatcher(
        owner="test",
        database=database,
        ciphers=TenantCiphers(database, keyring),
        rules=granted_rules(database, settings),
        outbound=Outbound,
        public_url=PUBLIC_URL,
        lease_s=LEASE_S,
    )
    dispatcher.start()
    try:
        eventually(lambda: len(tried(desk)) == 2, within_s=10)
    finally:
        dispatcher.close()
    assert tried(desk) == {
        desk.caller.tenant_id: (200, None),
        other.caller.tenant_id: (None, "url_refused"),
    }


def tried(desk: Desk) -> dict[UUID, tuple[int | None, str | None]]:
    """How each tenant's try ended."""
    rows = desk.sql(
        "SELECT delivery.tenant_id, try.status, try.error FROM webhook_try AS try "
        "JOIN webhook_delivery AS delivery ON delivery.id = try.delivery_id"
    )
    return {row.tenant_id: (row.status, row.error) for row in rows}
