"""A tenant with batches over a test's own database: sources that are validated, chunks that are claimed and scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from service.accounts import Principal
from service.batches import chunks, control, opening, queries, steps, sweeps
from service.batches.chunks import ClaimedChunk, Scored
from service.batches.opening import NewBatch, Opened
from service.batches.queries import BatchFilter, BatchView
from service.batches.steps import ClaimedStep, Joined, PlannedChunk, StepKind, Validation
from service.catalog import PublishedModel
from service.crypto import Keyring
from service.db import Database
from service.jobs.execution import Problem
from service.jobs.submission import IdempotencyKey
from service.lifecycle import BatchState
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore

ROWS = 10  # of a chunk
REQUEST = {"uri": "s3://cases/mueller-anna.csv", "format": "csv", "output": "ndjson"}
LAYOUT = b'{"format": "csv"}'  # JSON, as validation gives it
GONE = Problem("source_gone", "The source is not there any more.")
AWAY = Problem("blob_unavailable", "The blob store cannot be reached.")


@dataclass
class Nights:
    """One tenant's view of batches."""

    database: Database
    keyring: Keyring
    queue: FakeTaskQueue
    model: PublishedModel
    caller: Principal
    held: list[ClaimedChunk] = field(default_factory=list)

    def of_other_tenant(self, name: str = "other") -> "Nights":
        """The same for another tenant of the same database."""
        stranger = factories.principal(self.database, self.keyring, tenant=name)
        return Nights(self.database, self.keyring, self.queue, self.model, stranger)

    def new(self, **values: Any) -> NewBatch:
        """A checked batch."""
        ours: dict[str, Any] = {
            "tenant_id": self.caller.tenant_id,
            "cipher": self.caller.cipher,
            "submitted_by": self.caller.key_id,
            "model_version_id": self.model.id,
            "model": "model:test@1",
            "request": REQUEST,
        }
        return NewBatch(**ours | values)

    def open(self, *, idempotency: IdempotencyKey | None = None, **values: Any) -> Opened:
        """Open a batch."""
        with self.database.transaction() as work:
            return opening.open_batch(
                work, self.new(**values), actor=self.caller.actor, idempotency=idempotency
            )

    def rerun(self, batch_id: UUID, **values: Any) -> Opened:
        """Run the failed rows of a batch again, or what `values` say."""
        with self.database.transaction() as work:
            return opening.rerun(work, self.caller, batch_id, actor=self.caller.actor, **values)

    def step(self, kind: StepKind, *, lease_s: float = 30.0) -> ClaimedStep:
        """Claim the step of this kind that is due."""
        with self.database.statement() as work:
            step = steps.claim(work, owner="w1", lease_s=lease_s, kinds=[kind])
        assert step is not None
        return step

    def validate(self, step: ClaimedStep, count: int, rows: int | None = None) -> BatchState | None:
        """Plan `count` chunks; `rows` is the independent count."""
        planned = [PlannedChunk(number, ROWS * number, ROWS, b"at %d" % number) for number in range(count)]
        counted = ROWS * count if rows is None else rows
        found = validation(planned, counted)
        with self.database.statement() as work:
            return steps.validated(work, step, found, cipher=self.caller.cipher, owner="w1")

    def planned(self, count: int = 3, **values: Any) -> UUID:
        """A batch of `count` chunks that is open."""
        opened = self.open(**values)
        assert self.validate(self.step(StepKind.VALIDATE), count) is BatchState.SCHEDULED
        return opened.id

    def claim(
        self,
        *,
        owner: str = "w1",
        lease_s: float = 30.0,
        scorable: list[UUID] | None = None,
        places: dict[UUID, int] | None = None,
    ) -> ClaimedChunk | None:
        """Claim a chunk, if there is one."""
        with self.database.statement() as work:
            return chunks.claim(work, owner=owner, lease_s=lease_s, scorable=scorable, places=places)

    def claimed(self, *, lease_s: float = 30.0) -> ClaimedChunk:
        """A chunk that is claimed."""
        chunk = self.claim(lease_s=lease_s)
        assert chunk is not None
        return chunk

    def finish(self, chunk: ClaimedChunk, failed: int = 0) -> str | None:
        """Store what came of a chunk."""
        with self.database.statement() as work:
            return chunks.finish(work, chunk, scored(chunk, failed), owner="w1")

    def release(self, chunk: ClaimedChunk) -> bool:
        """Give a chunk back."""
        with self.database.statement() as work:
            return chunks.release(work, chunk, owner="w1")

    def put_off(self, chunk: ClaimedChunk, delay_s: float = 60.0) -> bool:
        """Queue a chunk again after a passing fault."""
        with self.database.statement() as work:
            return chunks.put_off(work, chunk, AWAY, delay_s=delay_s, owner="w1")

    def fail(self, chunk: ClaimedChunk) -> bool:
        """Say that the source is gone."""
        with self.database.statement() as work:
            return chunks.fail(work, chunk, GONE, owner="w1")

    def score_all(self, failed: int = 0) -> None:
        """Claim and finish every chunk that is open, each with so many failed rows."""
        while (chunk := self.claim()) is not None:
            self.finish(chunk, failed)

    def complete(self, step: ClaimedStep, succeeded: int, failed: int = 0) -> BatchState | None:
        """Say what was joined."""
        joined = Joined(succeeded, failed, {"sha256": "bb" * 32}, {"sha256": "cc" * 32})
        with self.database.statement() as work:
            return steps.complete(work, step, joined, owner="w1")

    def pause(self, batch_id: UUID) -> BatchState:
        """Pause a batch."""
        with self.database.transaction() as work:
            return control.pause(work, self.caller, batch_id)

    def resume(self, batch_id: UUID) -> BatchState:
        """Let a batch go on."""
        with self.database.transaction() as work:
            return control.resume(work, self.caller, batch_id)

    def cancel(self, batch_id: UUID) -> BatchState:
        """Call a batch off."""
        with self.database.transaction() as work:
            return control.cancel(work, self.caller, batch_id)

    def rescue(self, max_crashes: int = 3) -> sweeps.Rescued:
        """Take back lapsed chunks."""
        with self.database.statement() as work:
            return sweeps.rescue_chunks(work, max_crashes=max_crashes)

    def sweep(self, sweep: Callable[..., list[UUID]]) -> list[UUID]:
        """Run a sweep."""
        with self.database.transaction() as work:
            return sweep(work)

    def view(self, batch_id: UUID) -> BatchView:
        """A batch as its owner sees it."""
        with self.database.statement() as work:
            return queries.get(work, self.caller, batch_id)

    def list(self, wanted: BatchFilter | None = None) -> "Sequence[BatchView]":
        """The tenant's batches."""
        with self.database.statement() as work:
            return queries.newest(work, self.caller, wanted or BatchFilter(), before=None, limit=100)

    def state(self, batch_id: UUID) -> BatchState:
        """Where a batch stands."""
        return self.view(batch_id).state

    def rows(self, query: str, *params: object) -> Sequence[Any]:
        """What Postgres answers to one statement."""
        with self.database.statement() as work:
            return work.execute(query, params)

    def chunk_states(self, batch_id: UUID) -> "Sequence[str]":
        """Where the chunks of a batch stand, in input order."""
        query = "SELECT state::text FROM batch_chunk WHERE batch_id = %s ORDER BY number"
        return [row[0] for row in self.rows(query, batch_id)]

    def actions(self, batch_id: UUID) -> "Sequence[str]":
        """What the trail records of a batch, oldest first."""
        query = "SELECT action FROM audit_event WHERE batch_id = %s ORDER BY id"
        return [row[0] for row in self.rows(query, batch_id)]

    def detail(self, batch_id: UUID, action: str) -> dict[str, Any]:
        """What the last event of this kind says."""
        query = "SELECT detail FROM audit_event WHERE batch_id = %s AND action = %s ORDER BY id DESC LIMIT 1"
        found: dict[str, Any] = self.rows(query, batch_id, action)[0][0]
        return found

    def lapse(self, chunk: ClaimedChunk) -> None:
        """Let the lease of a chunk run out, as when its worker was killed."""
        self.rows(
            "UPDATE batch_chunk SET lease_expires_at = now() - interval '1 s' WHERE id = %s", chunk.lease.id
        )

    def shift(self, batch_id: UUID, opens_s: float, closes_s: float) -> None:
        """Put the opening of a batch so many seconds from now."""
        self.rows(
            "UPDATE batch SET open_from = now() + make_interval(secs => %s),"
            " open_until = now() + make_interval(secs => %s) WHERE id = %s",
            *(opens_s, closes_s, batch_id),
        )

    def now(self) -> datetime:
        """The database's time."""
        found: datetime = self.rows("SELECT now()")[0][0]
        return found

    def hours_around_now(self, opens_min: int, closes_min: int, zone: str = "UTC") -> str:
        """A window that opens and closes so many minutes from now."""
        from zoneinfo import ZoneInfo

        now = self.now().astimezone(ZoneInfo(zone))
        opens, closes = now + timedelta(minutes=opens_min), now + timedelta(minutes=closes_min)
        return f"{opens:%H:%M}-{closes:%H:%M}"


def validation(planned: Sequence[PlannedChunk], rows: int | None = None) -> Validation:
    """What a validation found that planned these chunks; `rows` is the independent count."""
    counted = sum(chunk.rows for chunk in planned) if rows is None else rows
    return Validation(planned, counted, LAYOUT, ROWS, 4, 99, "aa" * 32)


def scored(chunk: ClaimedChunk, failed: int = 0) -> Scored:
    """What came of a chunk of which so many rows failed."""
    parts = {"location": f"r{chunk.number}"}, {"location": f"e{chunk.number}"}
    return Scored(chunk.rows - failed, failed, *parts, 1.5)


def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    """Batches of the default tenant."""
    model = factories.published(database, blobs)
    return Nights(database, keyring, queue, model, factories.principal(database, keyring))
