"""The parts of a worker process, made when it starts. Scoring takes most of its memory, so a scheduler does not import it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from service import failpoints
from service.accounts import TenantCiphers
from service.broker import CeleryTaskQueue
from service.catalog import Catalog
from service.config import Settings
from service.db import Database
from service.gate import Gate
from service.storage import BlobStore
from service.webhooks.rules import granted_rules
from workers.process.connections import Connections, connect
from workers.process.pulse import OwnPulse, pulse_over

if TYPE_CHECKING:
    from workers.process.scoring import ScoringParts
    from workers.webhooks.delivery import Dispatcher

log = structlog.get_logger()


@dataclass(frozen=True)
class Parts:
    """What tasks need."""

    settings: Settings
    database: Database
    ciphers: TenantCiphers
    catalog: Catalog
    blobs: BlobStore
    queue: CeleryTaskQueue
    pulse: OwnPulse
    gate: Gate
    scoring: ScoringParts | None = None
    dispatcher: Dispatcher | None = None

    def start(self) -> None:
        """Start the parts that look for work by themselves, and the watch over the gate."""
        self.gate.start()
        for part in (self.dispatcher, self.scoring):
            if part is not None:
                part.start()

    def stop(self) -> None:
        """Begin nothing new, and give back soon what is in hand."""
        if self.scoring is not None:
            self.scoring.stop()

    def close(self) -> None:
        """Finish writing back, stop the threads and close the connections."""
        self.gate.close()
        for part in (self.dispatcher, self.scoring):
            if part is not None:
                part.close()
        self.pulse.close()
        self.queue.close()
        self.database.close()


def make_parts(settings: Settings, *, delivers: bool, scores: bool) -> Parts:
    """Connect and create all parts: a dispatcher if it `delivers` webhooks, those for jobs and batches if it `scores`.

    Raises ProviderUnavailable if CUDA is required and not available.
    """
    failpoints.arm(settings.failpoints)
    shared = connect(settings)
    scoring = None
    if scores:
        from workers.process.scoring import make_scoring_parts

        scoring = make_scoring_parts(shared)
    pulse = pulse_over(
        settings.redis_url,
        shared.owner,
        holds=lambda: scoring is not None and scoring.holds,
        refused=None if scoring is None else scoring.pool.refusals.by_model,
    )
    if held := delivers and settings.webhooks_held:
        log.warning("webhooks_held", advice="They wait. Start without MEDQUEUE_WEBHOOKS_HELD to send them.")
    dispatcher = _dispatcher(shared) if delivers and not held else None
    return Parts(
        settings,
        shared.database,
        shared.ciphers,
        shared.catalog,
        shared.blobs,
        shared.queue,
        pulse,
        shared.gate,
        scoring,
        dispatcher,
    )


def _dispatcher(shared: Connections) -> Dispatcher:
    from workers.webhooks.delivery import Dispatcher
    from workers.webhooks.outbound import Outbound

    settings = shared.settings
    return Dispatcher(
        owner=shared.owner,
        database=shared.database,
        ciphers=shared.ciphers,
        rules=granted_rules(shared.database, settings),
        outbound=lambda rules: Outbound(rules, ca_file=settings.webhook_ca_file),
        public_url=settings.public_location,
        lease_s=settings.lease_s,
        gate=shared.gate,
    )
