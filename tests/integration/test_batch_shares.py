"""One tenant's many batches: neither the files of others wait for them, nor can there be any number."""

from collections.abc import Callable
from typing import Any

import pytest

from service.batches import opening, schedules
from service.batches.schedules import NewSchedule
from service.batches.steps import StepKind
from service.crypto import Keyring
from service.db import Database
from service.errors import TooManyBatches, TooManySchedules
from service.jobs.submission import IdempotencyKey
from tests.fakes import FakeTaskQueue, MemoryBlobStore
from tests.integration import nights as bench
from tests.integration.nights import REQUEST, Nights


@pytest.fixture
def nights(database: Database, blobs: MemoryBlobStore, keyring: Keyring, queue: FakeTaskQueue) -> Nights:
    return bench.nights(database, blobs, keyring, queue)


def test_files_are_looked_at_in_turns(nights: Nights) -> None:
    """With nothing in hand it is a toss: 30 heads in a row come once in a thousand million times."""
    for _ in range(40):
        nights.open()
    other = nights.of_other_tenant()
    batch_id = other.open().id
    for _ in range(30):
        step = nights.step(StepKind.VALIDATE)
        if step.batch_id == batch_id:
            return
        nights.validate(step, 1)
    raise AssertionError("the other tenant's file waits for all of the first one's")


def test_a_tenant_with_a_file_in_hand_comes_after_one_without(nights: Nights) -> None:
    """Whichever of the others is next by chance."""
    opened = [nights.open().id for _ in range(2)]
    assert nights.step(StepKind.VALIDATE).batch_id == opened[0]
    others = {nights.of_other_tenant(f"other {number}").open().id for number in range(12)}
    assert {nights.step(StepKind.VALIDATE).batch_id for _ in others} == others
    assert nights.step(StepKind.VALIDATE).batch_id == opened[1]


def test_a_tenants_own_files_keep_their_order(nights: Nights) -> None:
    opened = [nights.open().id for _ in range(5)]
    assert [nights.step(StepKind.VALIDATE).batch_id for _ in range(5)] == opened


def test_a_tenant_has_so_many_batches_at_once(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    fewer(monkeypatch, opening, "UNENDED", "MOST_UNENDED", 3)
    opened = [nights.open().id for _ in range(3)]
    with pytest.raises(TooManyBatches, match="3 batches"):
        nights.open()
    nights.of_other_tenant().open()
    nights.cancel(opened[0])
    assert nights.open().id


def test_a_repeated_request_is_answered_however_many_there_are(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = IdempotencyKey("k", b"digest")
    first = nights.open(idempotency=key)
    fewer(monkeypatch, opening, "UNENDED", "MOST_UNENDED", 1)
    assert nights.open(idempotency=key).id == first.id


def test_a_tenant_has_so_many_schedules(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "MOST_SCHEDULES", 2)
    create = scheduling(nights)
    first = create("one")
    create("two")
    with pytest.raises(TooManySchedules, match="2 schedules"):
        create("three")
    scheduling(nights.of_other_tenant())("three")
    with nights.database.transaction() as work:
        schedules.delete(work, nights.caller, first)
    assert create("three")


def fewer(monkeypatch: pytest.MonkeyPatch, module: Any, statement: str, bound: str, count: int) -> None:
    """Lower a bound that stands in a statement, too."""
    before = getattr(module, bound)
    monkeypatch.setattr(module, statement, getattr(module, statement).replace(str(before), str(count)))
    monkeypatch.setattr(module, bound, count)


def scheduling(nights: Nights) -> Callable[[str], Any]:
    """Makes schedules with a name."""

    def create(name: str) -> Any:
        new = NewSchedule(name=name, cron="0 2 * * *", zone="UTC", model="m@1.0.0", request=dict(REQUEST))
        with nights.database.transaction() as work:
            return schedules.create(work, nights.caller, new)

    return create
