"""The one checker of all scenarios: looks at history, database and wake-ups after all is quiet, and at nothing else.

Each rule returns the offences it found, so that a report can count them. The rules: no job that was answered with
2xx is lost; none ends twice; a key stands for the same jobs however often it was sent; nobody saw a job leave an end
state or a result change; the result's fence is the job's; no lease and no wake-up is left; the receiver was told of every
end, with the one id of its event and a signature that verifies.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row
from redis import Redis

from service.lifecycle import ENDED_STATES, FINAL_STATES, PUBLISHED_ACTIONS, JobState
from service.queue import QueueName
from tests.faults.history import History
from tests.receiver import Received

TAKEN_WITHIN_S = 15.0  # a worker that lost Redis asks for it once a second

CLOSING = [f"job.{state}" for state in FINAL_STATES]

JOBS = """
SELECT job.id::text, job.state::text AS state, job.fence, job.attempt, job.lease_expires_at,
       job.idempotency_digest IS NOT NULL AS keyed,
       (SELECT count(*) FROM job_result AS r WHERE r.job_id = job.id) AS results,
       (SELECT max(r.fence) FROM job_result AS r WHERE r.job_id = job.id) AS result_fence,
       coalesce(trail.closings, 0) AS closings, trail.last_action, coalesce(trail.claims, 0) AS claims,
       coalesce(trail.submits, 0) AS submits, coalesce(trail.fences, '{}') AS fences
FROM job LEFT JOIN (
    SELECT job_id, count(*) FILTER (WHERE action = ANY(%s)) AS closings,
           count(*) FILTER (WHERE action = 'job.claimed') AS claims,
           count(*) FILTER (WHERE action = 'job.submitted') AS submits,
           array_agg((detail->>'fence')::bigint ORDER BY occurred_at) FILTER (WHERE action = 'job.claimed') AS fences,
           (array_agg(action ORDER BY occurred_at DESC) FILTER (WHERE action LIKE 'job.%%'
                AND action <> 'job.overdue'))[1] AS last_action
    FROM audit_event WHERE job_id IS NOT NULL GROUP BY job_id
) AS trail ON trail.job_id = job.id
"""

EVENTS = "SELECT id::text, coalesce(job_id, batch_id)::text AS subject, action FROM audit_event WHERE action = ANY ({})".format(
    "ARRAY[" + ", ".join(f"'{action}'" for action in PUBLISHED_ACTIONS) + "]"
)

Row = dict[str, Any]


@dataclass
class Verdict:
    """What was found: offences by rule, and the counts that a report prints."""

    offences: dict[str, list[str]] = field(default_factory=dict)
    jobs: int = 0
    states: dict[str, int] = field(default_factory=dict)
    claims: int = 0

    @property
    def lost(self) -> int:
        """Jobs that were promised and never ended, and ends of which the receiver was not told."""
        return sum(len(self.offences.get(rule, ())) for rule in ("lost", "not_told"))

    @property
    def doubled(self) -> int:
        """Jobs with more than one result, end or job a key."""
        rules = ("doubled", "key_has_other_jobs", "notified_of_two_ends")
        return sum(len(self.offences.get(rule, ())) for rule in rules)

    def raise_for_offences(self) -> None:
        """Fail with what was found."""
        assert not self.offences, {rule: found[:5] for rule, found in self.offences.items()}


def check(
    history: History,
    database_url: str,
    redis_url: str | None = None,
    told: Sequence[Received] | None = None,
) -> Verdict:
    """Apply every rule; those of webhooks where `told` is what an endpoint of all events has received."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        rows = {row["id"]: row for row in connection.execute(JOBS, (CLOSING,))}
        events = {row["id"]: row for row in connection.execute(EVENTS)} if told is not None else {}
    verdict = Verdict(jobs=len(rows), claims=sum(row["claims"] for row in rows.values()))
    for row in rows.values():
        verdict.states[row["state"]] = verdict.states.get(row["state"], 0) + 1
    for rule, find in RULES.items():
        found = list(find(history, rows))
        if found:
            verdict.offences[rule] = found
    for rule, find_told in TOLD_RULES.items():
        found = list(find_told(events, told or ()))
        if found:
            verdict.offences[rule] = found
    if redis_url is not None and not _taken(redis_url):
        verdict.offences["wake_up_left"] = ["score"]
    return verdict


def _taken(redis_url: str) -> bool:
    """Whether workers take every wake-up. One may be sent again, as it may not have arrived, long after its job ended."""
    until = time.monotonic() + TAKEN_WITHIN_S
    with Redis.from_url(redis_url) as redis:
        while redis.llen(QueueName.SCORE.value):
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
    return True


def _lost(history: History, rows: dict[str, Row]) -> Iterator[str]:
    for job_id in history.job_ids():
        if job_id not in rows or rows[job_id]["state"] not in ENDED_STATES:
            yield job_id


def _doubled(_: History, rows: dict[str, Row]) -> Iterator[str]:
    for job_id, row in rows.items():
        ended = row["state"] in FINAL_STATES
        results = int(row["state"] == JobState.SUCCEEDED)
        if row["closings"] != int(ended) or row["results"] != results or row["submits"] != 1:
            yield f"{job_id} {row['state']}: {row['closings']} closings, {row['results']} results, {row['submits']} submits"


def _other_jobs(history: History, rows: dict[str, Row]) -> Iterator[str]:
    """A key answered twice in different ways, or jobs in the database that no key was told of."""
    for key, answers in history.answers_of().items():
        if len(answers) > 1:
            yield f"{key}: {len(answers)} answers"
    told = set(history.job_ids())
    for job_id, row in rows.items():
        if row["keyed"] and job_id not in told:
            yield f"{job_id}: no client was told of it, though every key was repeated until it was answered"


def _backwards(history: History, rows: dict[str, Row]) -> Iterator[str]:
    for job_id, looks in history.reads_of().items():
        ended: str | None = None
        for look in looks:
            if ended in FINAL_STATES and look.state != ended:
                yield f"{job_id}: {ended}, then {look.state}"
            ended = look.state
        if ended in FINAL_STATES and job_id in rows and rows[job_id]["state"] != ended:
            yield f"{job_id}: {ended} was seen, {rows[job_id]['state']} stands"
    for job_id, state in history.cancels.items():
        if state in FINAL_STATES and job_id in rows and rows[job_id]["state"] != state:
            yield f"{job_id}: a cancel was answered {state}, {rows[job_id]['state']} stands"


def _changing(history: History, _: dict[str, Row]) -> Iterator[str]:
    for job_id, looks in history.reads_of().items():
        digests = {look.result_sha256 for look in looks if look.result_sha256 is not None}
        if len(digests) > 1:
            yield f"{job_id}: {len(digests)} different results were read"


def _fence(_: History, rows: dict[str, Row]) -> Iterator[str]:
    for job_id, row in rows.items():
        if row["results"] and row["result_fence"] != row["fence"]:
            yield f"{job_id}: result of fence {row['result_fence']}, job of fence {row['fence']}"
        fences = row["fences"]
        if any(later <= earlier for earlier, later in itertools.pairwise(fences)):
            yield f"{job_id}: fences {fences}"


def _leases(_: History, rows: dict[str, Row]) -> Iterator[str]:
    for job_id, row in rows.items():
        if row["lease_expires_at"] is not None:
            yield job_id


def _trail(_: History, rows: dict[str, Row]) -> Iterator[str]:
    """The last event of an ended job says how it ended."""
    for job_id, row in rows.items():
        if row["state"] in ENDED_STATES and row["last_action"] != f"job.{row['state']}":
            yield f"{job_id}: {row['state']}, but the trail ends with {row['last_action']}"


RULES: dict[str, Callable[[History, dict[str, Row]], Iterator[str]]] = {
    "lost": _lost,
    "doubled": _doubled,
    "key_has_other_jobs": _other_jobs,
    "went_backwards": _backwards,
    "result_changed": _changing,
    "fence_differs": _fence,
    "lease_left": _leases,
    "trail_differs": _trail,
}


def _not_told(events: dict[str, Row], told: Sequence[Received]) -> Iterator[str]:
    """An ended job without its event is a loss."""
    received = {one.event_id for one in told}
    for event_id, event in events.items():
        if event_id not in received:
            yield f"{event['action']} of {event['subject']}"


def _notified_wrongly(events: dict[str, Row], told: Sequence[Received]) -> Iterator[str]:
    """Every request is of one event, signed, and the same bytes each time it is sent."""
    bodies: dict[str, bytes] = {}
    for one in told:
        event = events.get(one.event_id)
        if not one.verified:
            yield f"{one.event_id}: the signature does not verify"
        elif event is None or _subject(one) != event["subject"]:
            yield f"{one.event_id}: not the event that the trail has under this id"
        elif bodies.setdefault(one.event_id, one.body) != one.body:
            yield f"{one.event_id}: two bodies"


def _subject(one: Received) -> object:
    """The job or batch that an event is of."""
    told = one.content["data"]
    return told.get("job_id", told.get("batch_id"))


def _notified_of_two_ends(events: dict[str, Row], told: Sequence[Received]) -> Iterator[str]:
    """A job or batch ends once, so no second id may tell of its end."""
    ends: dict[str, str] = {}
    for event_id in {one.event_id for one in told}:
        event = events.get(event_id)
        if event and event["action"] in CLOSING and ends.setdefault(event["subject"], event_id) != event_id:
            yield str(event["subject"])


TOLD_RULES: dict[str, Callable[[dict[str, Row], Sequence[Received]], Iterator[str]]] = {
    "not_told": _not_told,
    "notified_wrongly": _notified_wrongly,
    "notified_of_two_ends": _notified_of_two_ends,
}
