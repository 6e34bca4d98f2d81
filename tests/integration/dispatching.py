"""A tenant with a model and a receiver, and dispatchers that send to it."""

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any
from uuid import UUID

from service.accounts import Principal, TenantCiphers
from service.crypto import Keyring
from service.db import Database
from service.egress import EgressRules
from service.gate import Gate
from service.jobs import queries, submission
from service.webhooks import endpoints
from tests import factories
from tests.acceptance.stack import JOB_EVENTS
from tests.fakes import AllTenants, FakeTaskQueue
from tests.receiver import Receiver
from workers.webhooks import outbound
from workers.webhooks.delivery import Dispatcher, Limits
from workers.webhooks.outbound import Outbound

RULES = EgressRules(allow_http=True, ports=None, networks=(ip_network("127.0.0.0/8"),))
PUBLIC_URL = "https://medqueue.test"
LEASE_S = 1.0
PATIENCE_S = 1.0


@dataclass
class Desk:
    """A tenant with a model, a receiver, and what sends to it."""

    database: Database
    keyring: Keyring
    queue: FakeTaskQueue
    receiver: Receiver
    caller: Principal
    model: Any

    def endpoint(self, path: str = "/ok") -> UUID:
        """Register a path of the receiver for every event of jobs."""
        url = self.receiver.url(path)
        with self.database.transaction() as work:
            endpoint, secret = endpoints.create(
                work, self.caller, url=url, event_types=JOB_EVENTS, description=""
            )
        self.receiver.secrets[path] = secret
        return endpoint.id

    def canceled(self, count: int = 1, **values: Any) -> list[UUID]:
        """Jobs that end at once, by a cancel."""
        new_jobs = [factories.new_job(self.caller, self.model, **values) for _ in range(count)]
        with self.database.transaction() as work:
            ids = [accepted.id for accepted in submission.submit(work, new_jobs)]
        for job_id in ids:
            with self.database.transaction() as work:
                queries.cancel(work, self.caller, job_id)
        return ids

    def dispatcher(
        self, gate: Gate | None = None, keyring: Keyring | None = None, **limits: int
    ) -> Dispatcher:
        """A dispatcher that gives receivers a second."""
        return Dispatcher(
            owner="test",
            database=self.database,
            ciphers=TenantCiphers(self.database, keyring or self.keyring),
            gate=gate,
            rules=AllTenants(RULES),
            outbound=lambda rules: Outbound(rules, limits=outbound.Limits(total_s=PATIENCE_S)),
            public_url=PUBLIC_URL,
            lease_s=LEASE_S,
            limits=Limits(**limits),
        )

    def states(self) -> list[str]:
        """The states of all deliveries, oldest first."""
        with self.database.statement() as work:
            return [row[0] for row in work.execute("SELECT state::text FROM webhook_delivery ORDER BY id")]

    def sql(self, query: str, *params: object) -> list[Any]:
        with self.database.statement() as work:
            return work.execute(query, params)
