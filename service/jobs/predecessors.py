"""Jobs that wait for others: holds those that a new job is to wait for, and tells of what their end released or ended.

The trigger `job_ended` does the rest, in the statement that ends a predecessor: it queues the jobs whose last one has
succeeded, and fails those whose predecessor ended otherwise, with all that wait for them in turn.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from service import rows
from service.db import UnitOfWork
from service.errors import AfterUnsuitable, FieldError, PredecessorBusy
from service.lifecycle import FINAL_STATES, JobState
from service.queue import deliver_wake_up, score_wake_up

MOST_PREDECESSORS = 16
MOST_DEPTH = 16
TRIES = 60
PAUSE_S = 0.05

FINAL = ", ".join(f"'{state}'" for state in JobState if state in FINAL_STATES)
# Never waits while it holds: whoever ends several of these jobs locks them in an order of its own, so waiting for one
# while holding another could wait in a circle.
MARK = f"""
UPDATE job SET followed = true WHERE id = ANY (ARRAY(
    SELECT id FROM job WHERE id = ANY (%(ids)s) AND tenant_id = %(tenant_id)s AND NOT followed AND state NOT IN ({FINAL})
    FOR NO KEY UPDATE SKIP LOCKED
))
"""
LOCK = f"""
SELECT id FROM job WHERE id = ANY (%(ids)s) AND tenant_id = %(tenant_id)s AND followed AND state NOT IN ({FINAL})
FOR SHARE SKIP LOCKED
"""
FOUND = """
SELECT id, state::text AS state, depth, abstained, model_version_id FROM job
WHERE id = ANY (%(ids)s) AND tenant_id = %(tenant_id)s
"""
RECORD = """
INSERT INTO job_after (job_id, predecessor_id, position)
SELECT * FROM unnest(%(job_ids)s::uuid[], %(predecessor_ids)s::uuid[], %(positions)s::smallint[])
"""
FOLLOW = "SELECT job_follow(%(ended)s::uuid[])"

# Each follower by itself, through an index whatever the planner knows. Those of failed ones have failed in turn.
FOLLOWERS = """
SELECT job.id, job.state, job.model_version_id FROM job
WHERE job.id = ANY (ARRAY(SELECT job_id FROM job_after WHERE predecessor_id = {predecessor})) OFFSET 0
"""
REACHED = f"""
WITH RECURSIVE reached AS (
    SELECT follower.* FROM unnest(%(ended)s::uuid[]) AS ended (id),
        LATERAL ({FOLLOWERS.format(predecessor="ended.id")}) AS follower
    UNION
    SELECT follower.* FROM reached, LATERAL ({FOLLOWERS.format(predecessor="reached.id")}) AS follower
    WHERE reached.state = 'failed'
)
SELECT id, state::text AS state, model_version_id,
       EXISTS (SELECT FROM webhook_delivery WHERE job_id = reached.id AND webhook_delivery.state = 'queued') AS planned
FROM reached WHERE state IN ('queued', 'failed')
"""


@dataclass(frozen=True)
class Predecessor:
    """A job that another is to wait for, as it stands until the transaction ends."""

    id: UUID
    state: JobState
    depth: int
    abstained: bool | None
    model_version_id: UUID

    @property
    def ended(self) -> bool:
        """Whether it stays as it is for good; a quarantined one may be queued again."""
        return self.state in FINAL_STATES

    @property
    def unfit(self) -> str | None:
        """Why nothing can wait for it, if so."""
        if self.state is JobState.SUCCEEDED:
            if self.abstained is None:
                return "was scored by a release that did not record whether the model abstained. Submit its case again."
            return "abstained: its model gave no answer to go on with." if self.abstained else None
        if self.ended:
            return f"is {self.state}. Submit its case again, or leave it out."
        return None


@dataclass(frozen=True)
class Predecessors:
    """The jobs that new ones are to wait for: none of them ends before the transaction does."""

    found: Mapping[UUID, Predecessor]

    def refusal(self, after: Sequence[UUID]) -> AfterUnsuitable | None:
        """Why a job cannot wait for these; None when it can."""
        faults = [fault for position, job_id in enumerate(after) if (fault := self._fault(position, job_id))]
        return AfterUnsuitable(errors=tuple(faults)) if faults else None

    def depth(self, after: Sequence[UUID]) -> int:
        """How deep a job stands that waits for these: deeper than each that has not ended; 0 when it waits for none."""
        if not after:
            return 0
        unended = [self.found[job_id].depth for job_id in after if not self.found[job_id].ended]
        return 1 + max(unended, default=0)

    def _fault(self, position: int, job_id: UUID) -> FieldError | None:
        pointer = f"/after/{position}"
        predecessor = self.found.get(job_id)
        if predecessor is None:
            words = "There is no such job. Check the id, and that the key belongs to its tenant."
            return FieldError(pointer, "job_not_found", words)
        if predecessor.unfit is not None:
            return FieldError(pointer, "predecessor_unfit", f"This job {predecessor.unfit}")
        if self.depth([job_id]) > MOST_DEPTH:
            words = f"This job is the end of a chain of {MOST_DEPTH + 1}, which is the longest. Wait until some have ended."
            return FieldError(pointer, "chain_too_long", words)
        return None


NONE = Predecessors({})


def hold(work: UnitOfWork, tenant_id: UUID, ids: Collection[UUID]) -> Predecessors:
    """Those of these jobs that the tenant has, kept from ending until the transaction is over. Raises PredecessorBusy.

    `work` is a transaction of several statements. A claim passes over what is held, so models are woken for it afterwards.
    """
    if not ids:
        return NONE
    asked = {"ids": list(ids), "tenant_id": tenant_id}
    for _ in range(TRIES):
        work.execute("SAVEPOINT before_predecessors")
        work.execute(MARK, asked)
        locked = {row.id for row in work.execute(LOCK, asked)}
        found = {
            row.id: rows.build(Predecessor, row, state=JobState(row.state))
            for row in work.execute(FOUND, asked)
        }
        if all(predecessor.ended or job_id in locked for job_id, predecessor in found.items()):
            for predecessor in found.values():
                if predecessor.state is JobState.QUEUED:
                    work.wake(score_wake_up(predecessor.model_version_id))
            return Predecessors(found)
        work.execute("ROLLBACK TO SAVEPOINT before_predecessors")
        time.sleep(PAUSE_S)
    raise PredecessorBusy


def record(work: UnitOfWork, waiting: Mapping[UUID, Sequence[UUID]], held: Predecessors) -> None:
    """Write down for whom these new jobs wait, and release those all of whose predecessors have succeeded already."""
    links = [
        (job_id, predecessor_id, position)
        for job_id, after in waiting.items()
        for position, predecessor_id in enumerate(after)
    ]
    if not links:
        return
    job_ids, predecessor_ids, positions = (list(column) for column in zip(*links, strict=True))
    work.execute(RECORD, {"job_ids": job_ids, "predecessor_ids": predecessor_ids, "positions": positions})
    ended = [job_id for job_id in set(predecessor_ids) if held.found[job_id].ended]
    if ended:
        work.execute(FOLLOW, {"ended": ended})


def tell_followers(work: UnitOfWork, ended: Collection[UUID]) -> None:
    """Once these jobs have ended and others waited for them: wake workers for what was released, tell of what failed.

    What was told before is told again, which does no harm.
    """

    def step(work: UnitOfWork) -> None:
        reached = work.execute(REACHED, {"ended": list(ended)})
        for version_id in {row.model_version_id for row in reached if row.state == JobState.QUEUED}:
            work.wake(score_wake_up(version_id))
        work.announce([row.id for row in reached if row.state == JobState.FAILED])
        if any(row.planned for row in reached):
            work.wake(deliver_wake_up())

    if ended:
        work.follow_up(step)
