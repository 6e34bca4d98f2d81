"""What a claimant may do with jobs: claim them, and end, retry or release the ones it still holds.

Every write-back carries the fence of its claim. A job that is no longer held is left unchanged, and its id is missing
from the answer.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final
from uuid import UUID

from psycopg.types.json import Jsonb

from service import leases, rows
from service.audit import Action
from service.db import UnitOfWork
from service.jobs import artifacts, predecessors
from service.jobs.artifacts import NewArtifact
from service.leases import Lease
from service.lifecycle import JobState
from service.webhooks import planning

# Fresh jobs are claimed together. Jobs claimed before (crashed, retried) are claimed alone, so that a job that kills its
# worker cannot take others down twice. The condition on `alone` skips the rest if the first found a job. The picked ids are
# passed on as an array: with a join, a generic plan expects a tenth of the queue and reads all of it.
#
# Tenants with fresh jobs stand in a ring, in the order of their ids. A claim goes around it from the tenant after the last
# one served, and each turn takes as many jobs of a tenant as its weight says, in rank order, until the claim is full
# (deficit round robin: Shreedhar and Varghese, 1996). Turns of a large claim are longer in proportion, so that it serves at
# most TURNS tenants. `ring` finds each next tenant by one step into the index, and ends once the turns fill the claim. If
# they do not, there are few tenants, and `shares` says how many jobs each gets in further turns, by reading no more of each
# than the claim holds. Neither grows with the number of tenants or of their jobs.
TURNS: Final = 16
FRESH_OF = """model_version_id = %(model_version_id)s AND state = 'queued' AND attempt = 0
            AND (deadline_at IS NULL OR deadline_at > now())"""
CLAIM = f"""
WITH RECURSIVE alone AS MATERIALIZED (
    SELECT id FROM job
    WHERE %(retries_first)s AND model_version_id = %(model_version_id)s AND state = 'queued' AND attempt > 0
        AND available_at <= now() AND (deadline_at IS NULL OR deadline_at > now())
    ORDER BY available_at LIMIT 1 FOR UPDATE SKIP LOCKED
), steps AS (
    SELECT 0 AS place, %(after)s::uuid AS tenant_id, 0 AS turn, 0 AS taken, 0 AS filled, false AS wrapped
    WHERE NOT EXISTS (SELECT FROM alone)
    UNION ALL
    SELECT steps.place + 1, next.tenant_id, next.turn, waiting.jobs, steps.filled + waiting.jobs, next.wrapped
    FROM steps, LATERAL (
        SELECT tenant_id, wrapped,
            (SELECT weight FROM tenant WHERE tenant.id = found.tenant_id) * ((%(limit)s + {TURNS - 1}) / {TURNS}) AS turn
        FROM (
            (SELECT tenant_id, steps.wrapped AS wrapped FROM job
            WHERE {FRESH_OF} AND tenant_id > steps.tenant_id ORDER BY tenant_id LIMIT 1)
            UNION ALL
            (SELECT tenant_id, true FROM job
            WHERE {FRESH_OF} AND NOT steps.wrapped ORDER BY tenant_id LIMIT 1)
        ) AS found LIMIT 1
    ) AS next, LATERAL (
        SELECT CASE next.turn WHEN 1 THEN 1 ELSE (SELECT count(*)::int FROM (
            SELECT FROM job WHERE {FRESH_OF} AND tenant_id = next.tenant_id ORDER BY rank_at, id LIMIT next.turn
        ) AS of_turn) END AS jobs
    ) AS waiting
    WHERE steps.filled < %(limit)s AND NOT (next.wrapped AND next.tenant_id > %(after)s)
), ring AS MATERIALIZED (SELECT place, tenant_id, turn, taken, filled FROM steps WHERE place > 0
), size AS MATERIALIZED (SELECT count(*) AS tenants, max(filled) >= %(limit)s AS is_filled FROM ring
), shares AS MATERIALIZED (
    SELECT tenant_id, CASE WHEN is_filled THEN taken - greatest(0, filled - %(limit)s) ELSE %(limit)s END::bigint AS jobs, place
    FROM ring, size WHERE is_filled OR tenants = 1
    UNION ALL
    SELECT tenant_id, count(*), max(number) FROM (
        SELECT tenant_id, row_number() OVER (ORDER BY round, place) AS number FROM (
            SELECT ring.tenant_id, ring.place, (row_number() OVER (PARTITION BY ring.place) - 1) / ring.turn AS round
            FROM size, ring, LATERAL (
                SELECT FROM job WHERE {FRESH_OF} AND tenant_id = ring.tenant_id
                ORDER BY rank_at, id LIMIT %(limit)s + 1 - size.tenants
            ) AS waiting
            WHERE NOT is_filled AND tenants > 1
        ) AS rounds ORDER BY round, place LIMIT %(limit)s
    ) AS taken GROUP BY tenant_id
), fresh AS MATERIALIZED (
    SELECT job.id FROM shares, LATERAL (
        SELECT id FROM job WHERE {FRESH_OF} AND tenant_id = shares.tenant_id
        ORDER BY rank_at, id LIMIT shares.jobs FOR UPDATE SKIP LOCKED
    ) AS job
), picked AS MATERIALIZED (SELECT id FROM alone UNION ALL SELECT id FROM fresh
), claimed AS (
    UPDATE job SET {leases.claim_clause("job")}, claim_size = (SELECT count(*) FROM picked)
        + CASE WHEN EXISTS (SELECT FROM alone) THEN 0 ELSE %(beside)s END
    WHERE job.id = ANY (ARRAY(SELECT id FROM picked))
    RETURNING job.id, job.tenant_id, job.fence, job.attempt, job.claim_size, job.payload, job.upload_id, job.options,
        job.rank_at
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, '{Action.JOB_CLAIMED}',
           jsonb_build_object('attempt', attempt, 'fence', fence, 'claim_size', claim_size)
    FROM claimed
)
SELECT id, tenant_id, fence, attempt, payload, upload_id, options,
    (SELECT tenant_id FROM shares ORDER BY place DESC LIMIT 1) AS last_tenant,
    (SELECT CASE tenants WHEN 1 THEN (SELECT count(*) FROM fresh) ELSE (SELECT sum(jobs) FROM shares) END FROM size)::int
        AS in_turn
FROM claimed ORDER BY rank_at, id
"""

FRESH = """
SELECT count(*) AS jobs FROM (
    SELECT FROM job WHERE model_version_id = %(model_version_id)s AND state = 'queued' AND attempt = 0
    ORDER BY tenant_id, rank_at, id LIMIT %(most)s
) AS waiting
"""

# By the primary key, which grows with time.
RECENT = "SELECT model_version_id FROM job ORDER BY id DESC LIMIT %(most)s"

ENDED = f"""
WITH held AS (
    SELECT * FROM unnest(%(ids)b::uuid[], %(fences)b::bigint[], %(states)b::job_state[], %(problems)s::jsonb[],
                         %(payloads)b::bytea[], %(abstained)b::boolean[])
        AS held (id, fence, state, problem, payload, abstained)
), ended AS (
    UPDATE job SET state = held.state, problem = held.problem, abstained = held.abstained, finished_at = now(),
        {leases.RELEASE}
    FROM held WHERE {leases.held_clause("job")}
    RETURNING {planning.JOB_COLUMNS}, job.fence, job.state, job.attempt, job.followed, held.payload, held.problem
), results AS (
    INSERT INTO job_result (job_id, tenant_id, fence, runtime, provider, payload)
    SELECT id, tenant_id, fence, %(runtime)s, %(provider)s, payload FROM ended WHERE payload IS NOT NULL
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, 'job.' || state, CASE WHEN payload IS NULL
        THEN jsonb_build_object('attempt', attempt, 'fence', fence, 'code', problem->>'code')
        ELSE jsonb_build_object('attempt', attempt, 'fence', fence, 'provider', %(provider)s::text,
                                'result_sha256', encode(sha256(payload), 'hex')) END
    FROM ended RETURNING {planning.EVENT_COLUMNS}
), {planning.deliveries_of("ended")}
"""
END = f"{ENDED} SELECT id, followed, {planning.PLANNED} FROM ended"
END_WITH_ARTIFACTS = f"{ENDED}, {artifacts.PUBLISHED} SELECT id, followed, {planning.PLANNED} FROM ended"

RETRY = f"""
WITH held AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(fences)s::bigint[], %(delays_s)s::float[], %(refunds)s::int[])
        AS held (id, fence, delay_s, refund)
), retried AS (
    UPDATE job SET state = 'queued', available_at = now() + make_interval(secs => held.delay_s),
        attempt = greatest(1, job.attempt - held.refund), {leases.RELEASE}
    FROM held WHERE {leases.held_clause("job")}
    RETURNING job.id, job.tenant_id, job.attempt, job.fence, held.delay_s
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, '{Action.JOB_RETRIED}',
           jsonb_build_object('attempt', attempt, 'fence', fence, 'delay_s', round(delay_s::numeric, 3),
                              'code', %(code)s::text)
    FROM retried
)
SELECT id FROM retried
"""

RELEASE = f"""
WITH held AS (SELECT * FROM unnest(%(ids)s::uuid[], %(fences)s::bigint[]) AS held (id, fence)),
released AS (
    UPDATE job SET state = 'queued', attempt = job.attempt - 1, available_at = now(), {leases.RELEASE}
    FROM held WHERE {leases.held_clause("job")} RETURNING job.id, job.tenant_id, job.fence
), events AS (
    INSERT INTO audit_event (tenant_id, job_id, actor, action, detail)
    SELECT tenant_id, id, %(actor)s, '{Action.JOB_RELEASED}', jsonb_build_object('fence', fence) FROM released
)
SELECT id FROM released
"""


@dataclass(frozen=True)
class ClaimedJob:
    """A job that this claimant holds. `payload` and `options` are still sealed; a job with an upload has no payload."""

    lease: Lease
    tenant_id: UUID
    attempt: int
    payload: bytes | None
    upload_id: UUID | None
    options: bytes | None


@dataclass(frozen=True)
class Claim:
    """The jobs of a claim. `last_tenant` was served last, None if no fresh job was claimed: the next claim goes on after it.

    `is_full`: there may be more to claim, because as many were in turn as were asked for, or because a retry came first.
    """

    jobs: Sequence[ClaimedJob] = ()
    last_tenant: UUID | None = None
    is_full: bool = False


FIRST_IN_RING: Final = UUID(int=0)


@dataclass(frozen=True)
class Problem:
    """Why a job could not be scored: a stable code and what to do. Never contains an input's value."""

    code: str
    detail: str


@dataclass(frozen=True)
class Ending:
    """How one held job ends: either with a sealed result and its artifacts, or with a problem.

    `quarantined`: neither the input nor the model is at fault, so an operator may fix the cause and requeue the job.
    """

    lease: Lease
    payload: bytes | None = None
    problem: Problem | None = None
    quarantined: bool = False
    # Whether the model abstained: no job may build on such a result.
    abstained: bool = False
    artifacts: tuple[NewArtifact, ...] = ()

    @property
    def state(self) -> JobState:
        """The job's state after this ending."""
        if self.payload is not None:
            return JobState.SUCCEEDED
        return JobState.QUARANTINED if self.quarantined else JobState.FAILED


def claim(
    work: UnitOfWork,
    *,
    model_version_id: UUID,
    limit: int,
    owner: str,
    lease_s: float,
    retries_first: bool,
    after: UUID = FIRST_IN_RING,
    beside: int = 0,
) -> Claim:
    """Claim up to `limit` fresh jobs, or one that was claimed before, alone.

    Tenants take turns, from the next `after` this one, each with as many jobs as its weight; those of one are claimed in rank
    order. With `retries_first`, a retry that is due is claimed before fresh jobs; without it, only fresh jobs are considered.
    Fresh ones run with so many others `beside` them, which count as if they were of the same claim: no crash is theirs alone.
    """
    claimed = work.execute(
        CLAIM,
        {
            "retries_first": retries_first,
            "after": after,
            "beside": beside,
            "model_version_id": model_version_id,
            "limit": limit,
            "owner": owner,
            "lease_s": lease_s,
            "actor": f"worker:{owner}",
        },
    )
    if not claimed:
        return Claim()
    jobs = [rows.build(ClaimedJob, row, lease=Lease(row.id, row.fence)) for row in claimed]
    first = claimed[0]
    return Claim(jobs, first.last_tenant, is_full=first.last_tenant is None or first.in_turn >= limit)


def fresh_count(work: UnitOfWork, *, model_version_id: UUID, most: int) -> int:
    """How many fresh jobs can be claimed, counted up to `most`."""
    (counted,) = work.execute(FRESH, {"model_version_id": model_version_id, "most": most})
    return int(counted.jobs)


def recently_asked_for(work: UnitOfWork, *, most: int) -> list[UUID]:
    """The model versions of the `most` newest jobs of all tenants, the last asked for first."""
    return list(dict.fromkeys(row.model_version_id for row in work.execute(RECENT, {"most": most})))


def end(work: UnitOfWork, endings: Sequence[Ending], *, owner: str, runtime: str, provider: str) -> set[UUID]:
    """End held jobs with results or problems; returns the ids that were still held and announces them after the commit.

    Their webhook deliveries are planned in the same statement.
    """
    params: dict[str, object] = {
        **leases.columns([ending.lease for ending in endings]),
        "states": [ending.state.value for ending in endings],
        "problems": [Jsonb(asdict(ending.problem)) if ending.problem else None for ending in endings],
        "payloads": [ending.payload for ending in endings],
        "abstained": [ending.abstained if ending.payload else None for ending in endings],
        "runtime": runtime,
        "provider": provider,
        "actor": f"worker:{owner}",
    }
    statement = END
    if made := [new for ending in endings for new in ending.artifacts]:
        statement, params = END_WITH_ARTIFACTS, params | artifacts.published_params(made)
    ended = work.execute(statement, params)
    ids = [row.id for row in ended]
    work.announce(ids)
    predecessors.tell_followers(work, [row.id for row in ended if row.followed])
    planning.wake_if_planned(work, ended)
    return set(ids)


def retry(
    work: UnitOfWork,
    held: Sequence[Lease],
    delays_s: Sequence[float],
    *,
    owner: str,
    code: str,
    counts: bool = True,
) -> set[UUID]:
    """Queue held jobs again, each after its delay; `code` names the transient fault.

    Unless `counts` is true, the attempt is given back, but never the first: it tells a retry from a fresh job.
    """
    retried = work.execute(
        RETRY,
        {
            **leases.columns(held),
            "delays_s": list(delays_s),
            "refunds": [0 if counts else 1] * len(held),
            "actor": f"worker:{owner}",
            "code": code,
        },
    )
    return {row.id for row in retried}


def release(work: UnitOfWork, held: Sequence[Lease], *, owner: str) -> set[UUID]:
    """Return held jobs to the queue as they were before their claim: a planned stop uses up no attempt."""
    released = work.execute(RELEASE, {**leases.columns(held), "actor": f"worker:{owner}"})
    return {row.id for row in released}


def backoff_s(attempt: int, *, base_s: float, cap_s: float, chance: float) -> float:
    """Delay before the next attempt: doubles from `base_s` up to `cap_s`, jittered by ±50 % by `chance` in [0, 1)."""
    return float(min(base_s * 2 ** min(attempt - 1, 30) * (0.5 + chance), cap_s))
