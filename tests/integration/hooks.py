"""A tenant with webhook endpoints over a test's own database: jobs that end, deliveries that are claimed and tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.accounts import Principal
from service.catalog import PublishedModel
from service.crypto import Keyring
from service.db import Database
from service.jobs import execution, queries, sweeps
from service.jobs.execution import Ending, Problem
from service.lifecycle import PUBLISHED_ACTIONS
from service.webhooks import deliveries, endpoints, history
from service.webhooks.deliveries import ClaimedDelivery, Tried
from service.webhooks.endpoints import Endpoint
from service.webhooks.history import DeliveryFilter, DeliveryView
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore

URL = "https://receiver.example/hook"
ORIGIN = "https://caller.example"
ALL = PUBLISHED_ACTIONS


@dataclass
class Hooks:
    """One tenant's view of webhooks."""

    database: Database
    keyring: Keyring
    queue: FakeTaskQueue
    model: PublishedModel
    caller: Principal

    def of_other_tenant(self) -> "Hooks":
        """The same for another tenant of the same database."""
        stranger = factories.principal(self.database, self.keyring, tenant="other")
        return Hooks(self.database, self.keyring, self.queue, self.model, stranger)

    def endpoint(self, *event_types: str, url: str = URL) -> UUID:
        """A new endpoint for these event types, or for all."""
        with self.database.transaction() as work:
            made, _ = endpoints.create(
                work, self.caller, url=url, event_types=event_types or ALL, description=""
            )
        return made.id

    def callback_endpoint(self, origin: str = ORIGIN) -> UUID:
        """The endpoint of a callback's origin."""
        with self.database.transaction() as work:
            return endpoints.ensure_callback(work, self.caller, origin=origin)

    def look_at(self, endpoint_id: UUID) -> Endpoint:
        """An endpoint as its owner sees it."""
        with self.database.statement() as work:
            return endpoints.get(work, self.caller, endpoint_id)

    def set_state(self, endpoint_id: UUID, state: str) -> None:
        """Enable or disable an endpoint."""
        with self.database.transaction() as work:
            endpoints.change(work, self.caller, endpoint_id, state=state)

    def submit(self, count: int = 1, **values: Any) -> list[UUID]:
        """Jobs of this tenant."""
        return factories.submitted(self.database, self.caller, self.model, count, **values)

    def fail(self, job_id: UUID, code: str = "model_failed") -> None:
        """End the one job that is queued with a problem."""
        self.end(job_id, problem=Problem(code, "why"))

    def succeed(self, job_id: UUID, payload: bytes = b"sealed result") -> None:
        """End the one job that is queued with a result."""
        self.end(job_id, payload=payload)

    def end(self, job_id: UUID, **ending: Any) -> None:
        """Claim the one job that is queued, and end it."""
        (job,) = factories.claimed(self.database, self.model)
        assert job.lease.id == job_id
        with self.database.statement() as work:
            execution.end(work, [Ending(job.lease, **ending)], owner="w1", runtime="r", provider="p")

    def cancel(self, job_id: UUID) -> None:
        """Cancel a job."""
        with self.database.transaction() as work:
            queries.cancel(work, self.caller, job_id)

    def expire(self, job_id: UUID) -> None:
        """Let a queued job's deadline pass."""
        self.rows("UPDATE job SET deadline_at = now() - interval '1 s' WHERE id = %s", job_id)
        with self.database.statement() as work:
            assert sweeps.expire(work) == [job_id]

    def quarantine(self, job_id: UUID) -> None:
        """Let the worker of the one job that is queued die."""
        factories.claimed(self.database, self.model, lease_s=-1)
        with self.database.statement() as work:
            assert sweeps.rescue(work, max_crashes=1).quarantined == (job_id,)

    def be_late(self, job_id: UUID) -> None:
        """Let the promised time of a job pass."""
        self.rows("UPDATE job SET promise_at = now() - interval '1 s' WHERE id = %s", job_id)
        with self.database.statement() as work:
            assert [job.id for job in sweeps.overdue(work)] == [job_id]

    def planned(self) -> list[DeliveryView]:
        """All deliveries of this tenant, oldest first."""
        with self.database.statement() as work:
            return history.newest(work, self.caller, DeliveryFilter(), before=None, limit=1000)[::-1]

    def told(self) -> list[tuple[UUID, str]]:
        """Whom the deliveries tell what, oldest first."""
        return [(delivery.endpoint_id, delivery.event_type) for delivery in self.planned()]

    def claim(
        self,
        limit: int = 100,
        *,
        free: int = 10_000,
        per_endpoint: int = 100,
        busy: dict[UUID, int] | None = None,
        lease_s: float = 30.0,
    ) -> list[ClaimedDelivery]:
        """A claim by a dispatcher."""
        with self.database.statement() as work:
            return deliveries.claim(
                work,
                limit=limit,
                free=free,
                busy=busy or {},
                per_endpoint=per_endpoint,
                owner="d1",
                lease_s=lease_s,
            )

    def record(self, *tried: Tried, chance: float = 0.5) -> set[UUID]:
        """What came of tries; the ids that were still held."""
        with self.database.statement() as work:
            return deliveries.record(work, tried, chance=lambda: chance)

    def try_all(self, status: int | None = None, **outcome: Any) -> list[ClaimedDelivery]:
        """Claim what is due and try it, all with this outcome."""
        claimed = self.claim()
        if claimed:
            self.record(*(Tried(each, 7, status, **outcome) for each in claimed))
        return claimed

    def make_due(self) -> None:
        """Let all back-off and every pause be over."""
        self.rows("UPDATE webhook_delivery SET available_at = now() WHERE state = 'queued'")
        self.rows("UPDATE webhook_endpoint SET closed_until = NULL")

    def rows(self, query: str, *params: object) -> Sequence[Any]:
        """What Postgres answers to one statement."""
        with self.database.statement() as work:
            return work.execute(query, params)

    def actions(self) -> list[str]:
        """What the trail records of webhooks, oldest first."""
        query = "SELECT action FROM audit_event WHERE action LIKE 'webhook.%%' AND tenant_id = %s ORDER BY id"
        return [row[0] for row in self.rows(query, self.caller.tenant_id)]


def hooks(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Hooks:
    """Webhooks of the default tenant."""
    model = factories.published(database, blobs)
    return Hooks(database, keyring, queue, model, factories.principal(database, keyring))
