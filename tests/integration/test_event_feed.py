"""The feed of events on real Postgres: in the order in which they became visible, none missed and none repeated."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import pytest

from service.accounts import Principal
from service.crypto import Keyring
from service.db import Database, UnitOfWork
from service.errors import EventNotFound
from service.jobs import queries, sweeps
from service.webhooks import endpoints, feed
from service.webhooks.feed import Place
from service.webhooks.messages import Event
from tests import factories
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import hooks as bench
from tests.integration.hooks import Hooks


@pytest.fixture
def hooks(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Hooks:
    return bench.hooks(database, blobs, keyring, queue)


def end(hooks: Hooks) -> Place:
    with hooks.database.statement() as work:
        return feed.end(work)


def read(hooks: Hooks, after: Place, *types: str, limit: int = 100) -> tuple[list[Event], Place]:
    with hooks.database.statement() as work:
        return feed.read(work, hooks.caller, after, types=types or bench.ALL, limit=limit)


def seen(hooks: Hooks, after: Place, *types: str) -> list[UUID | None]:
    """The jobs whose events are there to be read."""
    return [event.job_id for event in read(hooks, after, *types)[0]]


@contextmanager
def canceling(hooks: Hooks, job_id: UUID) -> Iterator[UnitOfWork]:
    """A transaction that has canceled a job and is not committed while the block lasts."""
    with hooks.database.transaction() as work:
        queries.cancel(work, hooks.caller, job_id)
        yield work


def test_a_reader_that_begins_at_the_end_sees_what_comes_and_nothing_before(hooks: Hooks) -> None:
    before, after = hooks.submit(2)
    hooks.cancel(before)
    place = end(hooks)
    assert seen(hooks, place) == []
    hooks.cancel(after)
    assert seen(hooks, place) == [after]


def test_each_event_is_read_once_in_order_page_by_page(hooks: Hooks) -> None:
    place, jobs = end(hooks), hooks.submit(5)
    for job_id in jobs:
        hooks.cancel(job_id)
    found = []
    while events := (page := read(hooks, place, limit=2))[0]:
        found += [event.job_id for event in events]
        place = page[1]
    assert found == jobs
    assert seen(hooks, place) == []


def test_an_event_of_an_older_transaction_that_commits_later_is_not_missed(hooks: Hooks) -> None:
    older, younger = hooks.submit(2)
    place = end(hooks)
    with canceling(hooks, older):
        hooks.cancel(younger)
        events, place = read(hooks, place)
        assert events == [], "what is younger waits for the transaction that may still come before it"
    events, place = read(hooks, place)
    assert [event.job_id for event in events] == [older, younger]
    assert seen(hooks, place) == []


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_page_does_not_pass_over_a_later_event_of_an_older_transaction(hooks: Hooks, limit: int) -> None:
    first, between, last = hooks.submit(3)
    place = end(hooks)
    with canceling(hooks, first) as work:
        hooks.cancel(between)
        queries.cancel(work, hooks.caller, last)
    found = []
    for _ in range(4):
        events, place = read(hooks, place, limit=limit)
        found += [event.job_id for event in events]
    assert found == [first, last, between]


def test_a_reader_that_begins_while_an_older_transaction_is_open_sees_its_event(hooks: Hooks) -> None:
    (job_id,) = hooks.submit()
    with canceling(hooks, job_id):
        place = end(hooks)
    assert seen(hooks, place) == [job_id]


def test_a_reader_that_came_to_the_end_while_a_transaction_was_open_sees_its_event(hooks: Hooks) -> None:
    first, second = hooks.submit(2)
    place = end(hooks)
    hooks.cancel(first)
    with canceling(hooks, second):
        events, place = read(hooks, place)
        assert [event.job_id for event in events] == [first]
        events, place = read(hooks, place)
        assert events == []
    assert seen(hooks, place) == [second]


def test_a_transaction_that_is_rolled_back_holds_up_nothing(hooks: Hooks) -> None:
    older, younger = hooks.submit(2)
    place = end(hooks)
    with suppress(RuntimeError), canceling(hooks, older):
        hooks.cancel(younger)
        raise RuntimeError
    assert seen(hooks, place) == [younger]


def test_events_of_other_types_are_passed_over_and_not_read_again(hooks: Hooks) -> None:
    place = end(hooks)
    (canceled,) = hooks.submit()
    hooks.cancel(canceled)
    events, further = read(hooks, place, "job.failed")
    assert events == []
    assert further > place
    (failed,) = hooks.submit()
    hooks.fail(failed)
    assert seen(hooks, further, "job.failed") == [failed]
    assert seen(hooks, further) == [failed]
    assert seen(hooks, place, "job.failed", "job.canceled") == [canceled, failed]


def test_only_what_callers_are_told_of_is_in_the_feed(hooks: Hooks) -> None:
    place = end(hooks)
    endpoint_id = hooks.endpoint()
    with hooks.database.transaction() as work:
        endpoints.ping(work, hooks.caller, endpoint_id)
    hooks.submit()
    factories.claimed(hooks.database, hooks.model)
    assert seen(hooks, place) == []


def test_a_tenant_reads_its_own_events_alone(hooks: Hooks) -> None:
    stranger, place = hooks.of_other_tenant(), end(hooks)
    (own,), (theirs,) = hooks.submit(), stranger.submit()
    hooks.cancel(own)
    stranger.cancel(theirs)
    assert seen(hooks, place) == [own]
    assert seen(stranger, place) == [theirs]


def place_of(hooks: Hooks, caller: Principal, event_id: UUID) -> Place:
    with hooks.database.statement() as work:
        return feed.place_of(work, caller, event_id)


def test_a_reader_resumes_behind_the_event_that_it_has_seen(hooks: Hooks) -> None:
    place, jobs = end(hooks), hooks.submit(3)
    for job_id in jobs:
        hooks.cancel(job_id)
    first = read(hooks, place)[0][0]
    assert seen(hooks, place_of(hooks, hooks.caller, first.id)) == jobs[1:]


def test_events_of_one_transaction_are_resumed_in_its_middle(hooks: Hooks) -> None:
    place, jobs = end(hooks), hooks.submit(3)
    hooks.rows("UPDATE job SET deadline_at = now() - interval '1 s'")
    with hooks.database.statement() as work:
        sweeps.expire(work)
    events, _ = read(hooks, place)
    assert {event.job_id for event in events} == set(jobs)
    rest = seen(hooks, place_of(hooks, hooks.caller, events[0].id))
    assert rest == [event.job_id for event in events[1:]]


def test_nobody_resumes_behind_an_event_that_is_not_there_or_anothers(hooks: Hooks) -> None:
    place, (job_id,) = end(hooks), hooks.submit()
    hooks.cancel(job_id)
    event = read(hooks, place)[0][0]
    for caller, event_id in ((hooks.caller, job_id), (hooks.of_other_tenant().caller, event.id)):
        with pytest.raises(EventNotFound):
            place_of(hooks, caller, event_id)


def test_the_feed_and_a_webhook_say_the_same_bytes(hooks: Hooks) -> None:
    place, _ = end(hooks), hooks.endpoint()
    (job_id,) = hooks.submit()
    hooks.succeed(job_id)
    (claimed,), ((event,), _) = hooks.claim(), read(hooks, place)
    assert event.body("https://m.example") == claimed.event.body("https://m.example")
    assert event.id == claimed.event.id
