"""Jobs that wait for others: locks the predecessors of a new job, and announces what their end released or ended.

The trigger `job_ended` does the rest, in the statement that ends a predecessor: it queues the jobs whose last predecessor
has succeeded, and fails those whose predecessor ended otherwise, with all jobs that wait for them in turn.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from models.field_codes import FieldCode, OtherCode
from service import rows
from service.audit import Action
from service.db import UnitOfWork
from service.errors import AfterUnsuitable, FieldError, JobNotFound, PredecessorBusy
from service.lifecycle import FINAL_STATES, JobState
from service.queue import deliver_wake_up, score_wake_up

MOST_PREDECESSORS = 16
MOST_DEPTH = 16
TRIES = 60
PAUSE_S = 0.05

FINAL = ", ".join(f"'{state}'" for state in JobState if state in FINAL_STATES)
# Never waits for a lock while holding others: statements that end several of these jobs lock them in another order, so
# waiting could deadlock.
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
SELECT id, state::text AS state, depth, abstained, model_version_id, subject_digest FROM job
WHERE id = ANY (%(ids)s) AND tenant_id = %(tenant_id)s
"""
# `id` and `state` of each predecessor of the row `job`: a subquery, which finds its rows by key whatever the plan.
PREDECESSORS = """
(SELECT coalesce(jsonb_agg(jsonb_build_object('id', predecessor_id, 'state',
        (SELECT state FROM job AS predecessor WHERE predecessor.id = predecessor_id)) ORDER BY position), '[]')
 FROM job_after WHERE job_id = job.id)
""".strip()
RECORD = """
INSERT INTO job_after (job_id, predecessor_id, position)
SELECT * FROM unnest(%(job_ids)s::uuid[], %(predecessor_ids)s::uuid[], %(positions)s::smallint[])
"""
# Only the new jobs, which nobody else can see yet: a statement that looked at all that wait for an ended job would wait for
# others' locks. Those that wait for a job that has not ended are released by the end of the last one.
RELEASE = f"""
WITH released AS (
    UPDATE job SET blocked = false, state = CASE WHEN available_at > now() THEN state ELSE 'queued' END
    WHERE id = ANY (%(ids)s) AND state = 'waiting' AND blocked RETURNING id, tenant_id, state
)
INSERT INTO audit_event (tenant_id, job_id, actor, action)
SELECT tenant_id, id, 'scheduler', '{Action.JOB_READY}' FROM released WHERE state = 'queued'
"""

# Each follower is found by itself, so an index is used whatever the planner's statistics say. Followers of failed jobs
# have failed in turn.
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
    """A job that another is to wait for, in the state that it keeps until the transaction ends."""

    id: UUID
    state: JobState
    depth: int
    abstained: bool | None
    model_version_id: UUID
    subject_digest: bytes | None

    @property
    def ended(self) -> bool:
        """Whether its state is final. A quarantined job may be queued again."""
        return self.state in FINAL_STATES

    @property
    def unfit(self) -> str | None:
        """Why no job can wait for it; None if one can."""
        if self.state is JobState.SUCCEEDED:
            if self.abstained is None:
                return "was scored by a release that did not record whether the model abstained. Submit its case again."
            return "abstained: its model gave no answer to go on with." if self.abstained else None
        if self.ended:
            return f"is {self.state}. Submit its case again, or leave it out."
        return None


@dataclass(frozen=True)
class Predecessors:
    """The jobs that new jobs are to wait for. None of them ends before the transaction does."""

    found: Mapping[UUID, Predecessor]

    def refusal(
        self, after: Mapping[UUID, str], sources: Mapping[UUID, str], subject: bytes | None
    ) -> AfterUnsuitable | None:
        """Why a job cannot wait for these, which the request names at these JSON pointers; None when it can.

        It reads the results of `sources`, which are among them, for the subject with the digest `subject`, if it has one.
        """
        faults = [fault for job_id, pointer in after.items() if (fault := self._fault(pointer, job_id))]
        faults += self._other_subjects(sources, subject)
        return AfterUnsuitable(errors=tuple(faults)) if faults else None

    def depth(self, after: Collection[UUID]) -> int:
        """The depth of a job that waits for these: one more than the deepest that has not ended; 0 if it waits for none."""
        if not after:
            return 0
        unended = [self.found[job_id].depth for job_id in after if not self.found[job_id].ended]
        return 1 + max(unended, default=0)

    def _other_subjects(self, sources: Mapping[UUID, str], subject: bytes | None) -> list[FieldError]:
        """The sources that have another subject than the job or, if it has none, than the first of them that has one."""
        known = [
            (pointer, self.found[job_id].subject_digest)
            for job_id, pointer in sources.items()
            if job_id in self.found and self.found[job_id].subject_digest is not None
        ]
        of, wanted = "the job to submit", subject
        if known and subject is None:
            of, wanted = known[0]
        words = f"This job has another subject than {of}. Name jobs of one patient alone, or correct the `subject`."
        return [
            FieldError(pointer, FieldCode.OTHER_SUBJECT, words)
            for pointer, digest in known
            if digest != wanted
        ]

    def _fault(self, pointer: str, job_id: UUID) -> FieldError | None:
        predecessor = self.found.get(job_id)
        if predecessor is None:
            words = "There is no such job. Check the id, and that the key belongs to its tenant."
            return FieldError(pointer, OtherCode(JobNotFound.code), words)
        if predecessor.unfit is not None:
            return FieldError(pointer, FieldCode.PREDECESSOR_UNFIT, f"This job {predecessor.unfit}")
        if self.depth([job_id]) > MOST_DEPTH:
            words = f"This job ends a chain of {MOST_DEPTH + 1} jobs, the longest allowed. Wait until some have ended."
            return FieldError(pointer, FieldCode.CHAIN_TOO_LONG, words)
        return None


NONE = Predecessors({})


def hold(work: UnitOfWork, tenant_id: UUID, ids: Collection[UUID]) -> Predecessors:
    """Lock those of these jobs that are the tenant's, so that none ends before the transaction does. Raises PredecessorBusy.

    `work` is a transaction of several statements. A claim skips locked jobs, so their models are woken after the commit.
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


def record(work: UnitOfWork, waiting: Mapping[UUID, Collection[UUID]], held: Predecessors) -> None:
    """Record which jobs these new jobs wait for, and release those whose predecessors have all succeeded already."""
    links = [
        (job_id, predecessor_id, position)
        for job_id, after in waiting.items()
        for position, predecessor_id in enumerate(after)
    ]
    if not links:
        return
    job_ids, predecessor_ids, positions = (list(column) for column in zip(*links, strict=True))
    work.execute(RECORD, {"job_ids": job_ids, "predecessor_ids": predecessor_ids, "positions": positions})
    free = [
        job_id for job_id, after in waiting.items() if after and all(held.found[each].ended for each in after)
    ]
    if free:
        work.execute(RELEASE, {"ids": free})


def tell_followers(work: UnitOfWork, ended: Collection[UUID]) -> None:
    """Once these jobs have ended: wake workers for the followers that were released, and announce those that failed.

    A repeated announcement does no harm.
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
