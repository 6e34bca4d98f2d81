"""Every event type that is documented is really sent, and every end of a batch has one, whatever it ends from."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from service.batches import steps, sweeps
from service.batches.steps import StepKind
from service.batches.windows import Window
from service.crypto import Keyring
from service.db import Database
from service.lifecycle import BATCH_TRANSITIONS, ENDED_BATCH_STATES, PUBLISHED_ACTIONS, BatchState
from service.queue import deliver_wake_up
from service.webhooks import feed
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.hooks import Hooks
from tests.integration.nights import GONE, ROWS, Nights
from tests.integration.test_webhook_planning import WAYS as WAYS_OF_JOBS

S = BatchState
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


@pytest.fixture
def hooks(nights: Nights) -> Hooks:
    return Hooks(nights.database, nights.keyring, nights.queue, nights.model, nights.caller)


def reached(nights: Nights, state: BatchState) -> UUID:
    """A batch in this state, not ended. One that runs has a chunk in a worker's hands, and so has one that is pausing."""
    if state is S.VALIDATING:
        return nights.open().id
    batch_id = nights.planned(2)
    if state in {S.RUNNING, S.PAUSING}:
        nights.held.append(nights.claimed())
    if state in {S.PAUSING, S.PAUSED}:
        nights.pause(batch_id)
    if state is S.FINALIZING:
        nights.score_all()
    assert nights.state(batch_id) is state
    return batch_id


def expired(nights: Nights, batch_id: UUID) -> None:
    nights.rows("UPDATE batch SET deadline_at = now() - interval '1 s' WHERE id = %s", batch_id)
    assert nights.sweep(sweeps.expire) == [batch_id]


def failed(nights: Nights, batch_id: UUID) -> None:
    state = nights.state(batch_id)
    if state in {S.RUNNING, S.PAUSING}:
        assert nights.fail(nights.held.pop())
        return
    kind = StepKind.VALIDATE if state is S.VALIDATING else StepKind.FINALIZE
    step = nights.step(kind)
    with nights.database.statement() as work:
        assert steps.fail(work, step, GONE, owner="w1")


def completed(nights: Nights, batch_id: UUID) -> None:
    assert nights.state(batch_id) is S.FINALIZING
    nights.complete(nights.step(StepKind.FINALIZE), 2 * ROWS)


def canceled(nights: Nights, batch_id: UUID) -> None:
    nights.cancel(batch_id)


ENDINGS: dict[BatchState, Callable[[Nights, UUID], None]] = {
    S.COMPLETED: completed,
    S.FAILED: failed,
    S.CANCELED: canceled,
    S.EXPIRED: expired,
}
EDGES = [
    (before, end) for before, nexts in BATCH_TRANSITIONS.items() for end in sorted(nexts & ENDED_BATCH_STATES)
]


@pytest.mark.parametrize(("before", "end"), EDGES)
def test_each_end_of_a_batch_is_sent_from_each_state_that_leads_to_it(
    nights: Nights, hooks: Hooks, before: BatchState, end: BatchState
) -> None:
    batch_id = reached(nights, before)
    told = hooks.endpoint()
    nights.queue.waiting.clear()
    ENDINGS[end](nights, batch_id)
    assert nights.state(batch_id) is end
    assert hooks.told() == [(told, f"batch.{end}")]
    assert deliver_wake_up() in hooks.queue.waiting
    (claimed,) = hooks.claim()
    assert claimed.event.batch_id == batch_id
    assert b'"state":"%s"' % end.encode() in claimed.event.body("https://api.test")


# At risk


def at_risk_of_its_deadline(nights: Nights, state: BatchState, *, gone_s: float, left_s: float) -> UUID:
    """A batch in this state since `gone_s` whose deadline is `left_s` ahead."""
    batch_id = reached(nights, state)
    nights.rows(
        "UPDATE batch SET deadline_at = now() + make_interval(secs => %s), created_at = now() - make_interval(secs => %s),"
        " paused_at = CASE WHEN paused_at IS NOT NULL THEN now() - make_interval(secs => %s) END WHERE id = %s",
        *(left_s, gone_s, gone_s, batch_id),
    )
    return batch_id


@pytest.mark.parametrize("state", [S.VALIDATING, S.PAUSING, S.PAUSED])
@pytest.mark.parametrize(
    ("gone_s", "left_s", "alarmed"), [(100, 99, True), (100, 102, False), (20, 8, True), (20, 12, False)]
)
def test_a_batch_that_waits_is_at_risk_of_its_deadline_once_half_its_time_is_over(
    nights: Nights, hooks: Hooks, state: BatchState, gone_s: float, left_s: float, alarmed: bool
) -> None:
    told = hooks.endpoint("batch.at_risk")
    batch_id = at_risk_of_its_deadline(nights, state, gone_s=gone_s, left_s=left_s)
    assert nights.sweep(sweeps.tell_risks) == ([batch_id] if alarmed else [])
    assert nights.sweep(sweeps.tell_risks) == [], "it is told of once"
    assert hooks.told() == ([(told, "batch.at_risk")] if alarmed else [])


def test_a_batch_whose_next_window_opens_behind_its_deadline_is_at_risk_at_once(nights: Nights) -> None:
    window = Window.parsed(nights.hours_around_now(-60, 60), "UTC")
    batch_id = nights.planned(2, window=window, deadline=nights.now() + timedelta(hours=3))
    assert nights.sweep(sweeps.tell_risks) == []
    nights.shift(batch_id, -3600, -1)
    nights.rows("UPDATE batch SET window_hours = %s", nights.hours_around_now(-120, -60))
    nights.sweep(sweeps.move_openings)
    assert nights.sweep(sweeps.tell_risks) == [batch_id]
    assert nights.sweep(sweeps.tell_risks) == []


def test_a_short_batch_that_nobody_scores_is_told_of_before_it_expires(nights: Nights, hooks: Hooks) -> None:
    told = hooks.endpoint()
    batch_id = nights.planned(2, deadline=nights.now() + timedelta(seconds=30))
    nights.shift(batch_id, -21, 10)
    nights.rows("UPDATE batch SET scheduled_at = now() - interval '21 s' WHERE id = %s", batch_id)
    assert nights.sweep(sweeps.tell_risks) == [batch_id]
    expired(nights, batch_id)
    assert hooks.told() == [(told, "batch.at_risk"), (told, "batch.expired")]


def test_a_batch_that_may_not_begin_yet_is_not_at_risk(nights: Nights) -> None:
    soon, later = nights.now() + timedelta(minutes=10), nights.now() + timedelta(minutes=11)
    nights.open(not_before=soon, deadline=later)
    nights.rows("UPDATE batch SET created_at = now() - interval '1 hour'")
    assert nights.sweep(sweeps.tell_risks) == []


# The whole set


def _started(nights: Nights) -> None:
    nights.planned(2)
    nights.claimed()


def _progressed(nights: Nights) -> None:
    nights.planned(3)
    nights.finish(nights.claimed())


def _at_risk(nights: Nights) -> None:
    at_risk_of_its_deadline(nights, S.PAUSED, gone_s=100, left_s=50)
    nights.sweep(sweeps.tell_risks)


def _ended(end: BatchState) -> Callable[[Nights], None]:
    before = next(before for before, found in EDGES if found is end)
    return lambda nights: ENDINGS[end](nights, reached(nights, before))


WAYS_OF_BATCHES: dict[str, Callable[[Nights], None]] = {
    "batch.started": _started,
    "batch.progressed": _progressed,
    "batch.at_risk": _at_risk,
    **{f"batch.{end}": _ended(end) for end in ENDED_BATCH_STATES},
}


def _live_through(action: str, nights: Nights, hooks: Hooks) -> None:
    if action in WAYS_OF_BATCHES:
        WAYS_OF_BATCHES[action](nights)
    else:
        (job_id,) = hooks.submit()
        WAYS_OF_JOBS[action](hooks, job_id)


@pytest.mark.parametrize("action", PUBLISHED_ACTIONS)
def test_each_event_type_is_sent_to_webhooks_and_the_feed(nights: Nights, hooks: Hooks, action: str) -> None:
    told = hooks.endpoint(action)
    with nights.database.statement() as work:
        begin = feed.end(work)
    _live_through(action, nights, hooks)
    assert hooks.told() == [(told, action)]
    with nights.database.statement() as work:
        events, _ = feed.read(work, nights.caller, begin, types=(action,), limit=10)
    assert [event.type for event in events] == [action]


def test_the_events_that_are_documented_are_those_that_are_sent() -> None:
    section = (DOCS / "api.md").read_text().split("| event | sent when |")[1].split("\n\n")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = re.findall(r"`([a-z_.]+)`", " ".join(first_cells))
    assert sorted(documented) == sorted(PUBLISHED_ACTIONS)
    ends: Any = {f"batch.{state}" for state in ENDED_BATCH_STATES}
    assert ends <= set(PUBLISHED_ACTIONS)
